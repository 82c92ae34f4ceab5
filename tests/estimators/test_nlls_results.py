"""What a fit tells of each voxel: status, M0, covariance; starts, batches, checkpoints."""

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from killed import kill_when
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from crbestim import (
    CRBWeightedRegressor,
    DictionaryMatcher,
    FitStatus,
    FunctionModel,
    InversionRecoveryModel,
    MonoExponentialModel,
    NLLSEstimator,
    NoiseModel,
    Parameter,
    Pipeline,
    Prior,
    SVDCompressor,
    make_fingerprints,
    paper_prior,
    read_results,
)

TIMES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.2, 2.0, 4.0)
RECOVERY = InversionRecoveryModel(TIMES)
REAL_RECOVERY = InversionRecoveryModel(TIMES, data="real")
PRIOR = Prior({"T1": stats.uniform(0.5, 1.5), "efficiency": stats.uniform(0.7, 0.3)})


def nlls(model=RECOVERY, **options):
    options = {"prior": PRIOR if model in (RECOVERY, REAL_RECOVERY) else None, "n_candidates": 256} | options
    return NLLSEstimator(model, verbose=0, random_state=0, **options)


def noisy_data(n=40, snr=100.0, model=RECOVERY, seed=0):
    theta = PRIOR.sample(n, random_state=seed)
    clean = model.signal(theta)
    return theta.to_numpy(), NoiseModel.at_snr(snr).add_to(clean, np.random.default_rng(seed), real=model.real_valued)


@pytest.fixture(scope="module")
def basis(model):
    return SVDCompressor(13).fit(model.signal(paper_prior().sample(500, random_state=5))).basis_


@pytest.fixture(scope="module")
def coefficients(model, basis):
    """Of 120 tissues at an SNR of 100."""
    tissues = paper_prior().sample(120, random_state=3)
    clean = model.signal(tissues, basis=basis)
    return tissues, NoiseModel.at_snr(100).add_to(clean, np.random.default_rng(0))


# --- what a voxel's result holds -------------------------------------------------------------------


def test_each_voxel_has_a_status_and_the_neighbours_are_not_disturbed():
    _, X = noisy_data(6)
    expected = nlls().fit().estimate(X[[0, 3, 5]])
    X[1] = 0
    X[2, 3] = np.nan
    X[4, 0] = np.inf
    result = nlls().fit().estimate(X)
    assert [FitStatus(status).name for status in result.status[[1, 2, 4]]] == [
        "NO_SIGNAL",
        "INVALID_INPUT",
        "INVALID_INPUT",
    ]
    for name in ("theta", "targets", "m0", "residual_norm", "covariance", "noise_std", "std"):
        assert np.isnan(getattr(result, name)[[1, 2, 4]]).all(), name
        np.testing.assert_allclose(getattr(result, name)[[0, 3, 5]], getattr(expected, name), rtol=1e-9)
    np.testing.assert_array_equal(result.status[[0, 3, 5]], expected.status)
    assert "INVALID_INPUT 2" in repr(result)
    table = result.to_frame()
    assert table.columns[:4].tolist() == ["T1", "efficiency", "T1_std", "efficiency_std"]
    assert table["status"][1] == "NO_SIGNAL"


def test_data_without_any_voxel_to_fit_give_nan():
    result = nlls().fit().estimate(np.zeros((3, 8), complex))
    assert np.isnan(result.targets).all()
    assert (result.status == FitStatus.NO_SIGNAL).all()


def test_status_tells_convergence_bounds_and_iterations():
    X = RECOVERY.signal([[1.0, 0.85], [2.05, 0.85]])  # the prior of T1 ends at 2 s
    result = nlls().fit().estimate(X)
    assert [FitStatus(status) for status in result.status] == [FitStatus.CONVERGED, FitStatus.AT_BOUND]
    np.testing.assert_array_equal(result.at_bound, [[False, False], [True, False]])
    assert result.theta[1, 0] == pytest.approx(2.0)
    stopped = nlls(max_iterations=1, n_starts=1).fit().estimate(X)
    assert (stopped.status == FitStatus.MAX_ITERATIONS).all()
    assert (stopped.n_iterations == 1).all()
    assert np.isfinite(stopped.targets).all()


