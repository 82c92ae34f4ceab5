"""Low-rank inversion: coefficient images from undersampled k-space."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import check_count, check_finite, check_not_negative, check_option, numeric_array
from ..acquisition import KSpaceData
from ..io._bart import TIME_DIM
from ._bart import required_bart, run_bart
from ._toeplitz_kernel import toeplitz_kernel


def reconstruct_coefficients(
    data: KSpaceData,
    basis: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    regularization: Literal["l2", "locally-low-rank"] = "locally-low-rank",
    strength: float = 0.01,
    block_size: int = 8,
    max_iter: int = 50,
    n_threads: int | None = None,
    progress: bool = True,
) -> NDArray[np.complex64]:
    r"""Reconstruct coefficient images with BART (``bart pics``), as Zhang et al. did.

    Solves

    .. math:: \min_c \tfrac12 \sum_{tci} w_{ti} |y_{tci} - (F_t S_c \sum_k V^*_{tk} c_k)_i|^2 + \lambda R(c),

    R is :math:`\|c\|^2 / 2`, or the sum of the nuclear norms of the matrices that the coefficients of the voxels of a
    block make.

    This is ``bart pics -B basis -t trajectory`` with the normal operator handed over (``--psf_import``): BART would
    take hours to find it for a thousand echoes.

    Parameters
    ----------
    data : KSpaceData
        Samples, trajectory and sensitivities.
    basis : array_like of shape (T, k)
        Of the compressor, such as `SVDCompressor.basis_`; the rows of the echoes that were read out.
    weights : array_like of shape (T, n_spokes, N), optional
        w of the samples, not negative; by default 1, which has the least noise once it converges. A radial scan
        samples the centre of k-space so densely that it takes many iterations then; weights that grow with the
        distance from the centre (`radial_weights`) need fewer, for more noise.
    regularization : {"locally-low-rank", "l2"}, default="locally-low-rank"
        R.
    strength : float, default=0.01
        :math:`\lambda`, in BART's units for `locally-low-rank`.
    block_size : int, default=8
        Edge of the blocks in voxels.
    max_iter : int, default=50
        Iterations.
    n_threads : int, optional
        By default one for each processor.
    progress : bool, default=True
        Show progress of the preparation.

    Returns
    -------
    ndarray of shape (nx, ny, nz, k)
        Complex; the coefficients that `Pipeline.predict_coefficients` takes.

    Raises
    ------
    FileNotFoundError
        If BART is not installed; the message says how to get it.
    ImportError
        If finufft is missing; the extra ``phantom`` brings it.
    RuntimeError
        If BART fails.
    TypeError, ValueError
        If arguments do not fit each other.

    References
    ----------
    J. Assländer et al., Low rank alternating direction method of multipliers reconstruction for MR fingerprinting,
    Magn. Reson. Med. 79, 2018.
    J. I. Tamir et al., T2 shuffling: Sharp, multicontrast, volumetric fast spin-echo imaging, Magn. Reson. Med. 77,
    2017.
    M. Uecker et al., BART toolbox for computational magnetic resonance imaging, doi:10.5281/zenodo.592960.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import MTHybridStateModel, PulseSequence, SVDCompressor, paper_prior
    >>> from crbestim.acquisition import koosh_ball_trajectory, make_coil_sensitivities
    >>> from crbestim.acquisition import radial_weights, simulate_kspace
    >>> from crbestim.datasets import make_bsa_phantom
    >>> from crbestim.reconstruction import reconstruct_coefficients
    >>> phantom = make_bsa_phantom(voxel_size=13)
    >>> train = PulseSequence(np.full(20, 0.3), np.full(20, 0.3e-3), repetition_time=3.5e-3, inversion_duration=0.5e-3)
    >>> model = MTHybridStateModel(train)
    >>> compressor = SVDCompressor(n_components=3).fit(model.signal(paper_prior().sample(50, random_state=0)))
    >>> trajectory, coils = koosh_ball_trajectory(20, n_cycles=8, n_samples=16), make_coil_sensitivities(phantom, 4)
    >>> data = simulate_kspace(phantom, model, trajectory, coils, n_threads=1, progress=False)
    >>> weights = radial_weights(trajectory, power=1)
    >>> images = reconstruct_coefficients(data, compressor.basis_, weights=weights, progress=False)  # doctest: +SKIP
    >>> images.shape  # doctest: +SKIP
    (16, 16, 5, 3)
    """
    if not isinstance(data, KSpaceData):
        raise TypeError(f"data must be KSpaceData; got {type(data).__name__}.")
    check_option(regularization, "regularization", ("locally-low-rank", "l2"))
    strength = check_not_negative(strength, "strength")
    vectors = numeric_array(basis, "basis")
    if vectors.ndim != 2 or len(vectors) != len(data.samples):
        raise ValueError(f"basis must be of shape ({len(data.samples)}, k), a row for each echo; got {vectors.shape}.")
    check_finite(vectors, "basis")
    if n_threads is not None:
        check_count(n_threads, "n_threads")
    per_sample = None if weights is None else _checked_weights(weights, data.trajectory.shape[:3])
    block_size, max_iter = check_count(block_size, "block_size"), check_count(max_iter, "max_iter")

    required_bart()  # before the work, not after it
    vectors = vectors.conj()  # BART's signals are V* c
    # BART expects even sizes: a voxel that no coil sees goes before the first one, and the centre stays where it is.
    odd = [size % 2 for size in data.sensitivities.shape[1:]]
    sensitivities = np.pad(data.sensitivities, [(0, 0), *((extra, 0) for extra in odd)])
    shape, k = sensitivities.shape[1:], vectors.shape[1]
    scale = np.float32(np.sqrt(data.sensitivities.size / sensitivities.size))
    kernel = toeplitz_kernel(data.trajectory, vectors, shape, per_sample, n_threads=n_threads, progress=progress)
    penalty = (
        ["-l2", "-r", str(strength)] if regularization == "l2" else ["-R", f"L:7:7:{strength}", "-b", str(block_size)]
    )
    options = ["-S", "-e", "-i", str(max_iter), *penalty, "-t", "trajectory", "-B", "basis", "--psf_import", "kernel"]
    by_spoke = np.transpose(data.trajectory, (3, 2, 1, 0)) / (2 * np.pi) * np.asarray(shape)[:, None, None, None]
    # BART uses the samples in F^H y alone, and the kernel has the weights of F^H w F.
    samples = data.samples * (scale if per_sample is None else scale * per_sample[:, None])
    images = run_bart(
        ["pics", *options, "samples", "sensitivities", "images"],
        {
            "samples": np.transpose(samples, (3, 2, 1, 0))[None, :, :, :, None],
            "trajectory": by_spoke[:, :, :, None, None],
            "sensitivities": np.moveaxis(sensitivities, 0, -1),
            "basis": vectors.reshape(*[1] * TIME_DIM, *vectors.shape),
            "kernel": kernel,
        },
        "images",
        n_threads=n_threads,
    )
    return images.reshape(*shape, k)[tuple(slice(extra, None) for extra in odd)]


def _checked_weights(weights: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return weights of a shape that are not negative, in single precision."""
    per_sample = numeric_array(weights, "weights")
    if per_sample.shape != shape or per_sample.dtype.kind == "c":
        raise ValueError(f"weights must be real numbers of shape {shape}; got {per_sample.dtype} {per_sample.shape}.")
    check_finite(per_sample, "weights")
    if per_sample.min() < 0 or not per_sample.any():
        raise ValueError("weights must not be negative, nor all zero.")
    return per_sample.astype(np.float32)
