r"""The normal operator of sampling in a subspace, as what BART multiplies in k-space.

With the basis V, :math:`x_t = \sum_j V_{tj} c_j`, and the Fourier transforms :math:`F_t` at the samples of each echo,
:math:`\sum_t V_{tj}^* F_t^H w F_t V_{tm}` couples the coefficients j and m by a convolution with

.. math:: \psi_{jm}(r) = \frac{1}{n} \sum_t V_{tj}^* V_{tm} \sum_i w_{ti} e^{i k_{ti} r},

a non-uniform Fourier transform for each pair. BART finds it from T transforms for each pair, which takes hours for a
thousand echoes; all samples in one transform give the same, in seconds.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from .._optional import imported

_TOLERANCE = 1e-8


def toeplitz_kernel(
    trajectory: NDArray[np.float32],
    basis: NDArray,
    shape: tuple[int, int, int],
    weights: NDArray[np.float32] | None = None,
    *,
    n_threads: int | None = None,
    progress: bool = True,
) -> NDArray[np.complex64]:
    """Return the kernel in BART's form: that of ``bart pics -B basis --psf_export``.

    Parameters
    ----------
    trajectory : ndarray of shape (T, n_spokes, N, 3)
        In rad per voxel.
    basis : ndarray of shape (T, k)
        V as BART has it: signals are V c.
    shape : tuple of three int
        Of the images.
    weights : ndarray of shape (T, n_spokes, N), optional
        w of the samples.
    n_threads : int, optional
        By default one for each processor.
    progress : bool, default=True
        Show a progress bar.

    Returns
    -------
    ndarray of shape (nx, ny, nz, 1, 1, k, k, 1, ..., 8)
        The transform on a grid of twice the size, in its eight parts of even and odd frequencies.
    """
    k = basis.shape[1]
    doubled = tuple(2 * size for size in shape)
    plan = imported("finufft", "phantom").Plan(
        1, doubled, eps=_TOLERANCE, isign=1, dtype="complex128", nthreads=n_threads or 0
    )
    plan.setpts(*np.ascontiguousarray(trajectory.reshape(-1, 3).T.astype(float)))
    per_echo = trajectory[0].size // 3
    kernel = np.empty((*shape, 1, 1, k, k, *[1] * 9, 8), dtype=np.complex64, order="F")
    parts = list(enumerate(product((0, 1), repeat=3)))
    pairs = [(j, m) for j in range(k) for m in range(j, k)]
    for j, m in tqdm(pairs, desc="point-spread functions", disable=not progress):
        strengths = np.repeat((basis[:, j].conj() * basis[:, m]).astype(complex), per_echo)
        psf = plan.execute(strengths if weights is None else strengths * weights.ravel())
        transform = 8 / np.prod(shape) * np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(psf)))
        for i, (z, y, x) in parts:
            part = transform[x::2, y::2, z::2]
            kernel[:, :, :, 0, 0, j, m, ..., i] = part.reshape(*shape, *[1] * 9)
            if j != m:
                kernel[:, :, :, 0, 0, m, j, ..., i] = part.conj().reshape(*shape, *[1] * 9)
    return kernel
