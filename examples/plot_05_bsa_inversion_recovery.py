"""
A measurement: the semi-solid pool of cross-linked albumin
==========================================================

Inversion recovery of 15 % thermally cross-linked bovine serum albumin in an NMR spectrometer, after rectangular
inversion pulses of ten durations. `InversionRecoveryMTModel` is fitted to all of it with one set of parameters, once
with Graham's saturation and once with the generalized Bloch model, and the residuals tell which of them describes
pulses as short as the semi-solid pool's T2. Then a network is trained with the CRB loss for the same experiment, and
its answer and its efficiency are compared with those of least squares.

The data are published (`datasets.fetch_bsa_inversion_recovery`) and downloaded at the first run; without a network
and a file, the script goes on with a simulated measurement and says so::

    python examples/plot_05_bsa_inversion_recovery.py --data bsa_inversion_recovery.csv --output results
"""
# sphinx_gallery_thumbnail_path = "images/bsa_fit.png"

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from scipy import stats

from crbestim import (
    CRBWeightedRegressor,
    InversionRecoveryMTModel,
    NLLSEstimator,
    NoiseModel,
    Pipeline,
    Prior,
    SVDCompressor,
    bias_variance,
    make_fingerprints,
)
from crbestim.datasets import fetch_bsa_inversion_recovery

parser = argparse.ArgumentParser(description="Fit two models of saturation to an inversion-recovery measurement.")
parser.add_argument("--data", type=Path, help="CSV file; by default the public measurement is downloaded")
parser.add_argument("--output", type=Path, help="directory for the tables (CSV) and the figures (PNG)")
parser.add_argument("--fast", action="store_true", default="CRBESTIM_FAST" in os.environ, help="a trial run")
options = parser.parse_args()
if options.output is not None:
    options.output.mkdir(parents=True, exist_ok=True)


def save(figure, name):
    if options.output is not None:
        figure.savefig(options.output / f"{name}.png", dpi=150)


# %%
# The data
# --------
# Each curve is phased by its last point, which belongs to recovered magnetisation and so is positive; what is left are
# real data with a sign. One scale, M0, serves all curves.


def simulated_measurement():
    """Stand-in of the same design, where the measurement cannot be had."""
    durations, times = np.meshgrid(
        22.8e-6 * np.array([1, 2, 5, 10, 15, 20, 25, 30, 35, 40]), np.geomspace(3.5e-3, 5.0, 20), indexing="ij"
    )
    stand_in = InversionRecoveryMTModel(times.ravel(), durations.ravel())
    clean = stand_in.signal([[0.083, 1.2, 70.0, 12e-6, 0.93]])
    noisy = NoiseModel.at_snr(350).add_to(clean, np.random.default_rng(0))[0]
    return times.ravel(), durations.ravel(), noisy


try:
    measurement = fetch_bsa_inversion_recovery(options.data)
    times, durations, signal = measurement.inversion_time, measurement.pulse_duration, measurement.signal
    source = "BSA, measured"
except OSError as error:
    if options.data is not None:
        raise SystemExit(str(error)) from error
    print(f"{error}\nGoing on with a SIMULATED measurement.\n")
    times, durations, signal = simulated_measurement()
    source = "SIMULATED stand-in"

_, curve = np.unique(durations, return_inverse=True)
pulses = np.unique(durations)
last_phase = np.array([np.angle(signal[curve == i][np.argmax(times[curve == i])]) for i in range(len(pulses))])
phased = signal * np.exp(-1j * last_phase[curve])
data, imaginary = phased.real / phased.real.max(), phased.imag / phased.real.max()
print(f"Imaginary parts after phasing: {np.linalg.norm(imaginary) / np.linalg.norm(data):.2%} of the real ones (rms)")

# %%
# Fit both models
# ---------------
# ``data="real"`` declares real data: M0 is a positive number, and the noise is real. Its level is not known and taken
# from the residual; the error bars are the roots of the Cramér-Rao bound at that level. They hold if the model does:
# they know of white noise, not of a model's error or of drifts of the spectrometer. The imaginary parts, which hold no
# signal, show how large noise and drifts are together.

