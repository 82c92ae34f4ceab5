"""Voxelwise fits of crbestim and of torchsim side by side: same data, signal equation, bounds and threads.

The model is a single pool in the hybrid state. torchsim's HSFPSimulator integrates by the rectangle rule and gives the
length of the magnetisation, not its transversal part, so a subclass of it has the equation of BlochHybridStateModel.
torchsim fits by its NonlinearLeastSquares from one start, the prior's median, and by the same loop from the best atom
of a dictionary with as many entries as ours has candidates. Prints voxels per second, the share of wrong minima (a
cost above the lowest one known by 1 %), and errors, first with T1 and T2 unknown, then with B0 and B1, too. With more
than one thread set OMP_WAIT_POLICY=PASSIVE: torch's threads spin, and keep the processor busy while ours work.
"""

import argparse
import time
from functools import partial
from pprint import pprint

import numpy as np
import torch
from torchsim import DictionaryMatcher, GaussNewton, ModelOperator, NonlinearLeastSquares, TrustRegion, direct
from torchsim.model import SpinPhysics
from torchsim.simulators import HSFPSimulator

from crbestim import BlochHybridStateModel, NLLSEstimator
from crbestim._threads import n_threads
from crbestim.datasets import default_prior

NOMINAL = {"B0": 0.0, "B1": 1.0}
N_ATOMS = 16384  # of torchsim's dictionary, as many as NLLSEstimator has candidates
BLOCK = 500  # voxels that torchsim takes at a time; fewer are slower


class HybridState(HSFPSimulator):
    """The equation of BlochHybridStateModel for torchsim: exact over each repetition time, any B0 (Hz) and B1."""

    model = SpinPhysics(properties=dict.fromkeys(("T1", "T2", "M0", "B0", "B1")))

    def _signal(self, properties, *, flip, TR):
        held = {name: value.to(torch.float64)[..., None] for name, value in properties.items()}
        half, one = TR.to(torch.float64) / 2, torch.ones(1, dtype=torch.float64)
        B1 = held.get("B1", one)
        sine, cosine = _axis(torch.deg2rad(flip.to(torch.float64)) * B1, held.get("B0"), half)
        R1, R2 = half / held["T1"], half / held["T2"]
        rate = R2 + cosine**2 * (R1 - R2)
        kept = torch.exp(-rate)
        gain = cosine * R1 / rate * (1 - kept)
        gain_before = torch.cat((gain[..., :1], gain[..., :-1]), -1)
        growth = torch.exp(2 * torch.cumsum(rate, -1) - rate + rate[..., :1])
        driven = torch.cumsum(growth * (gain + gain_before * kept), -1)
        turned = torch.pi * B1
        closing = cosine[..., :1] * cosine[..., -1:] * torch.cos(turned)
        closing = closing - sine[..., :1] * sine[..., -1:] * torch.sin(turned / 2) ** 2
        first = closing * driven[..., -1:] / (growth[..., -1:] - closing)
        signal = held.get("M0", one) * sine * (first + driven) / growth
        return signal.to(torch.promote_types(properties["T1"].dtype, flip.dtype))


def _axis(angle, B0, half):
    """Sine and cosine of the axis of the hybrid state."""
    sine, cosine = torch.sin(angle), torch.cos(angle)
    if B0 is None:
        return sine, cosine
    cosine = cosine * torch.cos(2e-3 * torch.pi * half * B0)
    scale = torch.rsqrt(sine**2 + cosine**2)
    return sine * scale, cosine * scale


