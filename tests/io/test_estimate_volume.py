import copy

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

from crbestim import (
    BlochHybridStateModel,
    CRBWeightedRegressor,
    DictionaryMatcher,
    MonoExponentialModel,
    NLLSEstimator,
    NoiseModel,
    Pipeline,
    Prior,
    SVDCompressor,
    load_pretrained,
    make_fingerprints,
    paper_prior,
    save_pretrained,
)
from crbestim.datasets import default_prior
from crbestim.io import QualityFlag, estimate_volume, open_coefficients, read_map, save_estimates, save_volume
from crbestim.io._estimates import estimates_of

SHAPE = (3, 2, 4)
TIMES = np.arange(1, 9) * 0.02
PRIOR = Prior({"T2": stats.uniform(0.02, 0.3)})


@pytest.fixture(scope="module")
def networks(tmp_path_factory, short_sequence):
    """Small networks of a model that files can tell, one without and one with a known B1."""
    model = BlochHybridStateModel(short_sequence)
    found = {}
    for name, known in (("free", ()), ("B1 known", ("B1",))):
        data = make_fingerprints(
            model, n_samples=256, targets=("T1", "T2"), known=known, random_state=0, progress=False
        )
        options = {"max_epochs": 1, "verbose": 0, "random_state": 0, "noise": NoiseModel(1e-2)}
        pipeline = Pipeline([SVDCompressor(5), CRBWeightedRegressor(**options)])
        y = pd.DataFrame(np.asarray(data.y), columns=["T1", "T2"])
        theta = pd.DataFrame(np.asarray(data.theta), columns=list(model.parameter_names))
        extra = {"covariates": theta[list(known)]} if known else {}
        pipeline.fit(data.X, y, crb=data.crb, **extra)
        path = tmp_path_factory.mktemp("networks") / "network.safetensors"
        save_pretrained(pipeline, path, model=model, prior=default_prior(model))
        found[name] = load_pretrained(path)
    return found


@pytest.fixture(scope="module")
def network(networks):
    """The network without known parameters."""
    return networks["free"]


@pytest.fixture(scope="module")
def coefficients(network):
    """Coefficients of tissues of the prior with little noise, five of them empty."""
    rng = np.random.default_rng(0)
    n = int(np.prod(SHAPE))
    theta = network.prior_.sample(n, random_state=1)
    clean = network.model_.signal(theta) @ network[0].basis_
    noise = rng.standard_normal((n, 5, 2)).view(complex)[..., 0]
    values = (clean + 1e-3 * noise).reshape(*SHAPE, 5)
    values.reshape(n, 5)[::5] = 0
    return values


@pytest.fixture(scope="module")
def volume(coefficients, in_memory):
    """The coefficients as a volume."""
    return in_memory(coefficients)


def run(estimator, volume, **options):
    return estimate_volume(estimator, volume, verbose=0, **options)


def test_maps_are_what_the_pipeline_predicts(network, volume, coefficients):
    inside = coefficients.any(axis=-1)
    noise = np.random.default_rng(2).uniform(1e-3, 2e-3, SHAPE)
    found = run(network, volume, noise_std=noise)
    estimate, std = network.predict_coefficients(coefficients[inside], return_std=True, noise_std=noise[inside])
    assert [m.parameter.name for m in found.maps] == ["T1", "T2"]
    assert [m.parameter.unit for m in found.maps] == ["s", "s"]
    for i, parameter_map in enumerate(found.maps):
        assert parameter_map.values.dtype == parameter_map.std.dtype == np.float32
        np.testing.assert_array_equal(parameter_map.values[inside], estimate[:, i].astype(np.float32))
        np.testing.assert_array_equal(parameter_map.std[inside], std[:, i].astype(np.float32))
        assert np.isnan(parameter_map.values[~inside]).all()
        assert np.isnan(parameter_map.std[~inside]).all()
    assert found.quality.shape == SHAPE
    assert found.quality.dtype == np.uint32


