"""Figure of estimates against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .._validation import check_count, check_crb, check_targets
from ..signal import Parameter


class EstimateDisplay:
    """Estimates of one parameter against the truth, with the Cramér-Rao bound as error bars.

    Parameters
    ----------
    truth, estimate : array_like of shape (n,)
        True and estimated values.
    crb : array_like of shape (n,)
        Bound (variance) at the amplitude and noise of the data.
    label : str, default="parameter"
        Name and unit for the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.

    Raises
    ------
    ValueError
        If lengths differ, values are not finite, or a bound is NaN or not positive.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from crbestim import EstimateDisplay, MonoExponentialModel
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.uniform(0.03, 0.2, (100, 1))  # s
    >>> crb = (0.05 * truth) ** 2
    >>> estimate = truth + np.sqrt(crb) * rng.standard_normal((100, 1))
    >>> T2 = MonoExponentialModel([0.02, 0.04]).parameters[0]
    >>> display = EstimateDisplay.from_predictions(truth, estimate, crb, T2, target_names=["T2"], name="SNR 50")
    >>> display.ax_.get_xlabel()
    'true $T_2$ [s]'
    >>> plt.close(display.figure_)  # or display.figure_.savefig("estimates.png")

    Of arrays of one parameter:

    >>> display = EstimateDisplay(truth[:, 0], estimate[:, 0], crb[:, 0], label="$T_2$ [s]").plot(limits=(0, 0.2))
    >>> display.ax_.get_xlim() == (0, 0.2)
    True
    >>> plt.close(display.figure_)
    """

    ax_: Any
    figure_: Any

    def __init__(self, truth: ArrayLike, estimate: ArrayLike, crb: ArrayLike, label: str = "parameter") -> None:
        self.truth = check_targets(truth, name="truth")[:, 0]
        self.estimate = check_targets(estimate, len(self.truth), name="estimate")[:, 0]
        self.crb = check_crb(crb, (len(self.truth), 1))[:, 0]
        self.label = label

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike | pd.DataFrame,
        y_pred: ArrayLike,
        crb: ArrayLike,
        parameter: Parameter,
        target_names: Sequence[str],
        *,
        ax: Any = None,
        **kwargs: Any,
    ) -> EstimateDisplay:
        """Draw one of several targets.

        Parameters
        ----------
        y_true, y_pred, crb : array_like of shape (n, p)
            Truth, estimates, and bounds at the amplitude and noise of the data.
        parameter : Parameter
            The target to draw, which gives the label.
        target_names : sequence of str
            Names of the p columns.
        ax : matplotlib Axes, optional
            Where to draw.
        **kwargs
            As for `plot`.

        Returns
        -------
        EstimateDisplay

        Raises
        ------
        ValueError
            If the parameter is none of the targets.
        """
        if parameter.name not in target_names:
            raise ValueError(f"parameter must be one of the targets {list(target_names)}; got {parameter.name!r}.")
        column = list(target_names).index(parameter.name)
        truth, estimate, bound = (np.asarray(values)[:, column] for values in (y_true, y_pred, crb))
        return cls(truth, estimate, bound, label=parameter.label).plot(ax=ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        limits: tuple[float, float] | None = None,
        color: Any = None,
        max_bars: int = 40,
    ) -> EstimateDisplay:
        """Draw all estimates as points, some of them with error bars of +- sqrt(CRB).

        Of an efficient unbiased estimator, two thirds of the bars cross the line of the truth.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        name : str, optional
            Title.
        limits : tuple of float, optional
            Range of both axes; by default that of the truth. Points beyond it are counted in the figure.
        color : matplotlib color, optional
            Of the error bars and their points.
        max_bars : int, default=40
            Number of error bars, evenly spread over the truth.

        Returns
        -------
        EstimateDisplay
            Itself.

        Raises
        ------
        TypeError, ValueError
            If `limits` are not a lower and a higher end, or `max_bars` is no number of at least 0.
        """
        max_bars = check_count(max_bars, "max_bars", minimum=0)
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError(f"limits must be a lower and a higher end; got {limits!r}.")
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(figsize=(4, 4), layout="constrained")
        low, high = limits or (float(self.truth.min()), float(self.truth.max()))
        inside = (self.truth >= low) & (self.truth <= high) & (self.estimate >= low) & (self.estimate <= high)
        shown = np.flatnonzero(inside & np.isfinite(self.crb))
        order = shown[np.argsort(self.truth[shown])]
        picked = order[np.linspace(0, len(order) - 1, min(max_bars, len(order))).astype(int)]
        ax.scatter(
            self.truth, self.estimate, s=5, color="0.75", linewidths=0, zorder=1, label="estimate", rasterized=True
        )
        ax.plot([low, high], [low, high], color="0.2", linewidth=1, zorder=2, label="truth")
        ax.errorbar(
            self.truth[picked], self.estimate[picked], yerr=np.sqrt(self.crb[picked]), fmt="o", color=color,
            markersize=3, elinewidth=1, zorder=3, label=r"estimate $\pm\sqrt{\mathrm{CRB}}$",
        )  # fmt: skip
        outside = int(
            ((self.estimate < low) | (self.estimate > high) | (self.truth < low) | (self.truth > high)).sum()
        )
        if outside:
            ax.text(
                0.98, 0.02, f"{outside} of {len(self.truth)} outside", transform=ax.transAxes, ha="right", va="bottom",
                fontsize="small", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}, zorder=4,
            )  # fmt: skip
        ax.set(xlim=(low, high), ylim=(low, high), xlabel=f"true {self.label}", ylabel=f"estimated {self.label}")
        ax.locator_params(nbins=5)
        ax.set_aspect("equal")
        if name is not None:
            ax.set_title(name)
        self.ax_, self.figure_ = ax, ax.figure
        return self