def side_by_side(n_voxels, snr, seed, known=("B0", "B1")):
    """Fit the same voxels with both; speed, share of wrong minima and relative RMSE of T1 and T2 of each."""
    model = BlochHybridStateModel()
    theta, data = _measure(model, n_voxels, snr, seed, known)
    unknown = [name for name in model.parameter_names if name not in known]
    simulator = _simulator(model)
    _check_signals(model, simulator, theta, unknown)
    bounds, start, atoms = _prior_in_torchsim(model, unknown)
    signals = torch.as_tensor(data, dtype=torch.complex64)
    nonlinear = _nonlinear_least_squares(simulator, bounds, start)
    matcher = DictionaryMatcher(simulator).fit(atoms)
    runs = {
        "crbestim, 6 starts": (_crbestim(model, known), data),
        "crbestim, 1 start": (_crbestim(model, known, n_starts=1), data),
        "torchsim NonlinearLeastSquares": (nonlinear.map, signals),
        "torchsim from a dictionary": (partial(_from_dictionary, simulator, matcher, bounds), signals),
    }
    found, seconds = {}, {}
    for name, (fit, values) in runs.items():
        found[name], seconds[name] = _timed(fit, values, BLOCK if "torchsim" in name else n_voxels)
        if "torchsim" in name:
            found[name] = _theta(found[name])
    costs = {name: _cost(model, values, data) for name, values in found.items()}
    best = np.minimum.reduce([*costs.values(), _cost(model, _crbestim(model, known, n_starts=50)(data), data)])
    return {
        name: {
            "voxels per second": n_voxels / seconds[name],
            "wrong minima": float(np.mean(costs[name] > 1.01 * best)),
            "cost 0.01 percent above the lowest": float(np.mean(costs[name] > 1.0001 * best)),
            **_errors(found[name], theta),
        }
        for name in runs
    }


def _measure(model, n_voxels, snr, seed, known):
    """Tissues of the prior, and their signals at M0 = 1 with complex noise."""
    theta = default_prior(model).sample(n_voxels, random_state=seed)
    theta = theta[list(model.parameter_names)].assign(**{name: NOMINAL[name] for name in known}).to_numpy()
    if "B0" not in known:
        theta[:, 2] = _folded(theta[:, 2], model)
    noise = np.random.default_rng(seed).normal(size=(2, n_voxels, model.n_timepoints)) / snr
    return theta, model.signal(theta) + noise[0] + 1j * noise[1]


def _folded(B0, model):
    """The only part of B0 that can be told from the signal, from 0 to pi / TR; beyond it, the sign of M0 changes."""
    period = 2 * np.pi / model.sequence.repetition_time
    return abs((B0 + period / 2) % period - period / 2)


def _simulator(model, dtype=torch.float32):
    """Return torchsim's simulator; NonlinearLeastSquares (0.0.8) fails in double precision."""
    flip = torch.as_tensor(np.rad2deg(model.sequence.polar_angle), dtype=dtype)
    return HybridState(flip=flip, TR=1e3 * model.sequence.repetition_time)


def _check_signals(model, simulator, theta, unknown):
    """Raise if the signals of the two differ by more than 1e-5."""
    ours = model.signal(theta).real
    values = _in_torchsim(dict(zip(model.parameter_names, theta.T, strict=True)), unknown)
    difference = simulator.simulate(**values).numpy() - ours
    assert np.all(np.linalg.norm(difference, axis=1) < 1e-5 * np.linalg.norm(ours, axis=1))


def _in_torchsim(values, unknown):
    """SI units to milliseconds and Hz."""
    factor = {"T1": 1e3, "T2": 1e3, "B0": 0.5 / np.pi, "B1": 1.0}
    return {name: torch.as_tensor(factor[name] * values[name], dtype=torch.float32) for name in unknown}


def _theta(maps):
    """Maps of torchsim to our parameters."""
    factor = {"T1": 1e-3, "T2": 1e-3, "B0": 2 * np.pi, "B1": 1.0}
    theta = np.ones((len(maps["T1"]), 4)) * [NOMINAL.get(name, 1.0) for name in factor]
    for column, name in enumerate(factor):
        if name in maps:
            theta[:, column] = factor[name] * maps[name].numpy()
    return theta


