"""Models, data and fitted estimators that the calls share: small, so that a call takes milliseconds."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import pandas as pd
import torch
from scipy import stats

from crbestim import (
    CRBWeightedRegressor,
    DictionaryMatcher,
    FunctionModel,
    MonoExponentialModel,
    MTHybridStateModel,
    NLLSEstimator,
    NoiseModel,
    Parameter,
    Pipeline,
    PosteriorMean,
    Prior,
    PulseSequence,
    SVDCompressor,
    make_fingerprints,
)
from crbestim.nn import ResidualNetwork

REPETITION_TIME = 3.5e-3
N_PULSES = 16
ECHO_TIMES = np.array([0.01, 0.03, 0.06, 0.1, 0.15, 0.25])
_TIMES = torch.tensor(ECHO_TIMES)
NOISE = NoiseModel(noise_std=0.02, m0_range=(0.5, 1.0))


def flip_angles() -> np.ndarray:
    return 0.6 + 0.5 * np.sin(np.linspace(0, 5, N_PULSES))


def pulse_durations() -> np.ndarray:
    return 5e-5 * np.round(6 - 4 * np.cos(np.linspace(0, 9, N_PULSES)))


@cache
def sequence() -> PulseSequence:
    return PulseSequence(flip_angles(), pulse_durations(), REPETITION_TIME, 5e-4)


@cache
def two_pools() -> MTHybridStateModel:
    return MTHybridStateModel(sequence())


@cache
def two_pool_tissues() -> np.ndarray:
    return np.array(
        [
            [0.12, 1.6, 0.08, 40.0, 1.0e-5, 150.0, 0.9],
            [0.20, 1.1, 0.06, 30.0, 1.2e-5, -80.0, 1.1],
            [0.07, 2.5, 0.15, 55.0, 0.8e-5, 20.0, 1.0],
        ]
    )


@cache
def decay() -> MonoExponentialModel:
    return MonoExponentialModel(ECHO_TIMES)


@cache
def decay_prior() -> Prior:
    return Prior({"T2": stats.uniform(0.03, 0.17)})


def recovering_decay(T1: torch.Tensor, T2: torch.Tensor) -> torch.Tensor:
    """Echoes of a train that repeats after 2 s, on resonance but for a small offset."""
    return (1 - torch.exp(-2.0 / T1)) * torch.exp((5j - 1 / T2) * _TIMES)


@cache
def function_model() -> FunctionModel:
    parameters = (
        Parameter("T1", "T_1", "s", (0.0, 30.0), closed="right"),
        Parameter("T2", "T_2", "s", (0.0, 30.0), closed="right"),
    )
    return FunctionModel(recovering_decay, parameters, not_above={"T2": "T1"})


@cache
def orthonormal(n_rows: int, k: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(n_rows + k).standard_normal((n_rows, k)))[0]


@cache
def covariance(size: int) -> np.ndarray:
    return 0.5 ** np.abs(np.subtract.outer(np.arange(size), np.arange(size)))


@cache
def decay_data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signals, targets and bounds of 24 tissues."""
    data = make_fingerprints(decay(), decay_prior(), 24, random_state=0, progress=False)
    return data.X.astype(complex) * np.exp(0.3j), data.y, data.crb


@cache
def noisy(n: int = 3) -> np.ndarray:
    return NoiseModel(noise_std=0.01, m0_range=(0.8, 0.8)).add_to(decay_data()[0][:n], np.random.default_rng(0))


def regressor() -> CRBWeightedRegressor:
    return CRBWeightedRegressor(
        noise=NOISE,
        network=partial(ResidualNetwork, width=8, n_blocks=1),
        max_epochs=2,
        batch_size=16,
        verbose=0,
        random_state=0,
    )


@cache
def compressor() -> SVDCompressor:
    return SVDCompressor(2).fit(decay_data()[0])


@cache
def trained() -> CRBWeightedRegressor:
    _, y, crb = decay_data()
    return regressor().fit(stacked(), y, crb=crb)


@cache
def trained_with_covariates() -> CRBWeightedRegressor:
    _, y, crb = decay_data()
    return regressor().fit(stacked(), y, crb=crb, covariates=fields())


@cache
def stacked() -> np.ndarray:
    return compressor().transform(decay_data()[0])


@cache
def fields() -> pd.DataFrame:
    return pd.DataFrame({"B1": np.linspace(0.8, 1.2, 24), "TE": np.linspace(0.01, 0.02, 24) * (1 + np.arange(24) % 2)})


@cache
def pipeline() -> Pipeline:
    X, y, crb = decay_data()
    return Pipeline([SVDCompressor(2), regressor()]).fit(X, y, crb=crb)


def least_squares(**settings: object) -> NLLSEstimator:
    options = {"n_starts": 2, "n_candidates": 64, "verbose": 0, "random_state": 0} | settings
    return NLLSEstimator(decay(), prior=decay_prior(), **options)


@cache
def fitted(**settings: object) -> NLLSEstimator:
    return least_squares(**settings).fit()


@cache
def fitted_with_known_t1() -> NLLSEstimator:
    prior = Prior({"T1": stats.uniform(0.8, 1.0), "T2": stats.uniform(0.03, 0.17)})
    return NLLSEstimator(
        function_model(), prior=prior, known=("T1",), n_starts=2, n_candidates=64, verbose=0, random_state=0
    ).fit()


def matcher(**settings: object) -> DictionaryMatcher:
    return DictionaryMatcher(
        decay(), prior=decay_prior(), **({"entries": 64, "verbose": 0, "random_state": 0} | settings)
    )


def posterior_mean(**settings: object) -> PosteriorMean:
    options = {
        "noise": NOISE,
        "n_samples": 100,
        "n_adaptation_samples": 100,
        "n_candidates": 256,
        "n_components": 3,
        "verbose": 0,
        "random_state": 0,
    }
    return PosteriorMean(decay(), prior=decay_prior(), **(options | settings))


@cache
def fitted_posterior_mean() -> PosteriorMean:
    return posterior_mean().fit()
