import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from crbestim import (
    DictionaryMatcher,
    InversionRecoveryModel,
    NoiseCovariance,
    NoiseModel,
    Pipeline,
    Prior,
    SVDCompressor,
    bias_variance,
    make_fingerprints,
    paper_prior,
)
from crbestim._validation import stack_complex

TIMES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.2, 2.0, 4.0)
MODEL = InversionRecoveryModel(TIMES)
REAL_MODEL = InversionRecoveryModel(TIMES, data="real")
PRIOR = Prior({"T1": stats.uniform(0.5, 1.5), "efficiency": stats.uniform(0.7, 0.3)})
GRID = {"efficiency": [0.7, 0.85, 1.0], "T1": np.linspace(0.5, 2.0, 31)}


def matcher(model=MODEL, **options):
    return DictionaryMatcher(model, **({"prior": PRIOR, "entries": 500, "verbose": 0, "random_state": 0} | options))


@pytest.mark.parametrize("model", [MODEL, REAL_MODEL], ids=["complex", "real"])
@pytest.mark.parametrize("coloured", [False, True])
def test_the_entry_is_the_least_squares_over_the_dictionary(model, coloured):
    """Against the plain minimum of the weighted residual over all entries, M0 solved for each."""
    rng = np.random.default_rng(0)
    lag = np.subtract.outer(np.arange(8), np.arange(8))
    matrix = 0.8 ** np.abs(lag) * (1 if model.real_valued else np.exp(0.4j * lag)) if coloured else np.eye(8)
    covariance = NoiseCovariance(matrix)
    X = NoiseModel.at_snr(20, covariance).add_to(
        model.signal(PRIOR.sample(30, random_state=1)), rng, real=model.real_valued
    )
    estimator = matcher(model, covariance=covariance if coloured else None).fit()
    estimate, m0 = estimator.predict(X, return_m0=True)
    white = covariance.whiten(X)
    entries = covariance.whiten(model.signal(estimator.dictionary_theta_))
    amplitude = (white @ entries.conj().T) / (np.abs(entries) ** 2).sum(axis=1)
    if model.real_valued:
        amplitude = np.maximum(amplitude, 0)
    cost = np.linalg.norm(white[:, None] - amplitude[:, :, None] * entries, axis=2)
    chosen = np.abs(estimator.dictionary_theta_[None] - estimate[:, None]).sum(axis=2).argmin(axis=1)
    np.testing.assert_allclose(cost[np.arange(30), chosen], cost.min(axis=1), rtol=1e-5)
    np.testing.assert_allclose(m0, amplitude[np.arange(30), chosen], rtol=1e-4)


def test_entries_of_the_dictionary_are_found_again_with_any_amplitude_and_phase():
    estimator = matcher().fit()
    theta = estimator.dictionary_theta_[::7]
    X = MODEL.signal(theta) * (1e-5 * np.exp(1j * np.arange(len(theta))))[:, None]
    np.testing.assert_array_equal(estimator.predict(X), theta)


def test_entries_that_lie_close_together_are_told_apart():
    grid = {"efficiency": 0.9, "T1": np.linspace(0.5, 2.0, 30_001)}
    estimator = DictionaryMatcher(MODEL, entries=grid, verbose=0).fit()  # which needs no prior
    theta = estimator.dictionary_theta_[::301]
    assert np.abs(estimator.predict(MODEL.signal(theta)) - theta).max() < 1.1 * 1.5 / 30_000


def test_compressed_signals_coefficients_and_stacked_ones_give_the_same():
    X = NoiseModel.at_snr(30).add_to(MODEL.signal(PRIOR.sample(20, random_state=1)), np.random.default_rng(0))
    basis = SVDCompressor(4).fit(MODEL.signal(PRIOR.sample(50, random_state=0))).basis_
    estimator = matcher(basis=basis).fit()
    expected = estimator.predict(X)
    for data in (X @ basis, stack_complex(X @ basis)):
        np.testing.assert_array_equal(estimator.predict(data), expected)
    pipe = Pipeline([SVDCompressor(basis=basis), matcher(basis=basis)]).fit(X, np.ones((20, 2)))
    np.testing.assert_array_equal(pipe.predict_coefficients((X @ basis).reshape(4, 5, 4)).reshape(20, 2), expected)


def test_a_grid_has_all_combinations_that_are_physical(short_model):
    estimator = matcher(entries=GRID).fit()
    assert len(estimator.dictionary_theta_) == 93
    assert set(estimator.dictionary_theta_[:, 1]) == {0.7, 0.85, 1.0}
    grid = {"m0s": 0.1, "T1": [0.1, 1.0], "T2f": [0.05, 0.5], "Rx": 40, "T2s": 1e-5, "B0": [0, 100], "B1": 1}
    pairs = DictionaryMatcher(short_model, entries=grid, verbose=0).fit().dictionary_theta_[:, [1, 2, 5]]
    assert sorted(map(tuple, pairs)) == [
        (0.1, 0.05, 0), (0.1, 0.05, 100), (1, 0.05, 0), (1, 0.05, 100), (1, 0.5, 0), (1, 0.5, 100),
    ]  # fmt: skip


def test_given_entries_are_taken():
    table = pd.DataFrame({"efficiency": [0.8, 0.9], "T1": [1.0, 1.5]})
    estimator = matcher(entries=table, targets="T1").fit()
    np.testing.assert_array_equal(estimator.dictionary_theta_, [[1.0, 0.8], [1.5, 0.9]])
    np.testing.assert_array_equal(estimator.predict(MODEL.signal([[1.45, 0.9]])), [[1.5]])