@pytest.mark.parametrize("model", [RECOVERY, REAL_RECOVERY], ids=["complex", "real"])
def test_m0_and_residual_are_those_of_the_fit(model):
    _, X = noisy_data(model=model)
    X = 321 * X * (1 if model.real_valued else np.exp(0.7j))
    result = nlls(model).fit().estimate(X)
    s = model.signal(result.theta)
    m0 = (s.conj() * X).sum(axis=1) / (np.abs(s) ** 2).sum(axis=1)
    np.testing.assert_allclose(result.m0, m0, rtol=1e-9)
    np.testing.assert_allclose(result.residual_norm, np.linalg.norm(X - m0[:, None] * s, axis=1), rtol=1e-6)
    if model.real_valued:
        assert (result.m0.imag == 0).all()
        assert (result.m0.real > 0).all()


@pytest.mark.parametrize("model", [RECOVERY, REAL_RECOVERY], ids=["complex", "real"])
@pytest.mark.parametrize("known", [(), ("efficiency",)])
def test_the_covariance_is_that_of_the_estimates(model, known):
    """Monte Carlo, with the noise level estimated from the residuals: covariance, and share within one std."""
    n, truth = 1_500, np.array([[1.0, 0.85]])
    clean = np.repeat(model.signal(truth), n, axis=0)
    X = 50 * NoiseModel.at_snr(300).add_to(clean, np.random.default_rng(0), real=model.real_valued)
    targets = tuple(name for name in model.parameter_names if name not in known)
    estimator = nlls(model, targets=targets, known=known).fit()
    covariates = np.full((n, 1), 0.85) if known else None
    result = estimator.estimate(X, covariates=covariates)
    estimate, std = estimator.predict(X, covariates=covariates, return_std=True)
    np.testing.assert_array_equal(estimate, result.targets)
    np.testing.assert_array_equal(std, result.std)
    assert np.sqrt((result.noise_std**2).mean()) == pytest.approx(50 / 300, rel=0.05)
    fixed = nlls(model, targets=targets, known=known, noise_std=50 / 300).fit().estimate(X, covariates=covariates)
    measured, told = np.atleast_2d(np.cov(estimate.T)), fixed.covariance.mean(axis=0)
    scale = np.sqrt(np.outer(np.diag(told), np.diag(told)))
    assert np.abs((measured - told) / scale).max() < 4 * np.sqrt(2 / n)
    bound = model.crb(truth, targets, known=known)[0] / 300**2
    np.testing.assert_allclose(np.median(fixed.std, axis=0) ** 2, bound, rtol=0.03)
    within = np.abs(estimate - truth[:, : len(targets)]) < fixed.std
    assert np.abs(within.mean(axis=0) - 0.683).max() < 4 * np.sqrt(0.683 * 0.317 / n)


def test_the_covariance_in_compressed_data_is_the_compressed_bound(model, basis, coefficients):
    _, C = coefficients
    names = model.parameter_names
    result = nlls(model, targets=names, basis=basis, noise_std=0.01).fit().estimate(C[:8])
    bound = model.crb(result.theta, names, basis=basis) * (0.01 / np.abs(result.m0[:, None])) ** 2
    np.testing.assert_allclose(result.std**2, bound, rtol=1e-5)


def test_what_the_signal_does_not_tell_has_an_infinite_standard_deviation(short_model):
    """B0 on resonance, known from zero derivative; the others keep finite ones."""
    theta = np.array([[0.15, 1.2, 0.08, 40.0, 1e-5, 0.0, 0.95]])
    estimator = nlls(short_model, targets=("T1", "B0"), known=("m0s", "T2f", "Rx", "T2s", "B1"), noise_std=1e-6)
    covariates = theta[:, [0, 2, 3, 4, 6]]
    prior = paper_prior()
    prior.distributions["B0"] = stats.uniform(0.0, 500.0)
    result = estimator.set_params(prior=prior).fit().estimate(short_model.signal(theta), covariates=covariates)
    assert result.at_bound[0, 5]
    assert np.isinf(result.std[0, 1])
    assert np.isfinite(result.std[0, 0])
    assert np.isnan(result.covariance[0, 0, 1])


