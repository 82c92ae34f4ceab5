r"""
The paper's Figures 5 and 6: bias and variance in the losses
============================================================

The CRB loss of test fingerprints, and their mean squared error, split into the contributions of bias and variance:
against the SNR, within and beyond the range of the training (10 to 100), and at an SNR of 50 against the size of the
bound. In full::

    python examples/plot_10_paper_loss_parts.py --directory paper_runs --output results

after ``python examples/paper_experiment.py --directory paper_runs`` has trained the networks.

The pictures below are those of a trial run with networks that are hardly trained; :doc:`/paper_results` has those of
the full run.
"""
# sphinx_gallery_thumbnail_path = "paper/loss_by_bound.png"

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter
from paper_experiment import COLORS, SCALES, SYMBOLS, TITLES, UNITS, PaperExperiment, arguments

options = arguments("Contributions of bias and variance to the losses.")
experiment = PaperExperiment(options.directory, options.fast)
names = options.networks or ["paper-mse", "paper-crb", "bias-reduced"]
targets = experiment.model.default_targets

# %%
# Against the SNR
# ---------------
# The means over all fingerprints and targets; the mean squared error adds parameters of different units, as the loss
# does that the MSE network was trained with. The standard error is that over fingerprints.

snrs = [20, 100] if options.fast else [3, 5, 10, 20, 30, 50, 70, 100, 200, 500]
rows = []
for name in names:
    for snr in snrs:
        of = experiment.judged(name, "test", snr, min(experiment.n_realizations, 100))
        for loss, weight in (("CRB loss", 1 / of.sqrt_crb**2), ("mean squared error", 1.0)):
            for part, values in (("bias", of.squared_bias), ("variance", of.std**2)):
                each = (values * weight).mean(axis=1)
                rows.append(
                    {
                        "network": name,
                        "snr": snr,
                        "loss": loss,
                        "part": part,
                        "mean": each.mean(),
                        "se": each.std() / np.sqrt(len(each)),
                    }
                )
table = pd.DataFrame(rows)
wide = table.pivot_table(index=["loss", "network", "part"], columns="snr", values="mean", sort=False)
print(wide.to_string(float_format="{:.3g}".format))
if options.output is not None:
    table.to_csv(options.output / "loss_by_snr.csv", index=False, float_format="%.4g")

fig, axes = plt.subplots(2, len(names), figsize=(3 * len(names), 5.4), layout="constrained", sharex=True, sharey="row")
for i, (row, loss) in enumerate(zip(axes, ("CRB loss", "mean squared error"), strict=True)):
    for ax, name in zip(row, names, strict=True):
        ax.axvspan(10, 100, color="0.92", label="range of the training")
        for part, style in (("bias", "-"), ("variance", "--")):
            line = table[(table["network"] == name) & (table["loss"] == loss) & (table["part"] == part)]
            ax.errorbar(line["snr"], line["mean"], line["se"], linestyle=style, color=COLORS[name], label=part)
        ax.set(xscale="log", yscale="log")
        if i == 0:
            ax.set_title(TITLES[name], fontsize=9)
    row[0].set_ylabel(loss + (" [mixed units]" if loss != "CRB loss" else ""))
for ax in axes[-1]:
    ax.set_xlabel(r"$\mathrm{SNR_{max}}$")
axes[0, 0].legend(fontsize=8)
if options.output is not None:
    fig.savefig(options.output / "loss_by_snr.png", dpi=150)

# %%
# Against the size of the bound
# -----------------------------
# At an SNR of 50, in bins of :math:`\sqrt{\mathrm{CRB}}` with equal numbers of fingerprints, for each target. The
# vertical line is a third of the prior's standard deviation: to its right, the signal tells hardly more than the
# prior.

n_bins = 4 if options.fast else 15
rows = []
for name in names:
    of = experiment.judged(name, "test")
    for column, target in enumerate(targets):
        size = of.sqrt_crb[:, column]
        bins = pd.qcut(size, n_bins, labels=False)
        for i in range(n_bins):
            chosen = bins == i
            row = {"network": name, "target": target, "sqrt_crb": np.median(size[chosen]), "n": chosen.sum()}
            for part, values in (("bias", of.squared_bias), ("variance", of.std**2)):
                each = values[chosen, column] / size[chosen] ** 2
                row |= {part: each.mean(), f"{part}_se": each.std() / np.sqrt(chosen.sum())}
            rows.append(row)
by_bound = pd.DataFrame(rows)
if options.output is not None:
    by_bound.to_csv(options.output / "loss_by_bound.csv", index=False, float_format="%.4g")

fig, axes = plt.subplots(2, 3, figsize=(9, 5.4), layout="constrained", sharex="col", sharey="row")
for row, part in zip(axes, ("bias", "variance"), strict=True):
    for column, (ax, target) in enumerate(zip(row, targets, strict=True)):
        for name in names:
            line = by_bound[(by_bound["network"] == name) & (by_bound["target"] == target)]
            ax.errorbar(
                SCALES[target] * line["sqrt_crb"],
                line[part],
                line[f"{part}_se"],
                color=COLORS[name],
                label=TITLES[name],
            )
        ax.axvline(SCALES[target] * experiment.prior_std[column] / 3, color="0.6", linewidth=0.8, linestyle=":")
        if part == "variance":
            ax.axhline(1, color="0.4", linestyle="--", linewidth=0.8)
            ax.set_xlabel(rf"$\sqrt{{\mathrm{{CRB}}}}$ of {SYMBOLS[target]}{UNITS[target]}")
        ax.set(xscale="log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        if part == "bias":
            ax.set_yscale("symlog", linthresh=0.01)
            ax.set_title(SYMBOLS[target])
    row[0].set_ylabel(f"{part}{'²' if part == 'bias' else ''} / CRB")
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names))
if options.output is not None:
    fig.savefig(options.output / "loss_by_bound.png", dpi=150)
plt.show()
