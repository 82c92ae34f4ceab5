from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crbestim import NoiseCovariance, _threads, cramer_rao_bound, fisher_information


def random_jacobian(rng, shape, kind="complex"):
    jacobian = rng.standard_normal(shape)
    return jacobian + 1j * rng.standard_normal(shape) if kind == "complex" else jacobian


def inverse_diagonal(jacobian, noise_std=1.0):
    fisher = np.real(np.swapaxes(jacobian.conj(), -1, -2) @ jacobian) / noise_std**2
    return np.diagonal(np.linalg.inv(fisher), axis1=-2, axis2=-1)


both_kinds = pytest.mark.parametrize("kind", ["real", "complex"])


@st.composite
def jacobians(draw, min_rows=1):
    """Jacobians of any size, kind and scale of columns; some of them singular."""
    n_columns = draw(st.integers(1, 6))
    n_rows = draw(st.integers(max(1, min_rows), 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    jacobian = random_jacobian(rng, (n_rows, n_columns), draw(st.sampled_from(["real", "complex"])))
    exponents = draw(st.lists(st.integers(-6, 6), min_size=n_columns, max_size=n_columns))
    jacobian = jacobian * 10.0 ** np.array(exponents)
    if draw(st.booleans()):
        jacobian[:, draw(st.integers(0, n_columns - 1))] = 0
    if draw(st.booleans()):
        jacobian[:, -1] = 2 * jacobian[:, 0]
    return jacobian


# --- Fisher information ---------------------------------------------------------------------------


@both_kinds
def test_fisher_information_of_a_small_example(kind):
    jacobian = np.array([[1.0, 2.0], [0.0, 1.0]])
    expected = np.array([[1.0, 2.0], [2.0, 5.0]])
    if kind == "complex":
        jacobian, expected = jacobian * np.array([1, 1j]), np.array([[1.0, 0.0], [0.0, 5.0]])
    np.testing.assert_allclose(fisher_information(jacobian), expected)
    np.testing.assert_allclose(fisher_information(jacobian, noise_std=0.5), 4 * expected)


@given(jacobians())
def test_fisher_information_is_symmetric_and_positive_semi_definite(jacobian):
    fisher = fisher_information(jacobian)
    assert fisher.dtype == np.float64
    np.testing.assert_allclose(fisher, fisher.T, rtol=1e-12)
    size = np.sqrt(np.diagonal(fisher))
    size[size == 0] = 1
    scaled = fisher / np.outer(size, size)
    assert np.linalg.eigvalsh(scaled).min() > -1e-12


@given(jacobians(), st.floats(0, 2 * np.pi))
def test_fisher_information_does_not_depend_on_the_phase_of_m0(jacobian, phase):
    fisher = fisher_information(jacobian)
    size = np.sqrt(np.diagonal(fisher))
    rotated = fisher_information(np.exp(1j * phase) * jacobian)
    assert (np.abs(rotated - fisher) <= 1e-12 * np.outer(size, size)).all()


# --- the bound where F has an inverse -------------------------------------------------------------


@both_kinds
@pytest.mark.parametrize("shape", [(5, 1), (20, 3), (200, 9), (7, 4, 3), (2, 3, 50, 5)])
@pytest.mark.parametrize("noise_std", [1.0, 0.02])
def test_bound_is_the_diagonal_of_the_inverse(kind, shape, noise_std):
    jacobian = random_jacobian(np.random.default_rng(0), shape, kind)
    bound = cramer_rao_bound(jacobian, noise_std)
    assert bound.shape == (*shape[:-2], shape[-1])
    np.testing.assert_allclose(bound, inverse_diagonal(jacobian, noise_std), rtol=1e-9)


def test_square_jacobian():
    np.testing.assert_allclose(cramer_rao_bound(np.diag([1.0, 2.0, 10.0])), [1, 0.25, 0.01])


def test_complex_data_count_twice():
    """A complex row is as good as two real ones: more unknowns than rows can be told."""
    jacobian = random_jacobian(np.random.default_rng(0), (3, 6))
    stacked = np.concatenate([jacobian.real, jacobian.imag])
    np.testing.assert_allclose(cramer_rao_bound(jacobian), inverse_diagonal(stacked), rtol=1e-8)
    np.testing.assert_allclose(cramer_rao_bound(jacobian), cramer_rao_bound(stacked), rtol=1e-12)


@pytest.mark.parametrize("gap", 10.0 ** -np.arange(1, 12))
def test_nearly_collinear_columns_keep_their_bound(gap):
    """Known in closed form up to a condition number whose square no float64 holds."""
    a, b, c = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 3)))[0].T
    bound = cramer_rao_bound(np.column_stack([a, a + gap * b, c]))
    np.testing.assert_allclose(bound, [1 + gap**-2, gap**-2, 1], rtol=1e-4)


