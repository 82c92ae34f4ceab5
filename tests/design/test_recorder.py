import numpy as np
import pytest

from crbestim.design._recorder import OutOfTimeError, Recorder


def square(point):
    return float(point @ point), 2 * point


def broken(point):
    raise AssertionError("is known")


POINTS = np.random.default_rng(0).normal(size=(5, 3))


def test_known_evaluations_are_not_repeated(tmp_path):
    path = tmp_path / "record.npz"
    first = Recorder(path, "digest", None)
    expected = [first.evaluate(square, 1, point) for point in POINTS]
    first.write()
    again = Recorder(path, "digest", None)
    for i, (value, gradient, seconds) in enumerate(expected):
        known = again.evaluate(square if i == len(POINTS) - 1 else broken, 1, POINTS[i])
        assert known[0] == value
        np.testing.assert_array_equal(known[1], gradient)
        assert known[2] == seconds
    assert again.evaluate(square, 2, POINTS[0])[2] >= expected[-1][2]


def test_without_a_path_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recorder = Recorder(None, "digest", None)
    recorder.evaluate(square, 1, POINTS[0])
    recorder.write()
    assert not list(tmp_path.iterdir())


def test_gradient_can_be_changed_by_its_user():
    recorder = Recorder(None, "digest", None)
    _, gradient, _ = recorder.evaluate(square, 1, POINTS[0])
    gradient[:] = 0
    recorder._position = 0
    np.testing.assert_array_equal(recorder.evaluate(broken, 1, POINTS[0])[1], 2 * POINTS[0])


def test_known_evaluations_take_no_time(tmp_path):
    path = tmp_path / "record.npz"
    first = Recorder(path, "digest", None)
    first.evaluate(square, 1, POINTS[0])
    first.write()
    late = Recorder(path, "digest", 1e-9)
    late.evaluate(square, 1, POINTS[0])
    with pytest.raises(OutOfTimeError):
        late.evaluate(square, 1, POINTS[1])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"not a file of NumPy at all"])
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "record.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint: .*record.npz is no readable state of a design"):
        Recorder(path, "digest", None)


def test_points_of_different_lengths(tmp_path):
    path = tmp_path / "record.npz"
    points = [np.arange(2.0), np.arange(5.0), np.arange(3.0)]
    first = Recorder(path, "digest", None)
    expected = [first.evaluate(square, stage, point) for stage, point in enumerate(points)]
    first.write()
    again = Recorder(path, "digest", None)
    for stage, (point, (value, gradient, _)) in enumerate(zip(points, expected, strict=True)):
        known = again.evaluate(square, stage, point)
        assert known[0] == value
        np.testing.assert_array_equal(known[1], gradient)


def test_another_function_is_refused(tmp_path):
    path = tmp_path / "record.npz"
    first = Recorder(path, "digest", None)
    for point in POINTS[:2]:
        first.evaluate(square, 1, point)
    first.write()
    again = Recorder(path, "digest", None)
    again.evaluate(square, 1, POINTS[0])
    with pytest.raises(ValueError, match="another model, machine or version"):
        again.evaluate(lambda point: (2.0, point), 1, POINTS[1])


def test_a_pickle_is_refused(tmp_path):
    path = tmp_path / "record.npz"
    np.savez(path, header=np.array([{"format": 1}], dtype=object), lengths=[9], numbers=np.zeros(9))
    with pytest.raises(ValueError, match="no readable state"):
        Recorder(path, "digest", None)


def test_another_design_is_refused(tmp_path):
    path = tmp_path / "record.npz"
    recorder = Recorder(path, "digest", None)
    recorder.evaluate(square, 1, POINTS[0])
    recorder.write()
    with pytest.raises(ValueError, match="other data or settings"):
        Recorder(path, "other", None)
    with pytest.raises(ValueError, match="another model, machine or version"):
        Recorder(path, "digest", None).evaluate(square, 1, POINTS[1])


def test_long_runs_write_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr("crbestim.design._recorder._PERIOD", 0.0)
    monkeypatch.setattr("crbestim.design._recorder._SHARE", np.inf)
    recorder = Recorder(tmp_path / "record.npz", "digest", None)
    recorder.evaluate(square, 1, POINTS[0])
    recorder.evaluate(square, 1, POINTS[1])
    assert len(Recorder(tmp_path / "record.npz", "digest", None)._rows) == 2
