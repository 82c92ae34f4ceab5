"""Networks that are trained with the noise that they will meet."""

import numpy as np
from scipy import stats

from crbestim import (
    CRBWeightedRegressor,
    MonoExponentialModel,
    NoiseCovariance,
    NoiseModel,
    Pipeline,
    Prior,
    SVDCompressor,
    bias_variance,
    make_fingerprints,
)

MODEL = MonoExponentialModel(np.arange(1, 13) * 0.02)
PRIOR = Prior({"T2": stats.uniform(0.04, 0.16)})
# Drifts: what is common to neighbouring echoes is noise, their differences are clean.
COVARIANCE = NoiseCovariance(0.95 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12))))


def test_training_with_the_covariance_pays():
    """Both networks get the same data and epochs; only one knows how the noise is correlated."""
    basis = SVDCompressor(5).fit(MODEL.signal(PRIOR.sample(500, random_state=0))).basis_
    train, test = (
        make_fingerprints(MODEL, PRIOR, n, basis=basis, covariance=COVARIANCE, random_state=seed, progress=False)
        for n, seed in ((4000, 0), (200, 1))
    )
    white = NoiseModel(noise_std=1 / 100, m0_range=(0.7, 1.3))
    coloured = NoiseModel(white.noise_std, white.m0_range, COVARIANCE).compress(basis)
    loss = {}
    for name, noise in (("white", white), ("coloured", coloured)):
        regressor = CRBWeightedRegressor(noise=noise, max_epochs=25, verbose=0, random_state=0)
        pipe = Pipeline([SVDCompressor(basis=basis), regressor]).fit(train.X, train.y, crb=train.crb)
        table = bias_variance(
            pipe, test.X, test.y, test.crb, snr=100, n_realizations=50, covariance=COVARIANCE, random_state=0,
            progress=False,
        )  # fmt: skip
        loss[name] = table.set_index("region").loc["all", ["crb_loss", "crb_loss_se"]]
    gain = loss["white"]["crb_loss"] - loss["coloured"]["crb_loss"]
    assert gain > 5 * np.hypot(loss["white"]["crb_loss_se"], loss["coloured"]["crb_loss_se"])
    assert loss["coloured"]["crb_loss"] < 2 < loss["white"]["crb_loss"]
