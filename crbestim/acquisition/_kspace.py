"""What a multi-coil scan of a phantom measures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from .._optional import imported
from .._validation import (
    check_count,
    check_finite,
    check_not_negative,
    check_positive,
    in_single_precision,
    numeric_array,
    random_generator,
)
from ..datasets import Phantom
from ..signal import SignalModel
from ..signal._base import check_model
from ._trajectory import checked_trajectory

_TRUNCATION = 1e-5  # of the signals' norm
_N_EXAMPLES = 500
_NUFFT_TOLERANCE, _OVERSAMPLING = 2e-5, 1.25  # the time goes into small FFTs, one for each echo and coil


@dataclass(frozen=True, eq=False)
class KSpaceData:
    """Samples of k-space and what a reconstruction has to know of them.

    Parameters
    ----------
    samples : ndarray of shape (T, C, n_spokes, N)
        Complex, of T echoes and C coils.
    trajectory : ndarray of shape (T, n_spokes, N, 3)
        Where they are, in rad per voxel, from -pi to pi.
    sensitivities : ndarray of shape (C, nx, ny, nz)
        Of the coils.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit each other, values are not finite, or the trajectory leaves its range.

    Notes
    -----
    Arrays of other precision are converted to single precision.

    Examples
    --------
    A scan of your own, once it is an array:

    >>> import numpy as np
    >>> from crbestim.acquisition import KSpaceData, koosh_ball_trajectory
    >>> trajectory = koosh_ball_trajectory(n_echoes=10, n_cycles=3, n_samples=8)
    >>> data = KSpaceData(np.zeros((10, 2, 3, 8), complex), trajectory, np.ones((2, 8, 8, 8)))
    >>> data.with_noise(0.1, random_state=0).samples.dtype
    dtype('complex64')
    """

    samples: NDArray[np.complex64]
    trajectory: NDArray[np.float32]
    sensitivities: NDArray[np.complex64]

    def __post_init__(self) -> None:
        samples, trajectory = numeric_array(self.samples, "samples"), checked_trajectory(self.trajectory)
        sensitivities = checked_sensitivities(self.sensitivities)
        n_echoes, n_spokes, n_samples, _ = trajectory.shape
        shape = (n_echoes, len(sensitivities), n_spokes, n_samples)
        if samples.shape != shape:
            raise ValueError(
                f"samples must be of shape {shape}, echoes, spokes and samples of the trajectory and coils of the "
                f"sensitivities; got {samples.shape}."
            )
        check_finite(samples, "samples")
        checked = {
            "samples": np.ascontiguousarray(in_single_precision(samples, "samples"), dtype=np.complex64),
            "trajectory": trajectory,
            "sensitivities": sensitivities,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def with_noise(self, noise_std: float, random_state: int | np.random.Generator | None = None) -> KSpaceData:
        """Return the data with white noise.

        Parameters
        ----------
        noise_std : float
            Standard deviation of each real channel.
        random_state : int, Generator or None, default=None
            Seed.

        Returns
        -------
        KSpaceData

        Raises
        ------
        TypeError, ValueError
            If `noise_std` is no number, negative, or beyond single precision.
        """
        noise_std = check_not_negative(noise_std, "noise_std")
        in_single_precision(np.array(100 * noise_std), "noise_std")  # no draw is a hundred standard deviations
        rng = random_generator(random_state)
        noisy = self.samples.copy()
        for echo in noisy:
            real, imag = rng.standard_normal((2, *echo.shape), dtype=np.float32)
            echo += noise_std * (real + 1j * imag)
        return replace(self, samples=noisy)

    def noise_std_at(self, snr: float) -> float:
        r"""Return the noise of the samples that a wanted SNR of the images stands for.

        White noise of the coefficients of an orthonormal basis has the standard deviation :math:`\sigma` of the
        echoes' images. M samples of an echo, spread evenly over k-space, give n voxels the noise
        :math:`\sigma^2 = \sigma_k^2 n / M`, and SNR = 1 / :math:`\sigma` for M0 = 1. A radial scan samples the centre
        more often than needed, and the coils' sensitivities overlap: the images of a real reconstruction have more
        noise.

        Parameters
        ----------
        snr : float
            Of the images, M0 over the standard deviation of each real channel.

        Returns
        -------
        float
            In each real channel, in the unit of the samples.

        Raises
        ------
        TypeError, ValueError
            If `snr` is no positive number.
        """
        n_voxels, n_samples = self.sensitivities[0].size, self.samples[0, 0].size
        return float(np.sqrt(n_samples / n_voxels) / check_positive(snr, "snr"))


def simulate_kspace(
    phantom: Phantom,
    model: SignalModel,
    trajectory: ArrayLike,
    sensitivities: ArrayLike,
    echoes: ArrayLike | None = None,
    *,
    n_threads: int | None = None,
    progress: bool = True,
) -> KSpaceData:
    r"""Return the noiseless samples of a scan of a phantom, the signal of each echo taken at that echo.

    Sample i of the spoke of echo t and coil c is

    .. math:: y_{tci} = \frac{1}{\sqrt n} \sum_r S_c(r) x_t(r) e^{-i k_{ti} r}

    with the n voxels' positions r in voxels from the centre, index ``n // 2`` of each axis. The images :math:`x_t` are
    kept as coefficients of as many singular vectors of the phantom's signals as describe them to 1e-5, and the sum is
    a non-uniform fast Fourier transform (finufft) to 3e-5.

    Parameters
    ----------
    phantom : Phantom
        Object.
    model : SignalModel
        Of the pulse train.
    trajectory : array_like of shape (T, n_spokes, N, 3)
        In rad per voxel, such as that of `koosh_ball_trajectory`.
    sensitivities : array_like of shape (C, nx, ny, nz)
        Of the coils.
    echoes : array_like of int, optional
        Which of the model's echoes are read out, T of them; by default all.
    n_threads : int, optional
        By default one for each processor.
    progress : bool, default=True
        Show a progress bar.

    Returns
    -------
    KSpaceData
        Of 8 T C n_spokes N bytes.

    Raises
    ------
    ImportError
        If finufft is missing; the extra ``phantom`` brings it.
    TypeError, ValueError
        If arguments do not fit each other.

    References
    ----------
    A. H. Barnett, J. Magland and L. af Klinteberg, A parallel nonuniform fast Fourier transform library based on an
    "exponential of semicircle" kernel, SIAM J. Sci. Comput. 41, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import MTHybridStateModel, PulseSequence
    >>> from crbestim.acquisition import koosh_ball_trajectory, simulate_kspace
    >>> from crbestim.datasets import make_bsa_phantom
    >>> phantom = make_bsa_phantom(voxel_size=13)
    >>> train = PulseSequence(np.full(20, 0.3), np.full(20, 0.3e-3), repetition_time=3.5e-3, inversion_duration=0.5e-3)
    >>> trajectory = koosh_ball_trajectory(n_echoes=4, n_cycles=2, n_samples=16)
    >>> coils = np.ones((1, *phantom.shape))
    >>> model, echoes = MTHybridStateModel(train), range(0, 20, 5)
    >>> data = simulate_kspace(phantom, model, trajectory, coils, list(echoes), n_threads=1, progress=False)
    >>> noisy = data.with_noise(data.noise_std_at(snr=50), random_state=0)
    >>> noisy.samples.shape
    (4, 1, 2, 16)
    """
    if not isinstance(phantom, Phantom):
        raise TypeError(f"phantom must be a Phantom; got {type(phantom).__name__}.")
    check_model(model)
    coils = checked_sensitivities(sensitivities)
    if coils.shape[1:] != phantom.shape:
        raise ValueError(f"sensitivities must be of the phantom's shape {phantom.shape}; got {coils.shape[1:]}.")
    chosen = np.arange(model.n_timepoints) if echoes is None else _checked_echoes(echoes, model.n_timepoints)
    where = checked_trajectory(trajectory)
    if len(where) != len(chosen):
        raise ValueError(f"trajectory must have spokes of {len(chosen)} echoes; got {len(where)}.")

    if n_threads is not None:
        check_count(n_threads, "n_threads")

    finufft = imported("finufft", "phantom")  # before the work, not after it
    basis = _signal_basis(phantom, model)
    images = phantom.signal(model, basis)
    n_echoes, n_spokes, n_samples, _ = where.shape
    samples = np.empty((n_echoes, len(coils), n_spokes, n_samples), dtype=np.complex64)
    plan = finufft.Plan(
        2,
        phantom.shape,
        n_trans=len(coils),
        eps=_NUFFT_TOLERANCE,
        upsampfac=_OVERSAMPLING,
        isign=-1,
        dtype="complex64",
        nthreads=n_threads or 0,
    )
    scale = np.float32(1 / np.sqrt(coils[0].size))
    for t in tqdm(range(n_echoes), desc="k-space", unit="echo", disable=not progress):
        image = scale * (images @ basis[chosen[t]].conj().astype(np.complex64))
        plan.setpts(*np.ascontiguousarray(where[t].reshape(-1, 3).T))
        samples[t] = plan.execute(coils * image).reshape(samples.shape[1:])
    return KSpaceData(samples, where, coils)


def checked_sensitivities(sensitivities: ArrayLike) -> NDArray[np.complex64]:
    """Return finite sensitivities in single precision."""
    maps = numeric_array(sensitivities, "sensitivities")
    if maps.ndim != 4 or not maps.size:
        raise ValueError(f"sensitivities must be of shape (C, nx, ny, nz); got {maps.shape}.")
    check_finite(maps, "sensitivities")
    return np.ascontiguousarray(in_single_precision(maps, "sensitivities"), dtype=np.complex64)


def _checked_echoes(echoes: ArrayLike, n_timepoints: int) -> NDArray[np.intp]:
    chosen = np.asarray(echoes)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not chosen.size:
        raise TypeError("echoes must be a list of integers.")
    if chosen.min() < 0 or chosen.max() >= n_timepoints:
        raise ValueError(f"echoes must be from 0 to {n_timepoints - 1}; got {chosen.min()} to {chosen.max()}.")
    return chosen


def _signal_basis(phantom: Phantom, model: SignalModel) -> NDArray[np.complex128]:
    """Return orthonormal vectors that describe the phantom's signals, (T, k)."""
    rng = np.random.default_rng(0)
    examples = []
    for tissue, fraction in zip(phantom.tissues.index, phantom.fractions, strict=True):
        if not fraction.any():
            continue
        theta = phantom.theta(tissue, fraction > 0)
        n = min(len(theta), -(-_N_EXAMPLES // len(phantom.tissues)))
        examples.append(model.signal(theta.iloc[rng.choice(len(theta), n, replace=False)]))
    signals = np.concatenate(examples)
    _, values, vectors = np.linalg.svd(signals, full_matrices=False)
    lost = np.sqrt(np.cumsum(values[::-1] ** 2)[::-1] / np.sum(values**2))
    return vectors[: np.searchsorted(-lost, -_TRUNCATION)].conj().T
