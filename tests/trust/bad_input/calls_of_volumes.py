"""Arrays of volumes and scans."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from crbestim import acquisition, io

from . import material
from .arguments import Argument, Call
from .calls_of_models import basis

SHAPE = (2, 3, 2)
OUTSIDE = dict.fromkeys(("NaN", "infinity", "minus infinity"), "outside of the mask")


def _coefficients() -> np.ndarray:
    values = material.noisy(12) @ material.compressor().basis_
    return values.reshape(*SHAPE, 2)


def _map(**changes: Any) -> Argument:
    values = np.linspace(0.5, 1.5, 12).reshape(SHAPE)
    return Argument(**({"value": values, "fixed_axes": (0, 1, 2)} | changes))


def _mask(**changes: Any) -> Argument:
    values = np.ones(SHAPE, bool)
    values[0, 0] = False
    return Argument(**({"value": values, "fixed_axes": (0, 1, 2)} | changes))


def _saved(name: str, save: Callable[[Path], None], read: Callable[[Path], Any]) -> Any:
    """Write a file of a name and read it again; it is whole or absent."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        try:
            save(path)
        finally:
            assert list(Path(directory).iterdir()) in ([], [path])
        return read(path)


def _saved_basis(basis: Any) -> Any:
    return _saved("basis.npy", lambda path: io.save_basis(path, basis), io.load_basis)


def _saved_volume(values: Any) -> Any:
    return _saved("volume.nii", lambda path: io.save_volume(path, values), lambda path: io.open_volume(path).read())


def _mean(rows: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    return {"mean": np.abs(rows).mean(axis=1) * weight}


def _mapped(mask: Any, weight: Any) -> Any:
    return io.map_volume(_mean, io.Volume.from_array(_coefficients()), mask=mask, voxel_maps={"weight": weight},
                         verbose=0)  # fmt: skip


def _estimated(mask: Any, noise_std: Any) -> Any:
    found = io.estimate_volume(
        material.pipeline(), io.Volume.from_array(_coefficients()), mask=mask, noise_std=noise_std, verbose=0
    )
    return [found.quality, *([each.values, each.std] for each in found.maps)]


@cache
def _trajectory() -> np.ndarray:
    return acquisition.koosh_ball_trajectory(3, 2, 4).astype(float)


@cache
def _sensitivities() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 4, 4, 4)) + 1j * rng.standard_normal((2, 4, 4, 4))


@cache
def _samples() -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.standard_normal((3, 2, 2, 4)) + 1j * rng.standard_normal((3, 2, 2, 4))


def _scan() -> dict[str, Argument]:
    return {
        "samples": Argument(_samples(), numbers="either", fixed_axes=(0, 1, 2, 3)),
        "trajectory": Argument(_trajectory(), fixed_axes=(0, 1, 2, 3), synonyms=("samples",)),
        "sensitivities": Argument(_sensitivities(), numbers="either", fixed_axes=(0,), synonyms=("samples",)),
    }


def _kspace() -> acquisition.KSpaceData:
    return acquisition.KSpaceData(_samples(), _trajectory(), _sensitivities())


CALLS = [
    Call("io.save_basis", _saved_basis, lambda: {"basis": basis(6, 2, documented={}, fixed_axes=())}),
    Call(
        "io.save_volume",
        _saved_volume,
        lambda: {
            "values": Argument(_coefficients().real.copy(), numbers="either", documented={
                **dict.fromkeys(("NaN", "infinity", "minus infinity"), "written as they are"),
                "one dimension less": "no voxels",
            })
        },
        tolerance=1e-6,
    ),
    Call("io.map_volume", _mapped, lambda: {"mask": _mask(documented={"None": "where not all is zero"}),
                                            "weight": _map(numbers="either", documented=OUTSIDE)}, holds=("nan",)),
    Call("io.estimate_volume", _estimated, lambda: {
        "mask": _mask(documented={"None": "where not all is zero"}),
        "noise_std": _map(value=np.full(SHAPE, 0.01), positive=True, documented={
            "None": "no standard deviations", "not positive": "outside of the mask", **OUTSIDE,
            "a scalar": "the same everywhere"}),
    }, holds=("nan",)),
    Call("acquisition.koosh_ball_trajectory", acquisition.koosh_ball_trajectory, lambda: {
        "n_echoes": Argument(3, "count"), "n_cycles": Argument(2, "count"), "n_samples": Argument(4, "count")}),
    Call("acquisition.radial_weights", acquisition.radial_weights, lambda: {
        "trajectory": Argument(_trajectory(), fixed_axes=(3,)),
        "power": Argument(1.0, "number"),
    }),
    Call("acquisition.KSpaceData", acquisition.KSpaceData, _scan, tolerance=1e-6),
    Call("acquisition.KSpaceData.with_noise", lambda **given: _kspace().with_noise(**given).samples, lambda: {
        "noise_std": Argument(0.1, "number"),
        "random_state": Argument(0, "object", documented={"a boolean": "a seed"})}),
    Call("acquisition.compress_coils", lambda n_coils: acquisition.compress_coils(_kspace(), n_coils).samples,
         lambda: {
        "n_coils": Argument(2, "count")}),
]  # fmt: skip
