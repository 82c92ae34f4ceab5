"""The least-squares problem of a batch of voxels, with M0 solved for inside."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .._threads import run_blocks
from .._validation import FloatArray
from ..signal import SignalModel
from ._parameter_scaling import ParameterScaling

_BLOCK, _LEAST_BLOCK = 256, 64  # voxels that a thread takes at a time


class Quadratic(NamedTuple):
    r"""Second-order picture of :math:`\|r\|^2` at a point of each fit: r is what no M0 explains.

    Attributes
    ----------
    cost : ndarray of shape (n,)
        :math:`\|r\|^2`.
    m0 : ndarray of shape (n,), complex
        Amplitude.
    gradient : ndarray of shape (n, F)
        :math:`\mathrm{Re}(D^H r)`, D the derivatives of r.
    gram : ndarray of shape (n, F, F)
        :math:`\mathrm{Re}(D^H D)`.
    """

    cost: FloatArray
    m0: NDArray[np.complex128]
    gradient: FloatArray
    gram: FloatArray

    @property
    def is_finite(self) -> NDArray[np.bool_]:
        """Whether the model was finite there, (n,)."""
        return np.asarray(np.isfinite(self.cost) & np.isfinite(self.gram).all(axis=(1, 2)))

    def rows(self, index: NDArray) -> Quadratic:
        """Return that of some of the fits."""
        return Quadratic(*(array[index] for array in self))


class Problem(NamedTuple):
    """What is fitted: a model, seen through an operator, within bounds.

    Attributes
    ----------
    model : SignalModel
        Signal and Jacobian.
    operator : ndarray of shape (T, m) or None
        Compression and whitening; None: the signals themselves.
    scaling : ParameterScaling
        Bounds; its voxels are those of the data.
    """

    model: SignalModel
    operator: NDArray | None
    scaling: ParameterScaling

    def signal_and_jacobian(self, unit: FloatArray) -> tuple[NDArray, NDArray]:
        """Return signals, (n, m), and their derivatives by the fit's parameters, (n, m, F), for M0 = 1."""
        theta = self.scaling.from_unit(unit)
        signal, jacobian = self.model._checked_pair(theta, self.operator)
        return signal, self.scaling.pull_back(jacobian, theta)

    def quadratic(self, unit: FloatArray, data: NDArray[np.complex128]) -> Quadratic:
        """Evaluate the problem of data, (n, m), at parameters in the unit cube, (n, F)."""
        signal, jacobian = self.signal_and_jacobian(unit)
        n, n_free = unit.shape
        result = Quadratic(
            np.empty(n), np.empty(n, np.complex128), np.empty((n, n_free)), np.empty((n, n_free, n_free))
        )
        run_blocks(
            lambda block: _project(data[block], signal[block], jacobian[block], *(a[block] for a in result)),
            n,
            _BLOCK,
            _LEAST_BLOCK,
        )
        return result

    def rows(self, index: NDArray) -> Problem:
        """Return the problem of some of the voxels."""
        return self._replace(scaling=self.scaling.rows(index))


@njit(cache=True, error_model="numpy", nogil=True)
def _project(data, signal, jacobian, cost, m0, gradient, gram):  # type: ignore[no-untyped-def]
    r"""Variable projection (Golub and Pereyra) with the exact Jacobian of the projected residual.

    With :math:`r = x - M_0 s`, :math:`M_0 = s^H x / s^H s` and the part J' of J that is orthogonal to s,

    .. math:: \partial r / \partial \theta_j = -M_0 J'_j - s \, (J_j^H r)^* / (s^H s).

    The two parts are orthogonal to each other, and the second one is to r.
    """
    n, n_rows, n_free = jacobian.shape
    residual = np.empty(n_rows, np.complex128)
    slope = np.empty((n_free, n_rows), np.complex128)
    along = np.empty(n_free, np.complex128)
    for i in range(n):
        energy, overlap = 0.0, 0j
        for t in range(n_rows):
            energy += signal[i, t].real ** 2 + signal[i, t].imag ** 2
            overlap += np.conj(signal[i, t]) * data[i, t]
        inverse = 1 / energy if energy > 0 else 0.0
        amplitude = overlap * inverse
        total = 0.0
        for t in range(n_rows):
            residual[t] = data[i, t] - amplitude * signal[i, t]
            total += residual[t].real ** 2 + residual[t].imag ** 2
        cost[i], m0[i] = total, amplitude
        for j in range(n_free):
            parallel, by_residual = 0j, 0j
            for t in range(n_rows):
                parallel += np.conj(signal[i, t]) * jacobian[i, t, j]
                by_residual += np.conj(jacobian[i, t, j]) * residual[t]
            along[j] = by_residual
            gradient[i, j] = -(np.conj(amplitude) * by_residual).real
            for t in range(n_rows):
                slope[j, t] = amplitude * (jacobian[i, t, j] - parallel * inverse * signal[i, t])
        for j in range(n_free):
            for k in range(j + 1):
                product = (np.conj(along[j]) * along[k]).real * inverse
                for t in range(n_rows):
                    product += slope[j, t].real * slope[k, t].real + slope[j, t].imag * slope[k, t].imag
                gram[i, j, k] = product
                gram[i, k, j] = product
