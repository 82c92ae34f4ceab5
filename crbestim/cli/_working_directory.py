"""Where the finished parts of a run are until it is complete."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def working_directory(out: Path, command: str, chosen: Path | None) -> Iterator[Path]:
    """Make the directory of the results, and one in it for finished parts.

    After an interruption the parts are kept, for the next run. After an error they are removed, as after success, and
    so is the directory of the results if it was not there before. One that the user has chosen stays after an error.

    Parameters
    ----------
    out : Path
        Directory of the results.
    command : str
        Name of the command.
    chosen : Path or None
        Directory of the parts that the user has chosen.

    Yields
    ------
    Path
        Directory of the parts.
    """
    made = [path for path in (out, *out.parents) if not path.exists()]
    out.mkdir(parents=True, exist_ok=True)
    parts = out / f".crbestim-{command}" if chosen is None else chosen
    try:
        yield parts
    except KeyboardInterrupt:
        raise KeyboardInterrupt("The same command goes on from here.") from None
    except BaseException:
        if chosen is None:
            shutil.rmtree(parts, ignore_errors=True)
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise
    shutil.rmtree(parts, ignore_errors=True)
