"""parameter maps of coefficient images, by a trained network

Maps of the targets, with standard deviations if the noise level is known, and a map of quality. For example:

  crbestim predict coefficients.nii.gz --model mt-hybrid-state --mask mask.nii.gz --noise-std 0.02 --out maps
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..io import Volume, load_basis, read_map, read_mask
from ..io._estimates import NetworkEstimates
from ..io._save_estimates import names_of
from ..noise import estimate_noise_std
from ..pretrained import load_pretrained
from ._maps import add_volume_options, check_covariates, make_maps, open_inputs
from ._signal_options import add_sequence_options, given_sequence
from ._types import number_or_path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_volume_options(parser)
    group = parser.add_argument_group("network")
    group.add_argument(
        "--model", required=True, metavar="NAME|FILE", help="network that ships with crbestim, or of crbestim train"
    )
    add_sequence_options(group, "pulse train of the measurement: refuse a network of another")
    group.add_argument("--basis", type=Path, metavar="FILE", help="of the coefficients: refuse a network of another")
    group = parser.add_argument_group("noise")
    level = group.add_mutually_exclusive_group()
    level.add_argument(
        "--noise-std", type=number_or_path, metavar="NUMBER|MAP",
        help="standard deviation of the noise in each real channel of the coefficients, for error bars",
    )  # fmt: skip
    level.add_argument(
        "--background", type=Path, metavar="MASK", help="voxels that hold noise alone, from which it is estimated"
    )
    group.add_argument(
        "--check-model", action="store_true",
        help="flag signals that are none of the model's; takes as long as a fit",
    )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Run it."""
    pipeline = load_pretrained(
        options.model,
        sequence=given_sequence(options),
        basis=None if options.basis is None else load_basis(options.basis),
    )
    estimates = NetworkEstimates(pipeline)
    check_covariates(options, estimates.covariate_names)
    if options.check_model and options.noise_std is None and options.background is None:
        raise ValueError("--check-model needs the noise level: --noise-std or --background.")
    if options.check_model and pipeline.model_ is None:
        raise ValueError(f"--check-model needs the signal model, which the file of {options.model} cannot tell.")
    volume, mask, covariates = open_inputs(options, pipeline[0].n_components_, estimates.real_valued)
    noise_std = _noise_std(options, volume, mask)
    checked = [name for name in ("sequence", "basis") if getattr(options, name) is not None]
    details = {"Model": options.model, "Compared with the network's own": " and ".join(checked) or "nothing"}
    if noise_std is not None:
        details["NoiseStd"] = noise_std if isinstance(noise_std, float) else str(options.noise_std)
    names = names_of(estimates.parameters, noise_std is not None)
    make_maps(
        options, pipeline, volume, names, details,
        mask=mask, covariates=covariates, noise_std=noise_std, check_model=options.check_model,
    )  # fmt: skip


def _noise_std(options: argparse.Namespace, volume: Volume, mask: NDArray[np.bool_] | None) -> float | NDArray | None:
    if isinstance(options.noise_std, Path):
        return read_map(options.noise_std, volume)
    if options.background is None:
        return options.noise_std
    background = read_mask(options.background, volume)
    if mask is not None and (mask & background).any():
        n_both = int((mask & background).sum())
        raise ValueError(f"--background {options.background}: {n_both} of its voxels belong to the mask as well.")
    chosen = np.flatnonzero(background.any(axis=(0, 1)))
    values = [
        volume.read((slice(None), slice(None), slice(z, z + 1)))[background[:, :, z : z + 1]] for z in chosen.tolist()
    ]
    try:
        return estimate_noise_std(np.concatenate(values))
    except ValueError as error:
        raise ValueError(f"--background {options.background}: {error}") from error