def test_units_of_parameters_do_not_matter_to_accuracy():
    rng = np.random.default_rng(0)
    jacobian = random_jacobian(rng, (50, 5))
    scale = np.array([1e-12, 1e9, 1.0, 1e-5, 1e15])
    np.testing.assert_allclose(cramer_rao_bound(jacobian * scale), inverse_diagonal(jacobian) / scale**2, rtol=1e-9)


def test_integers_and_single_precision_are_numbers():
    np.testing.assert_allclose(cramer_rao_bound(np.array([[1, 0], [0, 2], [0, 0]])), [1, 0.25])
    assert cramer_rao_bound(np.eye(3, dtype=np.float32)).dtype == np.float64


def test_input_is_left_alone():
    jacobian = random_jacobian(np.random.default_rng(0), (6, 3))
    jacobian[:, 1] = 0
    copy = jacobian.copy()
    cramer_rao_bound(jacobian)
    np.testing.assert_array_equal(jacobian, copy)


def exact_bound(jacobian):
    """Diagonal of the inverse of J^T J in rational numbers, by Gauss and Jordan's elimination."""
    columns = [[Fraction(float(value)) for value in column] for column in jacobian.T]
    n = len(columns)
    rows = [[sum(map(Fraction.__mul__, a, b)) for b in columns] + [Fraction(i == j) for j in range(n)]
            for i, a in enumerate(columns)]  # fmt: skip
    for i in range(n):
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(n):
            if j != i:
                rows[j] = [value - rows[j][i] * pivot for value, pivot in zip(rows[j], rows[i], strict=True)]
    return np.array([float(rows[i][n + i]) for i in range(n)])


