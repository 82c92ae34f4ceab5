import copy
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest

from crbestim import MTHybridStateModel, PulseSequence, paper_prior
from crbestim.design import SequenceConstraints, compare_bounds, hybrid_state_error

_OF_CSV = 1e-15 if int(pd.__version__.split(".")[0]) >= 3 else 1e-12  # to which numbers of a CSV file are read
VALID = {
    "flip_angle": [0.1, 0.5, 0.3],
    "pulse_duration": [1e-4, 2e-4, 3e-4],
    "repetition_time": 3.5e-3,
    "inversion_duration": 5e-4,
}


def make(**changes):
    return PulseSequence(**{**VALID, **changes})


def test_holds_what_it_is_given():
    sequence = make()
    np.testing.assert_array_equal(sequence.flip_angle, VALID["flip_angle"])
    np.testing.assert_array_equal(sequence.pulse_duration, VALID["pulse_duration"])
    assert sequence.repetition_time == 3.5e-3
    assert sequence.inversion_duration == 5e-4
    assert sequence.n_pulses == 3
    assert "3 pulses" in repr(sequence)


def test_polar_angle_is_half_the_mean_of_neighbouring_flips():
    np.testing.assert_allclose(make().polar_angle, [0.6 / 4, 0.8 / 4, 0.3 / 2], rtol=1e-15)


def test_polar_angle_of_a_single_pulse():
    assert make(flip_angle=[0.4], pulse_duration=[1e-4]).polar_angle == pytest.approx([0.2])


def test_rf_amplitude_is_flip_over_duration():
    np.testing.assert_allclose(make().rf_amplitude, [1e3, 2.5e3, 1e3])


@pytest.mark.parametrize("name", VALID)
def test_attributes_cannot_be_set(name):
    with pytest.raises(FrozenInstanceError):
        setattr(make(), name, VALID[name])


def duplicate(sequence):
    return PulseSequence(
        sequence.flip_angle, sequence.pulse_duration, sequence.repetition_time, sequence.inversion_duration
    )


@pytest.mark.parametrize("copied", [lambda s: s, duplicate, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
@pytest.mark.parametrize("name", ["flip_angle", "pulse_duration"])
def test_arrays_are_read_only_also_after_copy_and_pickle(name, copied):
    sequence = copied(make())
    with pytest.raises(ValueError, match="read-only"):
        getattr(sequence, name)[0] = 0.2


def test_later_changes_of_the_input_do_not_reach_it():
    flip_angle = np.array(VALID["flip_angle"])
    sequence = make(flip_angle=flip_angle)
    flip_angle[0] = 1.0
    assert sequence.flip_angle[0] == 0.1


def test_equal_sequences_are_equal_and_hash_alike():
    assert make() == make(flip_angle=np.array(VALID["flip_angle"]))
    assert hash(make()) == hash(pickle.loads(pickle.dumps(make())))
    assert len({make(), make(), make(repetition_time=4e-3)}) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"flip_angle": [0.1, 0.5, 0.31]},
        {"pulse_duration": [1e-4, 2e-4, 2e-4]},
        {"repetition_time": 4e-3},
        {"inversion_duration": 1e-3},
        {"flip_angle": [0.1, 0.5], "pulse_duration": [1e-4, 2e-4]},
    ],
)
def test_sequences_that_differ_are_unequal(changes):
    assert make() != make(**changes)


