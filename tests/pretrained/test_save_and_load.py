import builtins
import copy
import os
import pickle
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from crbestim import (
    CRBSVDCompressor,
    CRBWeightedRegressor,
    MonoExponentialModel,
    MTHybridStateModel,
    NoiseCovariance,
    NoiseModel,
    Pipeline,
    Prior,
    SVDCompressor,
    make_fingerprints,
    paper_prior,
)
from crbestim.nn import BiasReducedLoss, FingerprintNetwork
from crbestim.pretrained import PretrainedPipeline, _load, load_pretrained, save_pretrained

K = 3


def correlated(kind="real"):
    rng = np.random.default_rng(3)
    root = rng.standard_normal((2 * K if kind == "real" else K, 8))
    return NoiseCovariance.from_square_root(root if kind == "real" else root + 1j * rng.standard_normal(root.shape))


def orthonormal(order="C", dtype=np.complex128):
    rng = np.random.default_rng(5)
    values = rng.standard_normal((24, K, 2)).view(np.complex128)[..., 0]
    return np.asarray(np.linalg.qr(values if np.dtype(dtype).kind == "c" else values.real)[0], dtype, order)


class OwnCompressor(SVDCompressor):
    """A user's own."""


def quartic(error, theta, crb):
    return (error**4).mean()


def to_single(data):
    X, y, crb, covariates = data
    return X.astype(np.complex64), y, crb, covariates


def first_target(data):
    X, y, crb, covariates = data
    return X, y["R"], crb[:, 0], covariates


def unnamed(data):
    return tuple(np.asarray(part) for part in data)