@both_kinds
@pytest.mark.parametrize("condition", [1e4, 1e6, 1e8, 1e10])
@pytest.mark.parametrize("n_rows", [9, 40])
def test_error_grows_with_the_condition_and_not_with_its_square(kind, condition, n_rows):
    """Singular values fall evenly, so that columns lose their digits one after the other; units differ besides."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        left, right = (np.linalg.qr(rng.standard_normal((n, 6)))[0] for n in (n_rows, 6))
        stacked = (left * np.geomspace(1, 1 / condition, 6)) @ right.T * 10.0 ** rng.uniform(-6, 6, 6)
        bound = cramer_rao_bound(
            stacked if kind == "real" else stacked[: n_rows // 2] + 1j * stacked[-(n_rows // 2) :]
        )
        if kind == "complex":
            stacked = np.concatenate([stacked[: n_rows // 2], stacked[-(n_rows // 2) :]])
        np.testing.assert_allclose(bound, exact_bound(stacked), rtol=100 * condition * np.finfo(float).eps)


@pytest.mark.parametrize("scale", [1e-150, 1e-100, 1e100, 1e150])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_columns_of_any_usual_magnitude(scale, column):
    jacobian = random_jacobian(np.random.default_rng(0), (20, 3))
    scales = np.ones(3)
    scales[column] = scale
    np.testing.assert_allclose(cramer_rao_bound(jacobian * scales), cramer_rao_bound(jacobian) / scales**2, rtol=1e-12)


@both_kinds
@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda jacobian: jacobian[:, ::-1, ::2],
        lambda jacobian: jacobian[::-2],
        lambda jacobian: np.swapaxes(jacobian, 0, 1)[2:9],
        lambda jacobian: np.broadcast_to(jacobian[0], (4, 2, *jacobian.shape[1:])),
        lambda jacobian: jacobian[:, None, :, None, :].swapaxes(0, 1).squeeze(3)[None],
        lambda jacobian: jacobian[0],
    ],
    ids=["fortran", "strides", "reversed", "swapped", "broadcast", "leading", "single"],
)
def test_memory_layout_and_leading_axes_do_not_matter(kind, view):
    jacobian = view(random_jacobian(np.random.default_rng(0), (9, 30, 8), kind))
    jacobian.flags.writeable = False
    bound = cramer_rao_bound(jacobian)
    expected = [cramer_rao_bound(one.copy()) for one in jacobian.reshape(-1, *jacobian.shape[-2:])]
    np.testing.assert_array_equal(bound, np.reshape(expected, (*jacobian.shape[:-2], jacobian.shape[-1])))


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_single_precision_is_read_and_not_kept(dtype):
    """The bound is that of the rounded numbers in double precision."""
    rng = np.random.default_rng(0)
    jacobian = random_jacobian(rng, (5, 30, 4), "complex" if dtype is np.complex64 else "real").astype(dtype)
    jacobian[..., 3] = jacobian[..., 2] + dtype(1e-3) * jacobian[..., 3]
    bound = cramer_rao_bound(jacobian)
    assert bound.dtype == np.float64
    wide = jacobian.astype(np.complex128 if dtype is np.complex64 else np.float64)
    np.testing.assert_array_equal(bound, cramer_rao_bound(wide))


def test_a_sample_has_the_same_bound_in_any_batch_and_any_number_of_threads(monkeypatch):
    """To the last bit, also beside singular ones and where it is one."""
    jacobian = random_jacobian(np.random.default_rng(0), (300, 20, 5))
    jacobian[::7, :, 2] = 0
    jacobian[::11, :, 4] = jacobian[::11, :, 1]
    jacobian[::13, :, 3] = jacobian[::13, :, 0] * (1 + 1e-12)
    monkeypatch.setattr(_threads, "n_threads", lambda: 1)
    together = cramer_rao_bound(jacobian)
    for sample in (0, 1, 7, 11, 13, 299):
        np.testing.assert_array_equal(cramer_rao_bound(jacobian[sample]), together[sample])
    np.testing.assert_array_equal(cramer_rao_bound(jacobian[3:]), together[3:])
    for n_threads in (2, 5, 1000):
        monkeypatch.setattr(_threads, "n_threads", lambda n=n_threads: n)
        np.testing.assert_array_equal(cramer_rao_bound(jacobian), together)


# --- the bound where it has none ------------------------------------------------------------------


@both_kinds
@pytest.mark.parametrize("n_rows", [12, 3])
@pytest.mark.parametrize("zero", [(0,), (1,), (3,), (0, 2), (1, 2, 3), (0, 1, 2, 3)])
def test_zero_column_has_no_bound_and_leaves_the_others(kind, n_rows, zero):
    jacobian = random_jacobian(np.random.default_rng(0), (n_rows, 4), kind)
    jacobian[:, zero] = 0
    bound = cramer_rao_bound(jacobian)
    rest = np.delete(np.arange(4), zero)
    assert np.isposinf(bound[list(zero)]).all()
    np.testing.assert_allclose(bound[rest], inverse_diagonal(jacobian[:, rest]), rtol=1e-6)


@both_kinds
@pytest.mark.parametrize("n_rows", [8, 100])
@pytest.mark.parametrize("involved", [(0, 1), (2, 4), (1, 3, 4), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)])
def test_collinear_columns_have_no_bound_and_leave_the_others(kind, n_rows, involved):
    rng = np.random.default_rng(n_rows)
    jacobian = random_jacobian(rng, (n_rows, 6), kind)
    *others, last = involved
    jacobian[:, last] = jacobian[:, others] @ rng.uniform(0.5, 2, len(others))
    jacobian *= 10.0 ** rng.uniform(-4, 4, 6)
    bound = cramer_rao_bound(jacobian)
    np.testing.assert_array_equal(np.isposinf(bound), np.isin(np.arange(6), involved))
    free = np.delete(np.arange(6), involved)
    without_last = np.delete(jacobian, last, axis=1)
    expected = inverse_diagonal(without_last / np.linalg.norm(without_last, axis=0))
    expected = np.insert(expected / np.linalg.norm(without_last, axis=0) ** 2, last, np.inf)
    np.testing.assert_allclose(bound[free], expected[free], rtol=1e-8)


def test_zero_and_collinear_columns_together():
    jacobian = random_jacobian(np.random.default_rng(0), (20, 5))
    jacobian[:, 1] = 0
    jacobian[:, 4] = -3 * jacobian[:, 2]
    bound = cramer_rao_bound(jacobian)
    np.testing.assert_array_equal(np.isposinf(bound), [False, True, True, False, True])
    np.testing.assert_allclose(bound[[0, 3]], inverse_diagonal(jacobian[:, [0, 2, 3]])[[0, 2]], rtol=1e-8)


@both_kinds
def test_fewer_data_than_unknowns(kind):
    jacobian = random_jacobian(np.random.default_rng(0), (2, 5), kind)
    assert np.isposinf(cramer_rao_bound(jacobian)).all()


def test_fewer_data_than_unknowns_may_still_tell_some():
    """Row 0 tells parameter 0 alone; row 1 a sum of two."""
    np.testing.assert_allclose(cramer_rao_bound([[2.0, 0.0, 0.0], [0.0, 1.0, 1.0]]), [0.25, np.inf, np.inf])


def test_singular_and_regular_jacobians_in_one_batch():
    rng = np.random.default_rng(0)
    jacobian = random_jacobian(rng, (6, 15, 4))
    jacobian[1, :, 2] = 0
    jacobian[3, :, 0] = jacobian[3, :, 1]
    jacobian[4] = 0
    alone = np.stack([cramer_rao_bound(one) for one in jacobian])
    np.testing.assert_allclose(cramer_rao_bound(jacobian), alone, rtol=1e-12)
    np.testing.assert_array_equal(np.isposinf(alone).sum(axis=1), [0, 1, 0, 2, 4, 0])


# --- properties -----------------------------------------------------------------------------------


def assert_same_bound(bound, expected):
    np.testing.assert_array_equal(np.isposinf(bound), np.isposinf(expected))
    np.testing.assert_allclose(bound, expected, rtol=1e-6)


@given(jacobians())
def test_bound_is_positive_and_never_nan(jacobian):
    bound = cramer_rao_bound(jacobian)
    assert not np.isnan(bound).any()
    assert (bound > 0).all()


@given(jacobians(min_rows=8), st.floats(0, 2 * np.pi))
def test_bound_does_not_depend_on_the_phase_of_m0(jacobian, phase):
    assert_same_bound(cramer_rao_bound(np.exp(1j * phase) * jacobian), cramer_rao_bound(jacobian))


@given(jacobians(min_rows=8), st.lists(st.floats(-5, 5), min_size=6, max_size=6))
def test_bound_follows_a_rescaling_of_the_parameters(jacobian, exponents):
    """theta_i' = c_i theta_i: the column of J is divided by c_i, the variance multiplied with its square."""
    scale = 10.0 ** np.array(exponents[: jacobian.shape[1]])
    assert_same_bound(cramer_rao_bound(jacobian / scale), cramer_rao_bound(jacobian) * scale**2)


