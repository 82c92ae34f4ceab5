import numpy as np
import pytest
from scipy import stats
from scipy.optimize import check_grad
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from crbestim import (
    InversionRecoveryModel,
    MonoExponentialModel,
    NLLSEstimator,
    NoiseCovariance,
    NoiseModel,
    Prior,
    SVDCompressor,
    paper_prior,
)
from crbestim._validation import stack_complex
from crbestim.least_squares._parameter_scaling import ParameterScaling
from crbestim.least_squares._problem import Problem
from crbestim.least_squares._scipy_fit import ProjectedResidual

TISSUE = np.array([[0.15, 1.2, 0.08, 30.0, 11e-6, 250.0, 0.95]])


@pytest.fixture(scope="module")
def basis(model):
    tissues = paper_prior().sample(500, random_state=5)
    return SVDCompressor(13).fit(model.signal(tissues)).basis_


@pytest.fixture(scope="module")
def tissues():
    sample = paper_prior().sample(200, random_state=3)
    inside = sample["m0s"].between(0.05, 0.3) & (sample["T2f"] < 0.3) & (sample["B0"].abs() < 600)
    return sample[inside].head(6).to_numpy()


def nlls(model, **kwargs):
    return NLLSEstimator(model, verbose=0, random_state=0, **kwargs).fit()


@pytest.mark.parametrize("space", ["full", "complex coefficients", "stacked coefficients", "signals"])
def test_noiseless_parameters_are_recovered_with_any_amplitude_and_phase(model, basis, tissues, space):
    X = model.signal(tissues) * np.exp(1j * np.arange(len(tissues)))[:, None] * 123.0
    compressed = X @ basis
    data = {
        "full": X,
        "signals": X,
        "complex coefficients": compressed,
        "stacked coefficients": stack_complex(compressed),
    }[space]
    names = model.parameter_names
    estimator = nlls(model, targets=names, basis=None if space == "full" else basis, n_starts=8)
    estimate = estimator.predict(data)
    np.testing.assert_allclose(estimate, model.target_values(tissues, names), rtol=2e-3)


def test_targets_are_selected_and_b0_is_folded(model):
    theta = TISSUE.copy()
    theta[0, 5] = -2 * np.pi / model.sequence.repetition_time + 250
    estimate = nlls(model, targets=("B0", "T1"), n_starts=8).predict(model.signal(theta))
    np.testing.assert_allclose(estimate, [[250, 1.2]], rtol=1e-3)


def test_projected_residual_has_its_exact_jacobian(model, basis):
    scaling = ParameterScaling.of(model, paper_prior())
    rng = np.random.default_rng(0)
    data = model.signal(TISSUE)[0] * 0.7j @ basis
    data = data + 0.05 * np.abs(data).max() * (rng.standard_normal(13) + 1j * rng.standard_normal(13))
    objective = ProjectedResidual(Problem(model, basis, scaling), data)
    theta = np.array([[0.1, 1.5, 0.1, 40.0, 1e-5, 300.0, 1.05]])
    unit = scaling.to_unit(theta)[0]
    np.testing.assert_allclose(scaling.from_unit(unit[None]), theta)
    for component in range(26):
        error = check_grad(
            lambda u, i=component: objective.residual(u)[i], lambda u, i=component: objective.jacobian(u)[i], unit,
            epsilon=1e-7,
        )  # fmt: skip
        assert error < 1e-5


def test_a_compressed_fit_reaches_the_bound_at_high_snr(model, basis):
    """Monte Carlo variance against the bound of compressed data: 7 unknown parameters and complex M0."""
    snr, n = 2e4, 250
    names = model.parameter_names
    clean = np.repeat(model.signal(TISSUE) @ basis, n, axis=0)
    noisy = NoiseModel.at_snr(snr).add_to(clean, np.random.default_rng(0))
    estimate = nlls(model, targets=names, basis=basis, n_starts=2).predict(noisy)
    bound = model.crb(TISSUE, names, basis=basis)[0] / snr**2
    ratio = estimate.var(axis=0, ddof=1) / bound
    assert np.abs(ratio - 1).max() < 4 * np.sqrt(2 / (n - 1))
    deviation = (estimate.mean(axis=0) - TISSUE[0]) / np.sqrt(bound / n)
    assert np.abs(deviation).max() < 4


