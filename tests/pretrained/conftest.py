"""Small trained pipelines for the tests of their files."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from crbestim import CRBWeightedRegressor, NoiseModel, Pipeline, SVDCompressor
from crbestim.nn import NETWORKS, ResidualNetwork

TIMES = np.linspace(0.01, 0.3, 24)
N_COMPONENTS = 3


def draw_data(n=200, seed=0, kind="complex"):
    """Decays with two unknown parameters, R (1/s) and W (rad/s), and a known one, B; (X, y, crb, covariates)."""
    rng = np.random.default_rng(seed)
    rate, frequency, b = rng.uniform(3, 30, n), rng.uniform(-20, 20, n), rng.uniform(0.7, 1.3, n)
    X = b[:, None] * np.exp(-rate[:, None] * TIMES)
    X = X * (np.exp(1j * frequency[:, None] * TIMES) if kind == "complex" else np.cos(frequency[:, None] * TIMES))
    y = pd.DataFrame({"R": rate, "W": frequency})
    return X, y, np.abs(y.to_numpy()) + 1.0, pd.DataFrame({"B": b})


@pytest.fixture(scope="session")
def draw():
    """The function that draws data."""
    return draw_data


@pytest.fixture(scope="session")
def tiny():
    """A function that trains a pipeline for one epoch, with 8 units in each layer unless another network is named."""

    def train(data, *, compressor=None, names=None, covariates=False, crb=True, network="residual", **options):
        X, y, bound, known = data
        compressor = SVDCompressor(N_COMPONENTS) if compressor is None else compressor
        options = {"noise": NoiseModel(1e-3), "max_epochs": 1, "verbose": 0, "random_state": 0} | options
        steps = [compressor, CRBWeightedRegressor(network=network, **options)]
        pipeline = Pipeline(steps if names is None else list(zip(names, steps, strict=True)))
        extra = {"covariates": known} if covariates else {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(NETWORKS, "residual", partial(ResidualNetwork, width=8, n_blocks=1))
            return pipeline.fit(X, y, **extra | ({"crb": bound} if crb else {}))

    return train


@pytest.fixture(scope="session")
def fitted(tiny):
    """A pipeline that is trained with complex signals."""
    return tiny(draw_data())