@given(jacobians(min_rows=8), st.floats(1e-4, 1e4))
def test_bound_grows_with_the_square_of_the_noise(jacobian, noise_std):
    assert_same_bound(cramer_rao_bound(jacobian, noise_std), cramer_rao_bound(jacobian) * noise_std**2)


@given(jacobians(min_rows=8), st.randoms(use_true_random=False))
def test_bound_follows_a_permutation_of_the_parameters(jacobian, random):
    order = list(range(jacobian.shape[1]))
    random.shuffle(order)
    assert_same_bound(cramer_rao_bound(jacobian[:, order]), cramer_rao_bound(jacobian)[order])


@given(jacobians(min_rows=8))
def test_a_parameter_less_never_increases_the_bound(jacobian):
    if jacobian.shape[1] > 1:
        fewer = cramer_rao_bound(jacobian[:, :-1])
        assert (fewer <= cramer_rao_bound(jacobian)[:-1] * (1 + 1e-6)).all()


@given(jacobians(min_rows=8), st.integers(0, 2**32 - 1))
def test_more_data_never_increase_the_bound(jacobian, seed):
    more = random_jacobian(np.random.default_rng(seed), (5, jacobian.shape[1]))
    more[:, (jacobian == 0).all(axis=0)] = 0
    more = more * np.linalg.norm(jacobian, axis=0)
    assert (cramer_rao_bound(np.concatenate([jacobian, more])) <= cramer_rao_bound(jacobian) * (1 + 1e-6)).all()