def test_as_many_data_as_unknowns_leave_no_noise_to_estimate():
    model = InversionRecoveryModel((0.3, 1.5))
    result = nlls(model, prior=PRIOR).fit().estimate(model.signal([[1.0, 0.85]]) * np.exp(0.3j))
    assert np.isnan(result.noise_std).all()
    assert np.isnan(result.std).all()
    assert np.isfinite(result.targets).all()


def test_complex_data_of_a_real_model_have_two_channels_of_noise_and_real_ones_cast_to_complex_one():
    n = 400
    clean = np.repeat(REAL_RECOVERY.signal([[1.0, 0.85]]), n, axis=0)
    rng = np.random.default_rng(0)
    in_both = clean + 0.01 * (rng.standard_normal(clean.shape) + 1j * rng.standard_normal(clean.shape))
    estimator = nlls(REAL_RECOVERY).fit()
    for data in (in_both, in_both.real + 0j, in_both.real):
        result = estimator.estimate(data)
        assert np.sqrt((result.noise_std**2).mean()) == pytest.approx(0.01, rel=0.04)
        assert np.median(result.std[:, 0]) == pytest.approx(result.targets[:, 0].std(), rel=0.1)


def test_parameters_at_a_bound_are_not_counted_as_fitted():
    """The truth lies beyond the prior in one parameter that hardly matters: its fit takes up no noise."""
    n, prior = 400, Prior({"T1": stats.uniform(0.5, 1.5), "efficiency": stats.uniform(0.80, 0.05)})
    clean = np.repeat(RECOVERY.signal([[1.0, 0.851]]), n, axis=0)
    noisy = NoiseModel.at_snr(1e4).add_to(clean, np.random.default_rng(0))
    result = nlls(prior=prior).fit().estimate(noisy)
    assert result.at_bound[:, 1].all()
    expected = result.residual_norm / np.sqrt(16 - 3)
    np.testing.assert_allclose(result.noise_std, expected, rtol=1e-9)


def test_what_is_told_in_combination_only_leaves_the_others_their_standard_deviation():
    echoes = torch.linspace(0.01, 0.3, 12, dtype=torch.float64)
    names = {"T2": (0.0, 1.0), "a": (-10.0, 10.0), "b": (-10.0, 10.0)}
    parameters = [Parameter(name, name, "s", bounds, closed="right") for name, bounds in names.items()]
    model = FunctionModel(lambda T2, a, b: torch.exp(-echoes / T2 + 1j * (a + b) * echoes), parameters)
    prior = Prior({"T2": stats.uniform(0.04, 0.1), "a": stats.uniform(-1, 2), "b": stats.uniform(-1, 2)})
    result = nlls(model, prior=prior, noise_std=0.01).fit().estimate(model.signal([[0.08, 0.2, 0.3]]))
    bound = model.crb(result.theta) * (0.01 / np.abs(result.m0[:, None])) ** 2
    np.testing.assert_allclose(result.std**2, bound, rtol=1e-6)
    assert np.isfinite(result.std[0, 0])
    assert np.isinf(result.std[0, 1:]).all()


def test_a_voxel_whose_signal_vanishes_in_the_basis_has_no_signal():
    X = np.zeros((2, 8), complex)
    X[0, 6], X[1] = 1, RECOVERY.signal([[1.0, 0.85]])[0]
    basis = np.eye(8)[:, :4]
    assert nlls(basis=basis).fit().estimate(X).status[0] == FitStatus.NO_SIGNAL
    estimate = DictionaryMatcher(RECOVERY, basis=basis, prior=PRIOR, entries=50, verbose=0).fit().predict(X)
    np.testing.assert_array_equal(np.isnan(estimate).any(axis=1), [True, False])


# --- invariance, starts, agreement of solvers -------------------------------------------------------


