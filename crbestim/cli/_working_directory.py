"""Where the state of a run is until it is complete."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .._array_log import parts_of, remove_parts
from .._files import only_run, write_whole
from ._outputs import check_outputs

_AGAIN = "The same command goes on from here."
_WRITTEN = "outputs.json"


def directory_of_parts(out: Path, name: str, chosen: Path | None = None) -> Path:
    """Return the directory of the parts of a run: one in the directory of the results, or the chosen one.

    The name is that of the run: another one with the same name would write the same results.
    """
    return out / f".crbestim-{name}" if chosen is None else chosen


@contextmanager
def working_directory(out: Path, parts: Path, origin_name: str) -> Iterator[None]:
    """Make the directory of the results, where finished parts are to be kept in another one.

    These, and nothing else, are removed after success alone: after an interruption or an error, a run with the same
    settings goes on with them. If there are none after an error, no directory is left that was not there before.

    Parameters
    ----------
    out : Path
        Directory of the results.
    parts : Path
        Directory of the parts.
    origin_name : str
        Name of the file that tells whose parts they are.
    """
    made = [path for path in (out, *out.parents) if not path.exists()]
    is_new = not parts.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_AGAIN) from None
    except BaseException as error:
        if parts.is_dir() and parts_of(parts):
            error.add_note(f"Finished parts are kept in {parts}; a run with the same settings goes on with them.")
        elif is_new:
            remove_parts(parts, origin_name, _WRITTEN)
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise
    remove_parts(parts, origin_name, _WRITTEN)


def begin_writing(parts: Path, files: Sequence[Path], overwrite: bool) -> None:
    """Note that the files of the results come from these parts, so that a run that is killed among them can go on."""
    check_outputs(overwrite, *files)
    parts.mkdir(exist_ok=True)
    write_whole(parts / _WRITTEN, lambda file: file.write(_listed(files)))


def are_begun(parts: Path, files: Sequence[Path]) -> bool:
    """Tell whether a run with these parts was killed when it wrote the files, which it may replace now."""
    noted = parts / _WRITTEN
    return noted.exists() and noted.read_bytes() == _listed(files)


def _listed(files: Sequence[Path]) -> bytes:
    return json.dumps([str(path.absolute()) for path in files]).encode()


@contextmanager
def state_beside(out: Path) -> Iterator[Path]:
    """Give a file for the state of a run, beside that of the result; no other run with this result can begin.

    The state is for the command to remove, when it is complete.
    """
    lock_path = out.with_name(out.name + ".lock")
    lock = only_run(lock_path)
    try:
        yield out.with_name(out.name + ".checkpoint")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_AGAIN) from None
    finally:
        lock.release()
        lock_path.unlink(missing_ok=True)
