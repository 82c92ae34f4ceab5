"""Fitted estimators without a network as files: whole round trips, and what is refused."""

import copy
import json
import pickle
import re
import sys
import zipfile
from functools import partial

import numpy as np
import pytest
from models import CASES
from scipy import stats
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crbestim import (
    CRBSVDCompressor,
    DictionaryMatcher,
    NLLSEstimator,
    NoiseCovariance,
    NoiseModel,
    Pipeline,
    PosteriorMean,
    Prior,
    SVDCompressor,
    load_estimator,
    load_pretrained,
    paper_prior,
    save_estimator,
    save_pretrained,
)

skops = pytest.importorskip("skops.io")

CASE = CASES["mono-exponential"]
MODEL, PRIOR = CASE.model, CASE.prior
TISSUE = CASE.draw(40)
CLEAN = MODEL.signal(TISSUE)
NOISY = NoiseModel(0.02).add_to(CLEAN, 0)
BASIS = SVDCompressor(3).fit(CLEAN).basis_
QUIET = {"prior": PRIOR, "verbose": 0, "random_state": 0}
COVARIANCE = NoiseCovariance(0.5 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12))))


def matcher(**options):
    return DictionaryMatcher(MODEL, **QUIET, entries=200, **options)


ESTIMATORS = {
    "compressor": lambda: SVDCompressor(3).fit(CLEAN),
    "matcher": lambda: matcher().fit(),
    "matcher, grid": lambda: DictionaryMatcher(MODEL, entries={"T2": np.linspace(0.05, 0.15, 50)}, verbose=0).fit(),
    "matcher, coloured noise": lambda: matcher(covariance=COVARIANCE).fit(),
    "compressed matcher": lambda: Pipeline([SVDCompressor(3), matcher(basis=BASIS)]).fit(CLEAN, TISSUE),
    "fit": lambda: NLLSEstimator(MODEL, **QUIET).fit(),
    "fit, started": lambda: NLLSEstimator(MODEL, **QUIET, init=matcher().fit()).fit(),
    "fit, seed drawn": lambda: NLLSEstimator(MODEL, prior=PRIOR, verbose=0).fit(),
    "posterior": lambda: PosteriorMean(MODEL, **QUIET, n_candidates=256, n_samples=200).fit(),
    "posterior, coloured noise": lambda: PosteriorMean(
        MODEL, **QUIET, noise=NoiseModel(0.02, covariance=COVARIANCE), n_candidates=256, n_samples=200
    ).fit(),
    "of scikit-learn": lambda: make_pipeline(SVDCompressor(3), StandardScaler(), Ridge()).fit(CLEAN, TISSUE),
}


def answer(estimator, X):
    return estimator.predict(X) if hasattr(estimator, "predict") else estimator.transform(X)


@pytest.mark.parametrize("make", ESTIMATORS.values(), ids=ESTIMATORS)
def test_estimator_predicts_as_before(tmp_path, make):
    estimator = make()
    save_estimator(estimator, tmp_path / "it.skops")
    again = load_estimator(tmp_path / "it.skops")
    assert type(again) is type(estimator)
    np.testing.assert_array_equal(answer(again, NOISY[:9]), answer(estimator, NOISY[:9]))
    assert [path.name for path in tmp_path.iterdir()] == ["it.skops"]


OWN = {name: case for name, case in CASES.items() if not name.startswith(("function", "subclass"))}


@pytest.mark.parametrize("case", OWN.values(), ids=OWN)
def test_every_model_of_the_package_is_kept(tmp_path, case):
    estimator = DictionaryMatcher(case.model, prior=case.prior, entries=30, verbose=0, random_state=0).fit()
    save_estimator(estimator, tmp_path / "it.skops")
    again = load_estimator(tmp_path / "it.skops")
    X = case.model.signal(case.draw(5))
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))
    np.testing.assert_array_equal(again.model.signal(case.truth), case.model.signal(case.truth))


def test_prior_of_the_paper_is_kept(tmp_path):
    case = CASES["two pools, hybrid state"]
    estimator = DictionaryMatcher(case.model, prior=paper_prior(), entries=30, verbose=0, random_state=0).fit()
    save_estimator(estimator, tmp_path / "it.skops")
    again = load_estimator(tmp_path / "it.skops").prior
    assert again.sample(9, random_state=0).equals(paper_prior().sample(9, random_state=0))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda prior: pickle.loads(pickle.dumps(prior))])
def test_copies_of_a_prior_draw_the_same(copied):
    prior = Prior({"a": stats.gamma(3, scale=2), "b": stats.truncnorm(-1, b=2, loc=3), "c": stats.uniform()})
    assert copied(prior).sample(9, random_state=0).equals(prior.sample(9, random_state=0))


