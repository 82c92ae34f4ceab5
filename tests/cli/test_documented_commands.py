"""Commands in the documentation are commands that there are."""

import re
import shlex
from pathlib import Path

import pytest

from crbestim.cli._main import _parser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", DOCS / "getting_started.rst", *sorted((DOCS / "user_guide").glob("*.rst"))]
PAGES += [*sorted((DOCS / "bring_your_own").glob("*.rst")), *sorted((ROOT / "crbestim/cli").glob("_*.py"))]
CALLS = [
    (page.name, line)
    for page in PAGES
    for line in re.findall(r"^ *(crbestim \w[^\n`]*)$", page.read_text().replace("\\\n", " "), flags=re.M)
    if "--config" not in line
]


@pytest.mark.parametrize(("page", "line"), CALLS)
def test_parses(page, line):
    parser, commands = _parser()
    options = parser.parse_args(shlex.split(line)[1:])
    assert options.command in commands


def test_calls_are_found():
    assert {line.split()[1] for _, line in CALLS} >= {
        "predict",
        "fit",
        "simulate",
        "train",
        "evaluate",
        "design",
        "info",
    }