# --- against Monte Carlo --------------------------------------------------------------------------


@both_kinds
def test_least_squares_reaches_the_bound_on_a_linear_problem(kind):
    """x = J theta + noise: least squares is efficient; a sample variance has a relative error of sqrt(2 / (N - 1))."""
    rng = np.random.default_rng(0)
    jacobian = random_jacobian(rng, (12, 4), kind) @ np.diag([1.0, 10.0, 0.1, 3.0])
    noise_std, n_realizations = 0.3, 20_000
    truth = np.array([1.0, -2.0, 30.0, 0.0])
    noise = random_jacobian(rng, (n_realizations, 12), kind) * noise_std
    x = jacobian @ truth + noise
    if kind == "complex":
        x, jacobian_real = np.hstack([x.real, x.imag]), np.concatenate([jacobian.real, jacobian.imag])
    else:
        jacobian_real = jacobian
    estimate = np.linalg.lstsq(jacobian_real, x.T)[0].T

    bound = cramer_rao_bound(jacobian, noise_std)
    bias = np.abs(estimate.mean(axis=0) - truth) / np.sqrt(bound / n_realizations)
    deviation = np.abs(estimate.var(axis=0, ddof=1) / bound - 1) / np.sqrt(2 / (n_realizations - 1))
    assert (bias < 4).all()
    assert (deviation < 4).all()


# --- what is no Jacobian --------------------------------------------------------------------------


@pytest.mark.parametrize("function", [fisher_information, cramer_rao_bound])
@pytest.mark.parametrize(
    ("jacobian", "noise_std", "error", "message"),
    [
        (np.ones(3), 1.0, ValueError, "jacobian must have shape"),
        (np.ones((3, 0)), 1.0, ValueError, "jacobian must have shape"),
        (np.ones((0, 3)), 1.0, ValueError, "jacobian must have shape"),
        (np.array([[1.0, np.nan]]), 1.0, ValueError, "jacobian contains NaN or infinity"),
        (np.array([[1.0, 1j * np.inf]]), 1.0, ValueError, "jacobian contains NaN or infinity"),
        (np.array([["a", "b"]]), 1.0, TypeError, "jacobian must hold numbers"),
        (np.eye(3), 0.0, ValueError, "noise_std must be positive"),
        (np.eye(3), -1.0, ValueError, "noise_std must be positive"),
        (np.eye(3), np.inf, ValueError, "noise_std must be positive and finite"),
        (np.eye(3), "1", TypeError, "noise_std must be a number"),
    ],
)
def test_bad_input_is_refused(function, jacobian, noise_std, error, message):
    with pytest.raises(error, match=message):
        function(jacobian, noise_std)


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e155, 1e300])
def test_columns_whose_squares_leave_the_range_of_numbers(scale):
    jacobian = np.random.default_rng(0).normal(size=(20, 3))
    jacobian[:, 1] += 30 * jacobian[:, 0]
    bound = cramer_rao_bound(jacobian)
    with np.errstate(over="ignore"):
        scaled = cramer_rao_bound(jacobian * [1, scale, 1])
    np.testing.assert_allclose(scaled[[0, 2]], bound[[0, 2]], rtol=1e-9)


