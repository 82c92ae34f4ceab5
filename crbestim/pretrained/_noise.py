"""Noise models as plain values, and the matrices of their covariance."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..covariance import NoiseCovariance
from ..noise import NoiseModel
from ._format import Arrays, take

_MATRICES = ("noise.covariance", "noise.covariance_root")
_PARTS: dict[str, dict[str, complex]] = {"real": {"real": 1}, "complex": {"real": 1, "imag": 1j}}


def pack_noise(noise: NoiseModel | None) -> tuple[dict[str, Any] | None, Arrays]:
    """Return the noise model's numbers and, if the noise is coloured, its covariance and the root of it."""
    if noise is None:
        return None, {}
    covariance = noise.covariance
    description = {"noise_std": noise.noise_std, "m0_range": list(noise.m0_range), "covariance": None}
    if not isinstance(covariance, NoiseCovariance):
        return description, {}
    kind = "complex" if covariance.is_complex else "real"
    description["covariance"] = kind
    # The root goes along, as it cannot be had from a covariance that is close to singular.
    pairs = zip(_MATRICES, (covariance.matrix, covariance._lower), strict=True)
    return description, {f"{name}.{part}": getattr(matrix, part) for name, matrix in pairs for part in _PARTS[kind]}


def unpack_noise(description: dict[str, Any] | None, arrays: Arrays) -> NoiseModel | None:
    """Return the noise model, equal to the one that was packed.

    Raises
    ------
    ValueError, TypeError
        If its numbers or its covariance are none.
    """
    if description is None:
        return None
    covariance = None
    if description["covariance"] is not None:
        parts = _PARTS[description["covariance"]]
        size = take(arrays, f"{_MATRICES[0]}.real").shape[:1]
        matrix, root = (
            np.array(sum(unit * take(arrays, f"{name}.{part}", size * 2) for part, unit in parts.items()))
            for name in _MATRICES
        )
        covariance = NoiseCovariance.from_square_root(root)
        if not np.allclose(covariance.matrix, matrix, atol=1e-9 * np.abs(matrix).max()):
            raise ValueError("the covariance of the noise is not the square of its root")
        covariance._keep(matrix, root)
    return NoiseModel(description["noise_std"], tuple(description["m0_range"]), covariance)
