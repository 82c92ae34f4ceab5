"""An estimation problem whose bias and variance are known, for the tests of scores and diagnostics."""

import numpy as np


class AmplitudeEstimator:
    """Estimates theta from x = M0 theta at T time points, |M0| = 1; its variance is sigma^2 / T at high SNR."""

    def __init__(self, shrink=1.0, offset=0.0):
        self.shrink, self.offset = shrink, offset

    def predict(self, X):
        estimate = np.abs(X.mean(axis=1))
        return (self.shrink * estimate + self.offset)[:, None]


T = 16
SNR = 1e4


def amplitude_data():
    """Clean X, y and crb of 400 fingerprints."""
    rng = np.random.default_rng(1)
    theta = rng.uniform(1, 3, 400)
    X = np.repeat(theta[:, None], T, axis=1).astype(complex)
    return X, theta[:, None], np.full((400, 1), 1 / T)
