"""What the compiled kernels share: output of samples or coefficients; and the axis of the hybrid state.

A kernel works on groups of `WIDTH` voxels in SIMD lanes, and leaves a group's signal and derivatives in a scratch
array `samples`, (1 + P, T, WIDTH). If they are complex, it has two rows for each, real and imaginary part.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._threads import run_blocks
from .._validation import FloatArray
from ._lanes import WIDTH, inlined, load, scatter, sin_cos, splat, sqrt, store_row

_GROUPS_PER_BLOCK = 16
_TILE = 8  # columns of the basis that are summed at a time


def source_stamp(*files: str) -> str:
    """Hash of the text of this file, of the lanes and of other files.

    Numba's cache follows the file of a function alone, and the cells of a closure: with the hash in a cell it follows
    all that the function is made of.
    """
    here = Path(__file__)
    paths = [here, here.with_name("_lanes.py"), *map(Path, files)]
    return sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def run_kernel(
    kernel: Callable[..., None],
    constants: FloatArray,
    shared: tuple[Any, ...],
    n_pulses: int,
    n_parameters: int,
    basis: FloatArray | None = None,
    dtype: type[np.floating | np.complexfloating] = np.float64,
) -> tuple[NDArray, NDArray]:
    """Run a compiled kernel on all voxels, in threads.

    Parameters
    ----------
    kernel : compiled function
        Called as ``kernel(constants, first, *shared, basis, signal, jacobian)`` for a block of groups.
    constants : ndarray of shape (n, c)
        What the kernel needs to know of each voxel.
    shared : tuple
        Further arguments, the same for all voxels.
    n_pulses, n_parameters : int
        T, and the number of derivatives P; 0 for the signal alone.
    basis : ndarray of shape (T, k), optional
        Real columns on which signal and derivatives are projected.
    dtype : {float64, complex128}
        Of signal and derivatives. The kernel sees a complex number as two real ones, next to each other on the last
        axis.

    Returns
    -------
    signal : ndarray of shape (n, T) or (n, k)
    jacobian : ndarray of shape (n, T, P) or (n, k, P)
    """
    n = len(constants)
    rows, grouped = grouped_lanes(constants)
    length = n_pulses if basis is None else basis.shape[1]
    columns = np.zeros((-(-length // _TILE) * _TILE if basis is not None else 0, n_pulses))
    if basis is not None:
        columns[:length] = basis.T
    signal = np.empty((len(rows), length, 1), dtype)
    jacobian = np.empty((len(rows), length, n_parameters), dtype)
    real_signal, real_jacobian = signal.view(np.float64), jacobian.view(np.float64)

    def run(block: slice) -> None:
        kernel(grouped[block], block.start * WIDTH, *shared, columns, real_signal, real_jacobian)

    run_blocks(run, len(grouped), _GROUPS_PER_BLOCK)
    return signal[:n, :, 0], jacobian[:n]


def grouped_lanes(constants: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """Voxel of every lane, and the constants of groups of voxels, (groups, c, WIDTH); the last voxel fills up."""
    n_groups = -(-len(constants) // WIDTH)
    rows = np.minimum(np.arange(n_groups * WIDTH), len(constants) - 1)
    return rows, np.ascontiguousarray(constants[rows].reshape(n_groups, WIDTH, -1).swapaxes(1, 2))


@inlined
def axis(polar_angle, b1, cos_phi, slope_phi):
    """Actual polar angle v of the axis: sin v, cos v, dv/dB0, dv/dB1.

    The phase phi = B0 TR/2 comes as cos phi and slope_phi = sin(phi) TR/2.
    """
    sine, cosine = sin_cos(b1 * polar_angle)
    projected = cosine * cos_phi
    inverse_square = 1 / (sine * sine + projected * projected)
    inverse = sqrt(inverse_square)
    return (
        sine * inverse,
        projected * inverse,
        sine * cosine * slope_phi * inverse_square,
        polar_angle * cos_phi * inverse_square,
    )


@inlined
def closing_angle(first, last, flip, crush, flip_slope):
    """Part of r that the inversion returns to the first axis, beta, with d beta / dB0 and d beta / dB1.

    Axes as from `axis`; flip = cos(pi B1), crush = sin^2(pi B1 / 2), flip_slope = -pi sin(pi B1).
    """
    sin_1, cos_1, v_1_b0, v_1_b1 = first
    sin_t, cos_t, v_t_b0, v_t_b1 = last
    beta = cos_1 * cos_t * flip - sin_1 * sin_t * crush
    by_v_1 = -(sin_1 * cos_t) * flip - cos_1 * sin_t * crush
    by_v_t = -(cos_1 * sin_t) * flip - sin_1 * cos_t * crush
    by_flip = flip_slope * (cos_1 * cos_t + sin_1 * sin_t * 0.5)
    return beta, by_v_1 * v_1_b0 + by_v_t * v_t_b0, by_v_1 * v_1_b1 + by_v_t * v_t_b1 + by_flip


@inlined
def emit(samples, n_samples, basis, first, signal, jacobian):
    """Write a group's samples, or their projection on the basis, to the rows of its voxels."""
    n_pulses, n_parts = samples.shape[1], signal.shape[2]
    if len(basis) == 0:
        for t in range(n_pulses):
            for p in range(n_parts):
                scatter(signal, first, (t, p), load(samples, (p, t)))
            for p in range(n_parts, n_samples):
                scatter(jacobian, first, (t, p - n_parts), load(samples, (p, t)))
        return
    n_coefficients = signal.shape[1]
    total = np.empty((_TILE, WIDTH))
    for p in range(n_samples):
        for k in range(0, len(basis), _TILE):
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = splat(0.0)
            for t in range(n_pulses):
                value = load(samples, (p, t))
                s0 = s0 + value * basis[k, t]
                s1 = s1 + value * basis[k + 1, t]
                s2 = s2 + value * basis[k + 2, t]
                s3 = s3 + value * basis[k + 3, t]
                s4 = s4 + value * basis[k + 4, t]
                s5 = s5 + value * basis[k + 5, t]
                s6 = s6 + value * basis[k + 6, t]
                s7 = s7 + value * basis[k + 7, t]
            store_row(total, (0,), (s0, s1, s2, s3, s4, s5, s6, s7))
            for i in range(min(_TILE, n_coefficients - k)):
                if p < n_parts:
                    scatter(signal, first, (k + i, p), load(total, (i,)))
                else:
                    scatter(jacobian, first, (k + i, p - n_parts), load(total, (i,)))
