"""A parameter of a signal model: name, symbol, unit and range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .._validation import check_option, numeric_array

# What a value may have been meant in, by the parameter's unit, and the factor to the latter.
_OTHER_UNITS = {"s": ((1e-3, "ms"), (1e-6, "us")), "1": ((1e-2, "percent"),)}


@dataclass(frozen=True)
class Parameter:
    """A real parameter of a signal model.

    Parameters
    ----------
    name : str
        The column's name in a DataFrame.
    symbol : str
        LaTeX, for labels of figures.
    unit : str
        SI unit; "1" if there is none.
    bounds : tuple of float
        Physical range, lower and upper end.
    closed : {"both", "left", "right", "neither"}, default="both"
        Which ends belong to the range.

    Raises
    ------
    TypeError, ValueError
        If a text is none, the bounds are not two real numbers in order, or `closed` is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import Parameter
    >>> T2 = Parameter("T2", "T_2", "s", (0.0, 30.0), closed="right")
    >>> T2.label, T2.interval
    ('$T_2$ [s]', '(0, 30]')
    >>> 0.08 in T2, 0.0 in T2
    (True, False)
    >>> T2.contains(np.array([0.08, 80.0]))
    array([ True, False])
    >>> T2.guess(80.0)
    ' Is it in ms?'
    """

    name: str
    symbol: str
    unit: str
    bounds: tuple[float, float]
    closed: Literal["both", "left", "right", "neither"] = "both"

    def __post_init__(self) -> None:
        for field in ("name", "symbol", "unit"):
            if not isinstance(getattr(self, field), str):
                raise TypeError(f"{field} must be a str; got {getattr(self, field)!r}.")
        if not self.name:
            raise ValueError("name must not be empty.")
        bounds = numeric_array(self.bounds, "bounds")
        if bounds.shape != (2,) or bounds.dtype.kind == "c":
            raise ValueError(f"bounds must be two real numbers, lower and upper end; got {self.bounds!r}.")
        low, high = bounds.astype(np.float64).tolist()
        if not low < high:
            raise ValueError(f"bounds must be a lower and a higher end; got {low:g} and {high:g}.")
        check_option(self.closed, "closed", ("both", "left", "right", "neither"))
        object.__setattr__(self, "bounds", (low, high))

    def __contains__(self, value: float) -> bool:
        return bool(self.contains(np.asarray(value)))

    def contains(self, values: NDArray) -> NDArray[np.bool_]:
        """Tell for each value whether it lies in the physical range.

        Parameters
        ----------
        values : ndarray
            Real numbers, in the parameter's unit.

        Returns
        -------
        ndarray of bool
            Of the shape of `values`; False for NaN.
        """
        low, high = self.bounds
        above = values >= low if self.closed in ("both", "left") else values > low
        below = values <= high if self.closed in ("both", "right") else values < high
        return above & below

    def guess(self, value: float) -> str:
        """Return a question for a value beyond the range that lies inside of it in another unit; else nothing.

        Parameters
        ----------
        value : float
            In the parameter's unit.

        Returns
        -------
        str
            Such as " Is it in ms?", to end an error message with; empty if there is nothing to ask.
        """
        for factor, unit in _OTHER_UNITS.get(self.unit, ()):
            if abs(value) > abs(self.bounds[1]) and value * factor in self:
                return f" Is it in {unit}?"
        return ""

    @property
    def interval(self) -> str:
        """The range as text, such as "[0, 1)"."""
        left = "[" if self.closed in ("both", "left") else "("
        right = "]" if self.closed in ("both", "right") else ")"
        return f"{left}{self.bounds[0]:g}, {self.bounds[1]:g}{right}"

    @property
    def label(self) -> str:
        """Symbol and unit, for an axis of a figure."""
        return f"${self.symbol}$" if self.unit == "1" else f"${self.symbol}$ [{self.unit}]"