# What is drawn, what is made of it, and how the pipeline is trained.
CASES = {
    "complex signals": {},
    "real signals": {"kind": "real"},
    "single precision": {"change": to_single},
    "no names": {"change": unnamed},
    "single target": {"change": first_target},
    "covariates": {"covariates": True},
    "covariates without names": {"covariates": True, "change": unnamed},
    "no noise, no bound": {"noise": None},
    "no bound": {"loss": "mse", "crb": False},
    "coloured noise": {"noise": NoiseModel(1e-3, (0.5, 0.9), correlated("complex"))},
    "coloured noise, real covariance": {"noise": NoiseModel(1e-3, covariance=np.diag([1.0, 2.0, 3.0]))},
    "paper": {"network": "paper", "training": "paper"},
    "names of steps": {"names": ("compress", "estimate")},
    "basis in rows": {"compressor": SVDCompressor(basis=orthonormal("C"))},
    "basis in columns": {"compressor": SVDCompressor(basis=orthonormal("F"))},
    "real basis": {"compressor": SVDCompressor(basis=orthonormal("F", np.float64))},
    "basis in single precision": {"compressor": SVDCompressor(basis=orthonormal(dtype=np.complex64))},
    "basis as a slice": {"compressor": SVDCompressor(basis=np.linalg.qr(np.vander(np.arange(24) / 24))[0][:, :K])},
    "bias-reduced": {"loss": BiasReducedLoss(3, unbiased=False), "refinement_epochs": 2},
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def saved(request, draw, tiny, tmp_path_factory):
    """A pipeline, the one that comes from its file, new signals, and what predict needs beside them."""
    options = dict(request.param)
    kind, change = options.pop("kind", "complex"), options.pop("change", lambda data: data)
    pipeline = tiny(change(draw(kind=kind)), **options)
    path = tmp_path_factory.mktemp("network") / "network.safetensors"
    save_pretrained(pipeline, path)
    X, *_, covariates = change(draw(5000, seed=1, kind=kind))
    return pipeline, load_pretrained(path), X, {"covariates": covariates} if options.get("covariates") else {}


def assert_same_bits(first, second):
    for one, other in zip(*((part if isinstance(part, tuple) else (part,)) for part in (first, second)), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_loaded_pipeline_predicts_the_same_bits(saved):
    pipeline, loaded, X, extra = saved
    assert isinstance(loaded, PretrainedPipeline)
    assert_same_bits(pipeline.predict(X, **extra), loaded.predict(X, **extra))
    for row in range(5):  # by themselves: other code multiplies them
        voxel, known = X[row : row + 1], {name: values[row : row + 1] for name, values in extra.items()}
        assert_same_bits(pipeline.predict(voxel, **known), loaded.predict(voxel, **known))
    C = (X @ pipeline[0].basis_)[:4000].reshape(50, 80, -1)
    extra = {name: np.asarray(values)[:4000].reshape(50, 80, -1) for name, values in extra.items()}
    assert_same_bits(pipeline.predict_coefficients(C, **extra), loaded.predict_coefficients(C, **extra))


def test_loaded_pipeline_has_the_same_error_bars(saved):
    pipeline, loaded, X, extra = saved
    if pipeline[1].module_.bound is None:
        with pytest.raises(ValueError, match="return_std=True needs a network that was trained with"):
            loaded.predict(X, return_std=True, noise_std=0.01, **extra)
        return
    both = [step.predict(X, return_std=True, noise_std=0.01, **extra) for step in (pipeline, loaded)]
    assert (both[0][1] > 0).all()
    assert_same_bits(*both)


def test_loaded_pipeline_is_fitted_as_the_saved_one(saved):
    pipeline, loaded, *_ = saved
    assert [name for name, _ in loaded.steps] == [name for name, _ in pipeline.steps]
    for attribute in ("basis_", "explained_energy_ratio_"):
        assert_same_bits(getattr(pipeline[0], attribute), getattr(loaded[0], attribute))
    assert (loaded[0].n_components_, loaded[0].n_features_in_) == (K, 24)
    before, after = pipeline[1], loaded[1]
    for attribute in ("target_names_", "covariate_names_", "n_covariates_", "n_features_in_", "noise"):
        assert getattr(after, attribute) == getattr(before, attribute)
    assert_same_bits(after.target_scale_, before.target_scale_)
    assert {str(parameter.device) for parameter in after.module_.parameters()} == {"cpu"}
    assert all(parameter.requires_grad for parameter in after.module_.parameters())
    for name in set(before.get_params()) - {"loss", "network"}:
        assert getattr(after, name) == getattr(before, name), name
    if callable(after.network):  # networks with other settings than the defaults
        made = after.network(after.n_features_in_, len(after.target_mean_), after.n_covariates_)
        shapes = [
            {name: value.shape for name, value in net.state_dict().items()} for net in (made, after.module_.estimate)
        ]
        assert shapes[0] == shapes[1]
    else:
        assert after.network == before.network
    assert repr(after.loss) == repr(before.loss)
    pd.testing.assert_frame_equal(loaded.history_, before.history_)


def test_pipeline_tells_what_the_file_does(draw, tiny, tmp_path):
    noise = NoiseModel(2e-3, (0.2, 0.8))
    pipeline = tiny(draw(), noise=noise)
    save_pretrained(pipeline, tmp_path / "network", card="# Decays\n\nµ-test")
    loaded = load_pretrained(tmp_path / "network")
    assert loaded.card_ == "# Decays\n\nµ-test"
    assert loaded.noise_ == noise
    assert loaded.target_names_ == ["R", "W"]
    assert set(loaded.versions_) == {"crbestim", "torch", "numpy", "scikit-learn"}
    assert loaded.versions_["torch"] == version("torch")
    assert loaded.model_ is loaded.prior_ is loaded.prior_table_ is loaded.sequence_ is None
    shape = loaded.header_["regressor"]["estimate"]
    assert (shape["name"], shape["width"], shape["n_blocks"]) == ("residual", 8, 1)
    loaded.header_["card"] = loaded.versions_["torch"] = "changed"
    assert loaded.card_.startswith("# Decays")
    assert loaded.versions_["torch"] == version("torch")
    with pytest.raises(AttributeError):
        loaded.card_ = "changed"


def test_names_of_targets_can_be_given(draw, tiny, tmp_path):
    pipeline = tiny(unnamed(draw()))
    save_pretrained(pipeline, tmp_path / "network", target_names=("R", "W"))
    assert load_pretrained(tmp_path / "network").target_names_ == ["R", "W"]
    with pytest.raises(ValueError, match="target_names must be 2 names, one for each target; got \\['R'\\]"):
        save_pretrained(pipeline, tmp_path / "other", target_names="R")
    with pytest.raises(ValueError, match="target_names must be those of y in fit, \\['R', 'W'\\]; got \\['W', 'R'\\]"):
        save_pretrained(tiny(draw()), tmp_path / "other", target_names=["W", "R"])


def test_same_arguments_make_the_same_bytes_and_loading_draws_nothing(fitted, tmp_path):
    paths = [tmp_path / name for name in ("one", "two", "three")]
    for path in paths[:2]:
        save_pretrained(fitted, path, prior=Prior({"R": stats.uniform(0, 1)}))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    state, numpy_state = torch.get_rng_state(), np.random.mtrand._rand.get_state()[1].copy()
    loaded = load_pretrained(paths[0])
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.mtrand._rand.get_state()[1], numpy_state)
    save_pretrained(loaded, paths[2])
    again = load_pretrained(paths[2])
    for name, weights in loaded[1].module_.state_dict().items():
        assert torch.equal(again[1].module_.state_dict()[name], weights)
    assert again.header_["regressor"] == loaded.header_["regressor"]


def test_basis_of_the_bound_is_kept(tiny, tmp_path):
    model, prior = MonoExponentialModel(np.linspace(0.01, 0.3, 24)), Prior({"T2": stats.uniform(0.02, 0.2)})
    data = make_fingerprints(model, prior, 200, random_state=0, progress=False)
    compressor = CRBSVDCompressor(model, 3, prior=prior, n_samples=64, random_state=0)
    pipeline = tiny((data.X, data.y, data.crb, None), compressor=compressor)
    save_pretrained(pipeline, tmp_path / "network", model=model, prior=prior)
    loaded = load_pretrained(tmp_path / "network")
    assert_same_bits(loaded.predict(data.X), pipeline.predict(data.X))
    assert type(loaded[0]) is SVDCompressor
    assert loaded.header_["compressor"]["class"] == "CRBSVDCompressor"
    assert loaded.header_["compressor"]["settings"]["n_samples"] == 64
    assert loaded.model_ is None
    assert loaded.header_["model"]["class"] == "MonoExponentialModel"
    assert loaded.parameters_ == model.parameters
    pd.testing.assert_frame_equal(loaded.prior_.sample(9, random_state=1), prior.sample(9, random_state=1))


def test_names_of_columns_are_kept(draw, tiny, tmp_path):
    X, *rest = draw(kind="real")
    frame = pd.DataFrame(X, columns=[f"echo{i}" for i in range(X.shape[1])])
    pipeline = tiny((frame, *rest))
    save_pretrained(pipeline, tmp_path / "network")
    loaded = load_pretrained(tmp_path / "network")
    assert_same_bits(loaded.predict(frame), pipeline.predict(frame))
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame[frame.columns[::-1]])


