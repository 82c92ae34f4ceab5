"""Something done in every voxel of a volume, block by block."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from tqdm.auto import tqdm

from .._array_log import ArrayLog, damaged
from .._validation import check_count, check_finite, check_positive, numeric_array
from ._blocks import split
from ._cluster import WORKER_TIMEOUT, run_on_cluster
from ._volume import Block, Volume

Rows = dict[str, NDArray]
ORIGIN = "volume.json"
DEFAULT_BLOCK = 2**16


def map_volume(
    apply: Callable[..., Mapping[str, NDArray]],
    volume: Volume,
    *,
    mask: NDArray[np.bool_] | None = None,
    voxel_maps: Mapping[str, NDArray] | None = None,
    most_voxels: int = DEFAULT_BLOCK,
    checkpoint: str | os.PathLike[str] | None = None,
    settings: str = "",
    n_jobs: int | None = None,
    scheduler: str | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    verbose: int = 1,
    description: str = "volume",
) -> Rows:
    """Apply a function to the vectors of all voxels of a mask, one block of the volume at a time.

    The blocks are the same whoever computes them, and so is the result.

    Parameters
    ----------
    apply : callable
        Maps vectors of n voxels, (n, k), and, as keyword arguments, the values of `voxel_maps` there, (n,), to arrays
        by name, of shape (n,) or (n, p). It must be picklable for `n_jobs` or a `scheduler`.
    volume : Volume
        What is read.
    mask : ndarray of bool, (nx, ny, nz), optional
        Voxels that are computed; by default those that are not all zero.
    voxel_maps : mapping of str to ndarray of shape (nx, ny, nz), optional
        Further numbers of each voxel.
    most_voxels : int, default=65536
        Most voxels of a block, which limits the memory.
    checkpoint : path-like, optional
        Directory in which finished blocks are kept. If it holds some of the same data and settings, only the rest
        is computed.
    settings : str, default=""
        Identifies the function, for the checkpoint.
    n_jobs : int, optional
        Processes of joblib; by default the blocks are computed one after the other, here.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``, whose workers compute the blocks. This process reads
        the data and keeps the results, so that the workers need no access to the files, and what a worker has
        finished is not lost with it.
    worker_timeout : float, optional
        Seconds after which the run ends with an error if the scheduler has no worker any more; by default 600. None:
        wait for new ones for ever.
    verbose : int, default=1
        0: no progress bar.
    description : str, default="volume"
        For the progress bar.

    Returns
    -------
    dict of str to ndarray of shape (nx, ny, nz) or (nx, ny, nz, p)
        NaN (or 0, for integers) where nothing was computed.

    Raises
    ------
    ValueError
        If the volume cannot be read, or a voxel of the mask is not finite, with its place; if there is nothing to
        compute; if the checkpoint belongs to something else; or what `apply` raises.
    OSError
        If the checkpoint cannot be written; if the scheduler or all its workers are lost.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim.io import Volume, map_volume
    >>> def snr_of(vectors, noise):
    ...     return {"snr": np.linalg.norm(vectors, axis=1) / noise}
    >>> volume = Volume.from_array(np.full((4, 4, 2, 9), 2.0))
    >>> noise = np.full((4, 4, 2), 0.5)
    >>> found = map_volume(snr_of, volume, voxel_maps={"noise": noise}, most_voxels=16, verbose=0)
    >>> found["snr"].shape, float(found["snr"].mean())
    ((4, 4, 2), 12.0)
    """
    check_count(most_voxels, "most_voxels")
    if worker_timeout is not None:
        check_positive(worker_timeout, "worker_timeout")
    maps = {name: numeric_array(values, name) for name, values in (voxel_maps or {}).items()}
    mask = None if mask is None else _checked_mask(mask)
    for name, values in [("mask", mask), *maps.items()]:
        if values is not None and np.shape(values) != volume.shape:
            raise ValueError(f"{name} must have the shape of the volume, {volume.shape}; got {np.shape(values)}.")
    inside, digest = _scanned(volume, mask, maps, most_voxels, settings)
    blocks = split(volume.shape, inside, most_voxels)
    if not blocks:
        why = "all values are zero" if mask is None else "the mask is empty"
        raise ValueError(f"{volume.path}: there is no voxel to compute: {why}.")
    result: Rows = {}
    missing = []
    with ExitStack() as stack:
        log = None
        if checkpoint is not None:
            log = stack.enter_context(closing(ArrayLog.of(checkpoint, ORIGIN, "a computation", digest)))
        progress = stack.enter_context(
            tqdm(total=int(inside.sum()), desc=description, unit="voxel", disable=not verbose)
        )

        def fits(block: Block, part: Mapping[str, NDArray]) -> bool:
            shapes = {name: values.shape[3:] for name, values in result.items()} or {
                name: values.shape[1:] for name, values in part.items()
            }
            n_voxels = int(inside[block].sum())
            found = {name: values.shape for name, values in part.items()}
            return bool(found) and found == {name: (n_voxels, *shape) for name, shape in shapes.items()}

        def keep(block: Block, part: Mapping[str, NDArray]) -> None:
            chosen = inside[block]
            for name, values in part.items():
                if name not in result:
                    result[name] = _blank(volume.shape, values)
                result[name][block][chosen] = values
            progress.update(int(chosen.sum()))

        for index, block in enumerate(blocks):
            finished = None if log is None else log.read(index)
            if log is None or finished is None:
                missing.append(index)
                continue
            if not fits(block, finished):
                raise damaged(log.file(index))
            keep(block, finished)

        def tasks() -> Iterator[tuple[int, NDArray, Rows]]:
            for index in missing:
                block = blocks[index]
                chosen = inside[block]
                extra = {name: values[block][chosen] for name, values in maps.items()}
                yield index, volume.read(block)[chosen], extra

        for index, part in _computed(apply, tasks(), n_jobs, scheduler, worker_timeout):
            if not fits(blocks[index], part):
                shapes = {name: values.shape for name, values in part.items()}
                raise ValueError(f"apply must return arrays of the same names, a row a voxel; got {shapes}.")
            if log is not None:
                log.write(index, **part)
            keep(blocks[index], part)
    return result


def _computed(
    apply: Callable[..., Mapping[str, NDArray]],
    tasks: Iterator[tuple[int, NDArray, Rows]],
    n_jobs: int | None,
    scheduler: str | None,
    worker_timeout: float | None,
) -> Iterator[tuple[int, Mapping[str, NDArray]]]:
    """Yield the results of tasks as they come; these are read when they are needed."""
    if scheduler is not None:
        return run_on_cluster(scheduler, apply, tasks, worker_timeout)
    jobs = (delayed(_numbered)(apply, index, rows, extra) for index, rows, extra in tasks)
    return Parallel(n_jobs=n_jobs, return_as="generator_unordered", pre_dispatch="2*n_jobs", batch_size=1)(jobs)


def _numbered(
    apply: Callable[..., Mapping[str, NDArray]], index: int, rows: NDArray, extra: Rows
) -> tuple[int, Mapping[str, NDArray]]:
    return index, apply(rows, **extra)


def _scanned(
    volume: Volume, mask: NDArray[np.bool_] | None, maps: Rows, most_voxels: int, settings: str
) -> tuple[NDArray[np.bool_], str]:
    """Read everything once: the voxels to compute, checked, and a hash of data and settings."""
    digest = hashlib.sha256(repr((settings, volume.shape, volume.n_channels, most_voxels, sorted(maps))).encode())
    everything = np.ones(volume.shape, dtype=bool)
    inside = everything.copy() if mask is None else np.asarray(mask, dtype=bool)
    n_bad, first = 0, None
    for block in split(volume.shape, everything, most_voxels):
        values = volume.read(block)
        if mask is None:
            inside[block] = values.any(axis=-1)
        chosen = values[inside[block]]
        bad = ~np.isfinite(chosen).all(axis=-1)
        if bad.any():
            n_bad += int(bad.sum())
            if first is None:
                place = np.argwhere(inside[block])[np.flatnonzero(bad)[0]]
                first = tuple(int(start.start + offset) for start, offset in zip(block, place, strict=True))
        digest.update(chosen.tobytes())
    if n_bad:
        raise ValueError(
            f"{volume.path}: {n_bad} voxels{'' if mask is None else ' of the mask'} hold NaN or infinity, the first "
            f"at {first}. " + ("Give a mask that leaves them out." if mask is None else "")
        )
    digest.update(np.packbits(inside).tobytes())
    for name in sorted(maps):
        values = maps[name][inside]
        bad = np.argwhere(inside & ~np.isfinite(maps[name]))
        if len(bad):
            raise ValueError(
                f"{name} must be finite in all voxels that are computed; it has NaN or infinity, the first at "
                f"{tuple(bad[0].tolist())}."
            )
        digest.update(values.tobytes())
    return inside, digest.hexdigest()


def _checked_mask(mask: NDArray) -> NDArray[np.bool_]:
    """Return booleans, of booleans or of numbers that are zero outside."""
    values = numeric_array(mask, "mask")
    if values.dtype.kind == "c":
        raise TypeError(f"mask must be booleans or real numbers; got {values.dtype}.")
    check_finite(values, "mask")
    return np.asarray(values != 0)


def _blank(shape: tuple[int, int, int], values: NDArray) -> NDArray:
    fill = np.nan if values.dtype.kind in "fc" else 0
    return np.full((*shape, *values.shape[1:]), fill, dtype=values.dtype)