# --- coloured noise -------------------------------------------------------------------------------


def coloured_matrix(m, kind="complex", seed=7):
    """A covariance with strong correlations and different variances."""
    root = random_jacobian(np.random.default_rng(seed), (m, m + 2), kind)
    return root @ root.conj().T * np.outer(*2 * [np.linspace(0.5, 2, m)])


def fisher_by_inversion(jacobian, matrix):
    return np.real(np.swapaxes(jacobian.conj(), -1, -2) @ np.linalg.inv(matrix) @ jacobian)


all_kinds = pytest.mark.parametrize(
    ("kind", "noise_kind"), [("real", "real"), ("real", "complex"), ("complex", "real"), ("complex", "complex")]
)


@all_kinds
@pytest.mark.parametrize("shape", [(9, 3), (4, 9, 3), (2, 3, 9, 4), (9, 9)])
@pytest.mark.parametrize("noise_std", [1.0, 0.02])
def test_information_and_bound_in_coloured_noise(kind, noise_kind, shape, noise_std):
    """F = Re(J^H C^-1 J) / sigma^2, also of a real Jacobian in noise whose correlations have a phase."""
    jacobian, matrix = random_jacobian(np.random.default_rng(0), shape, kind), coloured_matrix(9, noise_kind)
    expected = fisher_by_inversion(jacobian, matrix) / noise_std**2
    fisher = fisher_information(jacobian, noise_std, matrix)
    bound = cramer_rao_bound(jacobian, noise_std, covariance=NoiseCovariance(matrix))
    assert fisher.dtype == bound.dtype == np.float64
    np.testing.assert_allclose(fisher, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())
    inverse = np.diagonal(np.linalg.inv(expected), axis1=-2, axis2=-1)
    np.testing.assert_allclose(bound, inverse, rtol=1e-6)


@all_kinds
@pytest.mark.parametrize("function", [fisher_information, cramer_rao_bound])
def test_coloured_noise_is_white_noise_of_the_whitened_jacobian(function, kind, noise_kind):
    jacobian = random_jacobian(np.random.default_rng(0), (5, 9, 3), kind)
    covariance = NoiseCovariance(coloured_matrix(9, noise_kind))
    expected = function(covariance.whiten(jacobian, axis=1))
    np.testing.assert_array_equal(function(jacobian, covariance=covariance), expected)
    np.testing.assert_allclose(function(jacobian, covariance=covariance.matrix), expected, rtol=1e-9)
    by_root = NoiseCovariance.from_square_root(np.linalg.cholesky(covariance.matrix))
    np.testing.assert_allclose(function(jacobian, covariance=by_root), expected, rtol=1e-9)


@both_kinds
@pytest.mark.parametrize("function", [fisher_information, cramer_rao_bound])
def test_a_diagonal_covariance_weighs_the_rows(function, kind):
    jacobian, variance = random_jacobian(np.random.default_rng(0), (9, 3), kind), np.geomspace(1e-3, 1e3, 9)
    weighed = function(jacobian / np.sqrt(variance)[:, None])
    np.testing.assert_allclose(function(jacobian, covariance=np.diag(variance)), weighed, rtol=1e-10)