def test_what_cannot_be_read_again_is_not_written(tmp_path, fitted):
    path = tmp_path / "it.skops"
    by_function, by_class = (CASES[name] for name in ("function, real", "subclass, real"))
    for estimator, message in (
        (fitted, "estimator has a network; save_pretrained writes pipelines with one"),
        (fitted[1], "estimator has a network; save_pretrained writes"),
        (
            DictionaryMatcher(by_function.model, entries=TISSUE.to_numpy(), verbose=0).fit(),
            "kinds .*FunctionModel, mod",
        ),
        (
            DictionaryMatcher(by_class.model, entries=TISSUE.to_numpy(), verbose=0).fit(),
            "kinds that .* models.Saturation",
        ),
        (matcher(covariance=np.eye(12)).set_params(entries=TISSUE).fit(), "estimator has a part that cannot be writ"),
        (MODEL, "estimator must be an estimator; got MonoExponentialModel"),
    ):
        with pytest.raises(TypeError, match=message):
            save_estimator(estimator, path)
    with pytest.raises(NotFittedError):
        save_estimator(SVDCompressor(), path)
    with pytest.raises(TypeError, match="path must be a path; got int"):
        save_estimator(SVDCompressor(3).fit(CLEAN), 3)
    with_folder = Pipeline([SVDCompressor(3), matcher(basis=BASIS)], memory=str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="estimator has memory=.*cache', a folder of pickles; expected None"):
        save_estimator(with_folder.fit(CLEAN, TISSUE), path)
    assert not path.exists()


def test_a_basis_that_keeps_the_bound_goes_by_a_compressor(tmp_path):
    compressor = CRBSVDCompressor(MODEL, 3, prior=PRIOR, random_state=0).fit()
    with pytest.raises(TypeError, match="estimator has a part that cannot be written"):
        save_estimator(compressor, tmp_path / "it.skops")
    save_estimator(SVDCompressor(basis=compressor.basis_).fit(CLEAN), tmp_path / "it.skops")
    np.testing.assert_array_equal(load_estimator(tmp_path / "it.skops").basis_, compressor.basis_)


def test_each_format_tells_of_the_other_one(tmp_path, fitted):
    with pytest.raises(TypeError, match="save_estimator writes estimators without a network"):
        save_pretrained(ESTIMATORS["compressed matcher"](), tmp_path / "it")
    save_pretrained(fitted, tmp_path / "network")
    save_estimator(SVDCompressor(3).fit(CLEAN), tmp_path / "compressor")
    with pytest.raises(ValueError, match="network cannot be read as a file of save_estimator.*not a zip file"):
        load_estimator(tmp_path / "network")
    with pytest.raises(ValueError, match="compressor cannot be read: it is no safetensors file"):
        load_pretrained(tmp_path / "compressor")


def test_existing_file_is_kept_unless_told_otherwise(tmp_path):
    path = tmp_path / "it.skops"
    path.write_bytes(b"mine")
    compressor = SVDCompressor(3).fit(CLEAN)
    with pytest.raises(FileExistsError, match="it.skops exists"):
        save_estimator(compressor, path)
    assert path.read_bytes() == b"mine"
    save_estimator(compressor, path, overwrite=True)
    assert load_estimator(path).n_components_ == 3


