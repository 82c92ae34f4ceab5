import numpy as np
import pandas as pd
import pytest
from scipy.linalg import svd
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from crbestim import SVDCompressor


def signals(n=200, n_timepoints=40, rank=12, complex_valued=True, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n, rank), (rank, n_timepoints)
    left, right = (rng.normal(size=s) + 1j * complex_valued * rng.normal(size=s) for s in shape)
    X = (left * 2.0 ** -np.arange(rank)) @ right
    return X if complex_valued else X.real


@pytest.mark.parametrize("complex_valued", [True, False])
@pytest.mark.parametrize("n", [200, 25])
def test_basis_spans_the_largest_singular_vectors(complex_valued, n):
    X = signals(n, complex_valued=complex_valued)
    compressor = SVDCompressor(5).fit(X)
    _, singular, right = svd(X, full_matrices=False)
    overlap = np.abs(right[:5] @ compressor.basis_)
    np.testing.assert_allclose(overlap, np.eye(5), atol=1e-7)
    np.testing.assert_allclose(compressor.explained_energy_ratio_, singular[:5] ** 2 / (singular**2).sum(), rtol=1e-8)
    assert compressor.basis_.dtype.kind == ("c" if complex_valued else "f")


def test_basis_of_real_signals_in_a_complex_array_is_real():
    assert SVDCompressor(3).fit(signals(complex_valued=False).astype(complex)).basis_.dtype == np.float64


def test_the_largest_entry_of_each_vector_is_real_and_positive():
    basis = SVDCompressor(5).fit(signals()).basis_
    largest = basis[np.abs(basis).argmax(axis=0), np.arange(5)]
    np.testing.assert_allclose(largest.imag, 0, atol=1e-12)
    assert (largest.real > 0).all()


def test_output_is_stacked_real_and_expands_again():
    X = signals()
    compressor = SVDCompressor(12).fit(X)
    Z = compressor.transform(X)
    assert Z.shape == (200, 24)
    assert Z.dtype == np.float64
    coefficients = X @ compressor.basis_
    np.testing.assert_allclose(Z, np.hstack([coefficients.real, coefficients.imag]))
    np.testing.assert_allclose(compressor.inverse_transform(Z), X, atol=1e-9)
    np.testing.assert_allclose(compressor.stack_coefficients(coefficients), Z)


def test_energy_is_that_of_the_projection():
    X = signals()
    compressor = SVDCompressor(4).fit(X)
    projected = compressor.inverse_transform(compressor.transform(X))
    share = np.linalg.norm(projected) ** 2 / np.linalg.norm(X) ** 2
    assert compressor.explained_energy_ratio_.sum() == pytest.approx(share)


def test_a_given_basis_is_used_as_it_is():
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(40, 6)))[0]
    X = signals()
    compressor = SVDCompressor(basis=basis).fit(X)
    np.testing.assert_array_equal(compressor.basis_, basis)
    assert compressor.n_components_ == 6
    energy = np.linalg.norm(X @ basis, axis=0) ** 2 / np.linalg.norm(X) ** 2
    np.testing.assert_allclose(compressor.explained_energy_ratio_, energy)
    np.testing.assert_array_equal(clone(compressor).basis, basis)


def test_single_precision_is_kept():
    X = signals().astype(np.complex64)
    compressor = SVDCompressor(5).fit(X)
    assert compressor.basis_.dtype == np.complex64
    assert compressor.transform(X).dtype == np.float32


def test_set_output_gives_a_labelled_frame():
    X = signals()
    frame = SVDCompressor(2).set_output(transform="pandas").fit_transform(X)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["real0", "real1", "imag0", "imag1"]


@pytest.mark.parametrize(
    ("X", "arguments", "message"),
    [
        (signals(n=10), {"n_components": 11}, "n_components=11 exceeds the rank"),
        (signals(rank=3), {"n_components": 4}, "n_components=4 exceeds the numerical rank of X, 3"),
        (np.zeros((50, 40), complex), {"n_components": 1}, "exceeds the numerical rank of X, 0"),
        (signals(), {"n_components": 0}, "n_components must be at least 1"),
        (signals(), {"basis": np.eye(39)[:, :3]}, "basis must have one row for each of the signal's 40"),
        (signals(), {"basis": np.ones((40, 3))}, "basis must have orthonormal columns"),
        (np.where(np.arange(40) == 3, np.nan, signals()), {}, "X contains NaN or infinity"),
        (signals()[0], {}, "X must be 2-D"),
    ],
)
def test_bad_input_is_named(X, arguments, message):
    with pytest.raises(ValueError, match=message):
        SVDCompressor(**arguments).fit(X)


def test_wrong_types_are_named():
    with pytest.raises(TypeError, match="n_components must be an integer"):
        SVDCompressor(2.5).fit(signals())
    compressor = SVDCompressor(3).fit(signals())
    with pytest.raises(TypeError, match="C must be complex"):
        compressor.stack_coefficients(np.ones((4, 3)))
    with pytest.raises(TypeError, match="X must be real"):
        compressor.inverse_transform(np.ones((4, 6), complex))


def test_real_signals_after_a_complex_fit_are_refused():
    compressor = SVDCompressor(3).fit(signals())
    with pytest.raises(TypeError, match="X must be complex, as it was in fit"):
        compressor.transform(np.abs(signals()))


def test_mismatched_columns_are_named():
    compressor = SVDCompressor(3).fit(signals())
    with pytest.raises(ValueError, match="39 features, but SVDCompressor is expecting 40"):
        compressor.transform(signals()[:, :39])
    with pytest.raises(ValueError, match="C must have 3 columns"):
        compressor.stack_coefficients(np.ones((4, 5), complex))
    with pytest.raises(ValueError, match="X must have 6 columns"):
        compressor.inverse_transform(np.ones((4, 5)))


def test_transform_needs_fit():
    with pytest.raises(NotFittedError):
        SVDCompressor().transform(signals())


def test_a_complex_basis_is_refused_for_real_data():
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 4)).view(complex))[0]
    X = np.random.default_rng(1).normal(size=(5, 6))
    with pytest.raises(ValueError, match="basis must be real for real X"):
        SVDCompressor(basis=basis).fit(X)
