"""What a run keeps until it is complete, and which files it may replace."""

from pathlib import Path

import pytest

from crbestim._array_log import ArrayLog
from crbestim.cli._working_directory import are_begun, begin_writing, directory_of_parts, working_directory

ORIGIN = "own.json"


@pytest.fixture
def parts(tmp_path):
    return directory_of_parts(tmp_path, "run")


def finish_a_part(parts):
    log = ArrayLog(parts, ORIGIN, {})
    log.close()
    log.file(0).touch()


def test_parts_are_removed_after_success_alone(tmp_path, parts):
    with pytest.raises(OSError, match="gone") as caught, working_directory(tmp_path, parts, ORIGIN):
        finish_a_part(parts)
        raise OSError("gone")
    assert caught.value.__notes__ == [
        f"Finished parts are kept in {parts}; a run with the same settings goes on with them."
    ]
    assert parts.is_dir()
    with working_directory(tmp_path, parts, ORIGIN):
        pass
    assert list(tmp_path.iterdir()) == []


class Killed(BaseException):
    """The end of a process."""


@pytest.mark.parametrize("n_removed", range(5))
def test_a_run_that_is_killed_while_its_parts_are_removed_can_go_on(tmp_path, parts, monkeypatch, n_removed):
    with pytest.raises(Killed), monkeypatch.context() as patch, working_directory(tmp_path, parts, ORIGIN):
        finish_a_part(parts)
        begin_writing(parts, [tmp_path / "a"], overwrite=False)
        unlink, calls = Path.unlink, iter(range(n_removed))

        def unlink_or_die(path, missing_ok=False):
            if next(calls, None) is None:
                raise Killed
            unlink(path, missing_ok=missing_ok)

        patch.setattr(Path, "unlink", unlink_or_die)
    with working_directory(tmp_path, parts, ORIGIN):
        finish_a_part(parts)
    assert list(tmp_path.iterdir()) == []


def test_only_the_files_of_the_same_run_are_begun(tmp_path, parts):
    files = [tmp_path / "a", tmp_path / "b.cfl"]
    assert not are_begun(parts, files)
    begin_writing(parts, files, overwrite=False)
    assert are_begun(parts, files)
    assert not are_begun(parts, files[:1])
    assert not are_begun(directory_of_parts(tmp_path, "other"), files)


@pytest.mark.parametrize("name", ["a", "b.cfl", "b.hdr"])
def test_files_that_came_during_the_run_are_not_taken_for_its_own(tmp_path, parts, name):
    files = [tmp_path / "a", tmp_path / "b.cfl"]
    (tmp_path / name).write_text("another's")
    with pytest.raises(FileExistsError, match=f"{name} exists; --overwrite replaces it"):
        begin_writing(parts, files, overwrite=False)
    assert not are_begun(parts, files)