@both_kinds
@pytest.mark.parametrize("function", [fisher_information, cramer_rao_bound])
def test_the_identity_is_white_noise(function, kind):
    jacobian = random_jacobian(np.random.default_rng(0), (2, 9, 3), kind)
    white = function(jacobian, 0.3)
    np.testing.assert_allclose(function(jacobian, 0.3, np.eye(9)), white, rtol=1e-12)
    np.testing.assert_allclose(function(jacobian, 0.3, np.eye(9, dtype=complex)), white, rtol=1e-12)
    np.testing.assert_allclose(function(jacobian, 0.3, None), white, rtol=0)


@pytest.mark.parametrize("unitary_kind", ["real", "complex"])
def test_the_bound_does_not_change_under_a_rotation_of_data_and_noise(unitary_kind):
    rng = np.random.default_rng(0)
    jacobian, matrix = random_jacobian(rng, (9, 3)), coloured_matrix(9)
    unitary = np.linalg.qr(random_jacobian(rng, (9, 9), unitary_kind))[0]
    rotated = cramer_rao_bound(unitary @ jacobian, covariance=unitary @ matrix @ unitary.conj().T)
    np.testing.assert_allclose(rotated, cramer_rao_bound(jacobian, covariance=matrix), rtol=1e-8)


def test_the_bound_does_not_change_under_any_linear_map_of_data_and_noise():
    rng = np.random.default_rng(0)
    jacobian, matrix, mixing = random_jacobian(rng, (9, 3)), coloured_matrix(9), random_jacobian(rng, (9, 9))
    mixed = cramer_rao_bound(mixing @ jacobian, covariance=mixing @ matrix @ mixing.conj().T)
    np.testing.assert_allclose(mixed, cramer_rao_bound(jacobian, covariance=matrix), rtol=1e-8)


def test_conjugate_data_in_conjugate_noise_have_the_same_bound():
    jacobian, matrix = random_jacobian(np.random.default_rng(0), (9, 3)), coloured_matrix(9)
    bound = cramer_rao_bound(jacobian, covariance=matrix)
    np.testing.assert_allclose(cramer_rao_bound(jacobian.conj(), covariance=matrix.conj()), bound, rtol=1e-9)
    assert np.abs(cramer_rao_bound(jacobian, covariance=matrix.conj()) / bound - 1).max() > 0.01


@given(jacobians(min_rows=2), st.integers(0, 2**32 - 1), st.floats(1e-4, 1e4))
def test_the_unit_of_the_covariance_is_the_square_of_the_noise(jacobian, seed, scale):
    matrix = coloured_matrix(len(jacobian), seed=seed)
    assert_same_bound(
        cramer_rao_bound(jacobian, covariance=scale**2 * matrix), cramer_rao_bound(jacobian, scale, matrix)
    )


def test_more_noise_never_lowers_the_bound():
    rng = np.random.default_rng(0)
    jacobian, matrix = random_jacobian(rng, (9, 3)), coloured_matrix(9)
    extra = random_jacobian(rng, (9, 2))
    more = cramer_rao_bound(jacobian, covariance=matrix + extra @ extra.conj().T)
    assert (more > cramer_rao_bound(jacobian, covariance=matrix)).all()


@both_kinds
def test_zero_and_collinear_columns_have_no_bound_in_coloured_noise(kind):
    jacobian = random_jacobian(np.random.default_rng(0), (2, 20, 5), kind)
    jacobian[:, :, 1] = 0
    jacobian[:, :, 4] = -3 * jacobian[:, :, 2]
    matrix = coloured_matrix(20, kind)
    bound = cramer_rao_bound(jacobian, covariance=matrix)
    np.testing.assert_array_equal(np.isposinf(bound), 2 * [[False, True, True, False, True]])
    rest = cramer_rao_bound(jacobian[:, :, [0, 2, 3]], covariance=matrix)
    np.testing.assert_allclose(bound[:, [0, 3]], rest[:, [0, 2]], rtol=1e-8)


