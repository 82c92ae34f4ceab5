"""Speed of the batched least squares, and what it is compared with.

Tissues of the paper's prior at an SNR of 50, seven unknown parameters, 1141 pulses compressed to 13 coefficients:

- voxels per second by number of starts, cold and started by a network, with the share of wrong minima (a cost above
  the lowest one known, that of 50 starts and of all other fits, by more than 1 %; and by more than 0.1 %);
- speed over that of scipy (`solver="scipy"`, same Jacobian, same starts, in as many processes as there are threads
  here), and how the costs of both compare from one start;
- scaling with the size of a batch and with threads; where the time goes.
"""

import argparse
import os
from contextlib import contextmanager
from time import perf_counter

import numpy as np

from crbestim import (
    CRBWeightedRegressor,
    MTHybridStateModel,
    NLLSEstimator,
    NoiseModel,
    Pipeline,
    SVDCompressor,
    make_fingerprints,
    paper_prior,
)
from crbestim._threads import n_threads
from crbestim.estimators import _nlls, _starts
from crbestim.least_squares import _levenberg_marquardt, _problem

# What is timed: where its name is looked up, that name, and what it does.
STEPS = (
    (_problem.Problem, "signal_and_jacobian", "simulation"),
    (_problem.Problem, "quadratic", "projection"),
    (_levenberg_marquardt, "bounded_steps", "bounded steps"),
    (_starts.StartSearch, "starts", "search of starts"),
    (_nlls, "bound_of_targets", "covariance"),
)


