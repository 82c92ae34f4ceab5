from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy import stats

from crbestim import NoiseModel

# Draws have fixed seeds; the thresholds are those that one right implementation in a million would miss.
SMALL_P = 1e-6


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("noise_std", [0.01, 2.0])
def test_noise_is_white_gaussian_of_the_given_std_in_each_real_channel(noise_std):
    n, m = 40_000, 3
    noise = NoiseModel(noise_std).add_to(np.zeros((n, m), dtype=complex), rng()) / noise_std
    channels = np.hstack([noise.real, noise.imag])
    covariance = channels.T @ channels / n
    # The standard errors of a variance and of a covariance of n standard normal pairs.
    limit = 5 * np.where(np.eye(2 * m, dtype=bool), np.sqrt(2 / n), np.sqrt(1 / n))
    assert (np.abs(covariance - np.eye(2 * m)) < limit).all()
    assert (np.abs(channels.mean(axis=0)) < 5 / np.sqrt(n)).all()
    assert stats.kstest(channels.ravel(), "norm").pvalue > SMALL_P


def drawn_m0(model, n):
    """M0 of n samples, seen through negligible noise."""
    tiny = NoiseModel(1e-9, model.m0_range)
    return tiny.add_to(np.ones((n, 1), dtype=complex), rng())[:, 0]


@pytest.mark.parametrize("m0_range", [(0.1, 1.0), (2.0, 5.0)])
def test_m0_has_uniform_magnitude_and_phase(m0_range):
    low, high = m0_range
    m0 = drawn_m0(NoiseModel(m0_range=m0_range), 20_000)
    magnitude, phase = np.abs(m0), np.angle(m0)
    assert low - 1e-6 <= magnitude.min() < low + 1e-3 * (high - low)
    assert high - 1e-3 * (high - low) < magnitude.max() <= high + 1e-6
    assert stats.kstest(magnitude, stats.uniform(low, high - low).cdf).pvalue > SMALL_P
    assert stats.kstest(phase, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > SMALL_P
    assert abs(stats.spearmanr(magnitude, phase).statistic) < 5 / np.sqrt(len(m0))


def test_each_row_has_one_m0():
    x = rng(1).standard_normal((50, 6)) + 1j * rng(2).standard_normal((50, 6))
    ratio = NoiseModel(1e-12).add_to(x, rng()) / x
    np.testing.assert_allclose(ratio, np.repeat(ratio[:, :1], 6, axis=1), rtol=1e-9)
    assert len(np.unique(np.round(ratio[:, 0], 6))) == 50


def test_magnitude_may_be_given():
    magnitude = np.array([0.2, 0.5, 3.0])
    x = NoiseModel(1e-12).add_to(np.ones((3, 4), dtype=complex), rng(), magnitude)
    np.testing.assert_allclose(np.abs(x), np.repeat(magnitude[:, None], 4, axis=1), rtol=1e-9)
    assert len(np.unique(np.round(np.angle(x[:, 0]), 6))) == 3


def test_single_m0_of_a_closed_range():
    model = NoiseModel(m0_range=(0.7, 0.7))
    np.testing.assert_array_equal(model.draw_magnitude(5, rng()), np.full(5, 0.7))


@pytest.mark.parametrize("snr", [1, 50, 300.0])
def test_at_snr(snr):
    model = NoiseModel.at_snr(snr)
    assert model.noise_std == pytest.approx(1 / snr)
    assert model.m0_range == (1.0, 1.0)


def test_bound_is_scaled_by_noise_and_amplitude():
    crb = np.array([[1.0, 4.0], [2.0, np.inf]])
    scaled = NoiseModel(noise_std=0.1).scale_crb(crb, np.array([0.5, 2.0]))
    np.testing.assert_allclose(scaled, [[0.04, 0.16], [0.005, np.inf]])


def test_augment_draws_noise_and_bound_together():
    """The |M0| that scales the bound is the one in the data."""
    x = np.ones((200, 8), dtype=complex)
    crb = np.column_stack([np.full(200, 2.0), np.full(200, np.inf)])
    model = NoiseModel(noise_std=1e-9, m0_range=(0.1, 1.0))
    noisy, scaled = model.augment(x, crb, rng())
    np.testing.assert_allclose(scaled[:, 0], 2.0 * (1e-9 / np.abs(noisy[:, 0])) ** 2, rtol=1e-6)
    assert np.isposinf(scaled[:, 1]).all()
    assert scaled[:, 0].std() > 0


def test_augmented_bound_is_the_variance_of_an_efficient_estimate():
    """x = M0 (a, a, ...): the mean over time tells the complex amplitude with variance sigma^2 / T per channel."""
    n, n_timepoints = 20_000, 10
    signal = np.ones((n, n_timepoints), dtype=complex)
    bound = np.full((n, 1), 1 / n_timepoints)  # of Re a at |M0| = sigma = 1
    model = NoiseModel(noise_std=0.05, m0_range=(0.5, 2.0))
    noisy, scaled = model.augment(signal, bound, rng())
    magnitude = model.noise_std / np.sqrt(scaled[:, 0] / bound[:, 0])
    # |M0| a is told along the phase of M0; the noise-free M0 comes from the same seed.
    m0 = NoiseModel(1e-12, model.m0_range).augment(signal, bound, rng())[0].mean(axis=1)
    np.testing.assert_allclose(np.abs(m0), magnitude, rtol=1e-9)
    error = (noisy.mean(axis=1) / m0).real - 1
    assert abs(np.mean(error**2 / scaled[:, 0]) - 1) < 4 * np.sqrt(2 / n)


@pytest.mark.parametrize("given", [False, True])
def test_stacked_real_data_take_the_path_of_complex_data(given):
    model = NoiseModel(noise_std=0.3, m0_range=(0.5, 2.0))
    x = rng(1).standard_normal((20, 5)) + 1j * rng(2).standard_normal((20, 5))
    magnitude = np.linspace(0.5, 2, 20) if given else None
    noisy = model.add_to(x, rng(), magnitude)
    stacked = model.add_to(np.hstack([x.real, x.imag]), rng(), magnitude)
    assert stacked.dtype == np.float64
    np.testing.assert_array_equal(stacked, np.hstack([noisy.real, noisy.imag]))


def test_stacked_augment_equals_complex_augment():
    model, crb = NoiseModel(), np.ones((20, 2))
    x = rng(1).standard_normal((20, 5)) + 1j * rng(2).standard_normal((20, 5))
    noisy, bound = model.augment(x, crb, rng())
    stacked, stacked_bound = model.augment(np.hstack([x.real, x.imag]), crb, rng())
    np.testing.assert_array_equal(stacked, np.hstack([noisy.real, noisy.imag]))
    np.testing.assert_array_equal(stacked_bound, bound)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, np.float32, np.float64])
