"""Windows, statistics and numbers as text, for a report."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from .._parameter_map import ParameterMap

DASH = "–"
_PERCENT = (1, 25, 50, 75, 99)


@dataclass(frozen=True)
class Window:
    """Range that a colour bar or a histogram shows."""

    low: float
    high: float

    @classmethod
    def around(cls, low: float, high: float) -> Window:
        """Return a range rounded outward, such as percentiles; wider if its ends are all but equal."""
        if high - low <= 1e-7 * max(abs(low), abs(high)):
            margin = 0.1 * abs(high) or 1.0
            low, high = low - margin, high + margin
        return cls(*_rounded_outward(low, high))

    @classmethod
    def from_zero(cls, high: float) -> Window:
        """Return zero to a number, rounded up."""
        return cls(*_rounded_outward(0.0, high)) if high > 0 else cls(0.0, 1.0)

    def outside(self, values: NDArray) -> tuple[int, int]:
        """Count the values below and above."""
        return int(np.count_nonzero(values < self.low)), int(np.count_nonzero(values > self.high))


def _rounded_outward(low: float, high: float) -> tuple[float, float]:
    """Round to multiples of 1, 2 or 5 times a power of ten, of which 10 to 22 cover the range."""
    least = (high - low) / 20
    power = 10.0 ** np.floor(np.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    # The tolerance keeps an end that is such a multiple already where it is.
    ends = np.floor(low / step + 1e-9) * step, np.ceil(high / step - 1e-9) * step
    return float(f"{ends[0]:.12g}"), float(f"{ends[1]:.12g}")


@dataclass(frozen=True, eq=False)
class Summary:
    """The numbers of one map: its finite estimates, their standard deviations and percentiles.

    Attributes
    ----------
    values : ndarray of shape (n,)
        Finite estimates.
    std : ndarray of shape (m,)
        Finite standard deviations of these estimates, m <= n.
    percentiles, std_percentiles : tuple of float
        1, 25, 50, 75 and 99 % of the two; NaN without any.
    median_std : float
        Median of all standard deviations that are numbers; infinite ones count.
    n_infinite : int
        Voxels with infinite values, which are no estimates.
    """

    values: NDArray
    std: NDArray
    percentiles: tuple[float, ...]
    std_percentiles: tuple[float, ...]
    median_std: float
    n_infinite: int

    @classmethod
    def of(cls, parameter_map: ParameterMap) -> Summary:
        """Return the summary of a map."""
        finite = np.isfinite(parameter_map.values)
        values = parameter_map.values[finite].astype(np.float64)
        std = values[:0] if parameter_map.std is None else parameter_map.std[finite].astype(np.float64)
        std = std[~np.isnan(std)]
        return cls(
            values=values,
            std=std[np.isfinite(std)],
            percentiles=_percentiles(values),
            std_percentiles=_percentiles(std[np.isfinite(std)]),
            median_std=float(np.median(std)) if len(std) else np.nan,
            n_infinite=int(np.count_nonzero(np.isinf(parameter_map.values))),
        )


def _percentiles(values: NDArray) -> tuple[float, ...]:
    return tuple(np.percentile(values, _PERCENT).tolist()) if len(values) else (np.nan,) * len(_PERCENT)


def number_html(value: float) -> str:
    """Write a number with three significant digits."""
    if np.isnan(value):
        return DASH
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    power = int(f"{value:.2e}".split("e")[1])
    if not -4 < power < 6:
        return _powers_html(f"{value:.2e}")
    return f"{float(f'{value:.2e}'):.{max(0, 2 - power)}f}".replace("-", "−")


def window_html(window: Window, unit: str) -> str:
    """Write a window with its unit; the ends with as many digits as they have."""
    text = f"{_powers_html(f'{window.low:.10g}')} to {_powers_html(f'{window.high:.10g}')}"
    return text if unit == "1" else f"{text} {escape(unit)}"


def _powers_html(text: str) -> str:
    """Write 1.5e-05 as a product with a power of ten."""
    mantissa, _, power = text.replace("-", "−").partition("e")
    if not power:
        return mantissa
    sign = "−" if power.startswith("−") else ""
    return f"{mantissa}&nbsp;×&nbsp;10<sup>{sign}{power.lstrip('−+0')}</sup>"
