import json

import numpy as np
import pytest

from crbestim._array_log import ArrayLog, parts_of, read_arrays

ORIGIN = {"digest": "abc"}


def test_parts_are_kept(tmp_path):
    log = ArrayLog(tmp_path / "log", "own.json", ORIGIN)
    assert log.is_new
    assert log.read(3) is None
    log.write(3, a=np.arange(4), b=np.ones((2, 2), np.complex64))
    log.write(1, a=np.zeros(1))
    with pytest.raises(ValueError, match="another run is at work there"):
        ArrayLog(tmp_path / "log", "own.json", ORIGIN)
    log.close()
    again = ArrayLog(str(tmp_path / "log"), "own.json", {"digest": "other"})
    assert not again.is_new
    assert again.origin["digest"] == "abc"
    found = again.read(3)
    assert sorted(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], np.arange(4))
    assert parts_of(tmp_path / "log") == [log.file(1), log.file(3)]


def test_objects_are_not_written(tmp_path):
    log = ArrayLog(tmp_path / "log", "own.json", ORIGIN)
    with pytest.raises(ValueError, match="checkpoint: b must be arrays of numbers"):
        log.write(0, a=np.zeros(1), b=np.array([None]))
    assert parts_of(tmp_path / "log") == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive", bytes(100)])
def test_damaged_part_is_told(tmp_path, content):
    log = ArrayLog(tmp_path / "log", "own.json", ORIGIN)
    log.file(0).write_bytes(content)
    with pytest.raises(ValueError, match="batch_000000.npz is damaged. Delete it"):
        log.read(0)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.99])
def test_cut_part_is_told(tmp_path, part):
    log = ArrayLog(tmp_path / "log", "own.json", ORIGIN)
    log.write(0, a=np.arange(1000))
    data = log.file(0).read_bytes()
    log.file(0).write_bytes(data[: int(part * len(data))])
    with pytest.raises(ValueError, match="batch_000000.npz is damaged"):
        log.read(0)


def test_flipped_byte_is_told(tmp_path):
    log = ArrayLog(tmp_path / "log", "own.json", ORIGIN)
    log.write(0, a=np.arange(1000))
    data = bytearray(log.file(0).read_bytes())
    data[len(data) // 2] ^= 0x55
    log.file(0).write_bytes(data)
    with pytest.raises(ValueError, match="batch_000000.npz is damaged"):
        log.read(0)


def test_missing_array_is_told(tmp_path):
    log = ArrayLog(tmp_path / "log", "own.json", ORIGIN)
    log.write(0, a=np.arange(1000))
    with pytest.raises(ValueError, match="batch_000000.npz is damaged"):
        read_arrays(log.file(0), ["b"])


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"format": 1}', "null"])
def test_damaged_origin_is_told(tmp_path, text):
    ArrayLog(tmp_path / "log", "own.json", ORIGIN).close()
    (tmp_path / "log" / "own.json").write_text(text)
    with pytest.raises(ValueError, match="own.json is damaged"):
        ArrayLog(tmp_path / "log", "own.json", ORIGIN)


def test_other_version_is_told(tmp_path):
    ArrayLog(tmp_path / "log", "own.json", ORIGIN).close()
    (tmp_path / "log" / "own.json").write_text(json.dumps({"format": 99} | ORIGIN))
    with pytest.raises(ValueError, match="was written by another version"):
        ArrayLog(tmp_path / "log", "own.json", ORIGIN)


def test_directory_with_other_files_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        ArrayLog(tmp_path, "own.json", ORIGIN)
    with pytest.raises(ValueError, match="is not a directory"):
        ArrayLog(tmp_path / "notes.txt", "own.json", ORIGIN)
    with pytest.raises(ValueError, match="the directory of .*absent.log does not exist"):
        ArrayLog(tmp_path / "absent" / "log", "own.json", ORIGIN)
    with pytest.raises(TypeError, match="checkpoint must be a path; got int"):
        ArrayLog(3, "own.json", ORIGIN)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_an_interruption_left_does_not_matter(tmp_path):
    (tmp_path / "own.json.partial").write_text("{")
    assert ArrayLog(tmp_path, "own.json", ORIGIN).is_new