prior = Prior(
    {
        "m0s": stats.uniform(0.01, 0.29),
        "R1": stats.uniform(0.3, 2.7),
        "Rx": stats.uniform(5.0, 295.0),
        "T2s": stats.uniform(2e-6, 28e-6),
        "efficiency": stats.uniform(0.6, 0.4),
    }
)
labels = {"generalized-bloch": "generalized Bloch", "graham": "Graham's rate"}
fits = {}
for saturation in labels:
    model = InversionRecoveryMTModel(times, durations, saturation=saturation, data="real")
    names = model.parameter_names
    nlls = NLLSEstimator(model, targets=names, prior=prior, n_starts=10, verbose=0, random_state=0).fit()
    theta = nlls.predict(data[None])
    shape = model.signal(theta)[0]
    m0 = shape @ data / (shape @ shape)
    residual = data - m0 * shape
    noise_std = np.sqrt(residual @ residual / (len(data) - len(names) - 1))
    fits[saturation] = {
        "model": model,
        "theta": theta[0],
        "m0": m0,
        "noise_std": noise_std,
        "std": np.sqrt(model.crb(theta, names)[0]) * noise_std / m0,
        "residual": residual,
        "residual_by_pulse": np.array(
            [np.linalg.norm(residual[curve == i]) / np.linalg.norm(data[curve == i]) for i in range(len(pulses))]
        ),
    }

table = pd.DataFrame(
    {
        labels[saturation]: {
            **{
                f"{parameter.name} [{parameter.unit}]": f"{value:.4g} ± {std:.1g}"
                for parameter, value, std in zip(model.parameters, fit["theta"], fit["std"], strict=True)
            },
            "relative residual": f"{np.linalg.norm(fit['residual']) / np.linalg.norm(data):.2%}",
            "SNR_max = M0 / sigma": f"{fit['m0'] / fit['noise_std']:.0f}",
        }
        for saturation, fit in fits.items()
    }
)
print(f"{source}: {len(data)} points, {len(pulses)} pulse durations; estimate ± sqrt(CRB)")
print(table.to_string(), end="\n\n")
by_pulse = pd.DataFrame(
    {labels[saturation]: fit["residual_by_pulse"] for saturation, fit in fits.items()},
    index=pd.Index(pulses * 1e6, name="pulse [us]"),
)
print("Relative residual by pulse duration:")
print(by_pulse.to_string(float_format="{:.2%}".format, header=True), end="\n\n")
if options.output is not None:
    table.to_csv(options.output / "bsa_fit.csv")
    by_pulse.to_csv(options.output / "bsa_residual_by_pulse.csv")

# %%
# Look at the residuals
# ---------------------
# A model that fits leaves noise around zero for every pulse. Graham's rate takes the semi-solid magnetisation as
# constant while the pulse lasts, which fails most for the shortest pulses, and the one set of parameters that must
# serve all pulses is pulled away by them.

colors = plt.colormaps["viridis"](np.linspace(0, 0.9, len(pulses)))
fig, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True, sharey="row", layout="constrained", height_ratios=[3, 2])
for column, (saturation, fit) in zip(axes.T, fits.items(), strict=True):
    for i, color in enumerate(colors):
        chosen = np.flatnonzero(curve == i)
        chosen = chosen[np.argsort(times[chosen])]
        column[0].plot(times[chosen], data[chosen], "o", color=color, markersize=3)
        column[0].plot(times[chosen], (data - fit["residual"])[chosen], color=color, linewidth=1)
        column[1].plot(times[chosen], 100 * fit["residual"][chosen], "o-", color=color, markersize=2, linewidth=0.8)
    column[0].set(title=labels[saturation], xscale="log")
    column[1].axhline(0, color="0.3", linewidth=0.8)
    column[1].set_xlabel("inversion time [s]")
axes[0, 0].set_ylabel("signal (points), fit (lines)\n[1 = largest datum]")
axes[1, 0].set_ylabel("residual\n[% of largest datum]")
scale = ScalarMappable(cmap=ListedColormap(colors))
bar = fig.colorbar(scale, ax=axes, label="pulse duration [µs]", aspect=40)
bar.set_ticks((np.arange(len(pulses)) + 0.5) / len(pulses), labels=[f"{1e6 * pulse:.0f}" for pulse in pulses])
fig.suptitle(f"{source}: inversion recovery, one set of parameters for all pulses")
save(fig, "bsa_fit")

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for (saturation, fit), marker in zip(fits.items(), "os", strict=True):
    ax.plot(pulses * 1e6, 100 * fit["residual_by_pulse"], marker + "-", label=labels[saturation])
ax.set(xlabel="pulse duration [µs]", ylabel="relative residual [%]", ylim=(0, None), title=source)
ax.legend()
save(fig, "bsa_residual_by_pulse")

# %%
# A network for the same experiment
# ---------------------------------
# The generalized Bloch model simulates the experiment for samples from a prior around such materials. The network sees
# ten coefficients instead of 200 points, and noise levels around that of the measurement. Real data need no other
# lines than complex ones.

