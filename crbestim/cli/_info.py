"""what a network, a volume, a basis or a pulse train is; write a network's basis and train

crbestim info mt-hybrid-state
crbestim info mt-hybrid-state --save-basis basis.cfl --save-sequence pulses.csv
crbestim info coefficients.nii.gz
"""

from __future__ import annotations

import argparse
import unicodedata
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from ..io import Volume, load_basis, open_volume, save_basis
from ..io._basis import BASIS_FORMATS
from ..io._names import SUFFIXES
from ..pretrained import load_pretrained
from ..signal import PulseSequence
from ._maps import versions
from ._outputs import check_outputs
from ._signal_options import add_times, check_no_times, read_sequence
from ._types import file_ending_in

_TRAINS = (".csv", ".seq")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "what", nargs="?", help="network (name or .safetensors), volume, basis or pulse train (default: the versions)"
    )
    add_times(parser.add_argument_group("of a pulse train"))
    group = parser.add_argument_group("of a network")
    group.add_argument(
        "--save-basis",
        type=file_ending_in(".cfl", ".npy"),
        metavar="FILE",
        help="write its basis: BART (.cfl) or .npy",
    )
    group.add_argument(
        "--save-sequence", type=file_ending_in(".csv"), metavar="FILE", help="write its pulse train (.csv)"
    )
    group.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(options: argparse.Namespace) -> None:
    """Run it."""
    path = None if options.what is None else Path(options.what)
    if path is None or path.suffix not in _TRAINS:
        check_no_times(options, "need a CSV file of a pulse train")
    of_network = path is not None and not path.name.endswith((*SUFFIXES, ".npy", *_TRAINS))
    if not of_network and (options.save_basis is not None or options.save_sequence is not None):
        raise ValueError("--save-basis and --save-sequence need a network.")
    if path is None:
        print("\n".join(f"{name} {number}" for name, number in versions().items()))
    elif path.suffix in BASIS_FORMATS and (basis := _basis_or_none(path)) is not None:
        print(_of_basis(basis))
    elif path.name.endswith(SUFFIXES):
        print(_of_volume(open_volume(path)))
    elif path.suffix in _TRAINS:
        print(_of_sequence(read_sequence(path, options)))
    else:
        _show_network(options)


def _show_network(options: argparse.Namespace) -> None:
    pipeline = load_pretrained(options.what)
    written = [path for path in (options.save_basis, options.save_sequence) if path is not None]
    check_outputs(options.overwrite, *written)
    if options.save_sequence is not None:
        if pipeline.sequence_ is None:
            raise ValueError(f"{options.what} was saved without a pulse sequence.")
        pipeline.sequence_.to_csv(options.save_sequence)
    if options.save_basis is not None:
        save_basis(options.save_basis, pipeline[0].basis_, overwrite=options.overwrite)
    if written:
        print("\n".join(f"{path} written" for path in written))
        return
    print(_shown(pipeline.card_.strip()) or "(no model card)")
    print(f"\ntargets: {_shown(', '.join(pipeline.target_names_ or ['unnamed']))}")
    print(_of_basis(pipeline[0].basis_))
    print(f"noise of the training: {pipeline.noise_}")
    if pipeline.sequence_ is not None:
        print(_of_sequence(pipeline.sequence_))
    if pipeline.prior_table_ is not None:
        print(f"prior (SI units):\n{_shown(pipeline.prior_table_.to_string(float_format='{:.4g}'.format))}")
    print(_shown("saved with " + ", ".join(f"{name} {number}" for name, number in pipeline.versions_.items())))


def _shown(text: str) -> str:
    """Return a text out of a file without what steers a terminal."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _basis_or_none(path: Path) -> NDArray | None:
    """Return a basis, or None if the file, which may be a volume, holds none."""
    try:
        return load_basis(path)
    except ValueError:
        if path.suffix != ".cfl":
            raise
        return None


def _of_basis(basis: NDArray) -> str:
    kind = "complex" if np.iscomplexobj(basis) else "real"
    return f"basis: {basis.shape[0]} time points, {basis.shape[1]} coefficients, {kind}"


def _of_sequence(sequence: PulseSequence) -> str:
    degrees = np.degrees(sequence.flip_angle)
    cycle = sequence.n_pulses * sequence.repetition_time
    return (
        f"pulse train: {sequence.n_pulses} pulses, TR {1e3 * sequence.repetition_time:g} ms, cycle {cycle:.4g} s, "
        f"inversion {1e3 * sequence.inversion_duration:g} ms, flip angles {degrees.min():.3g} to {degrees.max():.3g} "
        f"degrees, mean of the squared RF amplitude {sequence.rf_power:.3g} rad^2/s^2"
    )


def _of_volume(volume: Volume) -> str:
    lines = [repr(volume)]
    if volume.affine is not None:
        sizes = voxel_sizes(volume.affine)
        lines.append("voxels of " + " x ".join(f"{size:.3g}" for size in sizes) + " mm")
    return "\n".join(lines)
