r"""
The paper's Figures 2, 9 and 10: bias and standard deviation on a grid
======================================================================

Two slices through parameter space, :math:`m_0^s` against :math:`T_1` and :math:`T_1` against :math:`T_2^f`, the other
parameters at the means of the prior. Every fingerprint is given 300 noise realizations at an SNR of 50; the spread of
the estimates is compared with the root of the Cramér-Rao bound. In full::

    python examples/plot_08_paper_maps.py --directory paper_runs --output results

after ``python examples/paper_experiment.py --directory paper_runs`` has trained the networks.

The pictures below are those of a trial run with networks that are hardly trained; :doc:`/paper_results` has those of
the full run.
"""
# sphinx_gallery_thumbnail_path = "paper/maps_T2f.png"

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from paper_experiment import SCALES, SLICES, SYMBOLS, TITLES, UNITS, PaperExperiment, arguments

options = arguments("Bias and standard deviation on the grid.")
experiment = PaperExperiment(options.directory, options.fast)
names = options.networks or ["paper-mse", "paper-crb", "bias-reduced"]
parameters = {parameter.name: parameter for parameter in experiment.model.parameters}
targets = experiment.model.default_targets

# %%
# Estimates
# ---------

results = {(piece, name): experiment.judged(name, piece) for piece in SLICES for name in names}

# %%
# The paper's claims
# ------------------
# Mean absolute bias over a slice. The paper's sequence and grid are not public, so its numbers compare in direction
# and size only: 5.23 ms (CRB loss) against 14.1 ms (MSE) for T2f, 0.11 against 0.07 s for T1, 0.0053 against 0.0065
# for m0s. "noise error" is what the finite number of noise realizations leaves of the mean of a bias.

claims = {
    ("m0s-T1", "m0s"): {"paper-crb": 0.0053, "paper-mse": 0.0065},
    ("T1-T2f", "T1"): {"paper-crb": 0.11, "paper-mse": 0.07},
    ("T1-T2f", "T2f"): {"paper-crb": 5.23, "paper-mse": 14.1},
}
rows = []
for (piece, target), published in claims.items():
    column = targets.index(target)
    for name in names:
        samples = results[piece, name]
        arrays = samples.bias, samples.std, samples.sqrt_crb
        bias, std, sqrt_crb = (SCALES[target] * array[:, column] for array in arrays)
        rows.append(
            {
                "slice": piece,
                "target": target + UNITS[target],
                "network": name,
                "mean abs(bias)": np.abs(bias).mean(),
                "noise error": np.sqrt((std**2).mean() / samples.n_realizations / len(std)),
                "published": published.get(name, np.nan),
                "median std/sqrt(CRB)": np.median(std / sqrt_crb),
                "mean std": std.mean(),
                "mean sqrt(CRB)": sqrt_crb.mean(),
            }
        )
table = pd.DataFrame(rows)
print(table.to_string(index=False, float_format="{:.3g}".format))
if options.output is not None:
    table.to_csv(options.output / "maps.csv", index=False, float_format="%.4g")

# %%
# The figures
# -----------
# Green dots mark the means of the prior. The colour scales of a row are the same.


def draw(piece, target):
    column = targets.index(target)
    unit, label = SCALES[target], SYMBOLS[target] + UNITS[target]
    first, second = experiment.axes(piece).items()
    extent = [second[1][0], second[1][-1], first[1][0], first[1][-1]]
    shape = (len(first[1]), len(second[1]))
    fig, axes = plt.subplots(2, len(names) + 1, figsize=(2.5 * len(names) + 2.5, 5), layout="constrained")
    bias = {name: unit * results[piece, name].bias[:, column].reshape(shape) for name in names}
    std = {name: unit * results[piece, name].std[:, column].reshape(shape) for name in names}
    bound = unit * results[piece, names[0]].sqrt_crb[:, column].reshape(shape)
    largest = np.quantile(np.abs(list(bias.values())), 0.98)
    highest = np.quantile([*std.values(), bound], 0.98)
    for ax, name in zip(axes[0], names, strict=False):
        of_bias = ax.imshow(
            bias[name], origin="lower", aspect="auto", extent=extent, cmap="RdBu_r", vmin=-largest, vmax=largest
        )
        ax.set_title(TITLES[name], fontsize=9)
    for ax, image in zip(axes[1], [*std.values(), bound], strict=True):
        of_std = ax.imshow(image, origin="lower", aspect="auto", extent=extent, cmap="viridis", vmin=0, vmax=highest)
    axes[1, -1].set_title(r"$\sqrt{\mathrm{CRB}}$", fontsize=9)
    axes[0, -1].axis("off")
    scale = axes[0, -1].inset_axes([0, 0, 0.07, 1])
    fig.colorbar(of_bias, cax=scale, label=f"bias of {label}", extend="both")
    fig.colorbar(of_std, ax=axes[1], label=f"std of {label}", extend="max")
    mean = experiment.prior.mean()
    for ax in axes.flat[: len(names)].tolist() + axes[1].tolist():
        ax.plot(mean[second[0]], mean[first[0]], "o", color="limegreen", markersize=4, clip_on=False, zorder=3)
        ax.set(xlabel=parameters[second[0]].label, xlim=extent[:2], ylim=extent[2:])
    for ax in axes[:, 0]:
        ax.set_ylabel(parameters[first[0]].label)
    for ax in axes[:, 1:].flat:
        ax.set_yticklabels([])
    if options.output is not None:
        fig.savefig(options.output / f"maps_{target}.png", dpi=150)


for slice_and_target in claims:
    draw(*slice_and_target)
plt.show()