def test_kind_and_precision_are_kept(dtype):
    x = np.ones((3, 4), dtype=dtype)
    noisy = NoiseModel().add_to(x, rng())
    assert noisy.dtype == dtype
    assert noisy.shape == x.shape
    np.testing.assert_array_equal(x, 1)


def test_integers_are_not_truncated():
    noisy = NoiseModel(noise_std=0.01).add_to(np.ones((3, 4), dtype=int), rng())
    np.testing.assert_array_equal(noisy, NoiseModel(noise_std=0.01).add_to(np.ones((3, 4)), rng()))


def test_the_generator_decides():
    x = np.ones((3, 4), dtype=complex)
    np.testing.assert_array_equal(NoiseModel().add_to(x, rng(1)), NoiseModel().add_to(x, rng(1)))
    assert (NoiseModel().add_to(x, rng(1)) != NoiseModel().add_to(x, rng(2))).all()


def test_noise_stays_white_under_an_orthonormal_basis():
    """Noise on coefficients and compressed noise on signals have the same covariance."""
    basis = np.linalg.qr(rng(1).standard_normal((12, 3)) + 1j * rng(2).standard_normal((12, 3)))[0]
    n = 40_000
    noise = NoiseModel(noise_std=1.0).add_to(np.zeros((n, 12), dtype=complex), rng()) @ basis
    channels = np.hstack([noise.real, noise.imag])
    np.testing.assert_allclose(channels.T @ channels / n, np.eye(6), atol=5 * np.sqrt(2 / n))


@pytest.mark.parametrize(("name", "value"), [("noise_std", 0.1), ("m0_range", (0.5, 1.0))])
def test_is_frozen(name, value):
    with pytest.raises(FrozenInstanceError):
        setattr(NoiseModel(), name, value)


def test_models_of_equal_values_are_equal():
    assert NoiseModel(0.01, [0.1, 1]) == NoiseModel()
    assert hash(NoiseModel(0.01, [0.1, 1])) == hash(NoiseModel())
    assert NoiseModel(0.02) != NoiseModel()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"noise_std": 0}, ValueError, "noise_std must be positive"),
        ({"noise_std": -0.1}, ValueError, "noise_std must be positive"),
        ({"noise_std": np.nan}, ValueError, "noise_std must be positive and finite"),
        ({"noise_std": "low"}, TypeError, "noise_std must be a number"),
        ({"noise_std": None}, TypeError, "noise_std must be a number"),
        ({"m0_range": (1.0, 0.1)}, ValueError, "m0_range must be increasing"),
        ({"m0_range": (0.0, 1.0)}, ValueError, r"m0_range\[0\] must be positive"),
        ({"m0_range": (0.1, np.inf)}, ValueError, r"m0_range\[1\] must be positive and finite"),
        ({"m0_range": (0.1,)}, ValueError, "m0_range must be a pair"),
        ({"m0_range": (0.1, 0.5, 1.0)}, ValueError, "m0_range must be a pair"),
        ({"m0_range": 1.0}, ValueError, "m0_range must be a pair"),
        ({"m0_range": ("a", "b")}, TypeError, r"m0_range\[0\] must be a number"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        NoiseModel(**arguments)


@pytest.mark.parametrize(
    ("snr", "error"), [(0, ValueError), (-50, ValueError), (np.inf, ValueError), ("50", TypeError)]
)
def test_bad_snr_is_refused(snr, error):
    with pytest.raises(error, match="snr must be"):
        NoiseModel.at_snr(snr)


def test_odd_number_of_stacked_columns_is_refused():
    with pytest.raises(ValueError, match="X must hold stacked real and imaginary parts"):
        NoiseModel().add_to(np.ones((3, 5)), rng())