def test_a_full_fit_reaches_the_bound_at_high_snr(short_model):
    """The same in the full space, of a short sequence, with other parameters held by a narrow prior."""
    snr, n = 1e6, 200
    names = short_model.parameter_names
    noisy = NoiseModel.at_snr(snr).add_to(np.repeat(short_model.signal(TISSUE), n, axis=0), np.random.default_rng(1))
    estimate = nlls(short_model, targets=names, n_starts=2).predict(noisy)
    bound = short_model.crb(TISSUE, names)[0] / snr**2
    ratio = estimate.var(axis=0, ddof=1) / bound
    assert np.abs(ratio - 1).max() < 4 * np.sqrt(2 / (n - 1))


def test_estimates_stay_within_the_bounds_of_the_prior(model, basis):
    prior = Prior(
        {
            "m0s": stats.uniform(0.05, 0.05),
            "T1": stats.uniform(1.0, 1.0),
            "T2f": stats.uniform(0.05, 0.1),
            "Rx": stats.uniform(20, 30),
            "T2s": stats.uniform(8e-6, 4e-6),
            "B0": stats.uniform(0, 500),
            "B1": stats.uniform(0.8, 0.4),
        }
    )
    names = ("m0s", "T1", "T2f", "Rx", "T2s", "B1")
    noisy = NoiseModel.at_snr(20).add_to(np.repeat(model.signal(TISSUE) @ basis, 20, axis=0), np.random.default_rng(0))
    estimate = nlls(model, targets=names, basis=basis, prior=prior).predict(noisy)
    low, high = np.transpose([prior.support()[name] for name in names])
    low[2], high[2] = low[2] * 0.5, high[2] * 2  # through the ratio to T1, between 1 and 2 s
    slack = 1e-9 * (high - low)
    assert (estimate >= low - slack).all()
    assert (estimate <= high + slack).all()
    assert estimate[:, 0].max() == pytest.approx(0.1, rel=1e-2)  # the truth, 0.15, lies beyond


def test_t2f_never_exceeds_t1(short_model):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, short_model.n_timepoints)) + 0j
    t1, t2f = nlls(short_model, targets=("T1", "T2f"), n_starts=2).predict(noise).T
    assert (t2f <= t1 * (1 + 1e-12)).all()


def test_more_starts_never_raise_the_cost(model, basis, tissues):
    noisy = NoiseModel.at_snr(50).add_to(model.signal(tissues) @ basis, np.random.default_rng(0))
    names = model.parameter_names

    def cost(n_starts):
        theta = nlls(model, targets=names, basis=basis, n_starts=n_starts).predict(noisy)
        signal = model.signal(theta) @ basis
        m0 = (signal.conj() * noisy).sum(1) / (np.abs(signal) ** 2).sum(1)
        return (np.abs(noisy - m0[:, None] * signal) ** 2).sum(1)

    assert (cost(6) <= cost(1) * (1 + 1e-6)).all()


def test_voxels_are_independent_and_jobs_do_not_matter(model, basis, tissues):
    noisy = NoiseModel.at_snr(50).add_to(model.signal(tissues) @ basis, np.random.default_rng(0))
    together = nlls(model, basis=basis).predict(noisy)
    # Up to rounding: processes differ in the number of BLAS threads.
    np.testing.assert_allclose(nlls(model, basis=basis).predict(noisy[2:3]), together[2:3], rtol=1e-5)
    np.testing.assert_allclose(nlls(model, basis=basis, n_jobs=2).predict(noisy), together, rtol=1e-5)


def test_clone_keeps_the_model(model):
    assert clone(NLLSEstimator(model)).model is model


