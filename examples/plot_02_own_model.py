r"""
A pulse sequence of your own, from its equation to maps
=======================================================

All that the package needs to know of a measurement is its signal equation. Here that is a spin echo after an
inversion, measured at a few inversion and echo times. From the equation follow the bound, which tells what a protocol
can measure before anyone lies in the scanner, a network, and maps with error bars. In full::

    python examples/plot_02_own_model.py --output results
"""
# sphinx_gallery_thumbnail_number = 2

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats

from crbestim import (
    CRBWeightedRegressor,
    FunctionModel,
    NLLSEstimator,
    NoiseModel,
    Parameter,
    Pipeline,
    Prior,
    SVDCompressor,
    make_fingerprints,
)

parser = argparse.ArgumentParser(description="Bound, network and maps of a model of one's own.")
parser.add_argument("--snr", type=float, default=100, help="SNR_max (default: %(default)s)")
parser.add_argument("--output", type=Path, help="directory for the figures (PNG)")
parser.add_argument("--fast", action="store_true", default="CRBESTIM_FAST" in os.environ, help="a trial run")
options = parser.parse_args()
if options.output is not None:
    options.output.mkdir(parents=True, exist_ok=True)
n_training, n_epochs, size = (4_000, 20, 32) if options.fast else (40_000, 60, 96)

# %%
# The model
# ---------
# One voxel, M0 = 1, torch and SI units. Parameters have a name, a symbol, a unit and bounds.

ECHO_TIMES = torch.tensor([0.01, 0.03, 0.06, 0.12], dtype=torch.float64)  # s
T1 = Parameter("T1", "T_1", "s", bounds=(0.0, 10.0), closed="right")
T2 = Parameter("T2", "T_2", "s", bounds=(0.0, 10.0), closed="right")


def inversion_spin_echo(inversion_times):
    TI = torch.tensor(inversion_times, dtype=torch.float64)[:, None]

    def signal(T1, T2):
        magnetisation = (1 - 2 * torch.exp(-TI / T1)) * torch.exp(-ECHO_TIMES / T2)
        return torch.complex(magnetisation, torch.zeros_like(magnetisation)).ravel()

    return FunctionModel(signal, (T1, T2), not_above={"T2": "T1"})


# %%
# What can it measure?
# --------------------
# Three protocols of three inversion times, and the least standard deviation that each leaves in T1 and T2. A long T1
# calls for a long inversion time; with all three in the middle, T2 suffers where the signal is near zero in all.

protocols = {
    "TI 0.1, 0.6, 2.5 s": [0.1, 0.6, 2.5],
    "TI 0.1, 0.3, 0.6 s": [0.1, 0.3, 0.6],
    "TI 0.4, 0.6, 0.8 s": [0.4, 0.6, 0.8],
}
T1_axis = np.linspace(0.4, 2.5, 60)
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for label, inversion_times in protocols.items():
    bound = inversion_spin_echo(inversion_times).crb(np.column_stack([T1_axis, np.full(60, 0.08)]))
    least_std = np.sqrt(bound) / options.snr
    for ax, column, parameter in zip(axes, least_std.T, (T1, T2), strict=True):
        ax.plot(T1_axis, 1e3 * column, label=label)
        ax.set(ylim=(0, None), xlabel=r"$T_1$ [s]", ylabel=rf"least std of ${parameter.symbol}$ [ms]")
axes[0].legend()
fig.suptitle(rf"Cramér-Rao bound at an SNR of {options.snr:g} and $T_2$ = 80 ms")
if options.output is not None:
    fig.savefig(options.output / "own_bound.png", dpi=150)

# %%
# A network
# ---------
# Tissues of interest are a prior, noise and amplitude a noise model. Twelve images have six coefficients and more; two
# parameters need few.

