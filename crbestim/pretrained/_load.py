"""Reading a trained pipeline from a file, or by the name of one that ships with the package."""

from __future__ import annotations

import os
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path

from numpy.typing import ArrayLike

from .._numpy_files import refusing_damage
from ..signal import PulseSequence
from ._compressors import unpack_compressor
from ._format import check_names_or_none, read_file
from ._models import unpack_model, unpack_parameters
from ._pipeline import Origin, PretrainedPipeline
from ._priors import unpack_prior
from ._regressors import unpack_regressor

_SUFFIX = ".safetensors"


def load_pretrained(
    name_or_path: str | os.PathLike[str],
    *,
    sequence: PulseSequence | None = None,
    basis: ArrayLike | None = None,
) -> PretrainedPipeline:
    """Read a trained pipeline that `save_pretrained` wrote. Nothing in the file is executed.

    Parameters
    ----------
    name_or_path : str or path-like
        Name of a network that ships with the package, or a file. What has a suffix or a directory is a file.
    sequence : PulseSequence, optional
        The pulse train of the data that are to be estimated, which must be that of the training.
    basis : array_like of shape (T, k), optional
        The basis of the coefficients that are to be estimated, which must be that of the training.

    Returns
    -------
    PretrainedPipeline
        Fitted, on the CPU.

    Raises
    ------
    TypeError
        If arguments are of the wrong type.
    ValueError
        If no network has this name (the message lists those there are); if the file is none of this format, or
        is damaged; or if `sequence` or `basis` differs from that of the training (see
        `PretrainedPipeline.check_matches`).
    FileNotFoundError
        If there is no such file.

    See Also
    --------
    save_pretrained : Writes such files.
    load_estimator : Reads estimators without a network.

    Examples
    --------
    >>> from crbestim import NoiseModel, PulseSequence, load_pretrained
    >>> pipe = load_pretrained("mt-hybrid-state", sequence=PulseSequence.default())  # that of the measurement
    >>> pipe.target_names_
    ['m0s', 'T1', 'T2f']
    >>> signal = pipe.model_.signal([[0.15, 1.2, 0.08, 30.0, 1e-5, 100.0, 1.0]])
    >>> pipe.predict(NoiseModel.at_snr(50).add_to(signal, 0)).shape
    (1, 3)
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise TypeError(f"name_or_path must be a name or a path; got {type(name_or_path).__name__}.")
    shipped = _shipped()
    if isinstance(name_or_path, str) and name_or_path in shipped:
        with as_file(shipped[name_or_path]) as path:
            pipeline = _read(path)
    else:
        path = Path(name_or_path)
        if not path.is_file():
            if isinstance(name_or_path, str) and not (path.suffix or os.path.dirname(name_or_path)):
                raise ValueError(
                    f"name_or_path: there is no pretrained network {name_or_path!r}; there are {sorted(shipped)}. A "
                    f"file is known by its suffix, {_SUFFIX}."
                )
            raise FileNotFoundError(f"name_or_path: there is no file {path}.")
        pipeline = _read(path)
    pipeline.check_matches(sequence, basis)
    return pipeline


def _read(path: Path) -> PretrainedPipeline:
    with refusing_damage(f"{path} cannot be read"):
        try:
            return _unpacked(path)
        except KeyError as error:
            raise ValueError(f"its header lacks the entry {error}") from error


def _unpacked(path: Path) -> PretrainedPipeline:
    header, arrays = read_file(path)
    steps = check_names_or_none(header["steps"], 2, "the names of the steps") or ["compressor", "regressor"]
    compressor = unpack_compressor(header["compressor"], arrays)
    regressor = unpack_regressor(header["regressor"], 2 * compressor.n_components_, arrays)
    model, sequence = (None, None) if header["model"] is None else unpack_model(header["model"], arrays)
    if sequence is not None and sequence.n_pulses != compressor.n_features_in_:
        raise ValueError(
            f"the sequence has {sequence.n_pulses} pulses, but the basis has {compressor.n_features_in_} rows"
        )
    parameters = None if header["model"] is None else unpack_parameters(header["model"], model)
    prior, table = (None, None) if header["prior"] is None else unpack_prior(header["prior"], arrays)
    if not isinstance(header["card"], str) or not isinstance(header["versions"], dict):
        raise ValueError("card and versions must be text and a table of texts")
    return PretrainedPipeline._of(
        list(zip(steps, (compressor, regressor), strict=True)),
        Origin(model, parameters, sequence, prior, table, header),
    )


def _shipped() -> dict[str, Traversable]:
    """Return the files of the networks that ship with the package, by name."""
    folder = _folder()
    if not folder.is_dir():
        return {}
    return {item.name.removesuffix(_SUFFIX): item for item in folder.iterdir() if item.name.endswith(_SUFFIX)}


def _folder() -> Traversable:
    return files(__package__) / "networks"