def test_more_entries_have_a_smaller_error_with_the_floor_of_their_number_of_parameters(model):
    """In two parameters sixteen times the entries quarter the distance; in seven they do far less."""
    error = {}
    for name, net, prior in (("two", MODEL, PRIOR), ("seven", model, paper_prior())):
        data = make_fingerprints(net, prior, n_samples=300, random_state=1, progress=False)
        for entries in (256, 4096):
            estimate = matcher(net, prior=prior, entries=entries, targets=("T1",)).fit().predict(data.X)
            t1 = data.theta["T1"].to_numpy()
            error[name, entries] = np.median(np.abs(estimate[:, 0] - t1) / t1)
    assert error["two", 4096] < 0.35 * error["two", 256]
    assert 0.35 * error["seven", 256] < error["seven", 4096] < error["seven", 256]


def test_blocks_do_not_matter(monkeypatch):
    """Up to entries that match equally well in single precision."""
    X = NoiseModel.at_snr(30).add_to(MODEL.signal(PRIOR.sample(50, random_state=1)), np.random.default_rng(0))

    def matched():
        s = MODEL.signal(matcher(entries=3_000).fit().predict(X))
        return np.abs((s.conj() * X).sum(axis=1)) / np.linalg.norm(s, axis=1)

    expected = matched()
    monkeypatch.setattr("crbestim.estimators._dictionary._ROWS", 3)
    monkeypatch.setattr("crbestim.estimators._dictionary_matcher._ROWS", 7)
    np.testing.assert_allclose(matched(), expected, rtol=1e-6)


def test_rows_without_a_signal_or_with_nan_give_nan():
    X = MODEL.signal(PRIOR.sample(4, random_state=1))
    X[1], X[2, 0] = 0, np.nan
    estimate, m0 = matcher().fit().predict(X, return_m0=True)
    np.testing.assert_array_equal(np.isnan(estimate).any(axis=1), [False, True, True, False])
    np.testing.assert_array_equal(np.isnan(m0), [False, True, True, False])


def test_its_bias_and_variance_are_measured_as_those_of_others():
    data = make_fingerprints(MODEL, PRIOR, n_samples=30, targets=("T1",), random_state=1, progress=False)
    table = bias_variance(
        matcher(targets=("T1",)).fit(), data.X, data.y, data.crb, n_realizations=10, random_state=0, progress=False
    )
    assert table["target"].tolist() == ["T1", "T1"]
    assert np.isfinite(table["crb_loss"]).all()


def test_the_seed_decides_the_entries():
    first, again, other = (matcher(random_state=seed).fit().dictionary_theta_ for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    cloned = clone(matcher(entries=GRID)).fit()
    assert len(cloned.dictionary_theta_) == 93


def test_progress_is_shown_unless_silenced(capsys):
    X = MODEL.signal(PRIOR.sample(3, random_state=1))
    matcher(verbose=1).fit().predict(X)
    assert "3/3" in capsys.readouterr().err
    matcher().fit().predict(X)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"entries": 0}, ValueError, "entries must be at least 1"),
        ({"entries": {"T1": [1.0]}}, ValueError, r"\['efficiency'\] are missing"),
        ({"entries": {"T1": [1.0], "T3": [1.0], "efficiency": 1.0}}, ValueError, r"entries contains \['T3'\]"),
        ({"entries": {"T1": [[1.0]], "efficiency": 1.0}}, ValueError, r"entries\['T1'\] must hold real values"),
        ({"entries": {"T1": [], "efficiency": 1.0}}, ValueError, r"entries\['T1'\] must hold real values"),
        ({"entries": {"T1": [-1.0], "efficiency": 1.0}}, ValueError, "entries: theta: T1 must lie in"),
        ({"entries": "all"}, TypeError, "entries must be an integer, a mapping"),
        ({"entries": 1e5}, TypeError, "entries must be an integer, a mapping"),
        ({"entries": True}, TypeError, "entries must be an integer, a mapping"),
        ({"entries": [[np.nan, 1.0]]}, ValueError, "entries: theta contains NaN"),
        ({"prior": Prior({"T1": stats.norm(), "efficiency": stats.uniform()})}, ValueError, "prior must give param"),
        ({"entries": 10**7, "memory_limit": 1e6}, ValueError, "a dictionary of 1e.07 entries needs more"),
        ({"memory_limit": -1.0}, ValueError, "memory_limit must be positive"),
        ({"model": "T1"}, TypeError, "model must be a SignalModel"),
        ({"targets": ("T2",)}, ValueError, "targets contains"),
    ],
)  # fmt: skip
def test_bad_settings_are_named(options, error, message):
    with pytest.raises(error, match=message):
        matcher(**options).fit()


def test_a_grid_without_a_physical_combination_is_named(short_model):
    grid = {"m0s": 0.1, "T1": 0.1, "T2f": 0.5, "Rx": 40, "T2s": 1e-5, "B0": 0, "B1": 1}
    with pytest.raises(ValueError, match="no combination obeys"):
        DictionaryMatcher(short_model, entries=grid, verbose=0).fit()


def test_bad_data_are_named():
    X = MODEL.signal(PRIOR.sample(4, random_state=1))
    with pytest.raises(NotFittedError):
        matcher().predict(X)
    with pytest.raises(ValueError, match="X must be complex with 8 columns"):
        matcher().fit().predict(X[:, 1:])
    with pytest.raises(ValueError, match="y must have one column for each of the targets"):
        matcher().fit(X, np.ones((4, 3)))
