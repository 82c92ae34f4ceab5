"""
Quickstart: from a pulse sequence to a network whose efficiency is proved
=========================================================================

This script simulates fingerprints of a quantitative-MT sequence, compresses them, trains one network with the
CRB-weighted loss and one with the mean squared error, fits the test voxels by non-linear least squares, and measures
for each how close it comes to the Cramér-Rao bound.

It takes your own sequence as well::

    python examples/plot_01_quickstart.py --sequence my_pattern.csv --repetition-time 3.5e-3 \
        --inversion-duration 0.5e-3

where the CSV file has a column ``flip_angle`` (rad) and a column ``pulse_duration`` (s), one row a pulse.
"""
# sphinx_gallery_thumbnail_path = "images/estimates.png"

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from crbestim import (
    CRBWeightedRegressor,
    EstimateDisplay,
    MTHybridStateModel,
    NLLSEstimator,
    NoiseModel,
    Pipeline,
    PulseSequence,
    SequenceDisplay,
    SVDCompressor,
    bias_variance,
    make_fingerprints,
    paper_prior,
)

parser = argparse.ArgumentParser(description="Train and judge estimators for one pulse sequence.")
parser.add_argument("--sequence", type=Path, help="CSV file; by default the built-in sequence")
parser.add_argument("--repetition-time", type=float, help="s (default: as the file tells)")
parser.add_argument("--inversion-duration", type=float, help="s (default: as the file tells)")
parser.add_argument("--output", type=Path, help="directory for the table (CSV) and the figures (PNG)")
parser.add_argument("--fast", action="store_true", default="CRBESTIM_FAST" in os.environ, help="a trial run")
options = parser.parse_args()
if options.output is not None:
    options.output.mkdir(parents=True, exist_ok=True)

n_training, n_test, n_realizations = (2_000, 100, 10) if options.fast else (40_000, 1_000, 100)
n_epochs = 8 if options.fast else 65
n_nlls_realizations = 2 if options.fast else 25

# %%
# Simulate
# --------
# Tissues come from the paper's prior. ``X`` holds clean complex signals, ``y`` the parameters to be estimated, and
# ``crb`` the Cramér-Rao bound of each of them with all seven parameters and the complex M0 unknown.

if options.sequence is None:
    sequence = PulseSequence.default()
else:
    sequence = PulseSequence.from_csv(
        options.sequence,
        repetition_time=options.repetition_time,
        inversion_duration=options.inversion_duration,
    )
model = MTHybridStateModel(sequence)
prior = paper_prior(sequence.repetition_time)
train = make_fingerprints(model, prior, n_training, random_state=0)

print(f"{sequence.n_pulses} pulses, cycle {sequence.n_pulses * sequence.repetition_time:.3g} s. At SNR 50:")
prior_std = prior.std()[list(train.target_names)]
least_std = np.sqrt(train.crb) / 50
told = pd.DataFrame(
    {
        "median sqrt(CRB)": np.median(least_std, axis=0),
        "prior's std": prior_std,
        "informative share": (least_std < prior_std.to_numpy() / 3).mean(axis=0),
    }
)
print(told.to_string(float_format="{:.3g}".format), end="\n\n")

display = SequenceDisplay.from_sequence(sequence)
if options.output is not None:
    display.figure_.savefig(options.output / "sequence.png", dpi=150)

# %%
# Train
# -----
# The pipeline compresses signals to 13 coefficients and trains a network on them. ``crb`` finds its way to the
# network. Amplitude M0 and noise are drawn anew in every training step. Both networks get the same data, noise and
# epochs.

crb_pipe = Pipeline([SVDCompressor(), CRBWeightedRegressor(max_epochs=n_epochs, random_state=0)])
crb_pipe.fit(train.X, train.y, crb=train.crb)

mse_pipe = Pipeline([SVDCompressor(), CRBWeightedRegressor("mse", max_epochs=n_epochs, random_state=0)])
mse_pipe.fit(train.X, train.y)

fig, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
for ax, pipe, label in zip(axes, (crb_pipe, mse_pipe), ("CRB loss", "MSE loss [mixed units]"), strict=True):
    history = pipe[-1].history_
    ax.semilogy(history["train_loss"], label="training")
    ax.semilogy(history["valid_loss"], label="validation")
    ax.set(xlabel="epoch", ylabel=label)
