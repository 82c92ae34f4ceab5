"""Report of parameter maps: `_page.py` writes it, the other files make its parts."""

from ._page import write_report

__all__ = ["write_report"]