def test_progress_is_shown_unless_silenced(short_model, capsys):
    data = short_model.signal(TISSUE)
    NLLSEstimator(short_model, n_starts=1, random_state=0).fit().predict(data)
    assert "1/1" in capsys.readouterr().err
    nlls(short_model, n_starts=1).predict(data)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X[:, :-1], "X must be complex with"),
        (lambda X: X.real, "X must be complex with"),
        (lambda X: X[0], "X must be 2-D"),
    ],
)
def test_bad_data_are_named(short_model, change, message):
    with pytest.raises(ValueError, match=message):
        nlls(short_model).predict(change(short_model.signal(TISSUE)))


def test_a_row_of_zeros_gives_nan_and_disturbs_no_other(short_model):
    X = np.repeat(short_model.signal(TISSUE), 3, axis=0)
    X[1] = 0
    estimate = nlls(short_model, n_starts=1).predict(X)
    assert np.isnan(estimate[1]).all()
    np.testing.assert_allclose(estimate[[0, 2]], nlls(short_model, n_starts=1).predict(X[[0, 2]]), rtol=1e-5)


def test_coefficients_of_another_basis_are_named(model, basis):
    with pytest.raises(ValueError, match=r"complex \(1141 or 13 columns\) or stacked real \(26 columns\); got real"):
        nlls(model, basis=basis).predict(np.ones((2, 13)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "mt"}, TypeError, "model must be a SignalModel"),
        ({"targets": ("T2",)}, ValueError, "targets contains"),
        ({"n_starts": 0}, ValueError, "n_starts must be at least 1"),
        ({"n_starts": 5, "n_candidates": 4}, ValueError, "n_candidates must be at least 5"),
        ({"basis": np.eye(3)}, ValueError, "basis must have one row"),
        ({"prior": Prior({"T1": stats.uniform(0.1, 1)})}, ValueError, "prior must have the model's parameters"),
    ],
)
def test_bad_settings_are_named(short_model, arguments, error, message):
    with pytest.raises(error, match=message):
        NLLSEstimator(**({"model": short_model} | arguments)).fit()


def test_targets_in_fit_are_counted(short_model):
    with pytest.raises(ValueError, match="y must have one column for each of the targets"):
        NLLSEstimator(short_model).fit(short_model.signal(TISSUE), [[1.0]])


def test_predict_needs_fit(short_model):
    with pytest.raises(NotFittedError):
        NLLSEstimator(short_model).predict(short_model.signal(TISSUE))


# --- coloured noise -------------------------------------------------------------------------------

ECHOES = np.arange(1, 13) * 0.02
RECOVERY = (0.05, 0.1, 0.2, 0.4, 0.8, 1.2, 2.0, 4.0)
DECAY_PRIOR = Prior({"T2": stats.uniform(0.04, 0.16)})
RECOVERY_PRIOR = Prior({"T1": stats.uniform(0.5, 1.5), "efficiency": stats.uniform(0.7, 0.3)})
SMALL_MODELS = {
    "decay": (MonoExponentialModel(ECHOES), DECAY_PRIOR, [[0.08]]),
    "decay, magnitude": (MonoExponentialModel(ECHOES, "magnitude"), DECAY_PRIOR, [[0.08]]),
    "recovery": (InversionRecoveryModel(RECOVERY), RECOVERY_PRIOR, [[1.0, 0.85]]),
    "recovery, real": (InversionRecoveryModel(RECOVERY, data="real"), RECOVERY_PRIOR, [[1.0, 0.85]]),
}
small_models = pytest.mark.parametrize("name", SMALL_MODELS)


def strongly_coloured(m, is_complex):
    """Neighbours are correlated, with a phase if data are complex; the middle is noisier."""
    lag = np.subtract.outer(np.arange(m), np.arange(m))
    level = 1 + 2 * np.sin(np.pi * np.arange(m) / m)
    matrix = 0.9 ** np.abs(lag) * np.outer(level, level)
    return matrix * np.exp(0.5j * lag) if is_complex else matrix


def small_basis(model, prior, k=3):
    return SVDCompressor(k).fit(model.signal(prior.sample(200, random_state=5))).basis_


def quick(model, prior, **options):
    options = {"n_starts": 1, "n_candidates": 128} | options
    return nlls(model, prior=prior, targets=model.parameter_names, **options)