def test_std_scales_with_the_noise_and_estimates_do_not(network, volume):
    low, high = (run(network, volume, noise_std=noise) for noise in (1e-3, 3e-3))
    for one, three in zip(low.maps, high.maps, strict=True):
        np.testing.assert_allclose(three.std, 3 * one.std, rtol=1e-6)
        np.testing.assert_array_equal(three.values, one.values)
    assert run(network, volume).maps[0].std is None


def test_blocks_do_not_matter(network, volume):
    whole, parts = (run(network, volume, noise_std=1e-3, most_voxels=most) for most in (None, 3))
    np.testing.assert_allclose(parts.maps[0].values, whole.maps[0].values, rtol=1e-5)
    np.testing.assert_array_equal(parts.quality, whole.quality)


def test_quality_of_a_network_by_hand(network, in_memory):
    values = np.random.default_rng(3).standard_normal((*SHAPE, 5, 2)).view(complex)[..., 0]
    table, seen = network.prior_table_, set()
    for noise in (1e-6, 1e-3, 0.1, 10.0):
        found = run(network, in_memory(values), noise_std=noise)
        for voxel in np.ndindex(SHAPE):
            expected = 0
            for i, parameter_map in enumerate(found.maps):
                prior = table.loc[parameter_map.parameter.name]
                if not prior["0.5%"] <= parameter_map.values[voxel] <= prior["99.5%"]:
                    expected |= 1
                if parameter_map.std[voxel] > prior["std"] / 3:
                    expected |= 16 << i
            assert found.quality[voxel] == expected
            seen.add(expected)
    assert found.quality_labels.keys() == {1, *(16 << i for i in range(len(found.maps)))}
    assert len(seen & {0, 1}) > 0 < len([flags for flags in seen if flags >= 16])


def test_estimate_outside_of_the_prior_is_flagged(network, volume, monkeypatch):
    """As if the prior were another one."""
    found = run(network, volume)
    values = found.maps[0].values
    middle = np.nanmedian(values)
    table = network.prior_table_
    table["0.5%"], table["99.5%"] = -np.inf, np.inf
    table.loc["T1", "99.5%"] = middle
    monkeypatch.setattr(type(network), "prior_table_", table)
    flagged = run(network, volume).quality == QualityFlag.OUTSIDE_PRIOR
    np.testing.assert_array_equal(flagged, values > middle)
    assert flagged.any()


def test_signals_that_are_none_of_the_model_are_flagged(network, coefficients, in_memory):
    inside = coefficients.any(axis=-1)
    values = coefficients.copy()
    corrupted = np.zeros(SHAPE, bool)
    corrupted[1, 1, 1] = corrupted[2, 0, 2] = True
    assert inside[corrupted].all()
    values[corrupted] = np.linalg.norm(values[corrupted], axis=-1, keepdims=True) * [0, 0, 0, 0.6, 0.8j]
    found = run(network, in_memory(values), noise_std=1e-3, check_model=True)
    np.testing.assert_array_equal((found.quality & QualityFlag.NOT_OF_MODEL) > 0, corrupted)
    without = run(network, in_memory(values), noise_std=1e-3)
    np.testing.assert_array_equal(found.quality & ~np.uint32(2), without.quality)


def test_known_parameters_are_used(networks, in_memory):
    network = networks["B1 known"]
    theta = pd.DataFrame(network.prior_.sample(24, random_state=1), columns=list(network.model_.parameter_names))
    values = (network.model_.signal(theta.to_numpy()) @ network[0].basis_).reshape(*SHAPE, 5)
    B1 = theta["B1"].to_numpy().reshape(SHAPE)
    volume = in_memory(values)
    found = run(network, volume, covariates={"B1": B1})
    expected = network.predict_coefficients(values, covariates=B1)
    np.testing.assert_array_equal(found.maps[1].values, expected[..., 1].astype(np.float32))
    checked = run(network, volume, covariates={"B1": B1}, check_model=True, noise_std=1e-3)
    assert not (checked.quality & QualityFlag.NOT_OF_MODEL).any()
    wrong = run(network, volume, covariates={"B1": 1.6 - 0.6 * B1}, check_model=True, noise_std=1e-4)
    assert (wrong.quality & QualityFlag.NOT_OF_MODEL).any()


