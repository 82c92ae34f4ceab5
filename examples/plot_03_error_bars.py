r"""
Error bars, and voxels that no tissue explains
==============================================

The network that ships with the package returns a standard deviation with every estimate: what the Cramér-Rao bound
allows at the voxel's own signal-to-noise ratio. This example counts how often such intervals cover the truth, for
tissues that are easy and hard to estimate, and flags signals that are none of the model's: mixtures of two tissues,
and coefficients with an artefact. In full::

    python examples/plot_03_error_bars.py --output results
"""
# sphinx_gallery_thumbnail_path = "images/coverage.png"

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from crbestim import NoiseModel, goodness_of_fit, interval_coverage, load_pretrained, make_fingerprints

parser = argparse.ArgumentParser(description="Coverage of error bars, and goodness of fit.")
parser.add_argument("--snr", type=float, default=50, help="SNR_max (default: %(default)s)")
parser.add_argument("--output", type=Path, help="directory for tables (CSV) and figures (PNG)")
parser.add_argument("--fast", action="store_true", default="CRBESTIM_FAST" in os.environ, help="a trial run")
options = parser.parse_args()
if options.output is not None:
    options.output.mkdir(parents=True, exist_ok=True)
n_test, n_realizations, n_flagged = (200, 10, 50) if options.fast else (4_000, 100, 2_000)

pipe = load_pretrained("mt-hybrid-state")
model, prior, basis = pipe.model_, pipe.prior_, pipe[0].basis_
test = make_fingerprints(model, prior, n_test, basis=basis, compressed=True, random_state=1, progress=False)
stacked = np.hstack([test.X.real, test.X.imag])

# %%
# Coverage
# --------
# Tissues are grouped by their bound in units of the prior's standard deviation. Where its root is above a third of it,
# the signal tells hardly more than the prior.

prior_std = prior.std()[list(test.target_names)].to_numpy()
size = np.sqrt(test.crb) / options.snr / prior_std
edges, labels = [0, 0.03, 0.1, 1 / 3, 1, np.inf], ["< 0.03", "0.03-0.1", "0.1-0.33", "0.33-1", "> 1"]
groups = np.column_stack([pd.cut(column, edges, labels=labels).astype(object) for column in size.T])
table = interval_coverage(
    pipe[-1], stacked, test.y, options.snr, n_realizations, groups=groups, target_names=test.target_names,
    random_state=2, progress=False,
)  # fmt: skip
wide = table.pivot_table(index=["target", "group"], columns="level", values="coverage", sort=False)
counts = table.groupby(["target", "group"], sort=False)[["std_ratio", "n_samples"]].first()
shown = wide.join(counts).reindex(pd.MultiIndex.from_product([test.target_names, labels])).dropna()
print("coverage by nominal level; std_ratio: median of predicted over empirical standard deviation")
print(shown.to_string(float_format="{:.3f}".format))
if options.output is not None:
    table.to_csv(options.output / "coverage.csv", index=False)

fig, axes = plt.subplots(1, 3, figsize=(9, 3.6), layout="constrained", sharey=True)
titles = {"m0s": r"$m_0^s$", "T1": r"$T_1$", "T2f": r"$T_2^f$"}
colors = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(labels)))
for ax, target in zip(axes, test.target_names, strict=True):
    ax.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle="--", label="calibrated")
    for label, color in zip(labels, colors, strict=True):
        line = table[(table["target"] == target) & (table["group"] == label)]
        ax.errorbar(line["level"], line["coverage"], line["coverage_se"], color=color, marker="o", ms=3, label=label)
    ax.set(title=titles[target], xlabel="nominal level", xlim=(0.4, 1), ylim=(0.4, 1))
axes[0].set_ylabel("coverage")
handles = axes[0].get_legend_handles_labels()
fig.legend(*handles, loc="outside lower center", ncols=6, title=r"$\sqrt{\mathrm{CRB}}$ / std of the prior")
if options.output is not None:
    fig.savefig(options.output / "coverage.png", dpi=150)

# %%
# Flags
# -----
# Good voxels are to be flagged as rarely as the significance, 0.1 %, says. Mixtures are half of one tissue and half of
# another; the artefact adds the given share of the signal's norm to the coefficients, in a random direction.

rng = np.random.default_rng(3)
clean = test.X[:n_flagged]
other = clean[rng.permutation(len(clean))]
direction = rng.normal(size=(len(clean), 2 * clean.shape[1])).view(complex)
direction *= np.linalg.norm(clean, axis=1, keepdims=True) / np.linalg.norm(direction, axis=1, keepdims=True)
kinds = {
    "good": clean,
    "mixtures": (clean + other) / 2,
    "artefact of 2 %": clean + 0.02 * direction,
    "artefact of 5 %": clean + 0.05 * direction,
    "artefact of 10 %": clean + 0.1 * direction,
}
noise = NoiseModel.at_snr(options.snr)
rows, probabilities = [], {}
for kind, signals in kinds.items():
    noisy = noise.add_to(signals, rng)
    fit = goodness_of_fit(model, noisy, noise.noise_std, basis=basis, prior=prior, init=pipe, verbose=0)
    share = fit.flagged.mean()
    probabilities[kind] = fit.p_value
    rows.append({"signals": kind, "flagged": share, "se": np.sqrt(share * (1 - share) / len(noisy)), "n": len(noisy)})
flags = pd.DataFrame(rows)
print(flags.to_string(index=False, float_format="{:.4f}".format))
if options.output is not None:
    flags.to_csv(options.output / "flags.csv", index=False)

fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
for kind, values in probabilities.items():
    ax.plot(np.sort(values), np.linspace(0, 1, len(values)), label=kind)
ax.axvline(1e-3, color="0.5", linestyle="--", linewidth=1, label="significance")
ax.set(xscale="log", xlim=(1e-8, 1), xlabel="p-value of the residual", ylabel="share of voxels below")
fig.legend(loc="outside right center")
if options.output is not None:
    fig.savefig(options.output / "flags.png", dpi=150)
plt.show()
