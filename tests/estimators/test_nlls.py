import numpy as np
import pytest
from scipy import stats
from scipy.optimize import check_grad
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from crbestim import NLLSEstimator, NoiseModel, Prior, SVDCompressor, paper_prior
from crbestim._validation import stack_complex
from crbestim.estimators._nlls import _Objective, _Scaling

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
    scaling = _Scaling.of(model, paper_prior())
    rng = np.random.default_rng(0)
    data = model.signal(TISSUE)[0] * 0.7j @ basis
    data = data + 0.05 * np.abs(data).max() * (rng.standard_normal(13) + 1j * rng.standard_normal(13))
    objective = _Objective(model, basis, scaling, data)
    unit = scaling.to_unit(np.array([0.1, 1.5, 0.1, 40.0, 1e-5, 300.0, 1.05]))
    np.testing.assert_allclose(scaling.from_unit(unit), [0.1, 1.5, 0.1, 40.0, 1e-5, 300.0, 1.05])
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
        (lambda X: X * np.where(np.arange(X.shape[1]) == 1, np.nan, 1), "X contains NaN"),
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
    with pytest.raises(ValueError, match=r"complex \(1142 or 13 columns\) or stacked real \(26 columns\); got real"):
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
