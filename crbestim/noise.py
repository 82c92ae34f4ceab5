"""Random amplitude and noise, drawn jointly with the bound they change."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validation import (
    FloatArray,
    check_basis,
    check_count,
    check_crb,
    check_finite,
    check_matrix,
    check_positive,
    check_range,
    numeric_array,
    random_generator,
    stack_complex,
    unstack_complex,
)
from .covariance import NoiseCovariance, as_covariance

__all__ = ["NoiseModel", "estimate_noise_std"]

_GREATEST_SNR = 1e12
_MEDIAN_OF_CHI_SQUARE = {1: 0.454936423119572, 2: 2 * np.log(2)}


def estimate_noise_std(background: ArrayLike) -> float:
    r"""Standard deviation of white Gaussian noise in each real channel, from data without a signal.

    The median of :math:`|x|^2` over its value for unit variance, which is :math:`2 \log 2` for complex data: a few
    voxels with a signal among the background do little harm.

    Parameters
    ----------
    background : array_like
        Complex (or real) coefficients or signals of voxels outside the object, of any shape, with the scale of the
        data. Exact zeros, as a mask leaves them, are an error.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two values, or some are not finite or zero.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise = 0.02 * (rng.standard_normal((500, 13)) + 1j * rng.standard_normal((500, 13)))
    >>> round(estimate_noise_std(noise), 3)
    0.02
    """
    values = numeric_array(background, "background")
    check_finite(values, "background")
    if values.size < 2:
        raise ValueError(f"background must hold at least two values; got {values.size}.")
    if not values.all():
        raise ValueError(
            f"background must be noise; {int((values == 0).sum())} of {values.size} values are zero. Take voxels that "
            "no mask has set to zero."
        )
    channels = 2 if values.dtype.kind == "c" else 1
    # The median of the squares, relative to the greatest, as squares may leave the range of numbers.
    magnitude = np.abs(values).astype(np.float64, copy=False)
    greatest = magnitude.max()
    return float(greatest * np.sqrt(np.median((magnitude / greatest) ** 2) / _MEDIAN_OF_CHI_SQUARE[channels]))


@dataclass(frozen=True)
class NoiseModel:
    r"""Amplitude and Gaussian noise of a measured signal.

    .. math::
        x' = M_0 x + \sigma (\epsilon_1 + i \epsilon_2), \quad
        \mathrm{CRB}' = \mathrm{CRB}\, \sigma^2 / |M_0|^2

    :math:`|M_0|` is uniform in a range, its phase in :math:`[0, 2\pi)`. The bound that goes in is the one at
    :math:`|M_0| = 1`, :math:`\sigma = 1`. White noise stays white under an orthonormal basis, so clean
    coefficients can be treated like clean signals. Of real data, M0 is positive and the noise :math:`\sigma \epsilon`.

    Parameters
    ----------
    noise_std : float, default=0.01
        Standard deviation :math:`\sigma` of EACH real channel.
    m0_range : tuple of float, default=(0.1, 1.0)
        Least and greatest :math:`|M_0|`. The defaults are the paper's, an SNR_max = |M0| / sigma of 10 to 100.
    covariance : array_like of shape (m, m) or NoiseCovariance, optional
        Of coloured noise, in units of :math:`\sigma^2` (see `NoiseCovariance`), for the data that noise is added to:
        that of the coefficients where these are trained on. By default the noise is white.

    Raises
    ------
    TypeError, ValueError
        If `noise_std` is not positive, `m0_range` no pair of positive numbers in order, or the covariance none.

    See Also
    --------
    NoiseCovariance : Coloured noise.
    estimate_noise_std : The noise level of measured data.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import MonoExponentialModel, NoiseModel
    >>> model, theta = MonoExponentialModel([0.02, 0.04, 0.08]), [[0.05], [0.1]]
    >>> signal, crb = model.signal(theta), model.crb(theta)
    >>> noise = NoiseModel.at_snr(50)
    >>> noise.noise_std, noise.m0_range
    (0.02, (1.0, 1.0))
    >>> noise.add_to(signal, np.random.default_rng(0)).shape
    (2, 3)
    >>> noisy, bound = NoiseModel(0.01, (0.1, 1.0)).augment(signal, crb, np.random.default_rng(0))
    >>> bool((bound >= 0.01**2 * crb).all())  # |M0| was at most 1
    True
    >>> coloured = NoiseModel.at_snr(50, covariance=0.5 ** np.abs(np.subtract.outer(range(3), range(3))))
    >>> coloured.compress(np.eye(3)[:, :2]).covariance.size
    2
    """

    noise_std: float = 0.01
    m0_range: tuple[float, float] = (0.1, 1.0)
    covariance: NoiseCovariance | ArrayLike | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise_std", check_positive(self.noise_std, "noise_std"))
        object.__setattr__(self, "m0_range", check_range(self.m0_range, "m0_range"))
        object.__setattr__(self, "covariance", as_covariance(self.covariance))

    @classmethod
    def at_snr(cls, snr: float, covariance: ArrayLike | NoiseCovariance | None = None) -> NoiseModel:
        """Return the model of one SNR_max: |M0| = 1, random phase, noise_std = 1 / snr.

        Parameters
        ----------
        snr : float
            SNR_max = |M0| / sigma, from 1e-12 to 1e12.
        covariance : array_like of shape (m, m) or NoiseCovariance, optional
            Of coloured noise.

        Returns
        -------
        NoiseModel

        Raises
        ------
        TypeError, ValueError
            If `snr` is no number in this range, or the covariance none.
        """
        if not 1 / _GREATEST_SNR <= check_positive(snr, "snr") <= _GREATEST_SNR:
            raise ValueError(
                f"snr must lie between {1 / _GREATEST_SNR:g} and {_GREATEST_SNR:g}, beyond which signal or noise is "
                f"lost in rounding; got {snr:g}."
            )
        return cls(noise_std=1 / float(snr), m0_range=(1.0, 1.0), covariance=covariance)

    def compress(self, basis: ArrayLike) -> NoiseModel:
        """Return the noise of coefficients, from that of the signals.

        Parameters
        ----------
        basis : array_like of shape (m, k)
            Orthonormal compression basis.

        Returns
        -------
        NoiseModel
            Itself if the noise is white.

        Raises
        ------
        ValueError
            If the basis is not orthonormal or does not fit the covariance.
        """
        checked, covariance = check_basis(basis), as_covariance(self.covariance)
        return self if covariance is None else replace(self, covariance=covariance.compress(checked))

    def draw_magnitude(self, n_samples: int, rng: np.random.Generator) -> FloatArray:
        """Draw |M0|.

        Parameters
        ----------
        n_samples : int
            How many.
        rng : numpy.random.Generator
            The source of randomness.

        Returns
        -------
        ndarray of shape (n_samples,)
            Uniform in `m0_range`.
        """
        low, high = self.m0_range
        return rng.uniform(low, high, n_samples)

    def scale_crb(self, crb: NDArray, magnitude: FloatArray) -> FloatArray:
        r"""Return the bound at some amplitudes and this noise, :math:`\mathrm{CRB}\, \sigma^2 / |M_0|^2`.

        Parameters
        ----------
        crb : ndarray of shape (n, p)
            Bound at |M0| = 1, sigma = 1.
        magnitude : ndarray of shape (n,)
            |M0|.

        Returns
        -------
        ndarray of shape (n, p)
        """
        return crb * (self.noise_std / magnitude[:, None]) ** 2

    def add_to(
        self, X: NDArray, rng: np.random.Generator, magnitude: FloatArray | None = None, *, real: bool = False
    ) -> NDArray:
        """Scale clean data with M0 and add noise.

        Parameters
        ----------
        X : ndarray of shape (n, m)
            Clean data at M0 = 1: complex signals or coefficients, or stacked real coefficients [Re | Im].
        rng : numpy.random.Generator or int
            The source of randomness, or a seed.
        magnitude : ndarray of shape (n,), optional
            |M0| of each row; drawn if not given. The phase is always drawn.
        real : bool, default=False
            X are real data, not stacked ones: M0 stays positive, and the noise real.

        Returns
        -------
        ndarray of shape (n, m)
            Of the same kind and precision as X.

        Raises
        ------
        ValueError
            If X is not a finite 2-D array, or stacked with an odd number of columns, or `magnitude` or the covariance
            does not fit.
        TypeError
            If X is complex for ``real=True``.
        """
        rng = random_generator(rng, "rng")
        X = check_matrix(X, "X", kind="real" if real else "either")
        if magnitude is not None:
            magnitude = numeric_array(magnitude, "magnitude")
            if magnitude.shape != (len(X),) or magnitude.dtype.kind == "c":
                raise ValueError(
                    f"magnitude must be real numbers of shape ({len(X)},), one |M0| a row; got {magnitude.dtype} "
                    f"{magnitude.shape}."
                )
            check_finite(magnitude, "magnitude")
            if (magnitude < 0).any():
                raise ValueError(f"magnitude must not be negative; got {magnitude.min():g}.")
            magnitude = magnitude.astype(np.float64, copy=False)
        if X.dtype.kind != "c" and not real:
            noisy = self.add_to(unstack_complex(X), rng, magnitude)
            return stack_complex(noisy).astype(X.dtype, copy=False)
        if magnitude is None:
            magnitude = self.draw_magnitude(len(X), rng)
        if real:
            return magnitude.astype(X.dtype)[:, None] * X + self._coloured(rng.standard_normal(X.shape, dtype=X.dtype))
        m0 = magnitude * np.exp(2j * np.pi * rng.random(len(X)))
        noise = rng.standard_normal((*X.shape, 2), dtype=X.real.dtype).view(X.dtype)[..., 0]
        noisy = self._coloured(noise)
        noisy += m0.astype(X.dtype)[:, None] * X
        return noisy

    def _coloured(self, white: NDArray) -> NDArray:
        """Turn white noise of unit variance into this noise, in the same precision."""
        noise, covariance = white, as_covariance(self.covariance)
        if covariance is not None:
            if covariance.is_complex and white.dtype.kind != "c":
                raise ValueError("covariance must be real for noise of real data; it is complex.")
            noise = covariance.colour(white).astype(white.dtype, copy=False)
        noise *= white.real.dtype.type(self.noise_std)
        return noise

    def augment(
        self, X: NDArray, crb: FloatArray, rng: np.random.Generator, *, real: bool = False, n_realizations: int = 1
    ) -> tuple[NDArray, FloatArray]:
        """Draw amplitude and noise: the joint map (X, crb) -> (X', crb').

        Parameters
        ----------
        X : ndarray of shape (n, m)
            Clean data, as for `add_to`.
        crb : ndarray of shape (n, p)
            Bound at |M0| = 1, sigma = 1.
        rng : numpy.random.Generator
            The source of randomness.
        real : bool, default=False
            X are real data, as for `add_to`.
        n_realizations : int, default=1
            N realizations of the noise (and of M0's phase) of each row, which share |M0|.

        Returns
        -------
        X : ndarray of shape (N n, m)
            All rows in their first realization, then in their second, and so on.
        crb : ndarray of shape (n, p)

        Raises
        ------
        ValueError
            As `add_to`, and for a bound that is NaN, not positive, or of another number of rows.
        """
        rng = random_generator(rng, "rng")
        X = check_matrix(X, "X", kind="real" if real else "either")
        bound = check_matrix(crb, "crb", finite=False)
        crb = check_crb(bound, (len(X), bound.shape[1]))
        check_count(n_realizations, "n_realizations")
        magnitude = self.draw_magnitude(len(X), rng)
        rows, magnitudes = X, magnitude
        if n_realizations > 1:
            rows, magnitudes = np.tile(X, (n_realizations, 1)), np.tile(magnitude, n_realizations)
        return self.add_to(rows, rng, magnitudes, real=real), self.scale_crb(crb, magnitude)
