import pytest

from crbestim._files import check_checkpoint, digest_of, write_together, write_whole


def test_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_whole(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_directory_is_told(tmp_path):
    path = tmp_path / "nowhere" / "file"
    with pytest.raises(FileNotFoundError, match="The directory of .*nowhere.file does not exist"):
        write_whole(path, lambda file: None)
    with pytest.raises(ValueError, match="checkpoint: the directory of .*nowhere.file does not exist"):
        check_checkpoint(path)


def test_digest_tells_settings_and_arrays_apart():
    import numpy as np

    digests = [
        digest_of({"a": 1}, np.zeros(2)),
        digest_of({"a": 2}, np.zeros(2)),
        digest_of({"a": 1}, np.ones(2)),
        digest_of({"a": 1}, np.zeros((2, 1))),
        digest_of({"a": 1}, np.zeros(2, np.float32)),
    ]
    assert len(set(digests)) == 5
    assert digest_of({"a": 1}, np.zeros(2)) == digests[0]


def writer(content):
    return lambda file: file.write(content)


def fail(file):
    file.write(b"half")
    raise OSError("disk full")


def test_files_are_written_together(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    write_together({path: writer(path.name.encode()) for path in paths}, overwrite=False)
    assert [path.read_bytes() for path in paths] == [b"a", b"b", b"c"]
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("present", [True, False])
def test_failure_of_one_file_leaves_all_as_they_were(tmp_path, place, present):
    paths = [tmp_path / name for name in "abc"]
    if present:
        write_together({path: writer(b"old") for path in paths}, overwrite=False)
    writers = {path: fail if i == place else writer(b"new") for i, path in enumerate(paths)}
    with pytest.raises(OSError, match="disk full"):
        write_together(writers, overwrite=True)
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == ([b"old"] * 3 if present else [])


def test_existing_files_are_kept_without_overwrite(tmp_path):
    (tmp_path / "b").write_bytes(b"old")
    with pytest.raises(FileExistsError, match="b exists; it is only replaced with overwrite"):
        write_together({tmp_path / name: writer(b"new") for name in "abc"}, overwrite=False)
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]
    assert (tmp_path / "b").read_bytes() == b"old"


def test_directory_in_the_place_of_a_file_is_told_before_any_is_replaced(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError, match="b is a directory"):
        write_together({tmp_path / name: writer(b"new") for name in "abc"}, overwrite=True)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_file_in_the_place_of_a_directory_is_told(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileNotFoundError, match="The directory of .*a.b does not exist"):
        write_together({tmp_path / "a" / "b": writer(b"new")}, overwrite=True)
