"""What the same seed gives again: in one process, in another one, in other chunks, in two jobs, with two threads.

Each case runs in a process of its own. The table has the largest difference from the first run, relative to the root
mean square of its column over the voxels; "same bits" means what it says, nan that the case does not apply.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.exceptions import ConvergenceWarning

from crbestim import (
    CRBWeightedRegressor,
    DictionaryMatcher,
    InversionRecoveryModel,
    MTHybridStateModel,
    NLLSEstimator,
    NoiseModel,
    PosteriorMean,
    Prior,
    PulseSequence,
    SVDCompressor,
    bias_variance,
    load_pretrained,
    make_fingerprints,
    paper_prior,
)
from crbestim.design import optimize_sequence
from crbestim.io import Volume, estimate_volume

PHASE = np.linspace(0, 1, 60)
TRAIN = PulseSequence(0.5 + 0.45 * np.sin(2 * np.pi * PHASE) * np.cos(4 * PHASE), np.full(60, 3e-4), 3.5e-3, 5e-4)
RECOVERY = InversionRecoveryModel((0.05, 0.1, 0.2, 0.4, 1.2, 2.0, 4.0))
RECOVERY_PRIOR = Prior({"T1": stats.uniform(0.5, 2.0), "efficiency": stats.uniform(0.85, 0.14)})
NOISE = NoiseModel.at_snr(100)
SEED = 3


def prior(chunked=False):
    """Tissues, random and quasi-random, the latter also as the first of more."""
    rows = [paper_prior().sample(1024 if chunked else 256, random_state=SEED, method=m)[:256] for m in METHODS]
    return np.concatenate([tissues.to_numpy() for tissues in rows], axis=1)


def noise():
    """Clean signals with amplitude and noise."""
    X, crb = NoiseModel().augment(np.ones((256, 7), complex), np.ones((256, 2)), np.random.default_rng(SEED))
    return np.column_stack([X.real, X.imag, crb])


def fingerprints(chunked=False):
    """Signals, their coefficients' bounds and those of the full data."""
    model = MTHybridStateModel(TRAIN)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((60, 8)))[0]
    data = make_fingerprints(
        model, n_samples=300, basis=basis, random_state=SEED, progress=False, memory_limit=2**14 if chunked else 2**28
    )
    return np.column_stack([data.X.real, data.X.imag, np.log(data.crb), np.log(data.full_crb), data.y])


def training():
    """Estimates of a network after a short training."""
    data = make_fingerprints(RECOVERY, RECOVERY_PRIOR, n_samples=2000, random_state=0, progress=False)
    X = SVDCompressor(4).fit_transform(data.X)
    network = CRBWeightedRegressor(max_epochs=3, verbose=0, random_state=SEED).fit(X, data.y, crb=data.crb)
    return network.predict(X[:256])


def network(chunked=False):
    """Estimates of a trained network, all voxels at once or 100 at a time."""
    pipeline, C = load_pretrained("mt-hybrid-state"), coefficients(500)
    step = 100 if chunked else len(C)
    return np.concatenate([pipeline.predict_coefficients(C[i : i + step]) for i in range(0, len(C), step)])


def least_squares(chunked=False, n_jobs=None):
    """Estimates of least squares."""
    estimator = NLLSEstimator(
        RECOVERY, prior=RECOVERY_PRIOR, n_starts=2, n_candidates=256, batch_size=16 if n_jobs or chunked else 64,
        n_jobs=n_jobs, verbose=0, random_state=SEED,
    )  # fmt: skip
    return estimator.fit().predict(noisy_recovery(64))


def dictionary(chunked=False):
    """Estimates of dictionary matching."""
    estimator = DictionaryMatcher(RECOVERY, prior=RECOVERY_PRIOR, entries=2000, verbose=0, random_state=SEED).fit()
    X = noisy_recovery(256)
    step = 50 if chunked else len(X)
    return np.concatenate([estimator.predict(X[i : i + step]) for i in range(0, len(X), step)])


def posterior_mean(chunked=False, n_jobs=None):
    """Posterior means, all voxels at once or one at a time."""
    estimator = PosteriorMean(
        RECOVERY, prior=RECOVERY_PRIOR, noise=NOISE, n_samples=500, n_adaptation_samples=200, n_candidates=1024,
        n_components=5, n_jobs=n_jobs, verbose=0, random_state=SEED,
    ).fit()  # fmt: skip
    X = noisy_recovery(8)
    return np.concatenate([estimator.predict(X[i : i + 4]) for i in (0, 4)]) if chunked else estimator.predict(X)