def test_maps_of_known_parameters_must_be_those_of_the_training(networks, volume):
    B1 = np.ones(SHAPE)
    for covariates in (None, {}, {"B0": B1}, {"B1": B1, "B0": B1}):
        with pytest.raises(ValueError, match=r"covariates must be maps of \['B1'\]; got"):
            run(networks["B1 known"], volume, covariates=covariates)
    with pytest.raises(ValueError, match=r"covariates must be maps of \[\]; got \['B1'\]"):
        run(networks["free"], volume, covariates={"B1": B1})
    with pytest.raises(ValueError, match="B1 must have the shape of the volume"):
        run(networks["B1 known"], volume, covariates={"B1": np.ones((3, 2))})
    B1[1, 1, 1] = np.nan
    with pytest.raises(ValueError, match="B1 must be finite"):
        run(networks["B1 known"], volume, covariates={"B1": B1})


@pytest.mark.parametrize(
    ("noise", "error", "match"),
    [
        (0, ValueError, "noise_std must be positive and finite; got 0"),
        (-1.0, ValueError, "noise_std must be positive"),
        (np.nan, ValueError, "noise_std must be positive and finite; got nan"),
        ("1", TypeError, "noise_std must be a number"),
        (np.zeros(SHAPE), ValueError, "noise_std must be real, positive and finite"),
        (np.full(SHAPE, np.nan), ValueError, "noise_std must be finite in all voxels"),
        (np.ones((3, 2)), ValueError, "noise_std must have the shape of the volume"),
        ([1.0, 2.0], ValueError, "noise_std must have the shape of the volume"),
    ],
)
def test_noise_is_checked(network, volume, noise, error, match):
    with pytest.raises(error, match=match):
        run(network, volume, noise_std=noise)


def test_noise_may_be_a_number_of_any_kind(network, volume):
    expected = run(network, volume, noise_std=0.5).maps[0].std
    for noise in (np.float32(0.5), np.array(0.5), np.full(SHAPE, 0.5), np.full(SHAPE, 0.5).tolist()):
        np.testing.assert_array_equal(run(network, volume, noise_std=noise).maps[0].std, expected)


def test_check_of_the_model_needs_noise_and_model(network, volume, tiny_network, draw_images, in_memory):
    match = "check_model needs noise_std, and a pretrained network"
    with pytest.raises(ValueError, match=match):
        run(network, volume, check_model=True)
    with pytest.raises(ValueError, match=match):
        run(tiny_network, in_memory(draw_images()), check_model=True, noise_std=1.0)
    with pytest.raises(ValueError, match=match):
        run(NLLSEstimator(MonoExponentialModel(TIMES), prior=PRIOR).fit(), volume, check_model=True)


def test_network_that_is_no_file_has_no_prior(tiny_network, draw_images, in_memory):
    found = run(tiny_network, in_memory(draw_images()), noise_std=1.0)
    assert [(m.parameter.name, m.parameter.unit) for m in found.maps] == [("R", "unknown"), ("W", "unknown")]
    assert not found.quality.any()


def test_network_that_was_trained_anew_is_used(networks, short_sequence, in_memory):
    again = load_again(networks["free"])
    rng = np.random.default_rng(0)
    X = again.model_.signal(again.prior_.sample(64, random_state=0))
    again[-1].set_params(noise=None)
    again.fit(X, rng.uniform(1, 2, 64), crb=np.ones(64))
    coefficients = (X @ again[0].basis_)[:24].reshape(*SHAPE, 5)
    found = run(again, in_memory(coefficients))
    assert [m.parameter.name for m in found.maps] == ["target1"]
    np.testing.assert_array_equal(found.maps[0].values, again.predict_coefficients(coefficients).astype(np.float32))