axes[0].axhline(1, color="0.5", linestyle="--", linewidth=1, label="efficient, unbiased")
axes[0].legend()
fig.suptitle("Training")
if options.output is not None:
    fig.savefig(options.output / "training.png", dpi=150)

# %%
# Judge
# -----
# On unseen tissues, at an SNR of 50, many noise realizations of each fingerprint split the loss into bias and
# variance. All methods see compressed data and are judged by the bound of compressed data; the loss by the bound of
# the full data, with which the networks were trained, stands beside it. Least squares fits every voxel from six
# starts.

basis = crb_pipe[0].basis_
test = make_fingerprints(model, prior, n_test, basis=basis, random_state=1)
nlls = NLLSEstimator(model, basis=basis, prior=prior, verbose=0, random_state=0).fit()


def judge(method, estimator, realizations):
    table = bias_variance(
        estimator, test.X, test.y, {"compressed": test.crb, "full": test.full_crb}, snr=50,
        n_realizations=realizations, target_names=test.target_names, prior_std=prior_std, random_state=2,
    )  # fmt: skip
    keys = ["target", "region"]
    full = table[table["bound"] == "full"].set_index(keys)["crb_loss"].rename("crb_loss_full")
    table = table[table["bound"] == "compressed"].join(full, on=keys)
    table.insert(0, "method", method)
    return table


table = pd.concat(
    [
        judge("CRB network", crb_pipe, n_realizations),
        judge("MSE network", mse_pipe, n_realizations),
        judge("NLLS", nlls, n_nlls_realizations),
    ]
)


def with_error(quantity):
    pairs = zip(table[quantity], table[f"{quantity}_se"], strict=True)
    return ["-" if np.isnan(value) else f"{value:.3g} ± {error:.1g}" for value, error in pairs]


shown = pd.DataFrame(
    {
        "region": table["region"],
        "method": table["method"],
        "target": table["target"],
        "bias²/CRB": with_error("bias2_over_crb"),
        "var/CRB": with_error("variance_over_crb"),
        "CRB-loss": with_error("crb_loss"),
        "(full-data bound)": table["crb_loss_full"].map("{:.3g}".format, na_action="ignore").fillna("-"),
        "n": table["n_samples"],
        "N": table["n_realizations"],
    }
)
print("SNR 50, bound of the 13 coefficients; mean over n voxels ± standard error; N noise realizations each.")
print("informative: sqrt(CRB) below a third of the prior's standard deviation.")
print("(full-data bound): the CRB-loss of the same voxels by the bound of the uncompressed data.")
for _, block in shown.groupby("region", sort=False):
    print(block.to_string(index=False), end="\n\n")
if options.output is not None:
    table.to_csv(options.output / "quickstart.csv", index=False)

# %%
# Look
# ----
# Estimates of the two networks from one noise realization each, at SNR 50, against the truth, some of them with the
# root of the bound as error bars: an efficient, unbiased estimator has two thirds of its bars cross the line. Long
# bars belong to tissues about which the sequence tells little; there the networks answer with what the prior makes
# likely.

noise = NoiseModel.at_snr(50)
fig, axes = plt.subplots(2, 3, figsize=(9, 7.2), layout="constrained")
limits = {"m0s": (0, 0.4), "T1": (0, 4), "T2f": (0, 0.6)}
for row, pipe, name in zip(axes, (crb_pipe, mse_pipe), ("CRB network", "MSE network"), strict=True):
    rng = np.random.default_rng(3)
    noisy, crb = noise.augment(test.X, test.crb, rng)
    estimate = pipe.predict(noisy)
    for ax, parameter in zip(row, model.parameters[:3], strict=True):
        EstimateDisplay.from_predictions(
            test.y, estimate, crb, parameter, test.target_names, ax=ax, name=name, limits=limits[parameter.name]
        )
fig.suptitle("Estimates at SNR 50")
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
if options.output is not None:
    fig.savefig(options.output / "estimates.png", dpi=150)
plt.show()