def repeated_fits(name, space, n=250, snr=2e3, ignore=False):
    """Estimates of one tissue in coloured noise, the truth and the bound."""
    model, prior, truth = SMALL_MODELS[name]
    covariance = NoiseCovariance(strongly_coloured(model.n_timepoints, not model.real_valued))
    basis = small_basis(model, prior) if space == "coefficients" else None
    noise = NoiseModel.at_snr(snr, covariance)
    clean = np.repeat(model.signal(truth), n, axis=0)
    noisy = noise.add_to(clean, np.random.default_rng(0), real=model.real_valued)
    if basis is not None:
        noisy, covariance = noisy @ basis, covariance.compress(basis)
    estimator = quick(model, prior, basis=basis, covariance=None if ignore else covariance)
    bound = model.crb(truth, model.parameter_names, basis=basis, covariance=covariance)[0] / snr**2
    return estimator.predict(noisy), np.array(truth[0]), bound


@small_models
@pytest.mark.parametrize("space", ["full", "coefficients"])
def test_generalised_least_squares_reaches_the_coloured_bound(name, space):
    estimate, truth, bound = repeated_fits(name, space)
    n = len(estimate)
    assert np.abs(estimate.var(axis=0, ddof=1) / bound - 1).max() < 4 * np.sqrt(2 / (n - 1))
    assert np.abs((estimate.mean(axis=0) - truth) / np.sqrt(bound / n)).max() < 4


@pytest.mark.parametrize(
    ("name", "space"), [("recovery", "full"), ("recovery, real", "full"), ("decay", "coefficients")]
)
def test_least_squares_that_ignores_the_covariance_misses_the_coloured_bound(name, space):
    estimate, _, bound = repeated_fits(name, space, ignore=True)
    assert (estimate.var(axis=0, ddof=1) / bound).max() > 1 + 8 * np.sqrt(2 / (len(estimate) - 1))


@small_models
def test_the_covariance_of_the_signals_is_compressed_as_the_signals_are(name):
    model, prior, truth = SMALL_MODELS[name]
    covariance, basis = strongly_coloured(model.n_timepoints, not model.real_valued), small_basis(model, prior)
    clean = np.repeat(model.signal(truth), 5, axis=0)
    noisy = NoiseModel.at_snr(50, covariance).add_to(clean, np.random.default_rng(0), real=model.real_valued)
    of_coefficients = NoiseCovariance(covariance).compress(basis)
    expected = quick(model, prior, basis=basis, covariance=of_coefficients).predict(noisy @ basis)
    estimator = quick(model, prior, basis=basis, covariance=covariance)
    for data in (noisy, noisy @ basis):
        np.testing.assert_allclose(estimator.predict(data), expected, rtol=1e-6)


def test_a_fit_with_the_conjugate_covariance_misses_the_coloured_bound():
    model, prior, truth = SMALL_MODELS["recovery"]
    matrix = strongly_coloured(8, True)
    noisy = NoiseModel.at_snr(2e3, matrix).add_to(
        np.repeat(model.signal(truth), 200, axis=0), np.random.default_rng(0)
    )
    right, wrong = (quick(model, prior, covariance=c).predict(noisy).var(axis=0) for c in (matrix, matrix.conj()))
    assert (wrong / right).max() > 1.5


@small_models
def test_the_unit_of_the_covariance_does_not_matter_and_the_identity_is_white(name):
    model, prior, truth = SMALL_MODELS[name]
    matrix = strongly_coloured(model.n_timepoints, not model.real_valued)
    clean = np.repeat(model.signal(truth), 5, axis=0)
    noisy = NoiseModel.at_snr(50).add_to(clean, np.random.default_rng(0), real=model.real_valued)
    first, second, identity, white = (
        quick(model, prior, covariance=c).predict(noisy)
        for c in (matrix, NoiseCovariance(1e-9 * matrix), 7 * np.eye(len(matrix)), None)
    )
    np.testing.assert_allclose(second, first, rtol=1e-5)
    np.testing.assert_allclose(identity, white, rtol=1e-5)
    assert (np.abs(first / white - 1) > 1e-3).any()


