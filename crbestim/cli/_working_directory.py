"""Where the state of a run is until it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._array_log import parts_of, remove_parts
from .._files import only_run
from ..io._map_volume import ORIGIN

_AGAIN = "The same command goes on from here."


@contextmanager
def working_directory(out: Path, name: str, chosen: Path | None) -> Iterator[Path]:
    """Make the directory of the results, and give one in it for finished parts.

    These, and nothing else, are removed after success alone: after an interruption or an error, a run with the same
    settings goes on with them. If there are none after an error, no directory is left that was not there before.

    Parameters
    ----------
    out : Path
        Directory of the results.
    name : str
        Of the run: another one with the same name would write the same results.
    chosen : Path or None
        Directory of the parts that the user has chosen.

    Yields
    ------
    Path
        Directory of the parts.
    """
    made = [path for path in (out, *out.parents) if not path.exists()]
    parts = out / f".crbestim-{name}" if chosen is None else chosen
    is_new = not parts.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield parts
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_AGAIN) from None
    except BaseException as error:
        if parts.is_dir() and parts_of(parts):
            error.add_note(f"Finished parts are kept in {parts}; a run with the same settings goes on with them.")
        elif is_new:
            remove_parts(parts, ORIGIN)
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise
    remove_parts(parts, ORIGIN)


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