def test_loss_of_ones_own_is_named_but_not_kept(draw, tiny, tmp_path):
    pipeline = tiny(draw(), loss=quartic)
    save_pretrained(pipeline, tmp_path / "network")
    loaded = load_pretrained(tmp_path / "network")
    assert repr(loaded[1].loss) == "UnknownLoss('quartic')"
    assert set(loaded.history_["loss"]) == {"quartic"}
    X, y, crb, _ = draw()
    with pytest.raises(ValueError, match="does not hold the loss 'quartic'"):
        loaded.fit(X, y, crb=crb)
    save_pretrained(load_pretrained(tmp_path / "network"), tmp_path / "again")
    assert repr(load_pretrained(tmp_path / "again")[1].loss) == "UnknownLoss('quartic')"


def test_paths_and_seeds_of_the_training_machine_are_left_out(draw, tiny, tmp_path):
    pipeline = tiny(draw(), checkpoint=tmp_path / "checkpoint")
    pipeline.set_params(crbweightedregressor__random_state=np.random.RandomState(0))
    save_pretrained(pipeline, tmp_path / "network")
    assert os.fsencode(tmp_path) not in (tmp_path / "network").read_bytes()
    loaded = load_pretrained(tmp_path / "network")
    assert loaded[1].checkpoint is loaded[1].random_state is None


# --- no code --------------------------------------------------------------------------------------

_HEARD: list[tuple] = []
_LISTENING = [False]


def _hear(event, arguments):
    if _LISTENING[0]:
        _HEARD.append((event, arguments))


def heard():
    """What was executed or imported, except for the functions that scipy makes of templates of its own."""
    forbidden = {"pickle.find_class", "exec", "compile", "import", "os.system", "subprocess.Popen"}
    compiled = [str(arguments[0]) for event, arguments in _HEARD if event == "compile"]
    if compiled and all("def _parse_args(self" in source for source in compiled):
        forbidden -= {"exec", "compile"}
    return forbidden & {event for event, _ in _HEARD}