def test_is_unequal_to_other_objects():
    assert make() != "sequence"
    assert make() != tuple(VALID.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flip_angle": [0.1, 0.5]}, "flip_angle and pulse_duration must have the same length; got 2 and 3"),
        ({"flip_angle": []}, "flip_angle must be a non-empty 1-D"),
        ({"flip_angle": [[0.1, 0.5, 0.3]]}, "flip_angle must be a non-empty 1-D"),
        ({"flip_angle": 0.3}, "flip_angle must be a non-empty 1-D"),
        ({"flip_angle": [0.1, np.nan, 0.3]}, "flip_angle contains NaN or infinity"),
        ({"flip_angle": [0.1, -0.5, 0.3]}, "flip_angle must lie in"),
        ({"flip_angle": [10.0, 50.0, 30.0]}, "flip_angle must lie in .* degrees"),
        ({"pulse_duration": [1e-4, np.inf, 1e-4]}, "pulse_duration contains NaN or infinity"),
        ({"pulse_duration": [1e-4, 0.0, 1e-4]}, "pulse_duration must be positive"),
        ({"pulse_duration": [1e-4, -1e-4, 1e-4]}, "pulse_duration must be positive"),
        ({"pulse_duration": [1e-4, 3.6e-3, 1e-4]}, "pulse_duration must not exceed repetition_time"),
        ({"repetition_time": 0.0}, "repetition_time must be positive"),
        ({"repetition_time": -3.5e-3}, "repetition_time must be positive"),
        ({"repetition_time": np.nan}, "repetition_time must be positive and finite"),
        ({"inversion_duration": 0.0}, "inversion_duration must be positive"),
        ({"inversion_duration": -5e-4}, "inversion_duration must be positive"),
        ({"inversion_duration": np.inf}, "inversion_duration must be positive and finite"),
    ],
)
def test_bad_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flip_angle": ["a", "b", "c"]}, "flip_angle"),
        ({"flip_angle": [0.1j, 0.5, 0.3]}, "flip_angle"),
        ({"flip_angle": np.array([0.1 + 0.2j, 0.5, 0.3])}, "flip_angle"),
        ({"repetition_time": "3.5 ms"}, "repetition_time must be a number"),
        ({"repetition_time": None}, "repetition_time must be a number"),
        ({"inversion_duration": [5e-4]}, "inversion_duration must be a number"),
        ({"inversion_duration": True}, "inversion_duration must be a number"),
    ],
)
def test_wrong_types_are_refused(changes, message):
    with pytest.raises(TypeError, match=message):
        make(**changes)


def from_csv(path):
    return PulseSequence.from_csv(path, repetition_time=3.5e-3, inversion_duration=5e-4)


@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_csv_round_trip(tmp_path, as_type):
    rng = np.random.default_rng(1)
    sequence = make(flip_angle=rng.uniform(0, 3, 50), pulse_duration=rng.uniform(1e-4, 5e-4, 50))
    path = tmp_path / "pattern.csv"
    path.write_text("an older file")
    sequence.to_csv(as_type(path), ["made in a test", "of two\nlines"])
    for name in ("flip_angle", "pulse_duration"):
        np.testing.assert_allclose(getattr(from_csv(path), name), getattr(sequence, name), rtol=_OF_CSV)
    lines = path.read_text().splitlines()
    assert lines[:3] == ["# made in a test", "# of two", "# lines"]
    assert "repetition_time = 0.0035 s, inversion_duration = 0.0005 s" in lines[3]
    assert [file.name for file in tmp_path.iterdir()] == ["pattern.csv"]


def test_csv_keeps_the_times(tmp_path):
    path = tmp_path / "pattern.csv"
    sequence = make(repetition_time=4e-3 / 3, inversion_duration=5e-5)
    earlier = "repetition_time = 0.0035 s, inversion_duration = 0.0005 s; of the train that this one was made from"
    sequence.to_csv(path, [earlier])
    assert PulseSequence.from_csv(path) == sequence
    assert PulseSequence.from_csv(path, repetition_time=4e-3 / 3) == sequence
    assert PulseSequence.from_csv(path, repetition_time=4e-3 / 3, inversion_duration=5e-5) == sequence


@pytest.mark.parametrize("name", ["repetition_time", "inversion_duration"])
def test_csv_with_another_time_than_given_is_refused(tmp_path, name):
    path = tmp_path / "pattern.csv"
    make().to_csv(path)
    with pytest.raises(ValueError, match=rf"{name} = 0.003 s was given, but .*pattern.csv notes {VALID[name]} s"):
        PulseSequence.from_csv(path, **{name: 3e-3})


@pytest.mark.parametrize("name", ["repetition_time", "inversion_duration"])
@pytest.mark.parametrize("note", ["", "# repetition_time = ? s, inversion_duration = ? s; unknown\n"])
def test_csv_without_a_time_is_refused(tmp_path, name, note):
    path = tmp_path / "pattern.csv"
    path.write_text(f"{note}flip_angle,pulse_duration\n0.1,1e-4\n")
    times = {"repetition_time": 3.5e-3, "inversion_duration": 5e-4, name: None}
    with pytest.raises(ValueError, match=rf"{name} is not noted in .*pattern.csv and must be given"):
        PulseSequence.from_csv(path, **times)


