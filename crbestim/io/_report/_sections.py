"""Sections of a report as HTML."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from ...signal import Parameter
from .._parameter_map import ParameterMap
from ._figures import categories_figure, histogram_figure, maps_figure
from ._names import axis_label, name_and_unit_html, name_html
from ._numbers import Summary, Window, number_html, window_html
from ._quality import count_flags, flag_categories
from ._slices import View

_VALUE_MAP, _STD_MAP = "viridis", "magma"
_VALUE_COLOR, _STD_COLOR = "#31688e", "#b5477c"


def statistics_section(parameters: Sequence[Parameter], summaries: Sequence[Summary], view: View) -> str:
    """Return the table with a row for each parameter, and how slices are drawn."""
    heads = ("voxels", "1 %", "25 %", "median", "75 %", "99 %", "median std")
    rows = []
    for number, (parameter, summary) in enumerate(zip(parameters, summaries, strict=True)):
        numbers = [f"{len(summary.values):,}"]
        numbers += [number_html(value) for value in (*summary.percentiles, summary.median_std)]
        rows.append(
            f'<tr><th scope="row"><a href="#parameter-{number}">{name_html(parameter)}</a></th>'
            f"<td>{escape(parameter.unit)}</td>"
            + "".join(f'<td class="number">{text}</td>' for text in numbers)
            + "</tr>"
        )
    head = "".join(f'<th scope="col" class="number">{text}</th>' for text in heads)
    body = "\n".join(rows)
    return f"""<section>
<h2>Estimates</h2>
<div class="scroll"><table class="statistics">
<thead><tr><th scope="col">parameter</th><th scope="col">unit</th>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table></div>
<p class="note">Percentiles and medians of the voxels with an estimate; std: standard deviation.
{_orientation(view)}</p>
</section>"""


def _orientation(view: View) -> str:
    directions = "directions in the body are not known"
    if view.axis_codes is not None:
        directions = "the letters at the edges are directions in the body"
    return f"In the pictures the indices increase to the right and upward; {directions}."


def quality_section(
    quality: NDArray[np.integer], mask: NDArray[np.bool_], labels: Mapping[int, str], view: View
) -> str:
    """Return the table of flags, with their map beside it."""
    counts = count_flags(quality, mask, labels)
    total = int(mask.sum())
    rows = "\n".join(
        f'<tr><td><span class="swatch" style="background:{row.color}"></span>{escape(row.text)}</td>'
        f'<td class="number">{row.n_voxels:,}</td><td class="number">{_share(row.n_voxels, total)}</td></tr>'
        for row in counts
    )
    n_without = int(np.count_nonzero(quality[~mask]))
    note = f" {n_without:,} voxels with a flag have no estimate and are not counted." if n_without else ""
    picture = categories_figure(flag_categories(quality, mask, labels), view, [row.color for row in counts])
    figure = _figure(
        picture,
        f"Map of the quality flags: {_slices_text(view)}",
        "Quality flags, in the colours of the table. Light grey: no estimate.",
    )
    return f"""<section>
<h2>Quality</h2>
<div class="grid">
{figure}
<div>
<div class="scroll"><table>
<thead><tr><th scope="col">flag</th><th scope="col" class="number">voxels</th>\
<th scope="col" class="number">share</th></tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
<p class="note">Shares of the {total:,} voxels with estimates. A voxel with several flags counts for each.{note}</p>
</div>
</div>
</section>"""


def _share(count: int, total: int) -> str:
    share = 100 * count / total
    if 0 < share < 0.01:
        return "&lt; 0.01 %"
    return f"{share:.2f} %"


def parameter_section(number: int, entry: ParameterMap, summary: Summary, view: View) -> str:
    """Return maps and histograms of one parameter."""
    if len(summary.values):
        body = '<div class="grid">\n' + "\n".join(_parameter_figures(entry, summary, view)) + "\n</div>"
    else:
        body = f'<p class="notice">There are no estimates of {name_html(entry.parameter)}.</p>'
    notes = []
    if summary.n_infinite:
        notes.append(f"{summary.n_infinite:,} voxels have infinite values, which are no estimates.")
    if entry.std is not None and len(summary.std) < len(summary.values):
        unknown = len(summary.values) - len(summary.std)
        notes.append(f"{unknown:,} estimates have no finite standard deviation.")
    note = f'\n<p class="note">{" ".join(notes)}</p>' if notes else ""
    return f"""<section class="parameter" id="parameter-{number}">
