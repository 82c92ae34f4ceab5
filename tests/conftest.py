"""Fixtures that several test files share."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: tests run side by side, one in a thread

from functools import cache, partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import settings
from scipy.integrate import quad
from tissues import TR, random_theta

from crbestim import BlochHybridStateModel, MTHybridStateModel, PulseSequence

settings.register_profile("tests", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("tests")

HYBRID_STATE_MODELS = {
    "two pools": MTHybridStateModel,
    "two pools, all options": partial(MTHybridStateModel, saturation="generalized-bloch", separate_T1=True),
    "single pool": BlochHybridStateModel,
}


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


@pytest.fixture(scope="session", params=HYBRID_STATE_MODELS.values(), ids=HYBRID_STATE_MODELS)
def make_hybrid_model(request):
    """A function that makes a hybrid-state model of a sequence; one after the other of all their kinds."""
    return request.param


@pytest.fixture(scope="session")
def hybrid_model(make_hybrid_model):
    """A hybrid-state model with the built-in sequence."""
    return make_hybrid_model()


@pytest.fixture(scope="session")
def short_hybrid_model(make_hybrid_model, short_sequence):
    """A hybrid-state model with a short train."""
    return make_hybrid_model(short_sequence)


@pytest.fixture(scope="session")
def draw_theta():
    """A function that draws n physical rows of theta, all parameters away from where they vanish."""
    return random_theta


@pytest.fixture(scope="session")
def draw_basis():
    """A function that draws a random orthonormal basis of k columns."""

    def draw(n_rows, k, kind="real", seed=0):
        rng = np.random.default_rng(seed)
        matrix = rng.standard_normal((n_rows, k))
        if kind == "complex":
            matrix = matrix + 1j * rng.standard_normal((n_rows, k))
        return np.linalg.qr(matrix)[0]

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