def test_loading_executes_nothing(short_model, tmp_path, monkeypatch):
    data = make_fingerprints(short_model, n_samples=100, random_state=0, progress=False)
    regressor = CRBWeightedRegressor(max_epochs=1, verbose=0, random_state=0, loss=BiasReducedLoss())
    pipeline = Pipeline([SVDCompressor(4), regressor]).fit(data.X, data.y, crb=data.crb)
    path = tmp_path / "network.safetensors"
    save_pretrained(pipeline, path, model=short_model, prior=paper_prior())
    load_pretrained(path)  # what is imported late is imported now

    sys.addaudithook(_hear)
    _LISTENING[0] = True
    pickle.loads(b"cos\ngetcwd\n.")
    _LISTENING[0] = False
    assert "pickle.find_class" in heard()
    _HEARD.clear()

    def refuse(*args, **kwargs):
        raise AssertionError("a pickle, or code, was about to be executed")

    for module, names in (
        (pickle, ("load", "loads", "Unpickler", "_Unpickler")),
        (torch, ("load",)),
        (np, ("load",)),
        (builtins, ("eval",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    _LISTENING[0] = True
    try:
        load_pretrained(path)
    finally:
        _LISTENING[0] = False
    assert heard() == set()


# --- names ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(fitted, tmp_path, monkeypatch):
    """Stands for the folder of the networks that ship with the package."""
    path = tmp_path / "networks"
    path.mkdir()
    for name in ("decays", "abc"):
        save_pretrained(fitted, path / f"{name}.safetensors")
    (path / "README.md").write_text("no network")
    monkeypatch.setattr(_load, "_folder", lambda: path)
    return path


def test_network_is_found_by_its_name(folder, fitted, draw):
    X, *_ = draw()
    assert_same_bits(load_pretrained("decays").predict(X), fitted.predict(X))


def test_unknown_name_lists_those_there_are(folder):
    with pytest.raises(ValueError, match="no pretrained network 'decay'; there are \\['abc', 'decays'\\]"):
        load_pretrained("decay")


def test_missing_file_is_told(folder, tmp_path, monkeypatch):
    for path in ("decay.safetensors", "./decay", tmp_path / "decay"):
        with pytest.raises(FileNotFoundError, match="name_or_path: there is no file .*decay"):
            load_pretrained(path)
    with pytest.raises(TypeError, match="name_or_path must be a name or a path; got int"):
        load_pretrained(3)
    monkeypatch.setattr(_load, "_folder", lambda: tmp_path / "nowhere")
    with pytest.raises(ValueError, match="there are \\[\\]"):
        load_pretrained("decays")


def test_networks_are_part_of_the_package():
    assert Path(str(_load._folder())).parent == Path(_load.__file__).parent
    project = Path(__file__).parents[2] / "pyproject.toml"
    data = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    assert data["crbestim.pretrained"] == ["networks/*.safetensors"]


# --- writing --------------------------------------------------------------------------------------


def test_file_is_replaced_only_if_wanted(fitted, tmp_path):
    path = tmp_path / "network"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError, match="path: .*network exists; pass overwrite=True"):
        save_pretrained(fitted, path)
    assert path.read_bytes() == b"old"
    save_pretrained(fitted, path, overwrite=True)
    load_pretrained(path)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("exists", [False, True])
def test_killed_write_leaves_nothing_or_the_old_file(fitted, tmp_path, monkeypatch, error, exists):
    path = tmp_path / "network"
    if exists:
        path.write_bytes(b"old")

    def fail(_):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        save_pretrained(fitted, path, overwrite=True)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([b"old"] if exists else [])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pipeline": 3}, TypeError, "pipeline must be a Pipeline of an SVDCompressor .*; got int"),
        ({"pipeline": LinearRegression()}, TypeError, "got LinearRegression"),
        ({"pipeline": make_pipeline(SVDCompressor())}, TypeError, "got \\['SVDCompressor'\\]"),
        ({"pipeline": Pipeline([SVDCompressor(), CRBWeightedRegressor()])}, NotFittedError, "not fitted"),
        ({"pipeline": Pipeline([OwnCompressor(), CRBWeightedRegressor()])}, TypeError, "got \\['OwnCompressor', 'C"),
        ({"path": 3}, TypeError, "path must be a path; got int"),
        ({"card": None}, TypeError, "card must be text; got NoneType"),
        ({"model": "MTHybridStateModel"}, TypeError, "model must be a SignalModel; got str"),
        ({"model": MTHybridStateModel()}, ValueError, "model has 1141 time points, but the pipeline takes .* 24"),
        ({"prior": {"T1": 1}}, TypeError, "prior must be a Prior; got dict"),
        (
            {"model": MonoExponentialModel(np.arange(1, 25) / 100), "prior": paper_prior()},
            ValueError,
            "prior must have the model's parameters",
        ),
    ],
)
def test_bad_arguments_are_told_and_write_nothing(fitted, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        save_pretrained(**{"pipeline": fitted, "path": tmp_path / "network"} | arguments)
    assert list(tmp_path.iterdir()) == []


def test_missing_directory_is_told(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match="The directory of .*nowhere.network does not exist"):
        save_pretrained(fitted, tmp_path / "nowhere" / "network")


def test_network_of_ones_own_is_refused(fitted, tmp_path):
    class OwnNetwork(FingerprintNetwork):
        pass

    pipeline = copy.deepcopy(fitted)
    pipeline[1].module_.estimate = OwnNetwork()
    with pytest.raises(TypeError, match="pipeline has a network of type OwnNetwork"):
        save_pretrained(pipeline, tmp_path / "network")


def test_weights_that_are_not_finite_are_not_saved(draw, tiny, tmp_path):
    pipeline = tiny(draw())
    with torch.no_grad():
        pipeline[1].module_.estimate.first.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="pipeline: estimate.first.weight contains NaN"):
        save_pretrained(pipeline, tmp_path / "network")