def load_again(network):
    return copy.deepcopy(network)


def test_what_is_not_fitted_is_told(volume, network):
    for estimator in (clone(network), NLLSEstimator(MonoExponentialModel(TIMES), prior=PRIOR)):
        with pytest.raises(NotFittedError):
            run(estimator, volume)


@pytest.mark.parametrize("wrapped", [True, False])
def test_other_estimators_are_refused(volume, wrapped):
    X = np.random.default_rng(0).standard_normal((20, 8))
    estimator = LinearRegression()
    estimator = Pipeline([SVDCompressor(5), estimator]).fit(X, X) if wrapped else estimator.fit(X, X)
    with pytest.raises(TypeError, match="estimator must be a fitted NLLSEstimator, or a Pipeline of"):
        run(estimator, volume)


def test_settings_tell_networks_apart(networks, tiny_network):
    first, second = (estimates_of(network, False) for network in networks.values())
    others = {first.settings, second.settings, estimates_of(networks["free"], True).settings}
    others.add(estimates_of(tiny_network, False).settings)
    assert len(others) == 4
    assert estimates_of(load_again(networks["free"]), False).settings == first.settings


@pytest.fixture(scope="module")
def fit():
    """A fit of a decay with two starts."""
    options = {"n_candidates": 256, "n_starts": 2, "random_state": 0, "verbose": 1}
    return NLLSEstimator(MonoExponentialModel(TIMES), prior=PRIOR, **options).fit()


@pytest.fixture(scope="module")
def decays():
    """Signals, and the T2 and M0 that they have."""
    rng = np.random.default_rng(0)
    T2, m0 = rng.uniform(0.05, 0.2, SHAPE), rng.uniform(10, 20, SHAPE) * np.exp(1j * rng.uniform(0, 6, SHAPE))
    noise = rng.standard_normal((*SHAPE, 8, 2)).view(complex)[..., 0]
    return m0[..., None] * np.exp(-TIMES / T2[..., None]) + 0.01 * noise, T2, np.abs(m0)


def test_least_squares_gives_amplitude_and_noise(fit, decays, in_memory, capsys):
    signals, T2, m0 = decays
    found = run(fit, in_memory(signals))
    maps = {m.parameter.name: m for m in found.maps}
    assert list(maps) == ["T2", "M0", "noise"]
    np.testing.assert_allclose(maps["T2"].values, T2, rtol=0.02)
    np.testing.assert_allclose(maps["M0"].values, m0, rtol=0.02)
    assert 0.007 < np.median(maps["noise"].values) < 0.013
    expected = fit.estimate(signals.reshape(-1, 8))
    capsys.readouterr()
    np.testing.assert_array_equal(maps["T2"].values.ravel(), expected.targets[:, 0].astype(np.float32))
    np.testing.assert_array_equal(maps["T2"].std.ravel(), expected.std[:, 0].astype(np.float32))
    assert maps["M0"].std is None
    assert not found.quality.any()


def test_bars_of_the_blocks_are_not_shown(fit, decays, in_memory, capsys):
    run(fit, in_memory(decays[0]), most_voxels=3)
    assert capsys.readouterr().err == ""
    assert fit.verbose == 1


def test_quality_of_least_squares_by_hand(fit, decays, in_memory):
    signals = decays[0].copy()
    signals[0, 0, 0] = 10 * np.exp(-TIMES / 5)  # a T2 above the prior
    signals[2, 1, 3] = 10 * (np.arange(8) == 0)  # and one below
    found = run(fit, in_memory(signals))
    expected = np.zeros(SHAPE, np.uint32)
    expected[0, 0, 0] = expected[2, 1, 3] = QualityFlag.AT_BOUND
    np.testing.assert_array_equal(found.quality, expected)
    np.testing.assert_allclose(found.maps[0].values[expected > 0], [0.32, 0.02], rtol=1e-5)
    hasty = NLLSEstimator(MonoExponentialModel(TIMES), prior=PRIOR, max_iterations=1, n_starts=1, n_candidates=2)
    found = run(hasty.set_params(random_state=0).fit(), in_memory(decays[0]))
    assert (found.quality & QualityFlag.NOT_CONVERGED).any()