def test_estimates_do_not_depend_on_scale_and_phase_of_m0(model, basis, coefficients):
    _, C = coefficients
    estimator = nlls(model, basis=basis, n_candidates=2048).fit()
    expected = estimator.estimate(C[:20])
    scaled = estimator.estimate(C[:20] * 1e-7 * np.exp(2.1j))
    np.testing.assert_allclose(scaled.targets, expected.targets, rtol=1e-3)
    np.testing.assert_allclose(scaled.residual_norm, 1e-7 * expected.residual_norm, rtol=1e-6)
    np.testing.assert_allclose(scaled.std, expected.std, rtol=1e-2)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_tiny_and_huge_data_are_fitted_alike(scale):
    _, X = noisy_data(6)
    estimator, matcher = nlls().fit(), DictionaryMatcher(RECOVERY, prior=PRIOR, entries=500, verbose=0).fit()
    expected, result = estimator.estimate(X), estimator.estimate(scale * X)
    np.testing.assert_allclose(result.targets, expected.targets, rtol=1e-6)
    np.testing.assert_allclose(result.m0, scale * expected.m0, rtol=1e-6)
    np.testing.assert_array_equal(matcher.predict(scale * X), matcher.predict(X))


def test_far_starts_of_clean_data_find_the_truth(model, basis, coefficients):
    """Starts drawn from few candidates, far from most tissues."""
    tissues, _ = coefficients
    inside = tissues[tissues["m0s"].between(0.05, 0.3) & (tissues["T2f"] < 0.3) & (tissues["B0"].abs() < 600)].head(8)
    names = model.parameter_names
    estimator = nlls(model, targets=names, basis=basis, n_candidates=64, n_starts=12).fit()
    nearest = np.abs(estimator.candidates_[:, None, :3] / inside.to_numpy()[None, :, :3] - 1).max(axis=2).min(axis=0)
    assert np.median(nearest) > 0.2
    estimate = estimator.predict(model.signal(inside, basis=basis))
    np.testing.assert_allclose(estimate, model.target_values(inside, names), rtol=2e-3)


def test_both_solvers_come_to_the_same_minima(model, basis, coefficients):
    """Of the voxels in which both converged, from one start: different minima have different costs."""
    _, C = coefficients
    ours, scipys = (
        nlls(model, basis=basis, n_starts=1, n_candidates=4096, solver=solver, max_iterations=200).fit().estimate(C)
        for solver in ("levenberg-marquardt", "scipy")
    )
    ratio = (ours.residual_norm / scipys.residual_norm) ** 2
    same = np.abs(ratio - 1) < 1e-6
    assert same.mean() > 0.8
    np.testing.assert_allclose(
        ours.targets[same & ~ours.at_bound.any(1)], scipys.targets[same & ~ours.at_bound.any(1)], rtol=0.01
    )
    lower, higher = (ratio < 1 - 1e-6).mean(), (ratio > 1 + 1e-6).mean()
    assert higher <= lower + 4 * np.sqrt(0.1 / len(C))


@pytest.mark.parametrize("solver", ["levenberg-marquardt", "scipy"])
def test_a_batch_gives_the_answers_of_one_voxel_at_a_time(solver):
    _, X = noisy_data(12, snr=30)
    together = nlls(solver=solver).fit().estimate(X)
    for batch_size in (1, 5):
        apart = nlls(solver=solver, batch_size=batch_size).fit().estimate(X)
        for name in ("theta", "m0", "residual_norm", "std"):
            np.testing.assert_allclose(getattr(apart, name), getattr(together, name), rtol=1e-6)


def test_more_starts_find_more_global_minima(model, basis, coefficients):
    _, C = coefficients
    norms = [
        nlls(model, basis=basis, n_starts=n, n_candidates=2048).fit().estimate(C).residual_norm for n in (1, 4, 20)
    ]
    best = np.min(norms, axis=0)
    wrong = [(norm > best * (1 + 5e-4)).sum() for norm in norms]
    assert wrong[0] > wrong[1] >= wrong[2]
    assert wrong[2] <= 2


# --- another estimator's predictions as starts ------------------------------------------------------


@pytest.fixture(scope="module")
def matcher(model, basis):
    return DictionaryMatcher(model, basis=basis, entries=4096, verbose=0, random_state=1).fit()


