"""How far the hybrid state is from the rotating magnetisation that it approximates."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._validation import FloatArray
from ..signal import SignalModel
from ..signal._hybrid_state import HybridStateModel
from ._constraints import SequenceConstraints

_LEAST_SQUARE = 1e-8  # of an error, in logarithms: 0.01 %


def hybrid_state_error(model: SignalModel, theta: ArrayLike | pd.DataFrame) -> FloatArray:
    r"""Relative error of the hybrid state's signal, after the complex scale that fits best (M0 absorbs it).

    .. math:: \min_c \frac{\|c\, s_\mathrm{hybrid} - s\|_2}{\|s\|_2}
        = \sqrt{1 - \frac{|s_\mathrm{hybrid}^T s|^2}{\|s_\mathrm{hybrid}\|^2 \|s\|^2}}

    with s of `MTBlochModel`, which itself agrees with the Bloch-McConnell equations to 0.1 % (median over the paper's
    prior; 1 % at worst).

    Parameters
    ----------
    model : MTHybridStateModel or BlochHybridStateModel
        A model of the hybrid state, with one T1 for both pools.
    theta : array_like or DataFrame of shape (n, P)
        Parameters in SI units.

    Returns
    -------
    ndarray of shape (n,)
        From 0 to 1; NaN where there is no signal.

    Raises
    ------
    TypeError
        If the model is none of the hybrid state.
    ValueError
        If it has a separate T1, or theta does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import BlochHybridStateModel
    >>> from crbestim.design import hybrid_state_error
    >>> error = hybrid_state_error(BlochHybridStateModel(), [[1.2, 0.08, 100.0, 1.0], [1.2, 0.08, 890.0, 1.0]])
    >>> error.shape
    (2,)
    >>> bool(error[0] < error[1])  # the second is close to a stop band
    True
    """
    if not isinstance(model, HybridStateModel):
        raise TypeError(f"model must be one of the hybrid state; got {type(model).__name__}.")
    checked = model.check_theta(theta)
    square = np.empty(len(checked))
    for chunk in model._chunks(len(checked), 6):
        rotating, theta_rotating = model._rotating(checked[chunk])
        signals = model.signal(checked[chunk]).real, rotating.signal(theta_rotating)
        square[chunk] = _square_and_slopes(*signals)[0]
    return np.sqrt(np.maximum(square, 0.0))


class HybridStateError:
    """Mean logarithm of the error over tissues, and what it takes for its gradient.

    Parameters
    ----------
    model : HybridStateModel
        A model.
    theta : ndarray of shape (n, P)
        Tissues.

    Attributes
    ----------
    mean_log : float
        The mean logarithm.
    """

    def __init__(self, model: HybridStateModel, theta: FloatArray) -> None:
        self._rotating, self._theta = model._rotating(theta)
        square, self._by_hybrid, self._by_rotating = _square_and_slopes(
            model._signal(theta), self._rotating._signal(self._theta)
        )
        self.mean_log = float(0.5 * np.log(square + _LEAST_SQUARE).mean())
        self._weight = (0.5 / (square + _LEAST_SQUARE) / len(square))[:, None]

    def signal_weights(self) -> FloatArray:
        """Return its derivatives by the hybrid state's signals, (n, T)."""
        return self._weight * self._by_hybrid

    def gradient_of_reference(self) -> tuple[FloatArray, FloatArray]:
        """Return the part of its gradient by flip angles and durations that comes from the rotating magnetisation."""
        return self._rotating._pulse_gradient(self._theta, (self._weight * self._by_rotating)[:, :, None])


def limited_error(model: SignalModel, theta: FloatArray, constraints: SequenceConstraints) -> HybridStateError | None:
    """Return the error of a model of the hybrid state if it is limited, else None."""
    if constraints.hybrid_state_error is None or not isinstance(model, HybridStateModel):
        return None
    return HybridStateError(model, theta)


def _square_and_slopes(hybrid: FloatArray, signal: NDArray) -> tuple[FloatArray, FloatArray, NDArray]:
    """Squared error, (n,), and its derivatives by the hybrid state's signal and by the other one, (n, T).

    The latter derivative, w, is complex: the square changes by Re(conj(w) ds).
    """
    product = (hybrid * signal).sum(axis=1, keepdims=True)
    ours = (hybrid**2).sum(axis=1, keepdims=True)
    theirs = (np.abs(signal) ** 2).sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap = np.abs(product) ** 2 / (ours * theirs)
        by_hybrid = 2 * (overlap * hybrid / ours - (product.conj() * signal).real / (ours * theirs))
        by_rotating = 2 * (overlap * signal / theirs - product * hybrid / (ours * theirs))
    return 1 - overlap[:, 0], by_hybrid, by_rotating