def design():
    """Flip angles and durations of a designed pulse train."""
    with warnings.catch_warnings(category=ConvergenceWarning, action="ignore"):  # a search this short meets no limit
        result = optimize_sequence(
            MTHybridStateModel(TRAIN), n_tissues=64, n_starts=2, n_hops=2, max_iter=8, refine_iter=20,
            random_state=SEED, progress=False,
        )  # fmt: skip
    return np.column_stack([result.sequence.flip_angle, result.sequence.pulse_duration])


def bias_and_variance():
    """Table of bias and variance of dictionary matching."""
    data = make_fingerprints(RECOVERY, RECOVERY_PRIOR, n_samples=50, random_state=0, progress=False)
    estimator = DictionaryMatcher(RECOVERY, prior=RECOVERY_PRIOR, entries=500, verbose=0, random_state=0).fit()
    table = bias_variance(
        estimator, data.X, data.y, data.crb, n_realizations=20, target_names=data.target_names, random_state=SEED,
        progress=False,
    )  # fmt: skip
    return table.select_dtypes("number").to_numpy(float)


def volume(chunked=False, n_jobs=None):
    """Maps of a volume, by a trained network."""
    images = coefficients(600).reshape(10, 10, 6, -1)
    source = Volume("memory", images.shape[:3], images.shape[3], images.dtype, None, None, images.__getitem__)
    maps = estimate_volume(
        load_pretrained("mt-hybrid-state"), source, noise_std=0.01, most_voxels=100 if chunked or n_jobs else None,
        n_jobs=n_jobs, verbose=0,
    ).maps  # fmt: skip
    return np.column_stack([array.ravel() for found in maps for array in (found.values, found.std)])


METHODS = ("random", "sobol")
COMPUTATIONS = {
    "Prior.sample": prior,
    "NoiseModel": noise,
    "make_fingerprints": fingerprints,
    "CRBWeightedRegressor.fit": training,
    "predict of a network": network,
    "NLLSEstimator": least_squares,
    "DictionaryMatcher": dictionary,
    "PosteriorMean": posterior_mean,
    "optimize_sequence": design,
    "bias_variance": bias_and_variance,
    "estimate_volume": volume,
}
CHUNKED = {name for name, compute in COMPUTATIONS.items() if "chunked" in compute.__code__.co_varnames[:2]}
IN_JOBS = {name for name, compute in COMPUTATIONS.items() if "n_jobs" in compute.__code__.co_varnames[:2]}
CASES = {
    "first": (COMPUTATIONS, {}, 1),
    "another process": (COMPUTATIONS, {}, 1),
    "other chunks": (CHUNKED, {"chunked": True}, 1),
    "two jobs": (IN_JOBS, {"n_jobs": 2}, 1),
    "two threads": (COMPUTATIONS, {}, 2),
}


def coefficients(n):
    """Noisy coefficients that a shipped network takes."""
    basis = load_pretrained("mt-hybrid-state")[0].basis_
    theta = paper_prior().sample(n, random_state=0)
    return NOISE.add_to(MTHybridStateModel().signal(theta) @ basis, np.random.default_rng(0))


def noisy_recovery(n):
    """Noisy signals of the small model."""
    clean = RECOVERY.signal(RECOVERY_PRIOR.sample(n, random_state=0))
    return NOISE.add_to(clean, np.random.default_rng(0))


def run_case(case, path):
    """Compute what belongs to a case into a file, in a process of its own."""
    environment = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(CASES[case][2]))}
    subprocess.run([sys.executable, __file__, "--case", case, "--output", path], check=True, env=environment)
    with np.load(path) as file:
        return dict(file)


def difference(values, reference):
    """Largest difference, relative to the root mean square of its column; 0 if and only if all bits are the same."""
    if values.tobytes() == reference.tobytes():
        return 0.0
    columns = np.sqrt(np.nanmean(np.abs(reference) ** 2, axis=0))
    return max(float(np.nanmax(np.abs(values - reference) / np.where(columns, columns, 1))), np.finfo(float).tiny)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, help="compute this one only, into the file --output")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.case:
        names, settings, _ = CASES[options.case]
        np.savez(options.output, **{name: COMPUTATIONS[name](**settings) for name in names})
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {case: run_case(case, f"{folder}/case.npz") for case in CASES}
    reference = found.pop("first")
    table = {
        case: {name: difference(values, reference[name]) for name, values in arrays.items()}
        for case, arrays in found.items()
    }
    shown = pd.DataFrame(table, index=list(COMPUTATIONS))
    print(shown.map(lambda share: "same bits" if share == 0 else f"{share:.1e}").to_string())


if __name__ == "__main__":
    main()