@small_models
def test_noiseless_parameters_are_recovered_under_any_covariance(name):
    model, prior, _ = SMALL_MODELS[name]
    theta = prior.sample(5, random_state=1).to_numpy()
    X = 123 * model.signal(theta) * (1 if model.real_valued else np.exp(1j * np.arange(5))[:, None])
    covariance = strongly_coloured(model.n_timepoints, not model.real_valued)
    basis = small_basis(model, prior, 5)
    for options, data in (({}, X), ({"basis": basis}, X), ({"basis": basis}, X @ basis)):
        estimate = quick(model, prior, covariance=covariance, n_starts=3, **options).predict(data)
        np.testing.assert_allclose(estimate, theta, rtol=1e-4)


@pytest.mark.parametrize("compressed", [False, True])
def test_projected_residual_in_coloured_noise_has_its_exact_jacobian(compressed):
    model, prior, truth = SMALL_MODELS["recovery"]
    covariance = strongly_coloured(8, True)
    estimator = quick(model, prior, covariance=covariance, basis=small_basis(model, prior) if compressed else None)
    rng = np.random.default_rng(0)
    data = 0.7j * model.signal(truth)[0] + 0.1 * (rng.standard_normal(8) + 1j * rng.standard_normal(8))
    objective = ProjectedResidual(estimator._problem, data @ estimator._operator)
    for component in range(6 if compressed else 16):
        error = check_grad(
            lambda u, i=component: objective.residual(u)[i], lambda u, i=component: objective.jacobian(u)[i],
            np.array([0.4, 0.3]), epsilon=1e-7,
        )  # fmt: skip
        assert error < 1e-5


def test_a_known_parameter_in_coloured_noise():
    n, snr, (model, prior, truth) = 250, 2e3, SMALL_MODELS["recovery, real"]
    covariance = strongly_coloured(8, False)
    clean = np.repeat(model.signal(truth), n, axis=0)
    noisy = NoiseModel.at_snr(snr, covariance).add_to(clean, np.random.default_rng(0), real=True)
    estimator = nlls(model, prior=prior, known="efficiency", covariance=covariance, n_starts=1, n_candidates=128)
    estimate = estimator.predict(noisy, covariates=np.full(n, 0.85))
    assert estimator.target_names_ == ("T1",)
    bound = model.crb(truth, known="efficiency", covariance=covariance)[0] / snr**2
    assert np.abs(estimate.var(axis=0, ddof=1) / bound - 1).max() < 4 * np.sqrt(2 / (n - 1))


def test_a_row_of_zeros_gives_nan_in_coloured_noise():
    model, prior, truth = SMALL_MODELS["decay"]
    X = np.repeat(model.signal(truth), 3, axis=0)
    X[1] = 0
    estimate = quick(model, prior, covariance=strongly_coloured(12, True)).predict(X)
    np.testing.assert_array_equal(np.isnan(estimate[:, 0]), [False, True, False])


def test_clone_keeps_the_covariance():
    model, prior, _ = SMALL_MODELS["decay"]
    matrix = strongly_coloured(12, True)
    cloned = clone(NLLSEstimator(model, prior=prior, covariance=NoiseCovariance(matrix), n_candidates=128))
    assert cloned.covariance == NoiseCovariance(matrix)
    assert cloned.fit().candidates_.shape == (128, 1)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("decay", {"covariance": np.eye(11)}, ValueError, "covariance is that of 11 points, but the data have 12"),
        (
            "decay",
            {"covariance": np.eye(5), "basis": np.eye(12, 4)},
            ValueError,
            "covariance must be that of the 12 time points or of the 4 coefficients; got 5 x 5",
        ),
        ("decay", {"covariance": -np.eye(12)}, ValueError, "covariance must be positive definite"),
        ("decay", {"covariance": "white"}, TypeError, "covariance must hold numbers"),
        ("decay, magnitude", {"covariance": strongly_coloured(12, True)}, ValueError, "covariance must be real"),
        ("decay, magnitude", {"basis": 1j * np.eye(12, 4)}, ValueError, "basis must be real"),
    ],
)
def test_covariances_and_bases_that_do_not_fit_are_named(name, options, error, message):
    model, prior, _ = SMALL_MODELS[name]
    with pytest.raises(error, match=message):
        quick(model, prior, **options)