<h2>{name_and_unit_html(entry.parameter)}</h2>
{body}{note}
</section>"""


def _parameter_figures(entry: ParameterMap, summary: Summary, view: View) -> Iterator[str]:
    label = axis_label(entry.parameter)
    low, *quartiles, high = summary.percentiles
    window = Window.around(low, high)
    # A std belongs to an estimate; where there is none it must not be drawn.
    std = (
        None if entry.std is None else np.where(np.isfinite(entry.values) & np.isfinite(entry.std), entry.std, np.nan)
    )
    _, *std_quartiles, std_high = summary.std_percentiles
    std_window = Window.from_zero(std_high) if len(summary.std) else None

    yield _maps(np.where(np.isfinite(entry.values), entry.values, np.nan), entry.parameter, "", window, view)
    if std is not None and std_window is not None:
        yield _maps(std, entry.parameter, "standard deviation of ", std_window, view)
    yield _histogram(summary.values, quartiles, entry.parameter, "estimates", window, label, _VALUE_COLOR)
    if std_window is not None:
        yield _histogram(
            summary.std, std_quartiles, entry.parameter, "standard deviations", std_window, f"std of {label}",
            _STD_COLOR,
        )  # fmt: skip


def _maps(volume: NDArray, parameter: Parameter, what: str, window: Window, view: View) -> str:
    label = axis_label(parameter)
    label, cmap = (f"std of {label}", _STD_MAP) if what else (label, _VALUE_MAP)
    percentiles = "zero to the 99th percentile" if what else "1st to 99th percentile"
    subject = what or "estimates of "
    return _figure(
        maps_figure(volume, view, window, label, cmap),
        f"Maps of the {subject}{parameter.name}: {_slices_text(view)}",
        f"{subject.capitalize()}{name_html(parameter)}. Window {window_html(window, parameter.unit)}: {percentiles}, "
        "rounded outward. Light grey: none.",
    )


def _histogram(
    values: NDArray,
    quartiles: Sequence[float],
    parameter: Parameter,
    what: str,
    window: Window,
    label: str,
    color: str,
) -> str:
    below, above = window.outside(values)
    lower, median, upper = quartiles
    unit = "" if parameter.unit == "1" else f" {escape(parameter.unit)}"
    return _figure(
        histogram_figure(values, quartiles, window, label, color),
        f"Histogram of the {what} of {parameter.name}",
        f"Histogram of {len(values):,} {what}; {below:,} below and {above:,} above the window. "
        f"Line: median, {number_html(median)}{unit}; band: quartiles, {number_html(lower)} to "
        f"{number_html(upper)}{unit}.",
    )


def _figure(png: bytes, alternative: str, caption: str) -> str:
    width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
    return (
        f'<figure><img src="data:image/png;base64,{b64encode(png).decode()}" width="{width}" height="{height}" '
        f'alt="{escape(alternative)}"><figcaption>{caption}</figcaption></figure>'
    )


def _slices_text(view: View) -> str:
    return "slices " + "; ".join(view.title(shown) for shown in view.slices)


def details_section(tables: Mapping[str, Mapping[str, str]]) -> str:
    """Return tables of texts; nothing if there are none."""
    if not tables:
        return ""
    parts = ["<section>", "<h2>Details</h2>"]
    for heading, table in tables.items():
        if heading:
            parts.append(f"<h3>{escape(heading)}</h3>")
        rows = (f'<tr><th scope="row">{escape(key)}</th><td>{escape(text)}</td></tr>' for key, text in table.items())
        parts += ['<table class="details"><tbody>', *rows, "</tbody></table>"]
    return "\n".join([*parts, "</section>"])
