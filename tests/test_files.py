import pytest

from crbestim._files import check_checkpoint, digest_of, write_whole


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