# --- real data ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["decay, magnitude", "recovery, real"])
@pytest.mark.parametrize("coloured", [False, True])
def test_real_data_are_taken_in_every_form_and_give_the_estimates_of_complex_ones(name, coloured):
    model, prior, truth = SMALL_MODELS[name]
    covariance = strongly_coloured(model.n_timepoints, False) if coloured else None
    basis = small_basis(model, prior, 3)
    clean = np.repeat(model.signal(truth), 6, axis=0)
    noisy = 123 * NoiseModel.at_snr(50, covariance).add_to(clean, np.random.default_rng(0), real=True)
    full = quick(model, prior, covariance=covariance, n_starts=3)
    np.testing.assert_allclose(full.predict(noisy), full.predict(noisy + 0j), rtol=1e-5)
    compressed = quick(model, prior, covariance=covariance, basis=basis, n_starts=3)
    expected = compressed.predict(noisy + 0j)
    for data in (noisy, noisy @ basis, noisy @ basis + 0j, stack_complex(noisy @ basis + 0j)):
        np.testing.assert_allclose(compressed.predict(data), expected, rtol=1e-5)
    np.testing.assert_allclose(compressed.predict(noisy.astype(np.float32)), expected, rtol=1e-3)


@pytest.mark.parametrize("coloured", [False, True])
def test_real_signals_are_not_mistaken_for_stacked_coefficients_of_half_as_many(coloured):
    """T = 2 k columns: taken for signals, or refused, but never fitted as something else."""
    model, prior, _ = SMALL_MODELS["decay, magnitude"]
    theta, basis = np.array([[0.06], [0.08], [0.12]]), small_basis(model, prior, 6)
    covariance = strongly_coloured(12, False) if coloured else None
    estimator = quick(model, prior, basis=basis, covariance=covariance)
    try:
        estimate = estimator.predict(model.signal(theta))
    except ValueError as error:
        assert "X" in str(error)  # noqa: PT017
    else:
        np.testing.assert_allclose(estimate, theta, rtol=1e-4)


def test_signed_real_data_keep_their_sign():
    """M0 of real data is positive: the start is that whose sign matches, too."""
    model, prior, truth = SMALL_MODELS["recovery, real"]
    signal = model.signal(truth)
    assert signal.min() < -0.5 < 0.9 < signal.max()
    np.testing.assert_allclose(quick(model, prior).predict(signal), truth, rtol=1e-5)


@pytest.mark.parametrize("coloured", [False, True])
def test_real_signals_are_refused_by_a_model_of_complex_data(coloured):
    model, prior, truth = SMALL_MODELS["decay"]
    covariance = strongly_coloured(12, True) if coloured else None
    signal, basis = model.signal(truth).real, small_basis(model, prior)
    with pytest.raises(ValueError, match="X must be complex with 12 columns, .*; got real with 12"):
        quick(model, prior, covariance=covariance).predict(signal)
    estimator = quick(model, prior, covariance=covariance, basis=basis)
    for data in (signal, (signal @ basis).real):
        with pytest.raises(ValueError, match=r"complex \(12 or 3 columns\) or stacked real \(6 columns\); got real"):
            estimator.predict(data)
    np.testing.assert_allclose(estimator.predict(stack_complex(signal @ basis + 0j)), truth, rtol=1e-4)


def test_other_numbers_of_columns_of_real_data_are_named():
    model, prior, _ = SMALL_MODELS["decay, magnitude"]
    with pytest.raises(ValueError, match="X must be real or complex with 12 columns, .*; got real with 11"):
        quick(model, prior).predict(np.ones((2, 11)))
    with pytest.raises(
        ValueError, match=r"real or complex \(12 or 3 columns\) or stacked real \(6 columns\); got real"
    ):
        quick(model, prior, basis=small_basis(model, prior)).predict(np.ones((2, 5)))