def test_the_first_start_is_the_prediction_of_init(model, basis, coefficients, matcher):
    _, C = coefficients
    estimator = nlls(model, basis=basis, init=matcher, n_starts=1).fit()
    problem = estimator._problem
    data, empty = C[:5], np.empty((5, 0))
    init = estimator._first_start.predict(data, None, np.arange(5))
    starts = problem.scaling.from_unit(estimator._starts(problem, data, empty, init)[:, 0])
    np.testing.assert_allclose(starts[:, :3], matcher.predict(data), rtol=1e-9)
    dictionary_starts = estimator._search.starts(data, empty, 1)[:, 0]
    np.testing.assert_allclose(starts[:, 3:], dictionary_starts[:, 3:], rtol=1e-9)
    assert np.isfinite(estimator.predict(C)).all()


def test_a_network_starts_a_fit_from_signals_coefficients_and_stacked_ones(short_model):
    data = make_fingerprints(short_model, n_samples=300, random_state=0, progress=False)
    network = Pipeline([SVDCompressor(5), CRBWeightedRegressor(max_epochs=2, verbose=0, random_state=0)])
    network.fit(data.X, pd.DataFrame(data.y, columns=data.target_names), crb=data.crb)
    X = NoiseModel.at_snr(1e4).add_to(data.X[:4], np.random.default_rng(0))
    full = nlls(short_model, init=network, n_starts=3).fit().predict(X)
    assert full.shape == (4, 3)
    basis = network[0].basis_
    compressed = nlls(short_model, basis=basis, init=network, n_starts=3).fit()
    from_signals = compressed.predict(X)
    np.testing.assert_allclose(compressed.predict(X @ basis), from_signals, rtol=1e-4)
    bare = nlls(short_model, basis=basis, init=network[1], n_starts=3).fit()
    np.testing.assert_allclose(bare.predict(network[0].transform(X)), from_signals, rtol=1e-4)
    other = nlls(short_model, basis=SVDCompressor(5).fit(data.X[:40]).basis_, init=network).fit()
    with pytest.raises(ValueError, match="init compresses with another basis"):
        other.predict(X @ basis)


def test_a_frozen_init_survives_a_clone(matcher, model, basis, coefficients):
    bare = nlls(model, basis=basis, init=matcher)
    with pytest.raises(NotFittedError):
        clone(bare).fit()
    frozen = clone(nlls(model, basis=basis, init=FrozenEstimator(matcher))).fit()
    np.testing.assert_array_equal(frozen.predict(coefficients[1][:3]), bare.fit().predict(coefficients[1][:3]))


@pytest.mark.parametrize(
    ("init", "error", "message"),
    [
        (lambda: "network", TypeError, "init must be a fitted estimator or None; got str"),
        (lambda: NLLSEstimator(MonoExponentialModel([0.1, 0.2])), NotFittedError, "not fitted"),
        (lambda: quick_matcher(), ValueError, r"init predicts \['T2'\], which are not parameters"),
    ],
)
def test_an_init_that_does_not_fit_is_named(init, error, message):
    with pytest.raises(error, match=message):
        nlls(init=init()).fit()


def quick_matcher():
    prior = Prior({"T2": stats.uniform(0.04, 0.16)})
    return DictionaryMatcher(MonoExponentialModel([0.1, 0.2]), prior=prior, entries=10, verbose=0).fit()


def test_a_fit_with_known_parameters_starts_another_one():
    theta, X = noisy_data(5)
    coarse = nlls(known="efficiency", max_iterations=2).fit()
    finer = nlls(known="efficiency", init=coarse, n_starts=1).fit()
    expected = nlls(known="efficiency").fit().predict(X, covariates=theta[:, 1])
    np.testing.assert_allclose(finer.predict(X, covariates=theta[:, 1]), expected, rtol=1e-6)


def test_known_parameters_keep_their_values_whatever_init_says():
    theta, X = noisy_data(5)
    everything = DictionaryMatcher(RECOVERY, RECOVERY.parameter_names, prior=PRIOR, entries=64, verbose=0).fit()
    result = nlls(known="efficiency", init=everything).fit().estimate(X, covariates=theta[:, 1])
    np.testing.assert_array_equal(result.theta[:, 1], theta[:, 1])


# --- long fits -------------------------------------------------------------------------------------


