from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy import stats

from crbestim import CRBWeightedRegressor, NoiseCovariance, NoiseModel, estimate_noise_std
from crbestim._validation import stack_complex

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
        ({"m0_range": (1.0, 0.1)}, ValueError, "m0_range must not be decreasing"),
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


# --- real data ------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise_std", [0.01, 2.0])
def test_noise_of_real_data_is_white_and_has_the_given_std(noise_std):
    n, m = 40_000, 3
    noise = NoiseModel(noise_std).add_to(np.zeros((n, m)), rng(), real=True) / noise_std
    limit = 5 * np.where(np.eye(m, dtype=bool), np.sqrt(2 / n), np.sqrt(1 / n))
    assert (np.abs(noise.T @ noise / n - np.eye(m)) < limit).all()
    assert stats.kstest(noise.ravel(), "norm").pvalue > SMALL_P


def test_m0_of_real_data_is_positive_uniform_and_one_a_row():
    n, x = 20_000, np.array([[1.0, -2.0, 0.5]])
    noisy = NoiseModel(1e-9, (2.0, 5.0)).add_to(np.repeat(x, n, axis=0), rng(), real=True)
    assert noisy.dtype == np.float64
    m0 = noisy[:, 0]
    np.testing.assert_allclose(noisy, m0[:, None] * x, rtol=1e-7)
    assert stats.kstest(m0, stats.uniform(2.0, 3.0).cdf).pvalue > SMALL_P


