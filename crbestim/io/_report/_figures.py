"""Pictures of a report, as PNG files in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._numbers import Window
from ._slices import View

OUTSIDE_COLOR = "#e4e4e4"
_WIDTH = 5.2  # inches, as everything below
_DPI = 200
_COMPRESSION = 3  # of 9: nearly as small, and much faster
_GAP = 0.06
_TITLE = 0.22
_BAR_SPACE = 0.85
_POWERS = (-3, 5)
_MOST_HEIGHT = 4.0
_PADDING, _LETTER_PADDING = 0.06, 0.15


def maps_figure(volume: NDArray, view: View, window: Window, label: str, cmap: str) -> bytes:
    """Draw slices of a volume in one window, with a colour bar."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    mappable = ScalarMappable(
        Normalize(window.low, window.high), matplotlib.colormaps[cmap].with_extremes(bad=OUTSIDE_COLOR)
    )
    below, above = (count > 0 for count in window.outside(volume))
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}

    def draw(figure: Any) -> None:
        bar_axes = _draw_panels(figure, volume, view, mappable, right_space=_BAR_SPACE)
        bar = figure.colorbar(mappable, cax=bar_axes, extend=extend[below, above])
        bar.set_label(label)
        bar.outline.set_linewidth(0.5)
        _format_numbers(bar.ax.yaxis, max(abs(window.low), abs(window.high)))
        bar.ax.yaxis.set_offset_position("left")  # away from the titles

    return _png(draw)


def categories_figure(volume: NDArray, view: View, colors: Sequence[str]) -> bytes:
    """Draw slices of a volume of indices into colours; NaN is outside."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    mappable = ScalarMappable(
        Normalize(-0.5, len(colors) - 0.5), ListedColormap(list(colors)).with_extremes(bad=OUTSIDE_COLOR)
    )
    return _png(lambda figure: _draw_panels(figure, volume, view, mappable, right_space=0.0))


def histogram_figure(values: NDArray, quartiles: Sequence[float], window: Window, label: str, color: str) -> bytes:
    """Draw the histogram of the values in a window, with their median and quartiles."""
    n_bins = int(np.clip(2 * np.sqrt(len(values)), 10, 80))
    counts, edges = np.histogram(values, n_bins, (window.low, window.high))
    lower, median, upper = quartiles

    def draw(figure: Any) -> None:
        height = 2.2
        figure.set_size_inches(_WIDTH, height)
        ax = figure.add_axes((0.75 / _WIDTH, 0.5 / height, 1 - 0.95 / _WIDTH, 1 - 0.75 / height))
        ax.axvspan(lower, upper, color="0.92", zorder=0)
        ax.stairs(counts, edges, fill=True, color=color, zorder=1)
        ax.axvline(median, color="0.15", linewidth=1, zorder=2)
        ax.set(xlim=(window.low, window.high), xlabel=label, ylabel="voxels")
        _format_numbers(ax.xaxis, max(abs(window.low), abs(window.high)))
        _format_numbers(ax.yaxis, counts.max())
        ax.spines[["top", "right"]].set_visible(False)

    return _png(draw)


def _format_numbers(axis: Any, largest: float) -> None:
    """Take a power of ten out of large and small numbers."""
    formatter = axis.get_major_formatter()
    low, high = _POWERS
    formatter.set_powerlimits(_POWERS)
    if largest > 0 and not low < np.floor(np.log10(largest)) < high:
        formatter.set_useMathText(True)  # for the power alone, as it makes every number slow to draw


def _draw_panels(figure: Any, volume: NDArray, view: View, mappable: Any, right_space: float) -> Any:
    """Draw all slices at one scale, and return axes to their right, for a colour bar, if there is space."""
    panels, width, height = _arrange(view, _WIDTH - right_space)
    height = max(height, 1.2)  # a colour bar needs as much
    figure.set_size_inches(_WIDTH, height)

    def axes(left: float, top: float, wide: float, high: float) -> Any:
        place = (left / _WIDTH, (height - top - high) / height, wide / _WIDTH, high / height)
        return figure.add_axes(place, facecolor=OUTSIDE_COLOR)

    for shown, panel in zip(view.slices, panels, strict=True):
        ax = axes(panel.left, panel.top, panel.width, panel.height)
        right, up = (side / 2 for side in view.extent(shown))
        ax.imshow(
            view.image(volume, shown), cmap=mappable.cmap, norm=mappable.norm, origin="lower",
            interpolation="nearest", extent=(-right, right, -up, up), aspect="auto",
        )  # fmt: skip
        half_width, half_height = panel.width / panel.scale / 2, panel.height / panel.scale / 2
        ax.set(xlim=(-half_width, half_width), ylim=(-half_height, half_height), xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_title(view.title(shown), fontsize=8, color="0.35", pad=2.5)
        _draw_edges(ax, view.edges(shown))
    return axes(width + 0.1, _TITLE, 0.13, height - _TITLE - _GAP) if right_space else None


@dataclass(frozen=True)
class _Panel:
    """Place of a slice, in inches from the left and upper edge of the figure; scale in inches per unit of extent."""

    left: float
    top: float
    width: float
    height: float
    scale: float


def _arrange(view: View, space: float) -> tuple[list[_Panel], float, float]:
    """Arrange slices in rows as wide as there is space, and return their places, total width and total height."""
    n_columns = len(view.slices) if len(view.slices) <= 3 else (len(view.slices) + 1) // 2
    extents = [view.extent(shown) for shown in view.slices]
    rows = [extents[start : start + n_columns] for start in range(0, len(extents), n_columns)]
    border = 2 * (_PADDING if view.axis_codes is None else _LETTER_PADDING)

    wide_scale = min((space - len(row) * (border + _GAP)) / sum(width for width, _ in row) for row in rows)
    high_scale = (_MOST_HEIGHT - len(rows) * border) / sum(max(height for _, height in row) for row in rows)
    scale = min(wide_scale, high_scale)
    total = max(sum(scale * width + border + _GAP for width, _ in row) for row in rows)

    panels, top = [], 0.0
    for row in rows:
        left, top = 0.0, top + _TITLE
        high = scale * max(height for _, height in row) + border
        spare = total - sum(scale * width + border + _GAP for width, _ in row) if len(row) == n_columns else 0.0
        for width, _ in row:
            wide = scale * width + border + spare / len(row)
            panels.append(_Panel(left, top, wide, high, scale))
            left += wide + _GAP
        top += high
    return panels, total - _GAP, top + _GAP


def _draw_edges(ax: Any, letters: tuple[str, str, str, str]) -> None:
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.02), (0.5, 0.98))
    alignments = (("left", "center"), ("right", "center"), ("center", "bottom"), ("center", "top"))
    for letter, (x, y), (horizontal, vertical) in zip(letters, places, alignments, strict=True):
        ax.text(
            x, y, letter, transform=ax.transAxes, ha=horizontal, va=vertical, fontsize=7, color="0.3"
        )  # fmt: skip


def _png(draw: Any) -> bytes:
    """Return what is drawn on a figure; matplotlib's settings and backend are the user's before and after."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"font.size": 9, "axes.linewidth": 0.6})
        figure = Figure(dpi=_DPI)
        FigureCanvasAgg(figure)
        draw(figure)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", pil_kwargs={"compress_level": _COMPRESSION})
    return buffer.getvalue()