def test_jobs_and_backends_do_not_matter():
    _, X = noisy_data(30)
    expected = nlls(batch_size=7).fit().predict(X)
    np.testing.assert_allclose(nlls(batch_size=7, n_jobs=2).fit().predict(X), expected, rtol=1e-9)
    with parallel_config(backend="threading", n_jobs=2):
        np.testing.assert_allclose(nlls(batch_size=7).fit().predict(X), expected, rtol=1e-9)


def test_a_checkpoint_holds_finished_batches_and_the_rest_is_fitted(tmp_path, monkeypatch):
    _, X = noisy_data(20)
    X[3] = 0
    expected = nlls(batch_size=5).fit().estimate(X)
    path = tmp_path / "fit"
    estimator, fitted = nlls(batch_size=5).fit(), []
    fit_batch = NLLSEstimator._fit_batch

    def interrupted(self, data, known, init):
        if len(fitted) == 2:
            raise KeyboardInterrupt
        fitted.append(len(data))
        return fit_batch(self, data, known, init)

    monkeypatch.setattr(NLLSEstimator, "_fit_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        estimator.estimate(X, checkpoint=path)
    partial = read_results(path)
    assert (partial.status == FitStatus.NOT_FITTED).sum() == 9
    assert partial.status[3] == FitStatus.NO_SIGNAL
    done = partial.status != FitStatus.NOT_FITTED
    np.testing.assert_array_equal(partial.theta[done], expected.theta[done])
    monkeypatch.setattr(NLLSEstimator, "_fit_batch", lambda self, *args: fitted.append(0) or fit_batch(self, *args))
    fitted.clear()
    result = nlls(batch_size=5).fit().estimate(X, checkpoint=path)  # as in a new process
    assert len(fitted) == 2
    for name in ("theta", "targets", "m0", "status", "covariance", "n_iterations"):
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))
        np.testing.assert_array_equal(getattr(read_results(path), name), getattr(expected, name))


SLOW = {"n_starts": 2, "batch_size": 2, "solver": "scipy"}


def _fit_slowly(X, path):
    nlls(**SLOW).fit().estimate(X, checkpoint=path)


def test_a_killed_fit_goes_on_where_it_was(tmp_path):
    _, X = noisy_data(120)
    path = tmp_path / "fit"
    kill_when(lambda: len(list(path.glob("batch_*.npz"))) >= 5, _fit_slowly, X, path)
    partial = read_results(path)
    done = partial.status != FitStatus.NOT_FITTED
    assert 8 <= done.sum() < len(X)
    result = nlls(**SLOW).fit().estimate(X, checkpoint=path)
    np.testing.assert_array_equal(result.theta[done], partial.theta[done])
    np.testing.assert_array_equal(result.theta, nlls(**SLOW).fit().estimate(X).theta)


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    _, X = noisy_data(6)
    path = tmp_path / "fit"
    nlls().fit().estimate(X, checkpoint=path)
    for estimator, data in (
        (nlls(), 2 * X),
        (nlls(n_starts=2), X),
        (nlls(noise_std=0.1), X),
        (nlls(InversionRecoveryModel(np.add(TIMES, 1e-3)), prior=PRIOR), X),
    ):
        with pytest.raises(ValueError, match="belongs to a fit with other data or settings"):
            estimator.fit().estimate(data, checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint needs an int as random_state"):
        nlls().set_params(random_state=None).fit().estimate(X, checkpoint=tmp_path / "other")
    (tmp_path / "file").write_text("text")
    with pytest.raises(ValueError, match="is not a directory"):
        nlls().fit().estimate(X, checkpoint=tmp_path / "file")
    with pytest.raises(ValueError, match="holds other files"):
        nlls().fit().estimate(X, checkpoint=tmp_path)
    with pytest.raises(TypeError, match="checkpoint must be a path"):
        nlls().fit().estimate(X, checkpoint=3)


def test_a_checkpoint_knows_where_the_background_is(tmp_path):
    _, X = noisy_data(6)
    nlls().fit().estimate(np.insert(X, 2, 0, axis=0), checkpoint=tmp_path / "fit")
    with pytest.raises(ValueError, match="belongs to a fit with other data or settings"):
        nlls().fit().estimate(np.insert(X, 4, 0, axis=0), checkpoint=tmp_path / "fit")


def test_what_a_kill_left_half_written_does_not_block_a_checkpoint(tmp_path):
    _, X = noisy_data(6)
    (tmp_path / "fit.json.partial").write_text("{")
    result = nlls().fit().estimate(X, checkpoint=tmp_path)
    np.testing.assert_array_equal(read_results(tmp_path).theta, result.theta)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"nothing", lambda data: b""])