@pytest.mark.parametrize("m", [4, 5])
def test_magnitude_of_real_data_may_be_given_for_any_number_of_columns(m):
    magnitude = np.array([0.2, 0.5, 3.0])
    noisy = NoiseModel(1e-12).add_to(np.ones((3, m)), rng(), magnitude, real=True)
    np.testing.assert_allclose(noisy, np.repeat(magnitude[:, None], m, axis=1), rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance", [None, np.diag([1.0, 2.0, 3.0])])
def test_real_data_keep_their_precision(dtype, covariance):
    x = np.ones((3, 3), dtype=dtype)
    noisy = NoiseModel(covariance=covariance).add_to(x, rng(), real=True)
    assert noisy.dtype == dtype
    np.testing.assert_array_equal(x, 1)


def test_real_integers_are_not_truncated():
    noisy = NoiseModel().add_to(np.ones((3, 4), dtype=int), rng(), real=True)
    np.testing.assert_array_equal(noisy, NoiseModel().add_to(np.ones((3, 4)), rng(), real=True))


def test_complex_data_are_no_real_data():
    with pytest.raises(TypeError, match="X must be real, but is complex"):
        NoiseModel().add_to(np.ones((3, 4), dtype=complex), rng(), real=True)


# --- coloured noise -------------------------------------------------------------------------------


def coloured_matrix(m, kind="complex"):
    """A covariance with strong correlations and different variances."""
    root = rng(1).standard_normal((m, 2 * m)) + (kind == "complex") * 1j * rng(2).standard_normal((m, 2 * m))
    matrix = root @ root.conj().T / m * np.outer(*2 * [np.linspace(0.5, 2, m)])
    return matrix if kind == "complex" else matrix.real


def assert_sample_covariance(noise, expected):
    """Within five standard errors: a product of two Gaussians has the variance C_jj C_kk + |C_jk|^2 at most."""
    measured = noise.T @ noise.conj() / len(noise) / (1 if np.isrealobj(noise) else 2)
    power = np.outer(*2 * [np.diagonal(expected).real])
    assert (np.abs(measured - expected) < 5 * np.sqrt((power + np.abs(expected) ** 2) / len(noise))).all()


@pytest.mark.parametrize("noise_std", [0.01, 2.0])
@pytest.mark.parametrize(
    ("space", "kind"),
    [("complex", "real"), ("complex", "complex"), ("stacked", "real"), ("stacked", "complex"), ("real", "real")],
)
def test_coloured_noise_has_the_covariance_times_the_variance(noise_std, space, kind):
    n, m, matrix = 40_000, 3, coloured_matrix(3, kind)
    clean = np.zeros((n, 2 * m if space == "stacked" else m), dtype=complex if space == "complex" else float)
    noise = NoiseModel(noise_std, covariance=matrix).add_to(clean, rng(), real=space == "real")
    if space == "stacked":
        noise = noise[:, :m] + 1j * noise[:, m:]
    assert_sample_covariance(noise / noise_std, matrix)
    assert (np.abs(noise.mean(axis=0)) < 5 * np.sqrt(2 * np.diagonal(matrix).real / n) * noise_std).all()


def test_the_phase_of_m0_does_not_colour_the_noise():
    """Signal and noise are independent; noise is circular."""
    n, matrix = 40_000, coloured_matrix(3)
    model = NoiseModel(1.0, (0.5, 2.0), matrix)
    noise = model.add_to(np.ones((n, 3), dtype=complex), rng())
    noise = noise - NoiseModel(1e-12, (0.5, 2.0)).add_to(np.ones((n, 3), dtype=complex), rng())
    assert_sample_covariance(noise, matrix)
    power = np.outer(*2 * [np.diagonal(matrix).real])
    assert (np.abs(noise.T @ noise / (2 * n)) < 5 * np.sqrt(2 * power / n)).all()


@pytest.mark.parametrize("space", ["complex", "stacked", "real"])
def test_the_identity_gives_the_noise_without_covariance(space):
    x = rng(1).standard_normal((20, 5)) + 1j * rng(2).standard_normal((20, 5))
    x, real = {"complex": x, "stacked": stack_complex(x), "real": x.real}[space], space == "real"
    coloured = NoiseModel(covariance=np.eye(5)).add_to(x, rng(), real=real)
    np.testing.assert_allclose(coloured, NoiseModel().add_to(x, rng(), real=real), rtol=1e-14)


@pytest.mark.parametrize("given", [False, True])
def test_stacked_coloured_data_take_the_path_of_complex_data(given):
    model = NoiseModel(0.3, (0.5, 2.0), coloured_matrix(5))
    x = rng(1).standard_normal((20, 5)) + 1j * rng(2).standard_normal((20, 5))
    magnitude = np.linspace(0.5, 2, 20) if given else None
    noisy = model.add_to(x, rng(), magnitude)
    np.testing.assert_array_equal(model.add_to(stack_complex(x), rng(), magnitude), stack_complex(noisy))


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_coloured_noise_keeps_kind_and_precision(dtype, kind):
    x = np.ones((3, 4), dtype=dtype)
    covariance = coloured_matrix(4 if np.iscomplexobj(x) else 2, kind)
    noisy = NoiseModel(covariance=covariance).add_to(x, rng())
    assert noisy.dtype == dtype
    assert noisy.shape == x.shape
    np.testing.assert_array_equal(x, 1)


def test_coloured_augment_scales_the_bound_as_white_augment_does():
    x, crb = np.ones((200, 4), dtype=complex), np.column_stack([np.full(200, 2.0), np.full(200, np.inf)])
    noisy, scaled = NoiseModel(1e-9, (0.1, 1.0), coloured_matrix(4)).augment(x, crb, rng())
    np.testing.assert_allclose(scaled[:, 0], 2.0 * (1e-9 / np.abs(noisy[:, 0])) ** 2, rtol=1e-6)
    assert np.isposinf(scaled[:, 1]).all()


@pytest.mark.parametrize("snr", [1, 300.0])
def test_at_snr_with_a_covariance(snr):
    matrix = coloured_matrix(3)
    model = NoiseModel.at_snr(snr, matrix)
    assert model == NoiseModel(1 / snr, (1.0, 1.0), NoiseCovariance(matrix))
    assert NoiseModel.at_snr(snr, covariance=NoiseCovariance(matrix)) == model
    np.testing.assert_array_equal(np.unique(model.draw_magnitude(3, rng())), [1.0])


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_compressed_noise_model_is_that_of_compressed_noise(kind, draw_basis):
    n, basis = 40_000, draw_basis(6, 3, kind)
    model = NoiseModel(0.2, (0.5, 2.0), coloured_matrix(6))
    compressed = model.compress(basis)
    assert compressed.noise_std == model.noise_std
    assert compressed.m0_range == model.m0_range
    noise = model.add_to(np.zeros((n, 6), dtype=complex), rng()) @ basis
    assert_sample_covariance(noise / 0.2, compressed.covariance.matrix)
    assert_sample_covariance(
        compressed.add_to(np.zeros((n, 3), dtype=complex), rng()) / 0.2, basis.T @ coloured_matrix(6) @ basis.conj()
    )
    assert model.covariance.size == 6


def test_compressed_white_noise_is_itself(draw_basis):
    model = NoiseModel(0.2)
    assert model.compress(draw_basis(6, 3, "complex")) is model


@pytest.mark.parametrize(
    ("basis", "covariance", "message"),
    [
        (np.eye(5, 2), np.eye(4), "basis must have one row for each of the signal's 4 time points; got 5"),
        (np.ones((4, 2)), np.eye(4), "basis must have orthonormal columns"),
        (np.ones((4, 2)), None, "basis must have orthonormal columns"),
    ],
)
def test_compression_refuses_bases_that_do_not_fit(basis, covariance, message):
    with pytest.raises(ValueError, match=message):
        NoiseModel(covariance=covariance).compress(basis)


@pytest.mark.parametrize(("dtype", "real"), [(complex, False), (float, False), (float, True)])
def test_data_of_another_length_than_the_covariance_are_refused(dtype, real):
    """Of stacked data, half of the columns count."""
    model, x = NoiseModel(covariance=np.eye(6)), np.ones((3, 8), dtype=dtype)
    length = 4 if dtype is float and not real else 8
    with pytest.raises(ValueError, match=f"covariance is that of 6 points, but the data have {length}"):
        model.add_to(x, rng(), real=real)
    with pytest.raises(ValueError, match="covariance is that of 6 points"):
        model.add_to(np.ones((3, 6)), rng())


def test_complex_covariance_is_none_of_real_data():
    model = NoiseModel(covariance=coloured_matrix(4))
    with pytest.raises(ValueError, match="covariance must be real for noise of real data"):
        model.add_to(np.ones((3, 4)), rng(), real=True)
    assert model.add_to(np.ones((3, 8)), rng()).dtype == np.float64  # stacked


@pytest.mark.parametrize(
    ("covariance", "error", "message"),
    [
        (np.ones((3, 2)), ValueError, "covariance must be square"),
        (np.ones(3), ValueError, "covariance must be 2-D"),
        ([[1.0, 2.0], [2.0, 1.0]], ValueError, "covariance must be positive definite"),
        ([[1.0, 0.5j], [0.5j, 1.0]], ValueError, "covariance must be Hermitian"),
        (np.diag([1.0, np.nan]), ValueError, "covariance contains NaN"),
        ("white", TypeError, "covariance must hold numbers"),
    ],
)
@pytest.mark.parametrize("make", [NoiseModel, lambda covariance: NoiseModel.at_snr(10, covariance)])
def test_bad_covariances_are_refused(make, covariance, error, message):
    with pytest.raises(error, match=message):
        make(covariance=covariance)


def test_models_are_equal_if_their_covariances_are():
    first, again = (NoiseModel(covariance=coloured_matrix(3)) for _ in range(2))
    assert first == again
    assert hash(first) == hash(again)
    assert repr(first) == repr(again)
    for other in (None, 2 * coloured_matrix(3), coloured_matrix(3).conj(), coloured_matrix(4)):
        assert first != NoiseModel(covariance=other)
        assert repr(first) != repr(NoiseModel(covariance=other))


def test_an_array_becomes_a_covariance():
    model = NoiseModel(covariance=[[2, 1], [1, 2]])
    assert isinstance(model.covariance, NoiseCovariance)
    covariance = NoiseCovariance(np.eye(3))
    assert NoiseModel(covariance=covariance).covariance is covariance
    with pytest.raises(FrozenInstanceError):
        model.covariance = None


# --- training in coloured noise -------------------------------------------------------------------


@pytest.fixture(scope="module")
def coefficients():
    theta = rng().uniform(1, 3, (200, 1))
    return stack_complex(np.exp(-np.arange(4) / theta) + 0j), theta, np.ones_like(theta)


def regressor(noise, **settings):
    return CRBWeightedRegressor(noise=noise, max_epochs=2, batch_size=64, verbose=0, random_state=0, **settings)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_the_regressor_trains_on_stacked_coefficients_in_coloured_noise(coefficients, kind):
    X, y, crb = coefficients
    white, coloured = (
        regressor(NoiseModel(0.1, covariance=covariance)).fit(X, y, crb=crb)
        for covariance in (None, coloured_matrix(4, kind))
    )
    assert np.isfinite(coloured.predict(X)).all()
    assert (coloured.predict(X) != white.predict(X)).any()


def test_the_regressor_refuses_a_covariance_of_other_coefficients(coefficients):
    X, y, crb = coefficients
    with pytest.raises(ValueError, match="covariance is that of 8 points, but the data have 4"):
        regressor(NoiseModel(covariance=np.eye(8))).fit(X, y, crb=crb)


def test_a_checkpoint_belongs_to_one_covariance(coefficients, tmp_path):
    """Trainings are told apart by the repr of their settings."""
    X, y, crb = coefficients
    path = tmp_path / "state.pt"
    noise = NoiseModel(0.1, covariance=coloured_matrix(4))
    first = regressor(noise, checkpoint=path).fit(X, y, crb=crb)
    again = regressor(NoiseModel(0.1, covariance=coloured_matrix(4)), checkpoint=path).fit(X, y, crb=crb)
    np.testing.assert_array_equal(again.predict(X), first.predict(X))
    for other in (None, coloured_matrix(4).conj(), np.eye(4)):
        with pytest.raises(ValueError, match="checkpoint: .* other data or settings"):
            regressor(NoiseModel(0.1, covariance=other), checkpoint=path).fit(X, y, crb=crb)


@pytest.mark.parametrize("channels", [1, 2])
def test_noise_is_estimated_from_the_background_even_with_some_signal_in_it(channels):
    noise = 0.03 * np.random.default_rng(0).normal(size=(40_000, channels))
    background = noise[:, 0] if channels == 1 else noise[:, 0] + 1j * noise[:, 1]
    assert estimate_noise_std(background) == pytest.approx(0.03, rel=0.02)
    background[:400] += 1
    assert estimate_noise_std(background.reshape(100, 400)) == pytest.approx(0.03, rel=0.04)


@pytest.mark.parametrize(
    ("background", "message"),
    [
        ([1.0], "at least two values"),
        ([1.0, 0.0], "1 of 2 values are zero"),
        ([1.0, np.nan], "background contains NaN"),
    ],
)
def test_bad_backgrounds_are_named(background, message):
    with pytest.raises(ValueError, match=message):
        estimate_noise_std(background)


def test_realizations_of_a_row_share_its_amplitude_and_bound():
    x, crb = np.ones((5, 4), complex), np.ones((5, 2))
    noisy, bound = NoiseModel(1e-9, (0.1, 1.0)).augment(x, crb, rng(), n_realizations=3)
    assert noisy.shape == (15, 4)
    assert bound.shape == (5, 2)
    amplitudes = np.abs(noisy[:, 0]).reshape(3, 5)
    np.testing.assert_allclose(amplitudes, np.tile(amplitudes[0], (3, 1)), rtol=1e-6)
    assert np.ptp(amplitudes[0]) > 0.01
    np.testing.assert_allclose(bound, np.repeat((1e-9 / amplitudes[0][:, None]) ** 2, 2, axis=1), rtol=1e-6)
    assert not np.allclose(noisy[:5], noisy[5:10])


@pytest.mark.parametrize("seed", [-1, 0.5])
def test_a_bad_seed_is_named(seed):
    with pytest.raises((ValueError, TypeError), match="rng must be an int that is not negative"):
        NoiseModel().add_to(np.ones((2, 4)), seed)


def test_no_realizations_are_refused():
    with pytest.raises(ValueError, match="n_realizations"):
        NoiseModel().augment(np.ones((2, 4)), np.ones((2, 1)), 0, n_realizations=0)
