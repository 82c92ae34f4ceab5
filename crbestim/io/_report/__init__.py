"""Report of parameter maps: `_page.py` writes it, the other files make its parts."""

from ._page import report_page, write_report

__all__ = ["report_page", "write_report"]
