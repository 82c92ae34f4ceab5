"""Fixtures that several test files share."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import settings
from scipy.integrate import quad

from crbestim import MTHybridStateModel, PulseSequence

settings.register_profile("tests", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("tests")

TR = 3.5e-3


@pytest.fixture(scope="session")
def model():
    """The model with the built-in sequence of published length."""
    return MTHybridStateModel()


@pytest.fixture(scope="session")
def short_sequence():
    """A train of 60 pulses with smooth flip angles and nine different durations."""
    phase = np.linspace(0, 1, 60)
    flip_angle = 0.5 + 0.48 * np.sin(2 * np.pi * phase) * np.cos(4 * phase)
    pulse_duration = 5e-5 * np.round(6 - 4 * np.cos(3 * np.pi * phase))
    return PulseSequence(flip_angle, pulse_duration, TR, inversion_duration=5e-4)


@pytest.fixture(scope="session")
def short_model(short_sequence):
    """The model with a short train, for what does not need a good sequence."""
    return MTHybridStateModel(short_sequence)


@pytest.fixture(scope="session")
def draw_theta():
    """A function that draws n physical rows of theta, all parameters away from where they vanish."""

    def draw(n, seed=0):
        rng = np.random.default_rng(seed)
        t1 = rng.uniform(0.3, 4.0, n)
        band = np.pi / TR
        return np.column_stack(
            [
                rng.uniform(0.01, 0.4, n),
                t1,
                t1 * rng.uniform(0.01, 0.9, n),
                rng.uniform(5.0, 120.0, n),
                rng.uniform(5e-6, 20e-6, n),
                rng.uniform(0.02, 0.95, n) * band * rng.choice([-1, 1], n) + 2 * band * rng.integers(-1, 2, n),
                rng.uniform(0.3, 1.7, n),
            ]
        )

    return draw


@pytest.fixture(scope="session")
def graham_integrals():
    """A function that integrates Graham's f(x) and f'(x) numerically from the lineshape's Green's function."""
    magic = 1 / np.sqrt(3)
    options = {"epsabs": 0, "epsrel": 1e-12, "limit": 200}

    @cache
    def super_lorentzian(u):
        half_width = min(0.3, 6 / (1 + u))  # the integrand peaks at the magic angle
        edges = [0, magic - half_width, magic, magic + half_width, 1]
        return sum(
            quad(lambda c: np.exp(-((u * (3 * c**2 - 1)) ** 2) / 8), low, high, **{**options, "epsabs": 1e-15})[0]
            for low, high in pairwise(edges)
        )

    green = {
        "lorentzian": lambda u: np.exp(-u),
        "gaussian": lambda u: np.exp(-(u**2) / 2),
        "super-lorentzian": super_lorentzian,
    }

    @cache
    def integrate(lineshape, x):
        g = green[lineshape]
        edges = [0, *(edge for edge in (1.0, 4.0, 10.0, 40.0, 160.0, 640.0, 2560.0) if edge < x), x]
        panels = list(pairwise(edges))
        f = sum(
            quad(lambda u: (x - u) * g(u), low, high, **{**options, "epsabs": 1e-14 * x})[0] for low, high in panels
        )
        slope = sum(quad(g, low, high, **{**options, "epsabs": 1e-14})[0] for low, high in panels)
        return f, slope

    return integrate
