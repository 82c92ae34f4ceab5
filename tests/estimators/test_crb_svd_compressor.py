import numpy as np
import pytest
from models import CASES, TRAIN
from scipy import stats
from sklearn.base import clone
from tissues import tissue

from crbestim import (
    CRBSVDCompressor,
    CRBWeightedRegressor,
    MTBlochModel,
    MTHybridStateModel,
    Pipeline,
    SVDCompressor,
    make_fingerprints,
    paper_prior,
)
from crbestim.estimators._crb_svd_compressor import _telling_parts
from crbestim.signal import _base

MODEL = MTHybridStateModel(TRAIN)
TARGETS = ("m0s", "T1", "T2f")


def fitted(n_components=9, model=MODEL, **options):
    return CRBSVDCompressor(model, n_components, **({"n_samples": 512, "random_state": 0} | options)).fit()


def inflation(basis, model=MODEL, seed=9, prior=None):
    tissues = (prior or paper_prior()).sample(2000, random_state=seed)
    return np.median(np.sqrt(model.crb(tissues, basis=basis) / model.crb(tissues)), axis=0)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_telling_parts_are_orthogonal_to_all_other_columns(kind):
    rng = np.random.default_rng(0)
    jacobian = rng.standard_normal((5, 20, 6))
    if kind == "complex":
        jacobian = jacobian + 1j * rng.standard_normal((5, 20, 6))
    parts = _telling_parts(jacobian, 2).reshape(5, 2, 20)
    products = np.einsum("npt,ntq->npq", parts.conj(), jacobian).real
    assert (products[:, [0, 1], [0, 1]] > 0.1).all()
    products[:, [0, 1], [0, 1]] = 0
    np.testing.assert_allclose(products, 0, atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(parts, axis=2), 1)


def test_samples_without_a_bound_have_no_telling_part():
    jacobian = np.random.default_rng(0).standard_normal((4, 10, 3))
    jacobian[1, :, 2] = 0
    jacobian[2, :, 0] = 2 * jacobian[2, :, 1]
    assert _telling_parts(jacobian, 3).shape == (6, 10)


@pytest.mark.parametrize("model", [MODEL, MTBlochModel(TRAIN)], ids=["real signal", "complex signal"])
def test_a_basis_with_the_telling_parts_of_a_tissue_keeps_its_bound(model):
    theta = tissue()
    ((_, unknowns),) = model._stream_unknowns(theta, TARGETS, None, ())
    basis = np.linalg.qr(_telling_parts(unknowns, 3).conj().T)[0]
    padded = np.linalg.qr(np.hstack([basis, np.random.default_rng(0).standard_normal((60, 6))]))[0]
    np.testing.assert_allclose(model.crb(theta, basis=padded), model.crb(theta), rtol=1e-6)


def test_it_inflates_the_bound_less_than_singular_vectors_do():
    ours = fitted()
    theirs = SVDCompressor(9).fit(MODEL.signal(paper_prior().sample(512, random_state=0)))
    compressed = inflation(ours.basis_)
    assert (compressed < inflation(theirs.basis_)).all()
    np.testing.assert_allclose(ours.inflation_, compressed, rtol=0.1)  # held-out tissues of another seed
    assert tuple(ours.inflation_.index) == TARGETS
    assert 0 < ours.weight_ < 1
    np.testing.assert_allclose(ours.basis_.T @ ours.basis_, np.eye(9), atol=1e-12)
    assert ours.basis_.dtype == np.float64
    signals = MODEL.signal(paper_prior().sample(500, random_state=3)).real
    signals /= np.linalg.norm(signals, axis=1, keepdims=True)
    kept = ((signals @ ours.basis_) ** 2).sum() / 500
    assert ours.explained_energy_ratio_.sum() == pytest.approx(kept, abs=5e-3)


