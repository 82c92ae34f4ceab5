"""Simulated scans: where k-space is sampled, by which coils, and what they measure."""

from ._coils import compress_coils, make_coil_sensitivities
from ._kspace import KSpaceData, simulate_kspace
from ._trajectory import koosh_ball_trajectory, radial_weights

__all__ = [
    "KSpaceData",
    "compress_coils",
    "koosh_ball_trajectory",
    "make_coil_sensitivities",
    "radial_weights",
    "simulate_kspace",
]
