r"""
The paper's Figure 7: a phantom of bovine serum albumin, scanned in silico
==========================================================================

Six tubes of cross-linked bovine serum albumin (BSA), with and without manganese, are scanned along a koosh ball with
many coils and reconstructed by BART into 13 coefficient images. Box plots compare what least squares (NLLS) and
networks find in each tube with the truth, which the paper did not have. In full::

    python examples/plot_11_bsa_scan.py --directory paper_runs --output docs/scans

trains the networks that are not in the directory yet; ``--networks paper-crb paper-mse bias-reduced`` takes those of
the paper, whose training takes hours.

The pictures below are those of a trial run with networks that are hardly trained; :doc:`/paper_scans` has those of
the full run.
"""
# sphinx_gallery_thumbnail_path = "scans/bsa.png"

import matplotlib.pyplot as plt
import numpy as np
from paper_experiment import COLORS, SCALES, SYMBOLS, UNITS
from scan_experiment import Scan, arguments, costs, joined, of_regions, save_table

from crbestim.datasets import make_bsa_phantom

options = arguments("Scan a phantom of bovine serum albumin.", fast={"voxel_size": 8}, full={"voxel_size": 4})
scan = Scan(make_bsa_phantom(options.voxel_size), options)
phantom, targets = scan.phantom, scan.model.default_targets

# %%
# Noise
# -----
# The networks are trained with white noise of one size in all coefficients. What the reconstruction makes of the white
# noise of k-space, and what it leaves without any noise, in units of M0:

print(scan.source)
save_table(scan.noise_table(), options, "bsa_noise")

# %%
# Tubes
# -----
# The middle half of each tube, without its outermost voxels, as in the paper.

middle = np.zeros(phantom.shape, dtype=bool)
middle[:, :, phantom.shape[2] // 4 : -phantom.shape[2] // 4] = True
tubes = {name: (name, region & middle) for name, region in phantom.regions.items()}
where = joined(tubes)
estimates = {kind: scan.estimates(images, where) for kind, images in scan.images().items()}
table = of_regions(scan, tubes, estimates)
save_table(table, options, "bsa_tubes")

# %%
# What the scan costs
# -------------------
# Bias / standard deviation over all tubes, with one imperfection of the scan at a time: the root mean square of the
# tubes' mean errors, and that of the spread within tubes.

save_table(costs(table), options, "bsa_costs")

# %%
# The figure
# ----------
# Boxes hold the middle half of the voxels, whiskers reach to at most one and a half times the box's height.

of_scan = next(iter(estimates.values()))
WIDTH = 0.8 / len(scan.methods)
fig, axes = plt.subplots(3, 1, figsize=(7.5, 8), layout="constrained", sharex=True)
places = np.arange(len(tubes))
for column, (ax, target) in enumerate(zip(axes, targets, strict=True)):
    truth = SCALES[target] * phantom.tissues.loc[list(tubes), target]
    ax.hlines(truth, places - 0.45, places + 0.45, color="crimson", linewidth=1.2, label="truth", zorder=3)
    for place, (method, title) in enumerate(scan.methods.items()):
        values = SCALES[target] * of_scan[method][:, column]
        boxes = ax.boxplot(
            [values[mask[where]] for _, mask in tubes.values()],
            positions=places + (place - (len(scan.methods) - 1) / 2) * WIDTH,
            widths=0.8 * WIDTH,
            patch_artist=True,
            manage_ticks=False,
            showfliers=False,
            medianprops={"color": "k"},
            label=title,
        )
        for box in boxes["boxes"]:
            box.set_facecolor(COLORS.get(method, "0.75"))
    ax.set(ylabel=SYMBOLS[target] + UNITS[target])
    ax.grid(axis="y", alpha=0.3)
axes[-1].set_xticks(places, tubes)
axes[-1].set_xlabel("BSA")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
axes[0].set_title(scan.source, fontsize=9)
if options.output is not None:
    fig.savefig(options.output / "bsa.png", dpi=150)
plt.show()
