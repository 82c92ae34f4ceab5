"""Report of parameter maps: one HTML page that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._files import write_whole
from .._parameter_map import ParameterMap
from . import _checks as checks
from ._numbers import Summary
from ._sections import details_section, parameter_section, quality_section, statistics_section
from ._slices import View


def write_report(
    path: str | os.PathLike[str],
    maps: Sequence[ParameterMap],
    *,
    quality: ArrayLike | None = None,
    quality_labels: Mapping[int, str] | None = None,
    voxel_size: Sequence[float] | None = None,
    axis_codes: Sequence[str] | None = None,
    title: str = "Parameter maps",
    details: Mapping[str, str | Mapping[str, str]] | None = None,
    overwrite: bool = False,
) -> None:
    """Write parameter maps as one HTML page that stands alone: pictures, histograms, numbers, flags, origin.

    Each parameter has one window for all its slices, the 1st to 99th percentile of its estimates rounded outward; its
    standard deviations have a window of their own, from zero. The page has no script and refers to nothing outside of
    itself. Slices are drawn with the first index to the right and the second one upward. The file is written as a
    whole: a kill leaves an old one as it was. matplotlib is needed; its settings and its backend stay as they are.

    Parameters
    ----------
    path : path
        The file to write, such as "report.html".
    maps : sequence of ParameterMap
        Maps of one shape, (nx, ny, nz). Values that are NaN or infinite are no estimates.
    quality : array_like of int of shape (nx, ny, nz), optional
        Bit flags of each voxel; 0 if there is nothing to object to. Voxels without any estimate are not counted.
    quality_labels : dict of int to str, optional
        Text of each flag, such as ``{1: "outside of the prior", 2: "poorly determined"}``.
    voxel_size : sequence of three float, optional
        Extent of a voxel along each axis in mm, for the shape of the pictures; by default that of a cube.
    axis_codes : sequence of three str, optional
        Where the three indices increase to, such as ``("R", "A", "S")``, for letters at the edges of the pictures and
        the names of the planes. By default they are not known, and nothing is claimed.
    title : str, default="Parameter maps"
        Title of the page.
    details : dict, optional
        Tables of texts at the end of the page, such as the command, versions and files. An entry whose value is a
        dict becomes a table of its own with the key as heading.
    overwrite : bool, default=False
        Whether a file that exists is replaced.

    Raises
    ------
    TypeError
        If an argument has another type than described.
    ValueError
        If there is no map, shapes differ, a standard deviation or a flag is negative, a label's flag is not one bit,
        or voxel size or axis codes are not as described.
    FileExistsError
        If the file exists and is not to be replaced.
    FileNotFoundError
        If the directory does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from crbestim import Parameter
    >>> from crbestim.io import ParameterMap, write_report
    >>> T1 = np.linspace(0.8, 1.6, 32).reshape(4, 4, 2)  # s
    >>> t1 = ParameterMap(Parameter("T1", "T_1", "s", (0, 30)), T1, 0.05 * T1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "report.html"
    ...     write_report(path, [t1], voxel_size=(2, 2, 3), details={"command": "fit.py in.nii"})
    ...     "fit.py in.nii" in path.read_text(encoding="utf-8")
    True
    """
    file = checks.check_path(path, overwrite)
    page = report_page(
        maps, quality=quality, quality_labels=quality_labels, voxel_size=voxel_size, axis_codes=axis_codes,
        title=title, details=details,
    )  # fmt: skip
    write_whole(file, lambda stream: stream.write(page))


def report_page(
    maps: Sequence[ParameterMap],
    *,
    quality: ArrayLike | None,
    quality_labels: Mapping[int, str] | None,
    voxel_size: Sequence[float] | None,
    axis_codes: Sequence[str] | None,
    title: str,
    details: Mapping[str, str | Mapping[str, str]] | None,
) -> bytes:
    """Return the page that `write_report` writes."""
    maps = checks.check_maps(maps)
    flags = checks.check_quality(quality, maps[0].values.shape)
    labels = checks.check_quality_labels(quality_labels, quality)
    sides = checks.check_voxel_size(voxel_size)
    codes = checks.check_axis_codes(axis_codes)
    tables = checks.check_details(details)
    heading = escape(checks.check_text(title, "title"))

    mask = np.logical_or.reduce([np.isfinite(entry.values) for entry in maps])
    view = View.of(mask, sides, codes) if mask.any() else None
    page = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=heading,
        volume=_volume_html(mask, sides),
        sections="\n".join([*_sections(maps, view, mask, flags, labels), details_section(tables)]),
    )
    return page.encode("utf-8", "backslashreplace")  # a file's name may hold bytes that are no text


def _volume_html(mask: NDArray[np.bool_], sides: tuple[float, ...] | None) -> str:
    size = " × ".join(str(n) for n in mask.shape) + " voxels"
    if sides is not None:
        size += " of " + " × ".join(f"{side:.4g}" for side in sides) + " mm³"
    return f"{size}; {int(mask.sum()):,} with estimates"


def _sections(
    maps: Sequence[ParameterMap], view: View | None, mask: NDArray[np.bool_], flags: Any, labels: Mapping[int, str]
) -> Iterator[str]:
    if view is None:
        yield '<p class="notice">There are no estimates: no voxel has a finite value.</p>'
        return
    summaries = [Summary.of(entry) for entry in maps]
    yield statistics_section([entry.parameter for entry in maps], summaries, view)
    if flags is not None:
        yield quality_section(flags, mask, labels, view)
    for number, (entry, summary) in enumerate(zip(maps, summaries, strict=True)):
        yield parameter_section(number, entry, summary, view)