def test_damaged_files_are_named(tmp_path, damage):
    _, X = noisy_data(6)
    for name in ("batch_000000.npz", "fit.json"):
        path = tmp_path / name
        nlls().fit().estimate(X, checkpoint=path)
        (path / name).write_bytes(damage((path / name).read_bytes()))
        for use in (lambda p=path: read_results(p), lambda p=path: nlls().fit().estimate(X, checkpoint=p)):
            with pytest.raises(ValueError, match=f"{name} is damaged"):
                use()


def test_a_directory_without_a_fit_is_named(tmp_path):
    with pytest.raises(ValueError, match="is not the directory of a fit"):
        read_results(tmp_path)


def test_memory_of_a_batch_is_bounded(model, basis):
    assert nlls(model).fit()._voxels_at_a_time() * 6 * 1141 * 24 * 16 <= 2**27
    assert nlls(model, basis=basis).fit()._voxels_at_a_time() > 1000
    assert nlls(model, basis=basis, batch_size=3).fit()._voxels_at_a_time() == 3


def test_a_pipeline_makes_maps_with_standard_deviations():
    _, X = noisy_data(6)
    X[4] = 0
    basis = SVDCompressor(4).fit(RECOVERY.signal(PRIOR.sample(50, random_state=0))).basis_
    estimator = nlls(basis=basis)
    pipe = Pipeline([SVDCompressor(basis=basis), estimator]).fit(X, np.ones((6, 2)))
    maps, std = pipe.predict_coefficients((X @ basis).reshape(2, 3, 4), return_std=True)
    assert maps.shape == std.shape == (2, 3, 2)
    expected = estimator.estimate(X)
    np.testing.assert_allclose(maps.reshape(6, 2), expected.targets, rtol=1e-6)
    np.testing.assert_allclose(std.reshape(6, 2), expected.std, rtol=1e-6)
    assert np.isnan(maps[1, 1]).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"solver": "newton"}, ValueError, "solver must be one of"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"max_iterations": 0}, ValueError, "max_iterations must be at least 1"),
        ({"noise_std": -1.0}, ValueError, "noise_std must be positive"),
        ({"noise_std": "low"}, TypeError, "noise_std must be a number"),
    ],
)
def test_bad_settings_are_named(options, error, message):
    with pytest.raises(error, match=message):
        nlls(**options).fit()


def test_a_ratio_that_leads_beyond_the_physical_range_is_flagged():
    times = torch.tensor([0.0, 10, 30, 60, 100, 200, 400, 800, 1200], dtype=torch.float64)

    def two_decays(f, fast, slow):
        return f * torch.exp(-times * fast) + (1 - f) * torch.exp(-times * slow)

    parameters = [Parameter("f", "f", "1", (0.0, 1.0))]
    parameters += [
        Parameter(name, name, "1/s", (0.0, high), "right") for name, high in (("fast", 1.0), ("slow", 0.01))
    ]
    model = FunctionModel(two_decays, tuple(parameters), not_above={"slow": "fast"})
    ranges = {"f": (0.02, 0.42), "fast": (0.012, 0.112), "slow": (0.0005, 0.0095)}
    prior = Prior({name: stats.uniform(low, high - low) for name, (low, high) in ranges.items()})
    data = make_fingerprints(model, prior, n_samples=300, random_state=0, progress=False)
    noisy = NoiseModel.at_snr(20).add_to(data.X, 0, real=True)
    found = NLLSEstimator(model, prior=prior, verbose=0, random_state=0).fit().estimate(noisy)
    beyond = found.theta[:, 2] > 0.01
    assert beyond.any()
    assert found.at_bound[beyond, 2].all()
    assert (found.status[beyond] != FitStatus.CONVERGED).all()