def _prior_in_torchsim(model, unknown):
    """Bounds, start and atoms from our prior: its support, its median and a sample."""
    sample = default_prior(model).sample(N_ATOMS, random_state=0)
    low, high = ({name: end(sample[name]) for name in unknown} for end in (np.min, np.max))
    low |= {"T1": 0.1, "T2": 0.005}
    high |= {"T1": 6.0, "T2": 2.0}  # T2 of the prior stays below 1 s; bounds up to 6 s let some torchsim fits run away
    low, high = _in_torchsim(low, unknown), _in_torchsim(high, unknown)
    bounds = {name: (float(low[name]), float(high[name])) for name in unknown}
    sample["B0"] = _folded(sample["B0"], model)  # the derivative by B0 is zero at 0, its median without this
    atoms = _in_torchsim(sample, unknown)
    for name, (lower, upper) in bounds.items():
        atoms[name] = atoms[name].clip(lower + 1e-4 * (upper - lower), upper - 1e-4 * (upper - lower))
    return bounds, {name: float(values.median()) for name, values in atoms.items()}, atoms


def _loop():
    """Return torchsim's Levenberg-Marquardt with iterations enough and a tolerance for single precision."""
    return GaussNewton(
        TrustRegion(tau=1e-3), solve=direct, max_iterations=200, gradient_tolerance=1e-4, step_tolerance=1e-4
    )


def _nonlinear_least_squares(simulator, bounds, start):
    """Return torchsim's estimator, whose M0 is real, as is that of the data."""
    estimator = NonlinearLeastSquares(simulator, bounds=bounds, initial={**start, "M0": 1.0}, loop=_loop())
    return estimator.fit({**bounds, "M0": (0.5, 2.0)}, samples=10, seed=0)


def _from_dictionary(simulator, matcher, bounds, signals):
    """Fit complex M0, too, by the same loop, which starts from the best atom of a dictionary."""
    match = matcher.match(signals)
    operator = ModelOperator(simulator, *bounds, bounds=bounds)
    start = dict(zip(bounds, match.parameters[:, 0].T, strict=True))
    start = operator.initial((len(signals),), amplitude=match.scales[:, 0], **start)
    return operator.split(_loop().minimize(operator, signals, start).x)


def _crbestim(model, known, **settings):
    """Return a function that fits data with our estimator."""
    estimator = NLLSEstimator(model, known=known, verbose=0, random_state=0, **settings).fit()

    def fit(data):
        covariates = np.tile([NOMINAL[name] for name in known], (len(data), 1)) if known else None
        return estimator.estimate(data, covariates=covariates).theta

    return fit


def _timed(fit, data, block):
    """Fits of the data in blocks, and seconds after a warm-up."""
    fit(data[:8])
    start = time.perf_counter()
    parts = [fit(data[first : first + block]) for first in range(0, len(data), block)]
    seconds = time.perf_counter() - start
    if isinstance(parts[0], dict):
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}, seconds
    return np.concatenate(parts), seconds


def _cost(model, theta, data):
    """Squared norm of the residual with the best complex M0."""
    signal = model._signal(theta)  # also of T2 above T1, where torchsim may end
    m0 = (signal.conj() * data).sum(1) / (abs(signal) ** 2).sum(1)
    return (abs(data - m0[:, None] * signal) ** 2).sum(1)


def _errors(found, theta):
    """RMSE of T1 and T2 relative to the truth."""
    rmse = np.sqrt(np.mean((found[:, :2] / theta[:, :2] - 1) ** 2, axis=0))
    return {"RMSE of T1": float(rmse[0]), "RMSE of T2": float(rmse[1])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-voxels", type=int, default=500, help="how many (default: %(default)s)")
    parser.add_argument("--snr", type=float, default=50, help="SNR_max (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(n_threads())
    print(f"{n_threads()} threads, {options.n_voxels} voxels, SNR {options.snr:g}")
    for known in (("B0", "B1"), ()):
        print(f"unknown: T1, T2{'' if known else ', B0, B1'}")
        pprint(side_by_side(options.n_voxels, options.snr, 0, known), sort_dicts=False)


if __name__ == "__main__":
    main()