model = inversion_spin_echo(protocols["TI 0.1, 0.6, 2.5 s"])
prior = Prior({"T1": stats.uniform(0.4, 2.1), "T2": stats.uniform(0.03, 0.12)})  # start and width, s
train = make_fingerprints(model, prior, n_training, random_state=0, progress=False)
noise = NoiseModel(noise_std=1 / options.snr, m0_range=(0.3, 1.0))
regressor = CRBWeightedRegressor(noise=noise, max_epochs=n_epochs, verbose=0, random_state=0)
pipe = Pipeline([SVDCompressor(n_components=6), regressor]).fit(train.X, train.y, crb=train.crb)

# %%
# Maps
# ----
# A slice with three tissues and proton densities, its noisy images, and what the network and least squares make of
# them. Error bars come with the estimates; the ratio of error and error bar should scatter with a standard deviation
# of 1.

y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
head = x**2 / 0.8**2 + y**2 / 0.95**2 < 1
inner = x**2 / 0.65**2 + y**2 / 0.8**2 < 1
core = (np.abs(x) - 0.22) ** 2 / 0.12**2 + y**2 / 0.3**2 < 1
theta = np.stack([np.select([core, inner], [2.3, 0.9], 1.4), np.select([core, inner], [0.14, 0.06], 0.09)], axis=-1)
m0 = np.select([core, inner, head], [1.0, 0.7, 0.85], 0.0)
signals = model.signal(theta.reshape(-1, 2))
noisy = noise.add_to(signals, 1, m0.ravel())
noisy[~head.ravel()] = 0  # a masked background has no estimate
estimate, std = pipe.predict(noisy, return_std=True, noise_std=noise.noise_std)
nlls = NLLSEstimator(model, prior=prior, noise_std=noise.noise_std, verbose=0, random_state=0).fit()
fitted = nlls.predict(noisy)

fig, axes = plt.subplots(2, 5, figsize=(10, 4.6), layout="constrained")
truth = np.where(head.ravel()[:, None], theta.reshape(-1, 2), np.nan)
for row, i, parameter in zip(axes, range(2), (T1, T2), strict=True):
    scale = 1 if parameter is T1 else 1e3
    unit = "s" if parameter is T1 else "ms"
    values = {"truth": truth, "network": estimate, "least squares": fitted}
    low, high = np.nanmin(scale * truth[:, i]) * 0.8, np.nanmax(scale * truth[:, i]) * 1.1
    for ax, (title, found) in zip(row, values.items(), strict=False):
        image = ax.imshow(scale * found[:, i].reshape(size, size), vmin=low, vmax=high)
        ax.set_title(title if i == 0 else "")
    fig.colorbar(image, ax=row[:3], label=rf"${parameter.symbol}$ [{unit}]", shrink=0.9)
    error = scale * (estimate - truth)[:, i].reshape(size, size)
    limit = np.nanpercentile(np.abs(error), 98)
    image = row[3].imshow(error, cmap="RdBu_r", vmin=-limit, vmax=limit)
    row[3].set_title("network - truth" if i == 0 else "")
    fig.colorbar(image, ax=row[3], label=f"[{unit}]", shrink=0.9)
    image = row[4].imshow(scale * std[:, i].reshape(size, size), cmap="magma", vmin=0)
    row[4].set_title("error bar" if i == 0 else "")
    fig.colorbar(image, ax=row[4], label=f"[{unit}]", shrink=0.9)
    for ax in row:
        ax.axis("off")
    inside = head.ravel()
    deviations = ((estimate - truth) / std)[inside, i]
    errors = (scale * np.sqrt(np.mean((found - truth)[inside, i] ** 2)) for found in (estimate, fitted))
    print(
        f"{parameter.name}: root mean square error of network and least squares "
        + " and ".join(f"{error:.3g} {unit}" for error in errors)
        + f"; error / error bar has a standard deviation of {deviations.std():.2f}"
    )
if options.output is not None:
    fig.savefig(options.output / "own_maps.png", dpi=150)
plt.show()