@contextmanager
def threads(n):
    """Limit the threads of compiled code."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(n)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


@contextmanager
def seconds_of_steps():
    """Dictionary into which the time of each step is summed."""
    total, originals = dict.fromkeys((label for _, _, label in STEPS), 0.0), []
    for owner, name, label in STEPS:
        original = getattr(owner, name)
        originals.append((owner, name, original))

        def timed(*args, original=original, label=label, **kwargs):
            start = perf_counter()
            result = original(*args, **kwargs)
            total[label] += perf_counter() - start
            return result

        setattr(owner, name, timed)
    try:
        yield total
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)
        total["projection"] -= total["simulation"]


def timed_fit(estimator, data):
    """Voxels per second and relative costs."""
    estimator.fit()
    estimator.estimate(data[:40])
    start = perf_counter()
    result = estimator.estimate(data)
    return len(data) / (perf_counter() - start), (result.residual_norm / np.linalg.norm(data, axis=1)) ** 2


def trained_network(model, basis, n_training, n_epochs):
    """A network for all parameters, and the seconds of its training."""
    start = perf_counter()
    names = model.parameter_names
    data = make_fingerprints(model, n_samples=n_training, targets=names, random_state=0, progress=False)
    regressor = CRBWeightedRegressor(max_epochs=n_epochs, verbose=0, random_state=0)
    network = Pipeline([SVDCompressor(basis=basis), regressor]).fit(data.X, data.y, crb=data.crb)
    return network, perf_counter() - start


def report_starts(common, network, data, starts):
    """Speed and wrong minima by number of starts; returns the speed with six cold ones."""
    rows = [("cold", n, None) for n in starts] + [("network", n, network) for n in starts if n <= 4]
    fits = [(kind, n, *timed_fit(NLLSEstimator(n_starts=n, init=init, **common), data)) for kind, n, init in rows]
    thorough = NLLSEstimator(n_starts=50, n_candidates=2**16, **(common | {"random_state": 1}))
    lowest = np.min([timed_fit(thorough, data)[1], *(costs for *_, costs in fits)], axis=0)
    print(f"\nVoxels per second, {len(data)} voxels; wrong minima: cost above the lowest by 1 % / by 0.1 %")
    for kind, n, speed, costs in fits:
        shares = [(costs > lowest * (1 + tolerance)).mean() for tolerance in (1e-2, 1e-3)]
        errors = [np.sqrt(share * (1 - share) / len(data)) for share in shares]
        told = " / ".join(f"{100 * s:5.2f} ({100 * e:.2f}) %" for s, e in zip(shares, errors, strict=True))
        print(f"  {kind:<8} {n:>3} start{'s' * (n > 1):<1}  {speed:>6.0f}   {told}", flush=True)
    return next(speed for kind, n, speed, _ in fits if kind == "cold" and n == 6)


def report_scipy(common, data, n_speed, n_costs, ours):
    """Speed over that of scipy with six starts; costs from one start each."""
    speeds = []
    for n_jobs in (1, n_threads()):
        reference = NLLSEstimator(
            n_starts=6, solver="scipy", max_iterations=200, n_jobs=n_jobs, batch_size=4, **common
        )
        reference.fit().estimate(data[: 8 * n_jobs])  # starts the processes
        speeds.append(timed_fit(reference, data[:n_speed])[0])
    print(f"\nscipy, 6 starts, {n_speed} voxels")
    for n_jobs, speed in zip((1, n_threads()), speeds, strict=True):
        print(
            f"  {n_jobs} processes: {speed:.2f} voxels per second; ours is {ours / speed:.0f} times as fast",
            flush=True,
        )
    costs = []
    for solver, n_jobs in (("levenberg-marquardt", None), ("scipy", n_threads())):
        estimator = NLLSEstimator(n_starts=1, solver=solver, max_iterations=200, n_jobs=n_jobs, **common)
        costs.append(timed_fit(estimator, data[:n_costs])[1])
    ratio = costs[0] / costs[1] - 1
    shares = {
        "agree to 1e-6": np.abs(ratio) < 1e-6,
        "ours is lower": ratio < -1e-6,
        "scipy's is lower": ratio > 1e-6,
        "ours is lower by 0.1 %": ratio < -1e-3,
        "scipy's is lower by 0.1 %": ratio > 1e-3,
    }
    print(f"costs of {n_costs} voxels from one start each")
    for told, where in shares.items():
        print(f"  {told}: {100 * where.mean():.1f} %", flush=True)


def report_scaling(common, data):
    """Batch sizes, threads and steps."""
    print("\nVoxels per second by batch, 6 starts")
    for batch_size in (1, 16, 128, 1024, 4096):
        n = min(len(data), max(32, 2 * batch_size))
        print(f"  {batch_size:>5}  {timed_fit(NLLSEstimator(batch_size=batch_size, **common), data[:n])[0]:>6.0f}")
    print("by threads")
    for n in range(1, n_threads() + 1):
        with threads(n):
            print(f"  {n:>5}  {timed_fit(NLLSEstimator(**common), data)[0]:>6.0f}")
    with seconds_of_steps() as seconds:
        start = perf_counter()
        NLLSEstimator(**common).fit().estimate(data)
        total = perf_counter() - start
    print("share of the time: " + ", ".join(f"{label} {100 * s / total:.0f} %" for label, s in seconds.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="a trial run")
    options = parser.parse_args()
    n, n_speed, n_costs, n_training, n_epochs = (60, 4, 20, 1000, 2) if options.fast else (4096, 200, 1000, 40_000, 65)
    model, prior = MTHybridStateModel(), paper_prior()
    basis = SVDCompressor(13).fit(model.signal(prior.sample(4000, random_state=7))).basis_
    clean = model.signal(prior.sample(n, random_state=11), basis=basis)
    data = NoiseModel.at_snr(50).add_to(clean, np.random.default_rng(5))
    common = {"model": model, "targets": model.parameter_names, "basis": basis, "verbose": 0, "random_state": 0}
    print(f"{n_threads()} threads; SNR 50, 7 unknown parameters, T = {model.n_timepoints} compressed to 13")
    network, seconds = trained_network(model, basis, n_training, n_epochs)
    print(f"network for the starts: {n_training} fingerprints, {n_epochs} epochs, {seconds:.0f} s")
    ours = report_starts(common, network, data, (1, 2, 4, 5, 6, 8))
    report_scipy(common, data, n_speed, n_costs, ours)
    report_scaling(common, data)


if __name__ == "__main__":
    main()
