import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone

from crbestim import MonoExponentialModel, NLLSEstimator, NoiseCovariance, NoiseModel

# Draws have fixed seeds; sample covariances lie within five standard errors.
both_kinds = pytest.mark.parametrize("kind", ["real", "complex"])
N = 40_000


def standard_normal(shape, kind, seed=0):
    """White noise of unit variance in each real channel."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(shape)
    return noise + 1j * rng.standard_normal(shape) if kind == "complex" else noise


def coloured_matrix(m, kind, seed=1):
    """A covariance with strong correlations and different variances."""
    root = standard_normal((m, m + 2), kind, seed)
    return root @ root.conj().T / (m + 2) * np.outer(*2 * [np.linspace(0.5, 2, m)])


def sample_covariance(noise):
    """C_jk = E[n_j n_k^*] / (channels), as the docstring has it, and the pseudo-covariance E[n_j n_k]."""
    channels = 2 if noise.dtype.kind == "c" else 1
    return (noise.T @ noise.conj() / (channels * len(noise)), noise.T @ noise / (channels * len(noise)))


def assert_within_errors(measured, expected, n=N):
    """Wick: the variance of a product of two Gaussians is C_jj C_kk + |C_jk|^2 at most."""
    power = np.outer(*2 * [np.diagonal(expected).real])
    assert (np.abs(measured - expected) < 5 * np.sqrt((power + np.abs(expected) ** 2) / n)).all()


def root_of_condition(condition, kind, shape=(6, 9)):
    """A square root whose singular values fall evenly."""
    left, right = (np.linalg.qr(standard_normal((n, shape[0]), kind, n))[0] for n in shape)
    return (left * np.geomspace(1, 1 / condition, shape[0])) @ right.conj().T


# --- colour and whiten ----------------------------------------------------------------------------


@both_kinds
@pytest.mark.parametrize("data", ["real", "complex"])
def test_whitening_undoes_colouring(kind, data):
    covariance, white = NoiseCovariance(coloured_matrix(5, kind)), standard_normal((7, 5), data)
    coloured = covariance.colour(white)
    assert np.abs(coloured - white).max() > 0.1
    np.testing.assert_allclose(covariance.whiten(coloured), white, atol=1e-12)
    np.testing.assert_allclose(covariance.colour(covariance.whiten(white)), white, atol=1e-12)


@both_kinds
@pytest.mark.parametrize(("shape", "axis"), [((5,), 0), ((5, 3), 0), ((2, 5, 3), 1), ((2, 5, 3), -2), ((2, 3, 5), -1)])
def test_whitening_acts_on_the_chosen_axis(kind, shape, axis):
    covariance, values = NoiseCovariance(coloured_matrix(5, kind)), standard_normal(shape, "complex")
    inverse = np.linalg.inv(np.linalg.cholesky(covariance.matrix))
    expected = np.moveaxis(np.tensordot(inverse, values, axes=(1, axis)), 0, axis)
    before = values.copy()
    np.testing.assert_allclose(covariance.whiten(values, axis=axis), expected, atol=1e-12)
    np.testing.assert_array_equal(values, before)


def test_no_rows_and_integers_are_whitened():
    covariance = NoiseCovariance(4 * np.eye(3))
    assert covariance.whiten(np.empty((0, 3))).shape == (0, 3)
    np.testing.assert_array_equal(covariance.whiten(np.array([2, 4, 6])), [1, 2, 3])


@both_kinds
def test_coloured_complex_noise_is_circular_and_has_the_covariance(kind):
    matrix = coloured_matrix(4, kind)
    measured, pseudo = sample_covariance(NoiseCovariance(matrix).colour(standard_normal((N, 4), "complex")))
    assert_within_errors(measured, matrix)
    power = np.outer(*2 * [np.diagonal(matrix).real])
    assert (np.abs(pseudo) < 5 * np.sqrt(2 * power / N)).all()
    if kind == "complex":
        assert np.abs(measured - matrix.conj()).max() > 20 / np.sqrt(N)  # the conjugate would be told


def test_coloured_real_noise_has_the_covariance():
    matrix = coloured_matrix(4, "real")
    noise = NoiseCovariance(matrix).colour(standard_normal((N, 4), "real"))
    assert noise.dtype == np.float64
    assert_within_errors(sample_covariance(noise)[0], matrix)


@pytest.mark.parametrize("data", ["real", "complex"])
def test_the_identity_leaves_noise_white(data):
    white = standard_normal((3, 4), data)
    covariance = NoiseCovariance(np.eye(4))
    np.testing.assert_array_equal(covariance.colour(white), white)
    np.testing.assert_array_equal(covariance.whiten(white), white)


def test_one_point():
    covariance = NoiseCovariance([[9.0]])
    assert covariance.size == 1
    np.testing.assert_allclose(covariance.colour(np.ones((2, 1))), [[3.0], [3.0]])


@both_kinds
def test_what_a_covariance_tells_of_itself(kind):
    matrix = coloured_matrix(5, kind)
    covariance = NoiseCovariance(matrix)
    assert covariance.size == 5
    assert covariance.is_complex is (kind == "complex")
    np.testing.assert_allclose(covariance.matrix, matrix, rtol=1e-14)


def test_a_complex_matrix_without_phases_is_no_complex_covariance():
    """Such as one out of a computation in complex numbers: it holds for real data, too."""
    covariance = NoiseCovariance(coloured_matrix(5, "real").astype(complex))
    assert not covariance.is_complex
    assert covariance == NoiseCovariance(coloured_matrix(5, "real"))


def test_matrices_are_read_from_lists_and_integers():
    np.testing.assert_array_equal(NoiseCovariance([[2, 1], [1, 2]]).matrix, [[2.0, 1.0], [1.0, 2.0]])


def test_rounding_errors_of_a_hermitian_matrix_are_forgiven():
    matrix = coloured_matrix(5, "complex")
    covariance = NoiseCovariance(matrix + 1e-13 * standard_normal((5, 5), "complex"))
    np.testing.assert_array_equal(covariance.matrix, covariance.matrix.conj().T)


# --- from a square root ---------------------------------------------------------------------------


@both_kinds
@pytest.mark.parametrize("n_columns", [5, 6, 40])
def test_a_root_gives_what_its_matrix_gives(kind, n_columns):
    root = standard_normal((5, n_columns), kind)
    covariance, expected = NoiseCovariance.from_square_root(root), NoiseCovariance(root @ root.conj().T)
    np.testing.assert_allclose(covariance.matrix, expected.matrix, rtol=1e-13)
    values = standard_normal((3, 5), "complex", 2)
    # Not only up to a phase: both have the Cholesky factor, whose diagonal is positive.
    np.testing.assert_allclose(covariance.whiten(values), expected.whiten(values), rtol=1e-9)
    np.testing.assert_allclose(covariance.colour(values), expected.colour(values), rtol=1e-9)


@both_kinds
def test_a_cholesky_factor_is_kept(kind):
    lower = np.linalg.cholesky(coloured_matrix(5, kind))
    colour = NoiseCovariance.from_square_root(lower).colour(np.eye(5))
    np.testing.assert_allclose(colour, lower.T, atol=1e-13)


@both_kinds
def test_any_root_of_a_matrix_will_do(kind):
    root = standard_normal((5, 8), kind)
    unitary = np.linalg.qr(standard_normal((8, 8), "complex", 2))[0]
    covariance, rotated = (NoiseCovariance.from_square_root(r) for r in (root, root @ unitary))
    np.testing.assert_allclose(rotated.colour(np.eye(5)), covariance.colour(np.eye(5)), atol=1e-12)


def orthonormality_error(covariance, root):
    """L^-1 R has orthonormal rows."""
    rows = covariance.whiten(root, axis=0)
    return np.abs(rows @ rows.conj().T - np.eye(len(root))).max()


@both_kinds
def test_an_ill_conditioned_root_keeps_digits_that_its_matrix_loses(kind):
    """The condition of the matrix is 1e10, or the square of what float64 holds."""
    root = root_of_condition(1e5, kind)
    matrix = NoiseCovariance(root @ root.conj().T)
    assert orthonormality_error(NoiseCovariance.from_square_root(root), root) < 1e-10
    assert orthonormality_error(matrix, root) > 1e-9
    worse = root_of_condition(1e10, kind)
    assert orthonormality_error(NoiseCovariance.from_square_root(worse), worse) < 1e-5


# --- from samples ---------------------------------------------------------------------------------


@both_kinds
def test_samples_tell_the_covariance_and_the_noise_level(kind):
    matrix = coloured_matrix(4, kind)
    noise = 0.3 * NoiseCovariance(matrix).colour(standard_normal((N, 4), kind))
    measured = NoiseCovariance.from_samples(noise)
    assert measured.is_complex is (kind == "complex")
    assert_within_errors(measured.matrix, 0.09 * matrix)


@both_kinds
def test_samples_of_a_noise_model_give_its_noise_back(kind):
    model = NoiseModel(0.2, covariance=coloured_matrix(4, kind))
    noise = model.add_to(
        np.zeros((N, 4), {"real": float, "complex": complex}[kind]), np.random.default_rng(0), real=kind == "real"
    )
    assert_within_errors(NoiseCovariance.from_samples(noise).matrix, 0.04 * model.covariance.matrix)


@both_kinds
def test_samples_whitened_by_their_own_covariance_are_white(kind):
    noise = NoiseCovariance(coloured_matrix(4, kind)).colour(standard_normal((50, 4), kind))
    white = NoiseCovariance.from_samples(noise).whiten(noise)
    np.testing.assert_allclose(sample_covariance(white)[0], np.eye(4), atol=1e-12)


# --- compression ----------------------------------------------------------------------------------


@both_kinds
@pytest.mark.parametrize("basis_kind", ["real", "complex"])
def test_compressed_covariance_is_that_of_compressed_noise(kind, basis_kind, draw_basis):
    covariance, basis = NoiseCovariance(coloured_matrix(6, kind)), draw_basis(6, 3, basis_kind)
    compressed = covariance.compress(basis)
    assert compressed.size == 3
    noise = covariance.colour(standard_normal((N, 6), "complex"))
    assert_within_errors(sample_covariance(noise @ basis)[0], compressed.matrix)
    np.testing.assert_allclose(compressed.matrix, basis.T @ covariance.matrix @ basis.conj(), atol=1e-12)
    if basis_kind == "complex":  # the conjugate stands where it should
        wrong = basis.conj().T @ covariance.matrix @ basis
        assert np.abs(sample_covariance(noise @ basis)[0] - wrong).max() > 20 / np.sqrt(N)


def test_white_noise_stays_white_under_compression(draw_basis):
    compressed = NoiseCovariance(np.eye(6)).compress(draw_basis(6, 3, "complex"))
    np.testing.assert_allclose(compressed.matrix, np.eye(3), atol=1e-12)


def test_a_real_basis_keeps_real_noise_real(draw_basis):
    assert not NoiseCovariance(coloured_matrix(6, "real")).compress(draw_basis(6, 3)).is_complex


@both_kinds
def test_compression_in_two_steps_is_that_in_one(kind, draw_basis):
    covariance = NoiseCovariance(coloured_matrix(6, kind))
    first, second = draw_basis(6, 4, kind), draw_basis(4, 2, kind)
    twice = covariance.compress(first).compress(second)
    np.testing.assert_allclose(twice.matrix, covariance.compress(first @ second).matrix, atol=1e-12)


@both_kinds
def test_compression_of_an_ill_conditioned_root_keeps_its_digits(kind, draw_basis):
    root, basis = root_of_condition(1e10, kind), draw_basis(6, 6, kind)
    compressed = NoiseCovariance.from_square_root(root).compress(basis)
    assert orthonormality_error(compressed, basis.T @ root) < 1e-5


# --- an object among others -----------------------------------------------------------------------

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda covariance: pickle.loads(pickle.dumps(covariance)),
    "clone of an estimator": lambda c: clone(NLLSEstimator(MonoExponentialModel([0.1, 0.2]), covariance=c)).covariance,
    "deepcopy of a noise model": lambda covariance: copy.deepcopy(NoiseModel(covariance=covariance)).covariance,
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_copies_are_equal_to_the_last_bit(duplicate):
    covariance = NoiseCovariance.from_square_root(root_of_condition(1e10, "complex"))
    other, values = duplicate(covariance), standard_normal((2, 6), "complex")
    assert other == covariance
    assert hash(other) == hash(covariance)
    assert repr(other) == repr(covariance)
    np.testing.assert_array_equal(other.whiten(values), covariance.whiten(values))


@pytest.mark.parametrize("duplicate", [lambda covariance: covariance, *COPIES.values()], ids=["itself", *COPIES])
def test_is_immutable(duplicate):
    covariance = duplicate(NoiseCovariance(coloured_matrix(3, "complex")))
    with pytest.raises(AttributeError, match="NoiseCovariance is immutable"):
        covariance._matrix = np.eye(3)
    with pytest.raises(AttributeError, match="NoiseCovariance is immutable"):
        covariance.sigma = 2.0
    with pytest.raises(AttributeError):
        covariance.matrix = np.eye(3)
    with pytest.raises(ValueError, match="read-only"):
        covariance.matrix[0, 0] = 2.0
    with pytest.raises(ValueError, match="read-only"):
        covariance._lower[0, 0] = 2.0


def test_its_parts_cannot_be_deleted():
    with pytest.raises(AttributeError):
        del NoiseCovariance(np.eye(3))._matrix


@pytest.mark.parametrize("make", [NoiseCovariance, NoiseCovariance.from_square_root])
def test_does_not_follow_changes_of_the_array_it_came_from(make):
    matrix = 2 * np.eye(3)
    covariance = make(matrix)
    before = covariance.matrix.copy(), covariance.colour(np.eye(3))
    matrix[:] = 7
    np.testing.assert_array_equal(covariance.matrix, before[0])
    np.testing.assert_array_equal(covariance.colour(np.eye(3)), before[1])
    assert matrix.flags.writeable


def test_equal_matrices_make_equal_covariances():
    matrix = coloured_matrix(4, "complex")
    first, second = NoiseCovariance(matrix), NoiseCovariance(matrix.copy())
    assert first == second
    assert hash(first) == hash(second)
    assert repr(first) == repr(second)
    assert len({first, second}) == 1


@pytest.mark.parametrize(
    "other",
    [2 * np.eye(2), np.eye(3), np.diag([1, 1 + 1e-12]), [[1, 0.1], [0.1, 1]], [[1, 0.1j], [-0.1j, 1]]],
    ids=["scale", "size", "last digits", "correlation", "phase"],
)
def test_other_matrices_make_other_covariances(other):
    first, second = NoiseCovariance(np.eye(2)), NoiseCovariance(other)
    assert first != second
    assert repr(first) != repr(second)


def test_is_not_equal_to_an_array_or_none():
    covariance = NoiseCovariance(np.eye(2))
    assert covariance != "identity"
    assert covariance is not None
    assert (covariance == None) is False  # noqa: E711


@pytest.mark.parametrize(
    "same",
    [np.eye(3, dtype=complex), np.eye(3, dtype=np.float32), np.where(np.eye(3), 1, -0.0)],
    ids=["complex", "single precision", "negative zeros"],
)
def test_equal_covariances_have_equal_hashes(same):
    """Whatever kind of number holds the same values."""
    first, second = NoiseCovariance(np.eye(3)), NoiseCovariance(same)
    assert first != second or hash(first) == hash(second)


def test_repr_is_short():
    assert repr(NoiseCovariance(np.eye(300))).startswith("NoiseCovariance(300 x 300, float64, sha256 ")
    assert len(repr(NoiseCovariance(np.eye(300)))) < 80


# --- what is no covariance ------------------------------------------------------------------------

SINGULAR = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        (np.ones((3, 2)), ValueError, r"covariance must be square \(m, m\); got shape \(3, 2\)"),
        (np.ones(3), ValueError, "covariance must be 2-D"),
        (5.0, ValueError, "covariance must be 2-D"),
        (np.empty((0, 0)), ValueError, "covariance is empty"),
        ([[1.0, 2.0], [3.0]], ValueError, "covariance must be a regular array"),
        ([[1.0, 0.5], [0.4, 1.0]], ValueError, "covariance must be Hermitian"),
        ([[1.0, 0.5j], [0.5j, 1.0]], ValueError, "covariance must be Hermitian"),
        (np.diag([1.0, 1j]), ValueError, "covariance must be Hermitian"),
        ([[1.0, 2.0], [2.0, 1.0]], ValueError, "covariance must be positive definite"),
        (-np.eye(2), ValueError, "covariance must be positive definite"),
        (np.zeros((2, 2)), ValueError, "covariance must be positive definite"),
        (np.diag([1.0, 0.0]), ValueError, "covariance must be positive definite"),
        (SINGULAR, ValueError, "covariance must be positive definite"),
        (np.diag([1.0, np.nan]), ValueError, "covariance contains NaN or infinity"),
        (np.diag([1.0, np.inf]), ValueError, "covariance contains NaN or infinity"),
        ("white", TypeError, "covariance must hold numbers"),
        (None, (TypeError, ValueError), "covariance"),
    ],
)
def test_bad_matrices_are_refused(matrix, error, message):
    with pytest.raises(error, match=message):
        NoiseCovariance(matrix)


@both_kinds
@pytest.mark.parametrize(
    "make",
    [
        NoiseCovariance.from_square_root,
        lambda root: NoiseCovariance(root @ root.conj().T),
        lambda root: NoiseCovariance.from_samples(root.T),
    ],
    ids=["root", "matrix", "samples"],
)
def test_dependent_points_are_refused_whichever_way_rounding_falls(kind, make):
    """Else the whitening multiplies rounding errors with 1e8."""
    for seed in range(20):
        root = standard_normal((6, 30), kind, seed)
        root[5] = root[0] - root[1]
        with pytest.raises(ValueError, match=r"(root|covariance|noise) .*positive definite"):
            make(root)


@both_kinds
@pytest.mark.parametrize("scale", [1e-140, 1e-20, 1e20, 1e140])
def test_units_of_the_noise_do_not_matter(kind, scale):
    matrix, values = coloured_matrix(4, kind), standard_normal((2, 4), kind)
    np.testing.assert_allclose(
        NoiseCovariance(scale * matrix).whiten(np.sqrt(scale) * values), NoiseCovariance(matrix).whiten(values)
    )


@pytest.mark.parametrize("weakest", [1e-10, 1e-20])
def test_points_may_have_noise_of_any_size(weakest):
    """Units do not make a root rank-deficient."""
    levels = np.array([1.0, weakest, 1.0])
    root = levels[:, None] * standard_normal((3, 5), "real")
    for covariance in (NoiseCovariance(root @ root.T), NoiseCovariance.from_square_root(root)):
        expected = NoiseCovariance.from_square_root(root / levels[:, None]).whiten(np.eye(3))
        np.testing.assert_allclose(covariance.whiten(np.diag(levels)), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("root", "error", "message"),
    [
        (np.ones((3, 2)), ValueError, r"root must have at least as many columns as rows; got shape \(3, 2\)"),
        (np.ones((3, 4)), ValueError, "root must have full row rank"),
        (np.zeros((3, 3)), ValueError, "root must have full row rank"),
        (np.diag([1.0, 0.0, 1.0]), ValueError, "root must have full row rank"),
        (np.array([[1, 1j, 0], [1j, -1, 0]]), ValueError, "root must have full row rank"),
        (np.diag([1.0, np.nan]), ValueError, "root contains NaN or infinity"),
        (np.ones(3), ValueError, "root must be 2-D"),
        ("root", TypeError, "root must hold numbers"),
    ],
)
def test_bad_roots_are_refused(root, error, message):
    with pytest.raises(error, match=message):
        NoiseCovariance.from_square_root(root)


@pytest.mark.parametrize(
    ("noise", "error", "message"),
    [
        (np.ones((3, 4)), ValueError, r"noise must have more samples than columns; got shape \(3, 4\)"),
        (standard_normal((4, 4), "real"), ValueError, "noise must have more samples than columns"),
        (standard_normal((4, 4), "complex"), ValueError, "noise must have more samples than columns"),
        (np.full((9, 2), np.nan), ValueError, "noise contains NaN or infinity"),
        (np.ones(9), ValueError, "noise must be 2-D"),
        ("noise", TypeError, "noise must hold numbers"),
    ],
)
def test_bad_samples_are_refused(noise, error, message):
    with pytest.raises(error, match=message):
        NoiseCovariance.from_samples(noise)


@pytest.mark.parametrize(
    "use",
    [
        lambda covariance: covariance.colour(np.ones((2, 3))),
        lambda covariance: covariance.whiten(np.ones((2, 3))),
        lambda covariance: covariance.whiten(np.ones((4, 3)), axis=1),
        lambda covariance: covariance.whiten(np.ones((2, 4)), axis=0),
    ],
    ids=["colour", "whiten", "axis 1", "axis 0"],
)
def test_data_of_another_length_are_refused(use):
    with pytest.raises(ValueError, match=r"covariance is that of 4 points, but the data have [23]"):
        use(NoiseCovariance(np.eye(4)))


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (np.eye(5, 2), "basis must have one row for each of the signal's 4 time points; got 5"),
        (np.ones((4, 2)), "basis must have orthonormal columns"),
        (np.ones(4), "basis must be 2-D"),
    ],
)
def test_bases_that_do_not_fit_are_refused(basis, message):
    with pytest.raises(ValueError, match=message):
        NoiseCovariance(np.eye(4)).compress(basis)


# --- single precision -----------------------------------------------------------------------------


@both_kinds
def test_a_root_of_lower_rank_is_refused_in_single_precision(kind):
    root = standard_normal((5, 8), kind)
    root[4] = root[0] - root[1]
    with pytest.raises(ValueError, match="root must have full row rank"):
        NoiseCovariance.from_square_root(root.astype(np.complex64 if kind == "complex" else np.float32))


@both_kinds
def test_single_precision_samples_are_summed_in_double(kind):
    """Strongly correlated noise, as of neighbouring points, whose rounded samples are still independent."""
    noise = standard_normal((2000, 4), kind)
    noise[:, 1] = noise[:, 0] + 1e-4 * noise[:, 1]
    noise = noise.astype(np.complex64 if kind == "complex" else np.float32)
    wide = noise.astype(complex if kind == "complex" else float)
    expected = NoiseCovariance.from_samples(wide).whiten(wide)
    np.testing.assert_allclose(NoiseCovariance.from_samples(noise).whiten(wide), expected, atol=0.01)


@both_kinds
def test_a_matrix_formed_in_single_precision_is_hermitian_up_to_its_rounding(kind):
    root = standard_normal((40, 60), kind).astype(np.complex64 if kind == "complex" else np.float32)
    matrix = np.einsum("jq,kq->jk", root, root.conj())
    matrix[0, 1] *= 1 + np.finfo(np.float32).eps  # as the order of a sum changes it
    np.testing.assert_allclose(NoiseCovariance(matrix).matrix, matrix, rtol=1e-5)
