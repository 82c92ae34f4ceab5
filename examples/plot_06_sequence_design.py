"""
Design a sequence by its bound
==============================

The bound tells how well any estimator can do, so it can be used before there is an estimator: this script designs a
short pulse train that minimises the Cramér-Rao bound of m0s, T1 and T2f over a population of tissues, within what a
scanner allows.
"""

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from crbestim import MTHybridStateModel, PulseSequence, SequenceDisplay, paper_prior
from crbestim.design import SequenceConstraints, compare_bounds, hybrid_state_error, optimize_sequence

parser = argparse.ArgumentParser(description="Design a short pulse train.")
parser.add_argument("--output", type=Path, help="directory for the pulse train (CSV) and the figures (PNG)")
parser.add_argument("--fast", action="store_true", default="CRBESTIM_FAST" in os.environ, help="a trial run")
options = parser.parse_args()
if options.output is not None:
    options.output.mkdir(parents=True, exist_ok=True)
effort = {"n_tissues": 64, "n_starts": 6, "n_hops": 6, "max_iter": 80, "refine_iter": 240}
if options.fast:
    effort = {"n_tissues": 32, "n_starts": 2, "n_hops": 2, "max_iter": 20, "refine_iter": 20}

# %%
# Where to begin
# --------------
# The template gives the number of pulses, the repetition time and the inversion pulse: here 300 pulses, a cycle of
# about one second. Its flip angles, two smooth ramps, are what one would try first. They are not the start of the
# search, only what the result is compared with.

n_pulses = 300
phase = np.arange(n_pulses) / n_pulses
ramps = PulseSequence(
    flip_angle=0.05 + 0.7 * np.sin(2 * np.pi * phase) ** 2,
    pulse_duration=np.where(phase < 0.5, 0.15e-3, 0.45e-3),
    repetition_time=3.5e-3,
    inversion_duration=0.5e-3,
)
before = MTHybridStateModel(ramps)

# %%
# What is allowed
# ---------------
# Flip angles, amplitudes and durations have limits, the mean power is kept at that of the ramps, and the hybrid state
# must describe the magnetisation as well as it does for them.

prior = paper_prior(ramps.repetition_time)
others = prior.sample(1000, random_state=1)  # tissues that the design does not see
error = np.exp(np.log(hybrid_state_error(before, others)).mean())
limits = SequenceConstraints(
    flip_angle=(0.0, 2.0),
    rf_amplitude=2 * np.pi * 700,
    pulse_duration=(0.15e-3, 0.5e-3),
    rf_power=ramps.rf_power,
    hybrid_state_error=error,
)
print(f"power {ramps.rf_power:.3g} rad^2/s^2, error of the hybrid state {error:.1%}")

# %%
# Design
# ------
# Random starts, changes to the best of them, and a refinement. A gradient by all 600 numbers takes the time of some
# Jacobians, so this takes less than a minute (the compilation of the gradient, once, included).

design = optimize_sequence(before, prior, constraints=limits, random_state=0, **effort)
print(design.limits.to_string(float_format=lambda value: f"{value:.4g}"))

# %%
# Flip angles, amplitudes and durations, before and after:

display = SequenceDisplay.from_sequence(ramps, name="before", color="0.6")
display = SequenceDisplay.from_sequence(design.sequence, axes=display.axes_, name="after", color="C0")
if options.output is not None:
    display.figure_.savefig(options.output / "sequence.png", dpi=150)

# %%
# The magnetisation's path
# ------------------------
# On resonance the free pool's magnetisation of length r lies at the nominal polar angle. Its path, here that of white
# matter, starts near the inverted magnetisation and ends where the inversion takes it back to the start.

tissue = [[0.14, 1.1, 0.065, 20.0, 12e-6, 0.0, 1.0]]  # m0s, T1 [s], T2f [s], Rx [1/s], T2s [s], B0 [rad/s], B1
fig, axes = plt.subplots(1, 2, figsize=(5, 3.6), sharex=True, sharey=True, layout="constrained")
for ax, model, name in zip(axes, (before, design.model), ("before", "after"), strict=True):
    angle = model.sequence.polar_angle
    x = model.signal(tissue)[0].real  # r sin v
    z = np.where(
        angle > 1e-4, x / np.tan(np.maximum(angle, 1e-4)), np.nan
    )  # r cos v; not told where there is no angle
    path = ax.scatter(x, z, c=np.arange(n_pulses) * ramps.repetition_time, s=6, cmap="viridis", zorder=2)
    ax.plot(x, z, color="0.8", linewidth=0.8, zorder=1)
    ax.plot(x[0], z[0], "o", color="none", markeredgecolor="C3", markersize=9, zorder=3, label="first echo")
    ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.set(title=name, xlabel=r"transversal, $M_{xy} / M_0$", aspect="equal")
axes[0].set_ylabel(r"longitudinal, $M_z / M_0$")
axes[0].legend(fontsize="small", loc="best")
fig.colorbar(path, ax=axes, label="time after the inversion [s]")
if options.output is not None:
    fig.savefig(options.output / "path.png", dpi=150)

# %%
# The bound before and after
# --------------------------
# Judged by the 1,000 other tissues: the ratio of the least standard deviations in each, after over before. A cycle of
# one second is short for nine unknowns: at an SNR of 50 the least standard deviations exceed the prior's in most
# tissues. They fall with the root of the number of cycles; a longer train gains more.

table = compare_bounds(design.model, before, others)
print(table.to_string(float_format=lambda value: f"{value:.3f}"))

prior_std = prior.std()
fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for ax, name in zip(axes, table.index[:3], strict=True):
    parameter = before.parameters[before.parameter_names.index(name)]
    least = [np.sqrt(model.crb(others, name)[:, 0]) / 50 for model in (before, design.model)]
    bins = np.geomspace(*np.quantile(least, [0.01, 0.99]), 40)
    for values, label, color in zip(least, ("before", "after"), ("0.6", "C0"), strict=True):
        ax.hist(values, bins, histtype="step", color=color, linewidth=1.5, label=label)
        ax.axvline(np.median(values), color=color, linestyle="--", linewidth=1)
    ax.axvline(prior_std[name], color="C3", linewidth=1, label="prior's std")
    ax.set(xscale="log", xlabel=rf"$\sqrt{{\mathrm{{CRB}}}}$ of {parameter.label}, SNR 50")
axes[0].set_ylabel("tissues")
axes[0].legend(fontsize="small")
if options.output is not None:
    fig.savefig(options.output / "bounds.png", dpi=150)
    design.sequence.to_csv(options.output / "sequence.csv")

# %%
# The train itself is an ordinary `PulseSequence`: train a network for it as in the quickstart. The built-in sequence
# was made in the same way with more effort; the page :doc:`/user_guide/design` tells what that gains, and when not to
# design a sequence like this.
