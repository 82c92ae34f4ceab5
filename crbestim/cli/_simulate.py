r"""signals of tissues: random ones, or those of parameter maps

Random tissues of a prior, with their bounds, for training and tests (.npz: X, y, crb, theta), or coefficient images of
maps, with noise if wanted. For example:

  crbestim simulate --samples 10000 --basis basis.cfl --out fingerprints.npz
  crbestim simulate --map m0s=m0s.nii.gz --map T1=T1.nii.gz --map T2f=T2f.nii.gz --value Rx=40 --value T2s=1e-5 \
    --value B0=0 --value B1=1 --basis basis.cfl --snr 50 --out coefficients.nii.gz

Finished parts are kept beside --out until it is written, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._files import digest_of, write_together
from ..datasets import make_fingerprints
from ..datasets._fingerprint_parts import ORIGIN as OF_FINGERPRINTS
from ..io import Volume, load_basis, map_volume, open_volume, read_map, read_mask, save_volume
from ..io._map_volume import ORIGIN as OF_VOLUMES
from ..io._save_volume import FORMATS
from ..noise import NoiseModel
from ..pretrained._models import pack_model
from ..signal import SignalModel
from ._outputs import check_outputs
from ._signal_options import add_signal_options, prior_of, signal_model_of
from ._types import count, named_number, named_path, positive
from ._workers import add_worker_options, workers_of
from ._working_directory import are_begun, begin_writing, directory_of_parts, working_directory

_BLOCK = 2**11
_OF_SAMPLES = ("prior", "targets")
_OF_MAPS = ("value", "snr", "mask", "jobs", "scheduler", "worker_timeout")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".npz, or .nii.gz, .nii, .cfl of maps")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    group = add_signal_options(parser)
    group.add_argument("--basis", type=Path, metavar="FILE", help="keep coefficients in this basis: .cfl or .npy")
    group = parser.add_argument_group("random tissues")
    group.add_argument("--samples", type=count, metavar="N", help="how many")
    group.add_argument("--targets", nargs="+", metavar="NAME", help="of the bounds (default: the model's own)")
    group = parser.add_argument_group("maps")
    group.add_argument(
        "--map", type=named_path, action="append", default=[], metavar="NAME=FILE",
        help="map of a parameter in SI units; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--value", type=named_number, action="append", default=[], metavar="NAME=NUMBER",
        help="the same value of a parameter everywhere; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--mask", type=Path, metavar="FILE", help="simulate where it is not zero (default: where the first map is not)"
    )
    group.add_argument("--snr", type=positive, metavar="SNR", help="add noise: |M0| = 1 over its standard deviation")
    add_worker_options(group)
    parser.add_argument("--seed", type=int, default=0, help="of tissues and noise (default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    """Run it."""
    if (options.samples is None) == (not options.map):
        raise ValueError("give either --samples, for random tissues, or --map.")
    kind, unused = ("--map", _OF_SAMPLES) if options.map else ("--samples", _OF_MAPS)
    without_use = [name for name in unused if getattr(options, name)]
    if without_use:
        raise ValueError(f"--{without_use[0].replace('_', '-')} has no use with {kind}; leave it out.")
    suffixes = FORMATS if options.map else (".npz",)
    if not options.out.name.endswith(suffixes):
        raise ValueError(f"--out must end in {' or '.join(suffixes)} with {kind}; got {options.out}.")
    parts = directory_of_parts(options.out.absolute().parent, f"simulate-{options.out.name}")
    overwrite = options.overwrite or are_begun(parts, [options.out])
    check_outputs(overwrite, options.out)
    model = signal_model_of(options)
    basis = None if options.basis is None else load_basis(options.basis)
    simulate = _simulate_maps if options.map else _simulate_samples
    simulate(options, model, basis, parts, overwrite)


def _simulate_samples(
    options: argparse.Namespace, model: SignalModel, basis: NDArray | None, parts: Path, overwrite: bool
) -> None:
    with working_directory(parts.parent, parts, OF_FINGERPRINTS):
        data = make_fingerprints(
            model, prior_of(options), options.samples, options.targets, basis=basis, compressed=basis is not None,
            random_state=options.seed, checkpoint=parts, progress=not options.quiet,
        )  # fmt: skip
        arrays = {"X": data.X, "y": data.y, "crb": data.crb, "theta": data.theta.to_numpy()}
        arrays |= {"target_names": np.array(data.target_names), "parameter_names": np.array(model.parameter_names)}
        begin_writing(parts, [options.out], overwrite)
        write_together({options.out: lambda file: np.savez(file, **arrays)}, overwrite=overwrite)
    print(f"{options.out}: {len(data.X)} fingerprints of {data.X.shape[1]} values")


@dataclass(frozen=True)
class _Simulation:
    """Signals, or their coefficients, of rows of parameters."""

    model: SignalModel
    basis: NDArray | None

    def __call__(self, theta: NDArray) -> dict[str, NDArray]:
        signal = self.model.signal(theta, basis=self.basis)
        return {"signal": signal.astype(np.float32 if self.model.real_valued else np.complex64)}


def _settings(options: argparse.Namespace, model: SignalModel, basis: NDArray | None) -> str:
    """Identify the simulation by the contents of the files."""
    description, arrays = pack_model(model)
    path = (options.signal_model or "").rpartition(":")[0]
    code = Path(path).read_text() if path else ""
    return digest_of({"model": description, "code": code}, *arrays.values(), *([] if basis is None else [basis]))


def _simulate_maps(
    options: argparse.Namespace, model: SignalModel, basis: NDArray | None, parts: Path, overwrite: bool
) -> None:
    workers = workers_of(options)
    paths, values = dict(options.map), dict(options.value)
    names = model.parameter_names
    if sorted([*paths, *values]) != sorted(names):
        raise ValueError(f"--map and --value must give each of {list(names)} once; got {[*paths, *values]}.")
    like = open_volume(next(iter(paths.values())))
    maps = {name: read_map(path, like) for name, path in paths.items()}
    first = next(iter(maps.values()))
    mask = np.isfinite(first) & (first != 0) if options.mask is None else read_mask(options.mask, like)
    columns = [maps[name] if name in maps else np.full(like.shape, values[name]) for name in names]
    theta = Volume.from_array(np.stack(columns, axis=-1), like)
    with working_directory(parts.parent, parts, OF_VOLUMES):
        found = map_volume(
            _Simulation(model, basis), theta, mask=mask, most_voxels=_BLOCK, checkpoint=parts,
            settings=_settings(options, model, basis), verbose=0 if options.quiet else 1, description="simulation",
            **workers,
        )["signal"]  # fmt: skip
        found[~mask] = 0
        if options.snr is not None:
            rows = NoiseModel.at_snr(options.snr).add_to(
                found.reshape(-1, found.shape[-1]), np.random.default_rng(options.seed), np.ones(mask.size),
                real=model.real_valued,
            )  # fmt: skip
            found = rows.reshape(found.shape)
        begin_writing(parts, [options.out], overwrite)
        save_volume(options.out, found, like=like, description="coefficients", overwrite=overwrite)
    print(f"{options.out}: {int(mask.sum())} voxels, {found.shape[-1]} values each")
