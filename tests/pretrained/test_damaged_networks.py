"""Files that are no networks, or not whole, or that were changed."""

import copy
import inspect
import json
import pickle
import re

import numpy as np
import pytest
import torch
from scipy import stats

from crbestim import MTHybridStateModel, NoiseCovariance, NoiseModel, Prior, PulseSequence
from crbestim.nn import NETWORKS
from crbestim.pretrained import load_pretrained, save_pretrained
from crbestim.pretrained._format import read_file, write_file
from crbestim.pretrained._networks import _READ


@pytest.fixture(scope="module")
def content(draw, tiny, tmp_path_factory):
    """Header and arrays of a file with all there can be, and the file's bytes."""
    X, y, crb, covariates = draw()
    names = ("m0s", "T1", "T2f", "Rx", "T2s", "B0", "B1")
    train = np.full(24, 0.3), np.full(24, 3e-4)
    model = MTHybridStateModel(PulseSequence(*train, 3.5e-3, 5e-4))
    noise = NoiseModel(
        1e-3,
        covariance=NoiseCovariance(np.diag([1.0, 2.0, 3.0]) + 0.1j * np.diag([1, 1], 1) - 0.1j * np.diag([1, 1], -1)),
    )
    pipeline = tiny((X, y, crb, covariates), covariates=True, noise=noise)
    path = tmp_path_factory.mktemp("network") / "network"
    save_pretrained(pipeline, path, model=model, prior=Prior(dict.fromkeys(names, stats.uniform(1, 2))), card="card")
    return *read_file(path), path.read_bytes()


def refusal(path):
    """The message with which a file is refused; it names the file."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        load_pretrained(path)
    return str(caught.value)


def rewritten(path, header, arrays):
    write_file(path, header, arrays)
    return path


def test_the_file_is_read_before_it_is_damaged(content, tmp_path):
    header, arrays, data = content
    rewritten(tmp_path / "file", {name: value for name, value in header.items() if name != "format"}, arrays)
    assert (tmp_path / "file").read_bytes() == data
    assert load_pretrained(tmp_path / "file").card_ == "card"


@pytest.mark.parametrize("share", [0, 1e-4, 0.01, 0.5, 0.999])
def test_truncated_file_is_told(content, tmp_path, share):
    *_, data = content
    (tmp_path / "file").write_bytes(data[: int(share * len(data))])
    assert "it is no safetensors file, or a damaged one" in refusal(tmp_path / "file")


def test_other_kinds_of_files_are_told(content, tmp_path):
    path = tmp_path / "file"
    for data in (b"T1,T2\n1,2\n" * 99, bytes(1000), pickle.dumps({"a": np.zeros(9)})):
        path.write_bytes(data)
        assert "it is no safetensors file" in refusal(path)
    torch.save({"a": torch.zeros(9)}, path)
    assert "it is no safetensors file" in refusal(path)


def test_other_safetensors_files_are_told(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "file"
    for metadata, message in (
        (None, "its metadata lack the entry 'crbestim'"),
        ({"format": "pt"}, "its metadata lack the entry 'crbestim'"),
        ({"crbestim": "{"}, "its header is no JSON"),
        ({"crbestim": "[" * 100_000}, "its header is no JSON"),
        ({"crbestim": "[]"}, "it has format None, and this version of crbestim reads format 1"),
        ({"crbestim": json.dumps({"format": 2})}, "it has format 2, and this version of crbestim reads format 1"),
        ({"crbestim": json.dumps({"format": 1})}, "its header lacks the entry 'steps'"),
    ):
        save_file({"a": np.zeros(2)}, path, metadata)
        assert message in refusal(path)


def test_each_tensor_is_needed_finite_and_of_its_shape_and_type(content, tmp_path):
    header, arrays, _ = content
    path = tmp_path / "file"
    assert len(arrays) > 30
    for name, array in arrays.items():
        others = {other: value for other, value in arrays.items() if other != name}
        assert f"the tensor '{name}' is missing" in refusal(rewritten(path, header, others))
        bad = array.copy()
        bad.flat[-1] = np.nan
        assert f"the tensor '{name}' contains NaN" in refusal(rewritten(path, header, others | {name: bad}))
        other_type = array.astype(np.int32)
        assert f"'{name}' is of type int32" in refusal(rewritten(path, header, others | {name: other_type}))
        refusal(rewritten(path, header, others | {name: np.concatenate([array, array])}))
        refusal(rewritten(path, header, others | {name: array[..., None]}))


def test_weights_that_do_not_belong_there_are_told(content, tmp_path):
    header, arrays, _ = content
    more = arrays | {"estimate.blocks.7.1.weight": np.zeros((8, 8), np.float32)}
    assert "has no place for the tensor 'estimate.blocks.7" in refusal(rewritten(tmp_path / "file", header, more))


def test_values_that_make_no_sense_are_told(content, tmp_path):
    header, arrays, _ = content
    path = tmp_path / "file"
    for name, message in (
        ("target_scale", "the scale positive"),
        ("basis.real", "basis must have orthonormal columns"),
        ("noise.covariance.real", "the covariance of the noise is not the square of its root"),
        ("sequence.pulse_duration", "pulse_duration must be positive"),
    ):
        changed = arrays | {name: -2 * arrays[name] if name != "basis.real" else 2 * arrays[name]}
        assert message in refusal(rewritten(path, header, changed))


def leaves(entry, path=()):
    """Paths of all values of the header, containers too."""
    yield path
    if isinstance(entry, (dict, list)):
        for key, value in entry.items() if isinstance(entry, dict) else enumerate(entry):
            yield from leaves(value, (*path, key))


def replaced(header, path, value):
    header = copy.deepcopy(header)
    entry = header
    for key in path[:-1]:
        entry = entry[key]
    if value is KeyError:
        del entry[path[-1]]
    else:
        entry[path[-1]] = value
    return header


def test_whatever_stands_in_the_header_a_file_is_read_or_refused(content, tmp_path):
    """No other error than a ValueError with the file's name comes out; two values are tried at each place."""
    header, arrays, _ = content
    path = tmp_path / "file"
    values = (KeyError, None, -1, 10**30, 1e999, "x", [], [[1]], {}, {"name": "x"}, True)
    rng = np.random.default_rng(0)
    refused = []
    for entry in leaves(header):
        if not entry or (entry[:2] == ("regressor", "history") and len(entry) > 3):
            continue
        for choice in rng.choice(len(values), 2, replace=False):
            write_file(path, replaced(header, entry, values[choice]), arrays)
            try:
                load_pretrained(path)
            except ValueError as error:
                assert str(path) in str(error)  # noqa: PT017
                refused.append(entry[0])
    assert set(refused) >= {"format", "steps", "compressor", "regressor", "model", "prior"}


def test_every_setting_of_a_network_is_kept():
    for kind in NETWORKS.values():
        parameters = inspect.signature(kind).parameters.values()
        assert {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY} <= set(_READ)


def test_network_that_was_changed_by_hand_is_refused(draw, tiny, tmp_path):
    pipeline = tiny(draw())
    pipeline[1].module_.estimate.normalize = torch.nn.Identity()
    with pytest.raises(TypeError, match="ResidualNetwork was changed in a way that a file cannot hold"):
        save_pretrained(pipeline, tmp_path / "network")


def test_a_size_beyond_all_memory_is_told(content, tmp_path):
    header, arrays, _ = content
    huge = copy.deepcopy(header)
    for part in ("estimate", "bound"):
        huge["regressor"][part]["width"] = 10**12
    assert "cannot be read" in refusal(rewritten(tmp_path / "file", huge, arrays))
