"""Names of parameters in HTML."""

from __future__ import annotations

import re
from html import escape

from ...signal import Parameter

_SYMBOL = re.compile(r"([A-Za-z]+)(?:_(\w|\{\w+\}))?(?:\^(\w|\{\w+\}))?")


def name_html(parameter: Parameter) -> str:
    """Write a parameter's name, with the lower and upper indices of its symbol if both have the same letters.

    The symbol T_2^f of a parameter named T2f gives indices; that of a parameter "efficiency" is another name.
    """
    match = _SYMBOL.fullmatch(parameter.symbol.replace(" ", ""))
    base, lower, upper = (part.strip("{}") for part in match.groups("")) if match else ("", "", "")
    if base + lower + upper != parameter.name:
        return escape(parameter.name)
    return base + (f"<sub>{lower}</sub>" if lower else "") + (f"<sup>{upper}</sup>" if upper else "")


def name_and_unit_html(parameter: Parameter) -> str:
    """Write a parameter's name with its unit in brackets."""
    if parameter.unit == "1":
        return name_html(parameter)
    return f'{name_html(parameter)} <span class="unit">[{escape(parameter.unit)}]</span>'


def axis_label(parameter: Parameter) -> str:
    """Return symbol and unit for a picture, or the name as it is where matplotlib cannot draw the symbol."""
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("agg").parse(parameter.label)
        return parameter.label
    except (ValueError, RecursionError):
        return f"{parameter.name} [{parameter.unit}]".replace("$", r"\$")
