r"""
The paper's Figure 8: a brain, scanned in silico
================================================

A brain with the anatomy of the MNI152 template is scanned and reconstructed as the phantom of the example before. A
transversal slice shows what least squares (NLLS) and networks make of it, beside the truth: does an MSE network miss
the short :math:`T_2^f` of the globus pallidus, as it is said to do? In full::

    python examples/plot_12_brain_scan.py --directory paper_runs --output docs/scans

The pictures below are those of a trial run with networks that are hardly trained; :doc:`/paper_scans` has those of
the full run.
"""
# sphinx_gallery_thumbnail_path = "scans/brain_T2f.png"

import matplotlib.pyplot as plt
import numpy as np
from paper_experiment import SCALES, SYMBOLS, UNITS
from scan_experiment import Scan, arguments, joined, means, of_regions, save_table

from crbestim.datasets import make_brain_phantom

options = arguments("Scan a brain.", fast={"voxel_size": 5, "max_iter": 12}, full={"voxel_size": 3})
brain = make_brain_phantom(options.voxel_size)
if options.fast:  # a slab with all regions
    brain = brain.slab(*(round((z - brain.affine[2, 3]) / options.voxel_size) for z in (-8, 16)))
scan = Scan(brain, options)
phantom, targets = scan.phantom, scan.model.default_targets
print(scan.source)

# %%
# Regions
# -------
# Mean and standard deviation, as in the corner of the paper's figure. The truth is that of the tissue. White noise
# alone, of the SNR that evenly spread samples would have, shows what is the network's and what the scan's.

TISSUES = {"frontal white matter": "white matter", "globus pallidus": "globus pallidus", "thalamus": "thalamus"}
regions = {name: (tissue, phantom.regions[name]) for name, tissue in TISSUES.items()}
where = joined(regions)
images = {scan.source: scan.scanned, "white noise alone": scan.with_white_noise(1 / options.snr, seed=3)}
estimates = {kind: scan.estimates(coefficients, where) for kind, coefficients in images.items()}
table = of_regions(scan, regions, estimates)
save_table(table, options, "brain_regions")
save_table(means(table), options, "brain_means")

# %%
# The slice
# ---------
# Through globus pallidus (green arrow) and thalamus (blue arrow), with mean ± standard deviation in the frontal white
# matter (white contour). Maps above, deviations from the truth below, where one tissue fills a voxel to 90 %. The
# others are grey: a mixture of signals has no true parameters, and the truth above is a mean.

LARGEST = {"m0s": 0.2, "T1": 3.0, "T2f": 120}
LARGEST_ERROR = {"m0s": 0.05, "T1": 0.5, "T2f": 30}
slice_index = round((2 - phantom.affine[2, 3]) / options.voxel_size)
shown = np.zeros(phantom.shape, dtype=bool)
shown[:, :, slice_index] = phantom.mask[:, :, slice_index]
found = scan.estimates(scan.scanned, shown)


def picture(values):
    image = np.full(phantom.shape, np.nan)
    image[shown] = values
    return image[:, :, slice_index].T


pure = phantom.fractions.max(axis=0)[:, :, slice_index].T >= 0.9
shared = np.where(phantom.mask[:, :, slice_index].T & ~pure, 0.75, np.nan)
frontal = phantom.regions["frontal white matter"][:, :, slice_index].T
for column, target in enumerate(targets):
    truth = SCALES[target] * picture(phantom.parameter_map(target)[shown])
    fig, axes = plt.subplots(2, 1 + len(scan.methods), figsize=(10, 5.2), layout="constrained")
    maps = {"truth": truth} | {
        title: SCALES[target] * picture(found[method][:, column]) for method, title in scan.methods.items()
    }
    for (title, estimate), (above, below) in zip(maps.items(), axes.T, strict=True):
        of_map = above.imshow(estimate, origin="lower", cmap="viridis", vmin=0, vmax=LARGEST[target])
        above.set_title(f"{title}\n{estimate[frontal].mean():.3g} ± {estimate[frontal].std():.2g}", fontsize=10)
        above.contour(frontal, levels=[0.5], colors="w", linewidths=1)
        if title != "truth":
            error = LARGEST_ERROR[target]
            below.imshow(shared, origin="lower", cmap="gray", vmin=0, vmax=1)
            of_error = below.imshow(
                np.where(pure, estimate - truth, np.nan), origin="lower", cmap="RdBu_r", vmin=-error, vmax=error
            )
    for name, color in (("globus pallidus", "lime"), ("thalamus", "cyan")):
        places = np.argwhere(phantom.regions[name])
        x, y = places[places[:, 0] > phantom.shape[0] / 2][:, :2].mean(axis=0)
        for ax in axes[0]:
            ax.annotate("", (x, y), (x + 7, y + 7), arrowprops={"arrowstyle": "->", "color": color, "linewidth": 1.5})
    for ax in axes.flat:
        ax.axis("off")
    label = SYMBOLS[target] + UNITS[target]
    fig.colorbar(of_map, ax=axes[0], label=label, extend="max")
    fig.colorbar(of_error, ax=axes[1], label=f"error of {label}", extend="both")
    fig.suptitle(scan.source, fontsize=9)
    if options.output is not None:
        fig.savefig(options.output / f"brain_{target}.png", dpi=150)
plt.show()
