r"""
The paper's Figures 3 and 4: histograms of bias and standard deviation
======================================================================

Each of the 9,056 test fingerprints, tissues drawn from the prior, is given 300 noise realizations at an SNR of 50. The
distribution of the bias, and of the standard deviation in units of :math:`\sqrt{\mathrm{CRB}}`, tells how close a
network comes to an efficient unbiased estimator. In full::

    python examples/plot_09_paper_histograms.py --directory paper_runs --output results

after ``python examples/paper_experiment.py --directory paper_runs`` has trained the networks.

The pictures below are those of a trial run with networks that are hardly trained; :doc:`/paper_results` has those of
the full run.
"""
# sphinx_gallery_thumbnail_path = "paper/histograms_std.png"

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from paper_experiment import COLORS, SCALES, SYMBOLS, TITLES, UNITS, PaperExperiment, arguments

options = arguments("Histograms of bias and standard deviation.")
experiment = PaperExperiment(options.directory, options.fast)
names = options.networks or ["paper-mse", "paper-crb", "bias-reduced"]
targets = experiment.model.default_targets
samples = {name: experiment.judged(name, "test") for name in names}

# %%
# Numbers
# -------
# Over all test fingerprints, and over those whose bound is informative: its root is below a third of the prior's
# standard deviation. The interval is that of the median's standard error, from 200 bootstrap samples.


def median_and_error(values):
    rng = np.random.default_rng(0)
    again = [np.median(rng.choice(values, len(values))) for _ in range(200)]
    return np.median(values), np.std(again)


rows = []
for name in names:
    of = samples[name]
    for column, target in enumerate(targets):
        for region, chosen in (("all", slice(None)), ("informative", of.informative[:, column])):
            bias, ratio = SCALES[target] * of.bias[chosen, column], (of.std / of.sqrt_crb)[chosen, column]
            relative = (of.squared_bias / of.sqrt_crb**2)[chosen, column]
            median, error = median_and_error(ratio)
            rows.append(
                {
                    "network": name,
                    "target": target + UNITS[target],
                    "region": region,
                    "mean bias": bias.mean(),
                    "mean abs(bias)": np.abs(bias).mean(),
                    "bias²/CRB": relative.mean(),
                    "bias²/CRB se": relative.std() / np.sqrt(len(relative)),
                    "median std/sqrt(CRB)": median,
                    "median se": error,
                    "n": len(bias),
                }
            )
table = pd.DataFrame(rows)
print(table.to_string(index=False, float_format="{:.3g}".format))
if options.output is not None:
    table.to_csv(options.output / "histograms.csv", index=False, float_format="%.4g")

# %%
# Bias
# ----
# All test fingerprints. Those beyond the axis are in the outermost bins.

LIMITS = {"m0s": 0.1, "T1": 0.4, "T2f": 60}


def histogram(ax, values, bins, name):
    inside = np.clip(values, bins[0], bins[-1])
    ax.hist(inside, bins, histtype="step", linewidth=1.4, color=COLORS[name], label=TITLES[name])


fig, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained", sharey=True)
for column, (ax, target) in enumerate(zip(axes, targets, strict=True)):
    bins = np.linspace(-LIMITS[target], LIMITS[target], 61)
    for name in names:
        histogram(ax, SCALES[target] * samples[name].bias[:, column], bins, name)
    ax.axvline(0, color="0.5", linewidth=0.8)
    ax.set(xlabel=f"bias of {SYMBOLS[target]}{UNITS[target]}")
axes[0].set_ylabel("fingerprints")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names))
if options.output is not None:
    fig.savefig(options.output / "histograms_bias.png", dpi=150)

# %%
# Standard deviation
# ------------------
# Filled: the fingerprints whose bound is informative; lines: all. An efficient unbiased estimator is at 1; what lies
# far below has shrunk towards the mean of the prior.

fig, axes = plt.subplots(len(names), 3, figsize=(9, 1.9 * len(names) + 0.6), layout="constrained", sharex=True)
bins = np.linspace(0, 2, 61)
for i, (row, name) in enumerate(zip(axes, names, strict=True)):
    of = samples[name]
    for column, (ax, target) in enumerate(zip(row, targets, strict=True)):
        ratio = np.clip((of.std / of.sqrt_crb)[:, column], 0, 2)
        ax.hist(ratio, bins, histtype="step", color="0.4", label="all")
        ax.hist(ratio[of.informative[:, column]], bins, color=COLORS[name], alpha=0.7, label="informative")
        ax.axvline(1, color="0.2", linestyle="--", linewidth=0.8)
        if i == 0:
            ax.set_title(SYMBOLS[target])
    row[0].set_ylabel(TITLES[name].replace(", ", ",\n"), fontsize=8)
for ax in axes[-1]:
    ax.set_xlabel(r"std / $\sqrt{\mathrm{CRB}}$")
axes[0, 0].legend(fontsize=8)
if options.output is not None:
    fig.savefig(options.output / "histograms_std.png", dpi=150)
plt.show()