def test_known_parameters_of_a_fit(decays, in_memory):
    prior = Prior({"T2": stats.uniform(0.02, 0.3)})
    known = NLLSEstimator(MonoExponentialModel(TIMES), targets=["T2"], prior=prior, random_state=0).fit()
    assert list(estimates_of(known, False).covariate_names) == []
    with pytest.raises(ValueError, match=r"covariates must be maps of \[\]; got \['B1'\]"):
        run(known, in_memory(decays[0]), covariates={"B1": np.ones(SHAPE)})
    with pytest.raises(ValueError, match="noise_std of a least-squares fit is an argument of NLLSEstimator"):
        run(known, in_memory(decays[0]), noise_std=1.0)


def test_known_B1_of_a_fit(networks, in_memory):
    network = networks["B1 known"]
    model, basis, prior = network.model_, network[0].basis_, network.prior_
    theta = pd.DataFrame(prior.sample(24, random_state=1), columns=list(model.parameter_names))
    values = (model.signal(theta.to_numpy()) @ basis).reshape(*SHAPE, 5)
    options = {"known": "B1", "basis": basis, "prior": prior, "n_candidates": 512, "random_state": 0, "verbose": 0}
    fit = NLLSEstimator(model, **options).fit()
    B1 = theta["B1"].to_numpy()
    found = run(fit, in_memory(values), covariates={"B1": B1.reshape(SHAPE)})
    expected = fit.estimate(values.reshape(24, 5), covariates=B1[:, None])
    np.testing.assert_array_equal(found.maps[0].values.ravel(), expected.targets[:, 0].astype(np.float32))
    with pytest.raises(ValueError, match=r"covariates must be maps of \['B1'\]; got \[\]"):
        run(fit, in_memory(values))


def test_settings_tell_fits_apart(network, networks):
    def settings(times=TIMES, **options):
        options = {"n_candidates": 64, "random_state": 0, "prior": PRIOR} | options
        return estimates_of(NLLSEstimator(MonoExponentialModel(times), **options).fit(), False).settings

    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 3)))[0]
    found = [
        settings(),
        settings(times=2 * TIMES),  # the same candidates, but other signals
        settings(covariance=np.diag(np.arange(1.0, 9))),
        settings(covariance=np.diag(np.arange(2.0, 10))),
        settings(basis=basis),
        settings(n_starts=2),
        settings(max_iterations=7),
        settings(noise_std=2.0),
        settings(random_state=1),
        settings(prior=Prior({"T2": stats.uniform(0.02, 0.2)})),
    ]
    assert len(set(found)) == len(found)
    assert settings() == found[0]
    assert settings(verbose=0) == found[0]
    model, basis = network.model_, network[0].basis_
    started = [
        estimates_of(
            NLLSEstimator(model, basis=basis, init=init, n_candidates=64, random_state=0).fit(), False
        ).settings
        for init in (None, network, load_again(network))
    ]
    assert started[0] != started[1] == started[2]


def test_fit_is_resumed_but_not_another_one(fit, decays, in_memory, tmp_path):
    volume = in_memory(decays[0])
    options = {"most_voxels": 6, "checkpoint": tmp_path / "log"}
    expected = run(fit, volume, **options)
    (tmp_path / "log" / "batch_000002.npz").unlink()
    found = run(fit, volume, **options)
    np.testing.assert_array_equal(found.maps[0].values, expected.maps[0].values)
    params = fit.get_params() | {"model": MonoExponentialModel(2 * TIMES)}
    with pytest.raises(ValueError, match="belongs to a computation with other data or settings"):
        run(NLLSEstimator(**params).fit(), volume, **options)


