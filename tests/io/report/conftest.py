"""Fixtures of the tests of files."""

import pytest


@pytest.fixture
def path(tmp_path):
    """Where a report goes."""
    return tmp_path / "report.html"
