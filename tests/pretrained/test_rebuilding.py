"""What a file tells of models and priors."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from crbestim import (
    BlochHybridStateModel,
    BlochMcConnellModel,
    MonoExponentialModel,
    MTBlochModel,
    MTHybridStateModel,
    Prior,
    paper_prior,
)
from crbestim.datasets import default_prior
from crbestim.datasets._priors import TruncatedNormalBelow
from crbestim.pretrained._format import read_file, write_file
from crbestim.pretrained._models import pack_model, unpack_model, unpack_parameters
from crbestim.pretrained._priors import pack_prior, unpack_prior

REBUILT = {
    "two pools": (MTHybridStateModel, {}),
    "all options": (
        MTHybridStateModel,
        {"lineshape": "gaussian", "saturation": "generalized-bloch", "separate_T1": True},
    ),
    "without hybrid state": (MTBlochModel, {"lineshape": "lorentzian"}),
    "single pool": (BlochHybridStateModel, {}),
    "reference": (BlochMcConnellModel, {"saturation": "generalized-bloch"}),
}


class OwnModel(MTHybridStateModel):
    """A user's own kind of a model."""


def through_a_file(path, description, arrays, unpack):
    """What is unpacked from a file that holds what was packed."""
    write_file(path, {"part": description}, arrays)
    header, arrays = read_file(path)
    return unpack(header["part"], arrays)


@pytest.mark.parametrize(("kind", "options"), REBUILT.values(), ids=REBUILT)
def test_model_of_a_sequence_is_rebuilt(kind, options, short_sequence, tmp_path):
    model = kind(short_sequence, **options)
    rebuilt, sequence = through_a_file(tmp_path / "file", *pack_model(model), unpack_model)
    assert type(rebuilt) is kind
    assert sequence == rebuilt.sequence == short_sequence
    assert repr(rebuilt) == repr(model)


def test_rebuilt_model_has_the_same_signal(short_model, draw_theta, tmp_path):
    rebuilt, _ = through_a_file(tmp_path / "file", *pack_model(short_model), unpack_model)
    theta = draw_theta(5)
    np.testing.assert_array_equal(rebuilt.signal(theta), short_model.signal(theta))


def test_of_other_models_names_are_kept_and_the_sequence(short_sequence, tmp_path):
    description, arrays = pack_model(MonoExponentialModel([0.1, 0.2]))
    assert {name: description[name] for name in ("class", "parameters")} == {
        "class": "MonoExponentialModel",
        "parameters": ["T2"],
    }
    assert through_a_file(tmp_path / "file", description, arrays, unpack_model) == (None, None)
    assert unpack_parameters(description, None) == MonoExponentialModel([0.1, 0.2]).parameters
    description, arrays = pack_model(OwnModel(short_sequence))
    assert description["class"] == "OwnModel"
    assert through_a_file(tmp_path / "file", description, arrays, unpack_model) == (None, short_sequence)


def test_model_that_does_not_exist_is_told(short_model):
    description, arrays = pack_model(short_model)
    with pytest.raises(ValueError, match="the model 'SignalModel' is unknown"):
        unpack_model(description | {"class": "SignalModel"}, arrays)
    with pytest.raises(ValueError, match="MTHybridStateModel has the parameters .*, but had \\['T1'\\]"):
        unpack_model(description | {"parameters": ["T1"]}, arrays)
    with pytest.raises(TypeError, match="unexpected keyword"):
        unpack_model(description | {"options": {"colour": 1}}, arrays)
    with pytest.raises(ValueError, match="flip_angle must lie in"):
        unpack_model(description, arrays | {"sequence.flip_angle": np.full(60, 60.0)})


PRIORS = {
    "paper": paper_prior(),
    "paper, other TR": paper_prior(5e-3),
    "single pool": default_prior(BlochHybridStateModel()),
    "separate T1": default_prior(MTHybridStateModel(separate_T1=True)),
    "limited by another": Prior({"T1": stats.uniform(1, 2), "T2": TruncatedNormalBelow(1.0, 1.0, 0.1, "T1")}),
    "own": Prior({"a": stats.lognorm(0.3, scale=2.0), "b": stats.uniform(np.float32(1), 2), "c": stats.norm(3)}),
}


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_prior_is_rebuilt(prior, tmp_path):
    rebuilt, table = through_a_file(tmp_path / "file", *pack_prior(prior), unpack_prior)
    pd.testing.assert_frame_equal(rebuilt.sample(99, random_state=3), prior.sample(99, random_state=3))
    assert list(table.index) == list(prior.names)
    assert list(table.columns) == ["mean", "std", "0.5%", "50.0%", "99.5%"]
    np.testing.assert_allclose(table["std"], prior.std(), rtol=0.02)
    np.testing.assert_allclose(table["mean"], prior.mean(), rtol=0.01, atol=2e-3 * prior.std().max())


@pytest.mark.parametrize(
    "distribution",
    [
        lambda theta: stats.uniform(0, theta["a"].to_numpy()),
        stats.rv_histogram(np.histogram([1.0, 2.0, 2.5, 4.0], bins=3)),
        stats.uniform(np.zeros(1), np.ones(1)),
        type("other", (stats.rv_continuous,), {"_ppf": lambda self, q: np.sqrt(q)})(a=0, b=1, name="uniform")(),
        stats.beta(2, 2).dist(2, 2, loc=np.array([1.0])),
    ],
    ids=["conditional", "histogram", "array", "disguised", "array as keyword"],
)
def test_of_a_prior_that_only_code_can_tell_a_table_is_kept(distribution, tmp_path):
    prior = Prior({"a": stats.uniform(1, 1), "b": distribution})
    rebuilt, table = through_a_file(tmp_path / "file", *pack_prior(prior), unpack_prior)
    assert rebuilt is None
    sample = prior.sample(20_000, random_state=0)
    np.testing.assert_allclose(table.loc["b", "50.0%"], sample["b"].median(), atol=0.05 * sample["b"].std())


@pytest.mark.parametrize("name", ["gaussian_kde", "rv_continuous", "qmc", "bernoulli", "__loader__", "", 3])
def test_distribution_that_does_not_exist_is_told(name):
    description, arrays = pack_prior(Prior({"a": stats.uniform(1, 1)}))
    description["distributions"][0]["name"] = name
    with pytest.raises(ValueError, match="is no continuous distribution of scipy.stats"):
        unpack_prior(description, arrays)