@both_kinds
def test_an_ill_conditioned_covariance_costs_no_more_digits_than_its_root(kind):
    """Noise of which one combination of the points is 1e6 times weaker: x = a, seen best there."""
    basis = np.linalg.qr(random_jacobian(np.random.default_rng(0), (6, 6), kind))[0]
    covariance = NoiseCovariance.from_square_root(basis * np.geomspace(1, 1e-6, 6))
    bound = cramer_rao_bound(basis, covariance=covariance)
    np.testing.assert_allclose(bound, np.geomspace(1, 1e-12, 6), rtol=1e-8)


def test_jacobian_is_left_alone_by_whitening():
    jacobian = random_jacobian(np.random.default_rng(0), (3, 9, 3))
    jacobian.flags.writeable = False
    before = jacobian.copy()
    cramer_rao_bound(jacobian, covariance=coloured_matrix(9))
    np.testing.assert_array_equal(jacobian, before)


@both_kinds
def test_generalised_least_squares_reaches_the_coloured_bound_on_a_linear_problem(kind):
    """As above, with the noise of the covariance: E[n n^H] = 2 sigma^2 C for complex data, sigma^2 C for real ones."""
    rng = np.random.default_rng(0)
    jacobian, matrix = random_jacobian(rng, (8, 3), kind), coloured_matrix(8, kind) / 8
    noise_std, n_realizations, truth = 0.3, 20_000, np.array([1.0, -2.0, 30.0])
    lower = np.linalg.cholesky(matrix)
    x = jacobian @ truth + noise_std * random_jacobian(rng, (n_realizations, 8), kind) @ lower.T
    weights = np.linalg.inv(fisher_by_inversion(jacobian, matrix)) @ (jacobian.conj().T @ np.linalg.inv(matrix))
    estimate = np.real(x @ weights.T)
    bound = cramer_rao_bound(jacobian, noise_std, matrix)
    assert (np.abs(estimate.mean(axis=0) - truth) < 4 * np.sqrt(bound / n_realizations)).all()
    assert (np.abs(estimate.var(axis=0, ddof=1) / bound - 1) < 4 * np.sqrt(2 / (n_realizations - 1))).all()


@pytest.mark.parametrize("function", [fisher_information, cramer_rao_bound])
@pytest.mark.parametrize(
    ("jacobian", "covariance", "error", "message"),
    [
        (np.ones((9, 3)), np.eye(8), ValueError, "covariance is that of 8 points, but the data have 9"),
        (np.ones((8, 9, 3)), np.eye(8), ValueError, "covariance is that of 8 points, but the data have 9"),
        (np.ones((9, 8)), np.eye(8), ValueError, "covariance is that of 8 points, but the data have 9"),
        (np.ones((9, 3)), np.ones((9, 8)), ValueError, "covariance must be square"),
        (np.ones((9, 3)), np.ones(9), ValueError, "covariance must be 2-D"),
        (np.ones((9, 3)), -np.eye(9), ValueError, "covariance must be positive definite"),
        (np.ones((9, 3)), np.diag([np.nan] * 9), ValueError, "covariance contains NaN"),
        (np.ones((9, 3)), "white", TypeError, "covariance must hold numbers"),
        (np.ones(9), np.eye(9), ValueError, "jacobian must have shape"),
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), np.eye(2) + 1, ValueError, "jacobian contains NaN or infinity"),
        (np.array([[1.0, 2.0], [1j * np.inf, 1.0]]), np.eye(2) + 1, ValueError, "jacobian contains NaN or infinity"),
    ],
)
def test_what_does_not_fit_in_coloured_noise_is_refused(function, jacobian, covariance, error, message):
    with pytest.raises(error, match=message):
        function(jacobian, covariance=covariance)