@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_csv_of_others_is_read(tmp_path, as_type):
    rng = np.random.default_rng(0)
    sequence = make(flip_angle=rng.uniform(0, 3, 50), pulse_duration=rng.uniform(1e-4, 5e-4, 50))
    path = tmp_path / "pattern.csv"
    np.savetxt(
        path,
        np.column_stack([sequence.flip_angle, sequence.pulse_duration]),
        fmt="%.17g",
        delimiter=",",
        header="flip_angle,pulse_duration",
        comments="",
    )
    np.testing.assert_allclose(from_csv(as_type(path)).flip_angle, sequence.flip_angle, rtol=_OF_CSV)
    np.testing.assert_allclose(from_csv(as_type(path)).pulse_duration, sequence.pulse_duration, rtol=_OF_CSV)


def test_csv_with_comments_spaces_and_further_columns(tmp_path):
    path = tmp_path / "pattern.csv"
    path.write_text(
        "# a pattern\n"
        "# [rad], [s]\n"
        "index, pulse_duration, flip_angle\n"
        "1, 1e-4, 0.1\n"
        "# a comment inside\n"
        "2, 2e-4, 0.5\n"
        "3, 3e-4, 0.3\n"
    )
    assert from_csv(path) == make()


@pytest.mark.parametrize("missing", ["flip_angle", "pulse_duration"])
def test_csv_without_a_column_is_refused(tmp_path, missing):
    path = tmp_path / "pattern.csv"
    path.write_text("flip_angle,pulse_duration\n0.1,1e-4\n".replace(missing, "other"))
    with pytest.raises(ValueError, match=rf"path.*\['{missing}'\] missing"):
        from_csv(path)


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ("0.1,", ValueError, "pulse_duration contains NaN"),
        ("30,1e-4", ValueError, "flip_angle must lie in"),
        ("0.1,1e-2", ValueError, "pulse_duration must not exceed"),
        ("abc,1e-4", ValueError, "path: .*pattern.csv: flip_angle must hold numbers"),
    ],
)
def test_csv_with_bad_values_is_refused(tmp_path, row, error, message):
    path = tmp_path / "pattern.csv"
    path.write_text(f"flip_angle,pulse_duration\n0.2,1e-4\n{row}\n")
    with pytest.raises(error, match=message):
        from_csv(path)


def test_csv_that_is_cut_is_refused_wherever_it_ends(tmp_path):
    path = tmp_path / "pattern.csv"
    make().to_csv(path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="pattern.csv"):
            from_csv(path)
    path.write_bytes(content.replace(b"\n", b"\r\n"))
    assert from_csv(path) == make()


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "flip_angle,pulse_duration\n"])
def test_empty_csv_is_refused(tmp_path, text):
    path = tmp_path / "pattern.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"path|flip_angle"):
        from_csv(path)


def test_missing_csv_is_an_error_of_the_file_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_csv(tmp_path / "nowhere.csv")


def test_default_keeps_the_limits_of_the_published_pattern():
    sequence = PulseSequence.default()
    assert sequence == PulseSequence.default()
    assert (sequence.n_pulses, sequence.repetition_time, sequence.inversion_duration) == (1141, 3.5e-3, 0.5e-3)
    table = SequenceConstraints(rf_amplitude=2 * np.pi * 1000, rf_power=2.8e5 * (1 + 1e-6)).table(sequence)
    assert table["met"].all()


def test_default_is_better_than_smooth_ramps_by_far():
    builtin = PulseSequence.default()
    phase = np.linspace(0, 1, builtin.n_pulses)
    ramps = PulseSequence(0.05 + 0.6 * np.sin(2 * np.pi * phase) ** 2, np.full(1141, 3e-4), 3.5e-3, 0.5e-3)
    theta = paper_prior().sample(200, random_state=7)
    table = compare_bounds(MTHybridStateModel(builtin), MTHybridStateModel(ramps), theta)
    assert table["median"]["geometric mean"] < 0.3
    assert np.median(hybrid_state_error(MTHybridStateModel(builtin), theta)) < 0.1


def test_times_may_be_noted_by_hand(tmp_path):
    note = "# repetition_time = 3.5e-3 s, inversion_duration = 0.5e-3 s\n"
    (tmp_path / "hand.csv").write_text(note + "flip_angle,pulse_duration\n0.3,1e-4\n0.4,2e-4\n")
    sequence = PulseSequence.from_csv(tmp_path / "hand.csv")
    assert (sequence.n_pulses, sequence.repetition_time, sequence.inversion_duration) == (2, 3.5e-3, 5e-4)
