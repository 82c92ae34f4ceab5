"""What every signal model passes, and everything downstream of it with every model."""

import numpy as np
import pandas as pd
import pytest
from models import CASES
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from crbestim import (
    CRBEfficiencyScorer,
    CRBWeightedRegressor,
    NLLSEstimator,
    NoiseModel,
    Pipeline,
    SVDCompressor,
    bias_variance,
    cramer_rao_bound,
    make_fingerprints,
)


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request):
    return request.param


@pytest.fixture
def basis(case):
    return SVDCompressor(case.n_components).fit(case.model.signal(case.draw(50, seed=3))).basis_


def test_shapes_and_kinds(case, basis):
    model, theta = case.model, case.draw(3)
    n_parameters = len(model.parameters)
    dtype = np.float64 if model.real_valued else np.complex128
    for rows in (theta, theta[:1]):
        n = len(rows)
        for values, shape in (
            (model.signal(rows), (n, model.n_timepoints)),
            (model.jacobian(rows), (n, model.n_timepoints, n_parameters)),
            (model.signal(rows, basis=basis), (n, basis.shape[1])),
            (model.jacobian(rows, basis=basis), (n, basis.shape[1], n_parameters)),
        ):
            assert values.shape == shape
            assert values.dtype == dtype
            assert np.isfinite(values).all()
    shuffled = theta[theta.columns[::-1]]
    np.testing.assert_array_equal(model.signal(shuffled), model.signal(theta.to_numpy()))
    assert clone(model) is model
    np.testing.assert_allclose(model.signal(theta, basis=basis), model.signal(theta) @ basis, atol=1e-12)


def test_jacobian_by_finite_differences_in_every_sample(case):
    model, theta = case.model, case.draw(12, seed=1)
    tolerance = 1e-4 if "McConnell" in type(model).__name__ else 1e-6  # the reference model differentiates like this
    jacobian = model.jacobian(theta)
    for column, (name, (low, high)) in enumerate(case.ranges.items()):
        step = 1e-3 * (high - low)
        ends = [model.signal(theta.assign(**{name: theta[name] + i * step})) for i in (-2, -1, 1, 2)]
        difference = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * step)
        error = np.linalg.norm(difference - jacobian[:, :, column], axis=1)
        assert (error < tolerance * np.linalg.norm(jacobian[:, :, column], axis=1)).all(), name


def test_bounds_are_ordered(case, basis):
    model, theta = case.model, case.draw(5)
    targets = case.free[:1]
    full = model.crb(theta, targets, known=case.known)
    assert (full > 0).all()
    assert np.isfinite(full).all()
    assert (model.crb(theta, targets, basis=basis, known=case.known) >= full * (1 - 1e-9)).all()
    others = [name for name in model.parameter_names if name not in targets]
    assert (model.crb(theta, targets, known=others) <= full * (1 + 1e-9)).all()
    identity = np.eye(model.n_timepoints)
    np.testing.assert_allclose(model.crb(theta, targets, known=case.known, covariance=identity), full, rtol=1e-6)
    np.testing.assert_allclose(
        model.crb(theta, targets, known=case.known, covariance=4 * identity), 4 * full, rtol=1e-6
    )


def test_bound_is_that_of_the_jacobian_with_both_parts_of_m0(case):
    model, theta = case.model, case.draw(4)
    signal = model.signal(theta)[:, :, None]
    free = [model.parameter_names.index(name) for name in case.free]
    columns = np.concatenate([model.jacobian(theta)[:, :, free], signal, 1j * signal], axis=2)
    np.testing.assert_allclose(
        model.crb(theta, case.free, known=case.known), cramer_rao_bound(columns)[:, : len(free)], rtol=1e-6
    )


def test_least_squares_reaches_the_bound(case):
    """Monte Carlo: variance of N fits at high SNR within four standard errors of the bound, and no bias."""
    model, n = case.model, 150
    clean = np.repeat(model.signal(case.truth), n, axis=0)
    noise = NoiseModel.at_snr(case.snr)
    noisy = noise.add_to(clean, np.random.default_rng(0), real=model.real_valued)
    assert noisy.dtype == clean.dtype
    covariates = pd.DataFrame(case.truth, columns=model.parameter_names)[list(case.known)]
    covariates = covariates.loc[np.zeros(n, dtype=int)] if case.known else None
    estimator = NLLSEstimator(
        model, case.free, prior=case.prior, known=case.known, n_starts=case.n_starts, n_candidates=256, verbose=0,
        random_state=0,
    ).fit()  # fmt: skip
    estimate = estimator.predict(noisy, covariates=covariates)
    bound = model.crb(case.truth, case.free, known=case.known)[0] / case.snr**2
    truth = pd.DataFrame(case.truth, columns=model.parameter_names)[list(case.free)].to_numpy()[0]
    assert (np.sqrt(bound) < 0.2 * np.ptp([case.ranges[name] for name in case.free], axis=1)).all()
    assert np.abs(estimate.var(axis=0, ddof=1) / bound - 1).max() < 4 * np.sqrt(2 / (n - 1))
    assert (np.abs(estimate.mean(axis=0) - truth) < 4 * np.sqrt(bound / n)).all()


def test_short_training_end_to_end(case):
    """The same lines for every model: data, network, scores, coefficients."""
    known = {"known": case.known}
    noise = NoiseModel(m0_range=(0.5, 1.0), noise_std=1 / case.snr)
    train = make_fingerprints(case.model, case.prior, 2000, random_state=0, progress=False, **known)
    test = make_fingerprints(case.model, case.prior, 200, random_state=1, progress=False, **known)
    pipe = Pipeline(
        [SVDCompressor(case.n_components), CRBWeightedRegressor(noise=noise, max_epochs=10, verbose=0, random_state=0)]
    )
    extra = {"covariates": train.covariates} if case.known else {}
    pipe.fit(train.X, train.y, crb=train.crb, **extra)
    history = pipe[-1].history_["valid_loss"]
    assert history.iloc[-1] < 0.5 * history.iloc[0]
    extra = {"covariates": test.covariates} if case.known else {}
    score = CRBEfficiencyScorer(noise=noise, n_realizations=5, random_state=0)(
        pipe, test.X, test.y, crb=test.crb, **extra
    )
    assert 0 < score <= 1
    table = bias_variance(
        pipe, test.X, test.y, test.crb, snr=case.snr, n_realizations=5, random_state=0, progress=False, **extra
    )
    assert np.isfinite(table["crb_loss"]).all()
    assert (table["std"] > 0).all()
    predicted = pipe.predict(test.X, **extra)
    np.testing.assert_allclose(
        pipe.predict_coefficients(test.X @ pipe[0].basis_, **extra), predicted, rtol=1e-4, atol=1e-6 * np.ptp(test.y)
    )


def test_cross_validation_with_routing(case):
    data = make_fingerprints(case.model, case.prior, 300, random_state=0, progress=False, known=case.known)
    pipe = Pipeline([SVDCompressor(case.n_components), CRBWeightedRegressor(max_epochs=1, verbose=0, random_state=0)])
    params = {"crb": data.crb} | ({"covariates": data.covariates} if case.known else {})
    scorer = CRBEfficiencyScorer(noise=NoiseModel.at_snr(case.snr), n_realizations=2, random_state=0)
    with config_context(enable_metadata_routing=True):
        scores = cross_val_score(pipe, data.X, data.y, cv=2, params=params, scoring=scorer, error_score="raise")
    assert ((scores > 0) & (scores <= 1)).all()