def test_files_in_files_out(network, coefficients, tmp_path):
    """What a user does, with the network that the package brings."""
    shipped = load_pretrained("mt-hybrid-state")
    theta = shipped.prior_.sample(24, random_state=1)
    values = (shipped.model_.signal(theta) @ shipped[0].basis_).reshape(*SHAPE, 13).astype(np.complex64)
    save_volume(tmp_path / "coefficients.nii.gz", values)
    volume = open_coefficients(tmp_path / "coefficients.nii.gz", 13)
    (tmp_path / "maps").mkdir()
    paths = save_estimates(tmp_path / "maps", run(shipped, volume, noise_std=1e-4), volume)
    assert {path.name for path in paths} >= {"m0smap.nii.gz", "T1map.nii.gz", "T2fmap.nii.gz", "desc-std_T1map.nii.gz"}
    T1 = read_map(tmp_path / "maps" / "T1map.nii.gz", like=volume)
    np.testing.assert_allclose(T1.ravel(), shipped.predict_coefficients(values)[..., 1].ravel(), rtol=1e-5)


@pytest.mark.parametrize("axes", [{}, {"drop_axis": 3, "new_axis": 3}])
def test_dask_array_of_a_zarr_file_is_mapped(network, coefficients, tmp_path, axes):
    """The route of the documentation for data that lie in Zarr and results that shall, too."""
    da = pytest.importorskip("dask.array")
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "image.zarr", data=coefficients, chunks=(3, 2, 2, 5))
    lazy = da.from_zarr(tmp_path / "image.zarr")
    options = {"chunks": (*lazy.chunks[:3], (2,)), "dtype": np.float64}
    found = lazy.map_blocks(network.predict_coefficients, **options | axes)
    assert found.shape == (*SHAPE, 2)
    expected = network.predict_coefficients(coefficients)
    np.testing.assert_allclose(found.compute(scheduler="synchronous"), expected, rtol=1e-6)


def test_noise_that_is_zero_in_the_mask_is_told_with_its_place(network, volume):
    noise, mask = np.full(SHAPE, 1e-3), np.zeros(SHAPE, dtype=bool)
    noise[1, 0, 1] = 0
    mask[1, 0] = True
    with pytest.raises(ValueError, match=r"noise_std must be positive in the mask; it is 0 at \(1, 0, 1\)"):
        run(network, volume, mask=mask, noise_std=noise)


def test_parameters_at_a_bound_that_are_not_estimated_are_no_flaw(in_memory):
    model = load_pretrained("mt-hybrid-state").model_
    basis = load_pretrained("mt-hybrid-state")[0].basis_
    data = NoiseModel.at_snr(50).add_to(model.signal(paper_prior().sample(12, random_state=0), basis=basis), 0)
    fit = NLLSEstimator(
        model, basis=basis, prior=paper_prior(), n_starts=1, n_candidates=256, verbose=0, random_state=0
    ).fit()
    found = fit.estimate(data)
    targets = [model.parameter_names.index(name) for name in fit.target_names_]
    assert (found.at_bound.any(axis=1) & ~found.at_bound[:, targets].any(axis=1)).any()
    quality = run(fit, in_memory(data.reshape(3, 2, 2, 13))).quality
    expected = found.at_bound[:, targets].any(axis=1)
    np.testing.assert_array_equal((quality.ravel() & QualityFlag.AT_BOUND) > 0, expected)


def test_settings_of_a_fit_know_the_estimator_of_its_starts(fit):
    def settings(seed):
        params = fit.get_params()
        matcher = DictionaryMatcher(params["model"], prior=params["prior"], entries=20, random_state=seed, verbose=0)
        return estimates_of(NLLSEstimator(**params | {"init": matcher.fit()}).fit(), False).settings

    assert settings(0) == settings(0) != settings(1)


def test_no_voxels_at_a_time_are_refused(fit, decays, in_memory):
    with pytest.raises(ValueError, match="most_voxels"):
        run(fit, in_memory(decays[0]), most_voxels=0)
