"""The least versions that the documentation and the package's metadata tell are the same."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNTIME_EXTRAS = ("plot", "cluster", "pulseq", "skops", "phantom")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared():
    """Least versions by package, from pyproject.toml."""
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for extra in RUNTIME_EXTRAS for line in extras[extra])]
    found = dict(re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)", line).groups() for line in lines)
    return {"Python": PROJECT["requires-python"].removeprefix(">=")} | found


def documented():
    """Rows (package, least, newest) of the table of docs/installation.rst."""
    table = (ROOT / "docs/installation.rst").read_text(encoding="utf-8").split("package       least")[1]
    return [line.split() for line in table.split("=\n")[1].splitlines()[:-1]]


def numbers(version):
    """The parts of a version in the order of their weight."""
    return [int(part) for part in re.findall(r"\d+", version)]


def test_every_requirement_tells_its_least_version_in_the_documentation_too():
    assert {package: least for package, least, _ in documented()} == declared()


def test_newest_versions_are_no_older_than_the_pinned_ones():
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==(.+)$", constraints, re.MULTILINE))
    for package, _, newest in documented()[1:]:
        assert numbers(newest) >= numbers(pinned[package]), package
