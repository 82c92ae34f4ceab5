"""What the compiled adjoint kernels share: the gradient by every pulse of a weighted sum of signals and Jacobians."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._threads import run_blocks
from .._validation import FloatArray
from ._engine import grouped_lanes
from ._lanes import WIDTH

# Of central differences of the analytic derivatives: of an angle in rad, and of the logarithm of a duration.
STEP = 1e-4

_GROUPS_PER_BLOCK = 2


def shifted_pulses(pulses: FloatArray) -> FloatArray:
    """Rows of `pulse_rows` with all flip angles down and up a step, and all durations, (4, T + 1, 4)."""
    shifted = np.stack([pulses] * 4)
    for copy, column, step in zip(shifted, (1, 1, 3, 3), (-STEP, STEP, -STEP, STEP), strict=True):
        copy[:, column] += step
    shifted[2:, :, 2] = np.exp(shifted[2:, :, 3])
    return shifted


def run_adjoint_kernel(
    kernel: Callable[..., None], constants: FloatArray, shared: tuple[Any, ...], weights: NDArray, n_controls: int
) -> FloatArray:
    """Run a compiled adjoint kernel on all voxels, in threads.

    Parameters
    ----------
    kernel : compiled function
        Called as ``kernel(constants, first, *shared, weights, by_pulse)`` for a block of groups of voxels. It may
        overwrite the weights, (groups, 1 + P, T, WIDTH); complex ones have two rows each, real and imaginary part. It
        writes to the rows of by_pulse, (n, T, n_controls), from `first` on.
    constants : ndarray of shape (n, c)
        What the kernel needs to know of each voxel.
    shared : tuple
        Further arguments, the same for all voxels.
    weights : ndarray of shape (n, T, 1 + P)
        Of the signal, and of its derivatives.
    n_controls : int
        Numbers that describe a pulse.

    Returns
    -------
    ndarray of shape (T, n_controls)
        Sum over the voxels.
    """
    n, n_pulses, _ = weights.shape
    rows, grouped = grouped_lanes(constants)
    parts = np.ascontiguousarray(weights).view(np.float64)
    by_pulse = np.empty((len(rows), n_pulses, n_controls))

    def run(block: slice) -> None:
        voxels = rows[block.start * WIDTH : block.stop * WIDTH]
        lanes = parts[voxels].reshape(-1, WIDTH, n_pulses, parts.shape[2]).transpose(0, 3, 2, 1)
        kernel(grouped[block], block.start * WIDTH, *shared, np.ascontiguousarray(lanes), by_pulse)

    run_blocks(run, len(grouped), _GROUPS_PER_BLOCK)
    return by_pulse[:n].sum(axis=0)
