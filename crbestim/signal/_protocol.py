"""What the small models of relaxometry share: settings of the samples, kind of data, one function for both."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import FloatArray, check_option, numeric_array
from ._base import SignalModel

_LONGEST = 100.0  # s: what is longer is most likely in ms


class ProtocolModel(SignalModel):
    """A frozen dataclass of a measurement's settings, whose signal and derivatives are made together."""

    data: str = "complex"

    @abstractmethod
    def _signal_and_jacobian(self, theta: FloatArray) -> tuple[NDArray, NDArray]:
        """Return the signal, (n, T), and its derivatives, (n, T, P), of checked parameters."""

    def _signal(self, theta: FloatArray) -> NDArray:
        return self._signal_and_jacobian(theta)[0]

    def _jacobian(self, theta: FloatArray) -> NDArray:
        return self._signal_and_jacobian(theta)[1]

    def _check_data(self, *kinds: str) -> None:
        """Check the kind of data, and declare all but complex ones real."""
        check_option(self.data, "data", kinds)
        object.__setattr__(self, "real_valued", self.data != "complex")


def magnitude(signal: FloatArray, jacobian: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the magnitude of real signals, (n, T), and its derivatives, (n, T, P)."""
    sign = np.where(signal < 0, -1.0, 1.0)
    return sign * signal, sign[:, :, None] * jacobian


def protocol_values(
    values: ArrayLike, name: str, *, unit: str, least: float = 0.0, most: float = _LONGEST
) -> tuple[float, ...]:
    """Return the settings of a measurement's samples as a tuple, which makes a model hashable and immutable.

    Raises
    ------
    TypeError
        If they are not real numbers.
    ValueError
        If they are not one-dimensional, finite and from `least` to `most`, or there are none.
    """
    array = numeric_array(values, name)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} must be real; got {array.dtype}.")
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} must be one-dimensional with at least one value; got shape {array.shape}.")
    finite = np.isfinite(array).all()
    if not finite or array.min() < least or array.max() > most:
        guess = {"s": " Are they in ms?", "rad": " Are they in degrees?"}.get(unit, "")
        raise ValueError(
            f"{name} must be finite and from {least:g} to {most:g} {unit}; got {array.min():g} to {array.max():g}. "
            f"All quantities are in SI units, angles in rad.{guess if finite and array.max() > most else ''}"
        )
    return tuple(array.astype(float).tolist())