best = fits["generalized-bloch"]
model, snr = best["model"], best["m0"] / best["noise_std"]
targets = ("m0s", "R1", "Rx", "T2s")
materials = Prior(
    {
        "m0s": stats.uniform(0.03, 0.17),
        "R1": stats.uniform(0.6, 1.4),
        "Rx": stats.uniform(30.0, 100.0),
        "T2s": stats.uniform(6e-6, 12e-6),
        "efficiency": stats.uniform(0.85, 0.15),
    }
)
n_training, n_epochs, n_realizations = (2_000, 5, 10) if options.fast else (60_000, 150, 300)
n_tests, n_nlls = (50, 4) if options.fast else (1_000, 100)
basis = SVDCompressor(10).fit(model.signal(materials.sample(5_000, random_state=0))).basis_
train = make_fingerprints(model, materials, n_training, targets, basis=basis, random_state=0)
noise = NoiseModel(noise_std=1 / snr, m0_range=(0.5, 1.5))
network = Pipeline(
    [SVDCompressor(basis=basis), CRBWeightedRegressor(noise=noise, max_epochs=n_epochs, random_state=0)]
)
network.fit(train.X, train.y, crb=train.crb)
nlls = NLLSEstimator(model, targets, basis=basis, prior=prior, verbose=0, random_state=0).fit()

answers = pd.DataFrame({"network": network.predict(data[None])[0], "NLLS": nlls.predict(data[None])[0]}, index=targets)
answers["sqrt(CRB)"] = np.sqrt(model.crb(best["theta"][None], targets, basis=basis)[0]) / snr
answers["difference / sqrt(CRB)"] = (answers["network"] - answers["NLLS"]) / answers["sqrt(CRB)"]
print(f"{source}: estimates from ten coefficients, and the root of their bound at SNR_max = {snr:.0f}")
print(answers.to_string(float_format="{:.4g}".format), end="\n\n")

# %%
# How efficient are they?
# -----------------------
# First at the fitted sample itself, from many realizations of noise; then over the network's prior, where least
# squares gets fewer samples. Both estimators see the same coefficients and are judged by their bound; the loss by the
# bound of all 200 points stands beside it.


def judge(method, estimator, test, where):
    bounds = {"compressed": test.crb, "full": test.full_crb}
    rows = bias_variance(
        estimator, test.X, test.y, bounds, snr=snr, n_realizations=n_realizations if where == "sample" else 50,
        target_names=targets, prior_std=materials.std()[list(targets)], random_state=1,
    )  # fmt: skip
    rows = rows[rows["region"] == ("all" if where == "sample" else "informative")]
    full = rows[rows["bound"] == "full"].set_index("target")["crb_loss"].rename("crb_loss_full")
    rows = rows[rows["bound"] == "compressed"].join(full, on="target")
    rows.insert(0, "method", method)
    rows.insert(1, "where", where)
    return rows


common = {"targets": targets, "basis": basis, "progress": False}
at_sample = make_fingerprints(model, theta=best["theta"][None], **common)
over_prior = make_fingerprints(model, materials, n_tests, random_state=1, **common)
fewer = make_fingerprints(model, theta=over_prior.theta[:n_nlls], **common)
judged = pd.concat(
    [
        judge("network", network, at_sample, "sample"),
        judge("NLLS", nlls, at_sample, "sample"),
        judge("network", network, over_prior, "prior"),
        judge("network", network, fewer, "prior"),
        judge("NLLS", nlls, fewer, "prior"),
    ]
)


def with_error(quantity):
    # Of a single sample, the standard error is that of a squared mean, or of a variance, from N realizations.
    bias2, variance, n = judged["bias2_over_crb"].clip(0), judged["variance_over_crb"], judged["n_realizations"]
    of_one = np.sqrt(4 * bias2 * variance / n + 2 * (variance / n) ** 2), variance * np.sqrt(2 / n)
    errors = judged[f"{quantity}_se"].fillna(of_one[quantity == "variance_over_crb"])
    return [f"{value:.2g} ± {error:.1g}" for value, error in zip(judged[quantity], errors, strict=True)]


shown = judged[["where", "method", "target"]].assign(
    **{
        "bias²/CRB": with_error("bias2_over_crb"),
        "var/CRB": with_error("variance_over_crb"),
        "CRB-loss": judged["crb_loss"].map("{:.3g}".format),
        "(full-data bound)": judged["crb_loss_full"].map("{:.3g}".format),
        "n": judged["n_samples"],
        "N": judged["n_realizations"],
    }
)
print(f"SNR_max = {snr:.0f}, bound of the ten coefficients; n informative samples, N noise realizations, ± std. error")
print(shown.to_string(index=False))
if options.output is not None:
    answers.to_csv(options.output / "bsa_network.csv")
    judged.to_csv(options.output / "bsa_efficiency.csv", index=False)
plt.show()
