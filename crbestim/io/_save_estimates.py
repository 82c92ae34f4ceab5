"""Parameter maps as files, with their standard deviations, quality and what made them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from .._files import write_together
from .._validation import check_option
from ..signal import Parameter
from ._estimate_volume import VolumeEstimates
from ._names import check_name_part
from ._report import report_page
from ._save_volume import FORMATS, Format, Writers, writers_of
from ._volume import Volume

REPORT = "report.html"
_QUALITY = "quality"
_MADE_BY = f"crbestim {version('crbestim')}"


def save_estimates(
    directory: str | os.PathLike[str],
    estimates: VolumeEstimates,
    like: Volume,
    *,
    prefix: str = "",
    file_format: Format = ".nii.gz",
    details: Mapping[str, Any] | None = None,
    report: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write maps, one file a parameter, all of them or none.

    Parameters
    ----------
    directory : path-like
        It must exist.
    estimates : VolumeEstimates
        What `estimate_volume` found.
    like : Volume
        Gives affine and header.
    prefix : str, default=""
        What the names begin with. They are ``<prefix>T1map.nii.gz``, ``<prefix>desc-std_T1map.nii.gz`` for the
        standard deviation and ``<prefix>quality.nii.gz``, and each has a JSON file with the unit beside it, after
        the manner of BIDS.
    file_format : {".nii.gz", ".nii", ".cfl"}, default=".nii.gz"
        Suffix of the maps.
    details : mapping, optional
        Further entries of the JSON files, such as the command.
    report : str, optional
        Title of a report of all maps (see `write_report`), which is written as ``<prefix>report.html``. None: no
        report.
    overwrite : bool, default=False
        Whether files that exist may be replaced.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ValueError
        If the prefix or the name of a parameter would lead to another directory.
    FileExistsError
        If one exists, unless `overwrite`; then none is written.
    OSError
        If one cannot be written; then none is there, or the old ones.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from crbestim import MonoExponentialModel
    >>> from crbestim.io import ParameterMap, Volume, VolumeEstimates, save_estimates
    >>> T2 = ParameterMap(MonoExponentialModel([0.02, 0.04]).parameters[0], np.full((4, 4, 2), 0.08))
    >>> estimates = VolumeEstimates((T2,), quality=np.zeros((4, 4, 2), np.uint32), quality_labels={})
    >>> volume = Volume.from_array(np.ones((4, 4, 2, 3), complex))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = save_estimates(folder, estimates, like=volume, prefix="sub-01_", details={"command": "fit.py"})
    >>> sorted(file.name for file in files)
    ['sub-01_T2map.json', 'sub-01_T2map.nii.gz', 'sub-01_quality.json', 'sub-01_quality.nii.gz']
    """
    check_option(file_format, "file_format", FORMATS)
    check_name_part(prefix, "prefix")
    writers: Writers = {}
    for name, values, description, sidecar in _files_of(estimates):
        path = Path(directory) / f"{prefix}{name}{file_format}"
        text = json.dumps(sidecar | _origin() | dict(details or {}), indent=2, default=str)
        writers |= writers_of(path, values, like, description)
        writers[Path(directory) / f"{prefix}{name}.json"] = _text_writer(text)
    if report is not None:
        title = report
        writers = {
            Path(directory) / f"{prefix}{REPORT}": lambda file: file.write(
                _report_of(estimates, like, title, details or {})
            )
        } | writers  # first, as it takes longest
    write_together(writers, overwrite=overwrite)
    return list(writers)


def names_of(parameters: Iterable[Parameter], with_std: bool, further: Iterable[Parameter] = ()) -> list[str]:
    """Return the names of all maps, without prefix and suffix; further ones have no standard deviation."""
    names = [name for parameter in parameters for name in _names(parameter, with_std)]
    return [*names, *(name for parameter in further for name in _names(parameter, False)), _QUALITY]


def paths_of(directory: Path, names: Iterable[str], prefix: str, file_format: Format, with_report: bool) -> list[Path]:
    """Return the files of maps with these names (the .hdr of a .cfl goes without saying), and the report."""
    files = [f"{prefix}{name}{suffix}" for name in names for suffix in (file_format, ".json")]
    return [directory / file for file in [*files, *([f"{prefix}{REPORT}"] if with_report else [])]]


def _names(parameter: Parameter, with_std: bool) -> list[str]:
    name = check_name_part(parameter.name, "estimates: the name of a parameter")
    return [f"{name}map", *([f"desc-std_{name}map"] if with_std else [])]


def _files_of(estimates: VolumeEstimates) -> Iterator[tuple[str, NDArray, str, dict[str, Any]]]:
    """Yield name, values, text for the header, and entries for the JSON file of every map."""
    for found in estimates.maps:
        unit = found.parameter.unit
        texts = [found.parameter.name, f"standard deviation of {found.parameter.name}"]
        arrays = [found.values, *([] if found.std is None else [found.std])]
        for name, values, text in zip(_names(found.parameter, found.std is not None), arrays, texts, strict=False):
            sidecar: dict[str, Any] = {"Units": "arbitrary" if unit == "1" else unit, "Description": text}
            yield name, values.astype(np.float32, copy=False), f"{text} [{unit}] {_MADE_BY}", sidecar
    sidecar = {
        "Description": "bits; 0: nothing to be said against the estimates",
        "Bits": {str(bit): text for bit, text in estimates.quality_labels.items()},
    }
    yield _QUALITY, estimates.quality, f"bits of quality, 0 good; {_MADE_BY}", sidecar


def _report_of(estimates: VolumeEstimates, like: Volume, title: str, details: Mapping[str, Any]) -> bytes:
    affine = like.affine
    return report_page(
        estimates.maps, quality=estimates.quality, quality_labels=estimates.quality_labels,
        voxel_size=None if affine is None else voxel_sizes(affine).tolist(),
        axis_codes=None if affine is None else nib.aff2axcodes(affine), title=title,
        details={name: value if isinstance(value, Mapping) else str(value) for name, value in details.items()},
    )  # fmt: skip


def _origin() -> dict[str, Any]:
    return {"GeneratedBy": [{"Name": "crbestim", "Version": version("crbestim")}]}


def _text_writer(text: str) -> Any:
    return lambda file: file.write(f"{text}\n".encode())
