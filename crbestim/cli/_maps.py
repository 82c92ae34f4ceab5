"""What the commands share that make parameter maps: options of volumes, maps as files, and the report."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._optional import imported
from ..io import (
    QualityFlag,
    Volume,
    VolumeEstimates,
    estimate_volume,
    open_coefficients,
    open_volume,
    read_map,
    read_mask,
    save_estimates,
)
from ..io._map_volume import ORIGIN
from ..io._names import prefix_of
from ..io._open import check_same_space
from ..io._save_estimates import paths_of
from ..io._save_volume import FORMATS
from ._outputs import check_outputs
from ._types import count, name_part, named_path
from ._workers import add_worker_options, workers_of
from ._working_directory import are_begun, begin_writing, directory_of_parts, working_directory

_BYTES_PER_VOXEL = 4
_REPORT_BYTES = 4_000_000
_SUSPICIOUS = 0.25  # share of estimates outside of the prior; of tissues of the prior some 6 % are


def add_volume_options(parser: argparse.ArgumentParser) -> None:
    """Add what is read and written."""
    parser.add_argument(
        "coefficients", type=Path,
        help="coefficient images from a reconstruction: NIfTI (.nii, .nii.gz; k complex images, or 2k real ones, all "
        "real parts first), BART (.cfl) or Zarr (.zarr)",
    )  # fmt: skip
    group = parser.add_argument_group("input")
    group.add_argument("--imaginary", type=Path, metavar="FILE", help="imaginary parts, if they have their own file")
    group.add_argument(
        "--conjugate", action="store_true", help="the reconstruction used the conjugate of the basis: conjugate"
    )
    group.add_argument(
        "--mask", type=Path, metavar="FILE", help="estimate where it is not zero (default: where data are)"
    )
    group.add_argument(
        "--like", type=Path, metavar="FILE",
        help="volume whose affine to take where the coefficients have none, as those of BART (default: the mask)",
    )  # fmt: skip
    group.add_argument(
        "--covariate", type=named_path, action="append", default=[], metavar="NAME=MAP",
        help="map of a known parameter in SI units, such as B1=b1.nii.gz; may be repeated",
    )  # fmt: skip
    group = parser.add_argument_group("output")
    group.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the maps")
    group.add_argument(
        "--prefix", type=name_part, help="what their names begin with (default: the entities of the input's name)"
    )
    group.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="of the maps (default: %(default)s)")
    group.add_argument("--no-report", action="store_true", help="write no report.html")
    group.add_argument("--overwrite", action="store_true", help="replace files that exist")
    group = parser.add_argument_group("computation")
    group.add_argument("--block-voxels", type=count, metavar="N", help="voxels in memory at a time")
    add_worker_options(group)
    group.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="directory of finished parts, until all are (default: one in --out)",
    )


def open_inputs(
    options: argparse.Namespace, n_coefficients: int, real_valued: bool
) -> tuple[Volume, NDArray[np.bool_] | None, dict[str, NDArray]]:
    """Return coefficients, mask and maps of known parameters."""
    volume = open_coefficients(
        options.coefficients, n_coefficients, imaginary=options.imaginary, conjugate=options.conjugate,
        real_valued=real_valued,
    )  # fmt: skip
    for place in (options.like, options.mask if volume.affine is None else None):
        if place is not None:
            other = open_volume(place)
            check_same_space(other, volume)
            volume = volume.at_place_of(other)
    mask = None if options.mask is None else read_mask(options.mask, volume)
    return volume, mask, {name: read_map(path, volume) for name, path in options.covariate}


def check_covariates(options: argparse.Namespace, wanted: Sequence[str]) -> None:
    """Raise ValueError unless there is one map of each known parameter."""
    given = [name for name, _ in options.covariate]
    if sorted(given) != sorted(wanted):
        needed = f"a map of each of {', '.join(wanted)}" if wanted else "none, as the network takes none"
        raise ValueError(f"--covariate: there must be {needed}; got {', '.join(given) or 'none'}.")


def make_maps(
    options: argparse.Namespace,
    estimator: Any,
    volume: Volume,
    names: list[str],
    details: Mapping[str, Any],
    **settings: Any,
) -> None:
    """Estimate, write all maps and the report, and tell where they are."""
    workers = workers_of(options)
    prefix = prefix_of(options.coefficients) if options.prefix is None else options.prefix
    files = paths_of(options.out, names, prefix, options.format, not options.no_report)
    parts = directory_of_parts(options.out, f"{options.command}-{prefix.strip('_') or 'maps'}", options.checkpoint)
    overwrite = options.overwrite or are_begun(parts, files)
    check_outputs(overwrite, *files, with_directory=True)
    if not options.no_report:
        imported("matplotlib", "plot")
    start = perf_counter()
    with working_directory(options.out, parts, ORIGIN):
        _check_space(options, volume, 2 * len(names))
        estimates = estimate_volume(
            estimator, volume, most_voxels=options.block_voxels, checkpoint=parts,
            verbose=0 if options.quiet else 1, **workers, **settings,
        )  # fmt: skip
        origin = {
            "Command": options.command_line, "Input": str(options.coefficients), **details, "Versions": versions()
        }  # fmt: skip
        begin_writing(parts, files, overwrite)
        written = save_estimates(
            options.out, estimates, volume, prefix=prefix, file_format=options.format, details=origin,
            report=None if options.no_report else options.coefficients.name, overwrite=overwrite,
        )  # fmt: skip
    estimated = np.isfinite(estimates.maps[0].values)
    seconds = perf_counter() - start
    print(f"{int(estimated.sum())} voxels in {seconds:.1f} s; {len(written)} files in {options.out}")
    _tell_quality(estimates, estimated)


def _tell_quality(estimates: VolumeEstimates, estimated: NDArray[np.bool_]) -> None:
    quality = estimates.quality[estimated]
    if not quality.size:
        return
    shares = {bit: np.count_nonzero(quality & bit) / quality.size for bit in estimates.quality_labels}
    for bit, text in estimates.quality_labels.items():
        print(f"{shares[bit]:6.1%} {text}")
    outside = shares.get(int(QualityFlag.OUTSIDE_PRIOR), 0)
    if outside > _SUSPICIOUS:
        print(
            f"warning: {outside:.0%} of the voxels have an estimate outside of the training's prior. Are they tissue "
            "(--mask), of the network's pulse train and basis (--sequence, --basis) and convention (--conjugate)?",
            file=sys.stderr,
        )


def versions() -> dict[str, str]:
    """Return the versions of what decides on the results."""
    return {name: version(name) for name in ("crbestim", "numpy", "scipy", "scikit-learn", "torch", "nibabel")}


def _check_space(options: argparse.Namespace, volume: Volume, n_maps: int) -> None:
    needed = n_maps * _BYTES_PER_VOXEL * int(np.prod(volume.shape)) + (0 if options.no_report else _REPORT_BYTES)
    free = shutil.disk_usage(options.out).free
    if free < needed:
        raise OSError(f"{options.out} has room for {free / 1e6:.1f} MB; the run may take {needed / 1e6:.1f} MB.")
