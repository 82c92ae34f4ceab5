from dataclasses import replace

import numpy as np
import pytest

from crbestim import CRBWeightedRegressor, Pipeline, PulseSequence, SVDCompressor, make_fingerprints
from crbestim.pretrained import load_pretrained, save_pretrained


@pytest.fixture(scope="module")
def data(short_model):
    return make_fingerprints(short_model, n_samples=100, random_state=0, progress=False)


@pytest.fixture(scope="module")
def path(data, short_model, tmp_path_factory):
    regressor = CRBWeightedRegressor(max_epochs=1, verbose=0, random_state=0)
    pipeline = Pipeline([SVDCompressor(4), regressor]).fit(data.X, data.y, crb=data.crb)
    path = tmp_path_factory.mktemp("network") / "network.safetensors"
    save_pretrained(pipeline, path, model=short_model)
    return path


@pytest.fixture(scope="module")
def loaded(path):
    return load_pretrained(path)


def changed(sequence, **indices):
    """The sequence with one value of an array multiplied by 1.1, or with other attributes."""
    arrays = {}
    for name, value in indices.items():
        if isinstance(value, int):
            arrays[name] = getattr(sequence, name).copy()
            arrays[name][value] *= 1.1
        else:
            arrays[name] = value
    return replace(sequence, **arrays)


def test_same_sequence_and_basis_pass(path, loaded, short_sequence):
    assert load_pretrained(path, sequence=short_sequence, basis=loaded[0].basis_).sequence_ == short_sequence
    rounded = {
        name: getattr(short_sequence, name).astype(np.float32).astype(float)
        for name in ("flip_angle", "pulse_duration")
    }
    loaded.check_matches(replace(short_sequence, **rounded), loaded[0].basis_.astype(np.complex64))
    assert not np.array_equal(rounded["flip_angle"], short_sequence.flip_angle)
    loaded.check_matches()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flip_angle": 7}, "flip_angle differs first at pulse 8 .* most at pulse 8 \\(by .* rad; counted from 1"),
        ({"pulse_duration": 59}, "pulse_duration differs first at pulse 60 \\(.* instead of .* s\\)"),
        ({"repetition_time": 4e-3}, "repetition_time is 0.004 s instead of 0.0035 s"),
        ({"inversion_duration": 4e-4}, "inversion_duration is 0.0004 s instead of 0.0005 s"),
        (
            {"repetition_time": 4e-3, "flip_angle": 0},
            "repetition_time is 0.004 s instead of 0.0035 s; flip_angle differs first at pulse 1 ",
        ),
    ],
)
def test_other_sequence_is_refused_with_what_differs(path, short_sequence, changes, message):
    with pytest.raises(ValueError, match=f"sequence is not that of the training: {message}"):
        load_pretrained(path, sequence=changed(short_sequence, **changes))


def test_first_and_largest_difference_are_told(loaded, short_sequence):
    flip_angle = short_sequence.flip_angle.copy()
    flip_angle[[3, 20]] += [0.01, 0.2]
    with pytest.raises(ValueError, match=r"first at pulse 4 .*, most at pulse 21 \(by 0.2 rad"):
        loaded.check_matches(replace(short_sequence, flip_angle=flip_angle))


def test_small_differences_beyond_rounding_are_told(loaded, short_sequence):
    sequence = replace(short_sequence, flip_angle=short_sequence.flip_angle * (1 + 1e-5))
    with pytest.raises(ValueError, match="flip_angle differs first"):
        loaded.check_matches(sequence)


def test_other_number_of_pulses_is_told(loaded, short_sequence):
    parts = (short_sequence.flip_angle[:-1], short_sequence.pulse_duration[:-1])
    shorter = PulseSequence(*parts, short_sequence.repetition_time, short_sequence.inversion_duration)
    with pytest.raises(ValueError, match="training: it has 59 pulses instead of 60\\.$"):
        loaded.check_matches(shorter)
    with pytest.raises(ValueError, match="training: it has 1141 pulses instead of 60; flip_angle differs"):
        loaded.check_matches(PulseSequence.default())


def test_other_basis_is_refused_with_what_differs(path, loaded, draw_basis):
    basis = loaded[0].basis_
    with pytest.raises(ValueError, match="basis is not .*: its shape is \\(60, 3\\) instead of \\(60, 4\\)"):
        load_pretrained(path, basis=basis[:, :3])
    with pytest.raises(ValueError, match="vector 0 is the first that differs, the largest .* from 0\\)\\.$"):
        loaded.check_matches(basis=draw_basis(60, 4))


def test_same_space_in_other_vectors_is_told_with_the_remedy(loaded, data):
    basis = loaded[0].basis_ * [1, 1, -1, 1] @ np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    with pytest.raises(ValueError, match="spans the same space: .* by C @ \\(basis\\^H basis_\\)"):
        loaded.check_matches(basis=basis)
    C = data.X @ basis @ (basis.conj().T @ loaded[0].basis_)
    np.testing.assert_allclose(loaded.predict_coefficients(C), loaded.predict(data.X), rtol=1e-4)
    with pytest.raises(ValueError, match="vector 2 is the first that differs"):
        loaded.check_matches(basis=loaded[0].basis_ * [1, 1, -1, 1])


def test_wrong_types_are_told(loaded, fitted, short_sequence, tmp_path):
    with pytest.raises(TypeError, match="sequence must be a PulseSequence; got list"):
        loaded.check_matches(sequence=[0.1])
    with pytest.raises(TypeError, match="basis must hold numbers"):
        loaded.check_matches(basis=[["a"]])
    save_pretrained(fitted, tmp_path / "network")
    with pytest.raises(ValueError, match="sequence cannot be checked: the network was saved without one"):
        load_pretrained(tmp_path / "network", sequence=short_sequence)
