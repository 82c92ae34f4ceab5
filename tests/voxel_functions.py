"""Functions of voxels that other processes can import."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np


def moments(rows, **further):
    """Numbers of several kinds and shapes that depend on each voxel alone."""
    power = np.abs(rows) ** 2
    total = power[:, 0].copy()
    for channel in power.T[1:]:  # one after the other, so that the sum does not depend on the number of rows
        total += channel
    result = {"norm": total, "pair": rows[:, :2].copy(), "count": (power > 1).sum(axis=1).astype(np.uint8)}
    return result | {f"twice_{name}": 2 * values for name, values in further.items()}


def refuse(rows, **further):
    """Raise what a user is to see."""
    raise ValueError(f"R must not be {len(rows)}.")


def end_the_process(rows, **further):
    """Be killed, as by a lack of memory."""
    os.kill(os.getpid(), 9)


@dataclass(frozen=True)
class Recorded:
    """A function that leaves one file when a block begins, and another one when it is done.

    It takes the number of the block from a map of that name.
    """

    apply: Any
    directory: Path
    seconds: float = 0.0

    def __call__(self, rows, *, block, **further):
        run = f"{int(block[0]):03d}_{os.getpid()}_{uuid4().hex}"
        (self.directory / f"{run}.begun").touch()
        result = self.apply(rows, **further)
        time.sleep(self.seconds)
        (self.directory / f"{run}.done").touch()
        return result


def runs_of(directory, kind="begun"):
    """Return the blocks and processes of all runs, in no order."""
    return [tuple(map(int, path.name.split("_")[:2])) for path in directory.glob(f"*.{kind}")]