def test_weight_zero_gives_the_singular_vectors_of_normalised_signals():
    compressor = fitted(9, weight=0.0, n_samples=64)
    seed = int(np.random.RandomState(0).randint(2**31 - 1))
    signals = MODEL.signal(paper_prior(TRAIN.repetition_time).sample(64 + 512, random_state=seed))[:64].real
    svd = SVDCompressor(9).fit(signals / np.linalg.norm(signals, axis=1, keepdims=True))
    np.testing.assert_allclose(np.abs(np.diag(compressor.basis_.T @ svd.basis_)), 1, atol=1e-6)


def test_the_automatic_weight_is_the_best_of_all():
    def score(compressor):
        return np.exp(np.log(compressor.inflation_).mean()) / np.sqrt(compressor.explained_energy_ratio_.sum())

    best = score(fitted())
    for weight in (0.0, 0.1, 0.4, 0.8):
        assert best <= score(fitted(weight=weight))


def test_the_automatic_size_is_the_least_within_the_tolerance():
    compressor = fitted("auto", tolerance=0.1)
    size = compressor.n_components_
    assert (compressor.inflation_ <= 1.1).all()
    assert compressor.basis_.shape == (60, size)
    for weight in (0.05, 0.2, 0.4, 0.6):
        assert (fitted(size - 1, weight=weight).inflation_ > 1.1).any()


def test_chunks_do_not_matter(monkeypatch):
    whole = fitted(10)
    monkeypatch.setattr(_base, "_CHUNK_BYTES", 200_000)
    np.testing.assert_allclose(fitted(10).basis_, whole.basis_, atol=1e-8)


def test_known_parameters_and_other_targets():
    compressor = fitted(9, targets=("T1", "B1"), known="B0")
    assert list(compressor.inflation_.index) == ["T1", "B1"]
    with pytest.raises(ValueError, match="targets and known must not share"):
        fitted(targets="T1", known="T1")


def test_in_a_pipeline_with_real_data():
    case = CASES["inversion recovery with MT, Graham"]
    data = make_fingerprints(case.model, case.prior, 600, random_state=0, progress=False)
    compressor = CRBSVDCompressor(case.model, "auto", prior=case.prior, n_samples=256, random_state=0)
    pipe = Pipeline([compressor, CRBWeightedRegressor(max_epochs=1, verbose=0, random_state=0)])
    pipe.fit(data.X, data.y, crb=data.crb)
    coefficients = data.X[:4] @ pipe[0].basis_
    assert coefficients.dtype == np.float64
    np.testing.assert_allclose(pipe.predict_coefficients(coefficients), pipe.predict(data.X[:4]), rtol=1e-4)
    assert clone(pipe)[0].model is case.model


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "mt"}, TypeError, "model must be a SignalModel"),
        ({"n_components": 61}, ValueError, "n_components=61 exceeds the 60 time points"),
        ({"n_components": 0}, ValueError, "n_components must be at least 1"),
        ({"n_components": "automatic"}, ValueError, "n_components must be one of"),
        ({"weight": 1.0}, ValueError, r"weight must lie in \[0, 1\)"),
        ({"weight": "some"}, TypeError, "weight must be a number or 'auto'"),
        ({"n_components": "auto", "tolerance": -0.1}, ValueError, "tolerance must be positive"),
        ({"n_components": "auto", "tolerance": 1e-12}, ValueError, "tolerance=1e-12 is not kept by"),
        ({"n_components": 7}, ValueError, "n_components=7 are too few"),
        ({"n_samples": 1}, ValueError, "n_samples must be at least 2"),
        ({"targets": "T2"}, ValueError, "targets contains"),
        ({"prior": stats.norm()}, TypeError, "prior must be a Prior"),
    ],
)
def test_bad_settings_are_named(options, error, message):
    with pytest.raises(error, match=message):
        fitted(**options)


def test_signals_of_another_length_are_refused():
    with pytest.raises(ValueError, match="X must have the model's 60 time points; got 59"):
        CRBSVDCompressor(MODEL, 4).fit(np.ones((3, 59), dtype=complex))
