"""
The first minute: how close to the bound does a network come?
=============================================================

A network for the built-in pulse train ships with the package. This script lets it estimate m0s, T1 and T2f of tissues
that it has not seen, many times with fresh noise, and compares the spread of the estimates with the least that the
Cramér-Rao bound allows. In full::

    python examples/plot_00_first_minute.py --output results
"""
# sphinx_gallery_thumbnail_path = "images/first_minute.png"

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from crbestim import bias_and_std, load_pretrained, make_fingerprints

parser = argparse.ArgumentParser(description="Spread and bias of the network that ships, against the bound.")
parser.add_argument("--snr", type=float, default=50, help="SNR_max (default: %(default)s)")
parser.add_argument("--output", type=Path, help="directory for the figure (PNG)")
parser.add_argument("--fast", action="store_true", default="CRBESTIM_FAST" in os.environ, help="a trial run")
options = parser.parse_args()
if options.output is not None:
    options.output.mkdir(parents=True, exist_ok=True)
n_tissues, n_realizations = (300, 50) if options.fast else (1_000, 300)

# %%
# Tissues, their signals and their bounds
# ---------------------------------------
# The pipeline knows the signal model and the prior of its training. ``test.X`` are clean signals, ``test.crb``
# the bounds at an SNR of 1 of the 13 coefficients that the network sees.

pipe = load_pretrained("mt-hybrid-state")
model, prior = pipe.model_, pipe.prior_
test = make_fingerprints(model, prior, n_tissues, basis=pipe[0].basis_, random_state=1, progress=False)

# %%
# Estimates with fresh noise
# --------------------------

prior_std = prior.std()[list(test.target_names)].to_numpy()
found = bias_and_std(
    pipe, test.X, test.y, test.crb, snr=options.snr, n_realizations=n_realizations, prior_std=prior_std,
    random_state=2, progress=False,
)  # fmt: skip

# %%
# Look
# ----
# Each tissue is a point. An efficient, unbiased estimator has all blue points on the line. To the left of the dotted
# line the signal tells the parameter (the bound is below a third of the prior's standard deviation); to the right of
# it, it hardly does, and a network answers with what the prior makes likely. The mean over the realizations is itself
# noisy: a bias is shown where it is larger than twice its standard error.

units = {parameter.name: parameter.unit for parameter in model.parameters}
labels = {"m0s": r"$m_0^s$", "T1": r"$T_1$", "T2f": r"$T_2^f$"}
fig, axes = plt.subplots(1, 3, figsize=(9, 3.6), layout="constrained")
for i, (ax, name) in enumerate(zip(axes, test.target_names, strict=True)):
    bias, std, bound = np.abs(found.bias[:, i]), found.std[:, i], found.sqrt_crb[:, i]
    certain = bias > 2 * std / np.sqrt(n_realizations)
    ax.loglog(bound[certain], bias[certain], ".", color="0.7", markersize=3, label="|bias|, where it shows")
    ax.loglog(bound, std, ".", color="C0", markersize=3, label="standard deviation")
    low, high = np.percentile(bound[np.isfinite(bound)], [0.5, 97])
    ax.loglog([low, high], [low, high], color="k", linewidth=1, label="Cramér-Rao bound")
    ax.axvline(prior_std[i] / 3, color="k", linestyle=":", linewidth=1, label="a third of the prior's std")
    unit = "" if units[name] == "1" else f" [{units[name]}]"
    ax.set(xlim=(low, high), ylim=(low / 10, high))
    ax.set(title=labels[name], xlabel=rf"$\sqrt{{\mathrm{{CRB}}}}${unit}", ylabel=f"of the estimates{unit}")
    informative = found.informative[:, i]
    median = np.median(std[informative] / bound[informative])
    print(
        f"{name}: std / sqrt(CRB) {median:.2f}, median of the {informative.sum()} informative of {n_tissues} tissues"
    )
fig.suptitle(f"The network that ships, at an SNR of {options.snr:g}")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, markerscale=3)
if options.output is not None:
    fig.savefig(options.output / "first_minute.png", dpi=150)
plt.show()