def test_missing_skops_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    for call in (lambda: save_estimator(SVDCompressor(), "it"), lambda: load_estimator("it")):
        with pytest.raises(ImportError, match=r"pip install 'crbestim\[skops\]' brings it"):
            call()


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """Change the schema of a file."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts["schema.json"])
    change(schema)
    parts["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def node(loader, module, name, **entries):
    return {"__class__": name, "__module__": module, "__loader__": loader, **entries}


def text(value):
    return node("JsonNode", "builtins", "str", content=json.dumps(value))


def sequence(kind, *items):
    return node("TupleNode", "builtins", kind, content=list(items))


def function(module, name):
    older = {"module_path": module, "function": name}
    return node("FunctionNode", module, name, content=older)


def command(marker):
    return sequence("tuple", text(f"touch {marker}"))


def hostile_parts(marker):
    """What could run a command, if it were built."""
    python = f"open({str(marker)!r}, 'w').close()"
    opened = sequence("tuple", text(str(marker)), text("w"))
    none = text(None)
    built = lambda module, name, content: node("ConstructorFromReduceNode", module, name, content=content)  # noqa: E731
    distribution = partial(node, "ObjectNode", "scipy.stats._continuous_distns", "uniform_gen")
    attributes = node(
        "DictNode", "builtins", "dict", key_types=node("ListNode", "builtins", "list", content=[]), content={}
    )
    code = {"_parse_arg_template": text(python), "_random_state": none}
    filled = attributes | {
        "content": code,
        "key_types": node("ListNode", "builtins", "list", content=[node("TypeNode", "builtins", "str")] * len(code)),
    }
    return {
        "os.system": built("os", "system", command(marker)),
        "posix.system": built("posix", "system", command(marker)),
        "builtins.eval": built("builtins", "eval", sequence("tuple", text(python))),
        "builtins.exec": node("ListNode", "builtins", "exec", content=[text(python)]),
        "subprocess.Popen": node("ObjectNode", "subprocess", "Popen", content=attributes),
        "functools.partial": node(
            "PartialNode", "functools", "partial",
            content={"func": node("TypeNode", "os", "system"), "args": command(marker), "kwds": attributes,
                     "namespace": none},
        ),
        "operator.methodcaller": node("OperatorFuncNode", "operator", "methodcaller", attrs=opened),
        "scipy.stats._continuous_distns.uniform_gen": distribution(content=filled),
        "crbestim.cli._model_file.attribute_of": built("crbestim.cli._model_file", "attribute_of", opened),
        "crbestim.estimators._crb_regressor.CRBWeightedRegressor": node(
            "ObjectNode", "crbestim.estimators._crb_regressor", "CRBWeightedRegressor", content=attributes
        ),
        "torch.serialization.load": function("torch.serialization", "load"),
        "numpy.lib._npyio_impl.load": function("numpy.lib._npyio_impl", "load"),
        "pickle.loads": built("pickle", "loads", command(marker)),
    }  # fmt: skip


@pytest.mark.parametrize("place", ["whole", "attribute", "older protocol"])
@pytest.mark.parametrize("name", hostile_parts("marker"))
def test_types_outside_of_the_list_are_refused_before_anything_is_built(tmp_path, name, place):
    path, marker = tmp_path / "it.skops", tmp_path / "marker"
    save_estimator(SVDCompressor(3).fit(CLEAN), path)

    def plant(schema):
        part = hostile_parts(marker)[name]
        if place == "attribute":
            schema["content"]["content"]["basis"] = part
            return
        kept = {"protocol": 0 if place == "older protocol" else schema["protocol"], "_skops_version": "0.16"}
        schema.clear()
        schema.update(part, **kept)

    rewritten(path, plant)
    with pytest.raises(ValueError, match=re.escape(f"path: {path} cannot be read") + ".*Untrusted types") as caught:
        load_estimator(path)
    assert name.rpartition(".")[2] in str(caught.value)
    assert not marker.exists()


def test_attributes_of_a_distribution_would_run_code(tmp_path):
    """Why distributions are not in the list: skops builds them, code and all, for those who trust them."""
    marker = tmp_path / "marker"
    frozen = skops.dumps(stats.uniform())
    path = tmp_path / "distribution.skops"
    path.write_bytes(frozen)
    rewritten(path, lambda schema: plant_code(schema, f"open({str(marker)!r}, 'w').close()"))
    with pytest.raises(ValueError, match="Untrusted types found"):
        load_estimator(path)
    assert not marker.exists()
    with pytest.raises(KeyError, match="_parse_args"):
        skops.load(path, trusted=skops.get_untrusted_types(file=path))
    assert marker.exists()


def plant_code(entry, code):
    if isinstance(entry, dict):
        if "_parse_arg_template" in entry:
            entry["_parse_arg_template"] = text(code)
        for value in entry.values():
            plant_code(value, code)
    elif isinstance(entry, list):
        for value in entry:
            plant_code(value, code)


@pytest.mark.parametrize("name", ["rv_continuous", "poisson", "__loader__", "qmc"])
def test_distribution_of_a_hostile_name_is_refused(tmp_path, name):
    path = tmp_path / "it.skops"
    save_estimator(matcher().fit(), path)
    with zipfile.ZipFile(path) as archive:
        schema = archive.read("schema.json").decode()
    assert json.dumps(json.dumps("uniform")) in schema
    rewritten(path, lambda entries: rename(entries, json.dumps("uniform"), json.dumps(name)))
    with pytest.raises(ValueError, match="is no continuous distribution of scipy.stats"):
        load_estimator(path)


def rename(entry, old, new):
    for key, value in list(entry.items()) if isinstance(entry, dict) else enumerate(entry):
        if value == old:
            entry[key] = new
        elif isinstance(value, (dict, list)):
            rename(value, old, new)


def test_archives_that_expand_are_refused(tmp_path):
    path = tmp_path / "it.skops"
    save_estimator(SVDCompressor(3).fit(CLEAN), path)
    rewritten(path, lambda schema: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="parts of the archive are compressed; expected none"):
        load_estimator(path)


def test_folder_of_pickles_in_a_file_is_refused(tmp_path):
    path = tmp_path / "it.skops"
    save_estimator(Pipeline([SVDCompressor(3), matcher(basis=BASIS)]).fit(CLEAN, TISSUE), path)
    rewritten(path, lambda schema: schema["content"]["content"].update(memory=text("/somewhere")))
    with pytest.raises(ValueError, match="it has memory='/somewhere', a folder of pickles"):
        load_estimator(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, np.zeros(3), "text"])
def test_what_is_no_estimator_is_told(tmp_path, content):
    skops.dump(content, tmp_path / "it.skops")
    with pytest.raises(ValueError, match="it holds no estimator, but"):
        load_estimator(tmp_path / "it.skops")


def test_file_of_another_version_of_scikit_learn_is_read_with_a_warning(tmp_path):
    path = tmp_path / "it.skops"
    save_estimator(ESTIMATORS["of scikit-learn"](), path)
    with zipfile.ZipFile(path) as archive:
        version = json.loads(archive.read("schema.json"))["content"]["content"]["_sklearn_version"]["content"]
    rewritten(path, lambda schema: rename(schema, version, json.dumps("1.7.0")))
    with pytest.warns(InconsistentVersionWarning, match="version 1.7.0"):
        load_estimator(path)
