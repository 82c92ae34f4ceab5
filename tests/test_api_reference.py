"""The API reference holds every public name, and every name in it has an example that the doctests run."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import crbestim

REFERENCE = (Path(__file__).parents[1] / "docs" / "api.rst").read_text(encoding="utf-8")
LISTED = re.findall(r"^   ([A-Za-z_]\w*(?:\.\w+)*)$", REFERENCE, re.MULTILINE)
NEEDS_DOWNLOAD = {"datasets.fetch_bsa_inversion_recovery"}
# The command line is described in the user guide.
PACKAGES = [
    importlib.import_module(f"crbestim.{found.name}")
    for found in pkgutil.iter_modules(crbestim.__path__)
    if not found.name.startswith("_") and found.name != "cli"
]
PUBLIC = [(module, name) for module in (crbestim, *PACKAGES) for name in getattr(module, "__all__", ())]


def imported(entry):
    """Return what an entry of the reference names, imported from where the reference says."""
    *module, name = entry.split(".")
    return getattr(importlib.import_module(".".join(["crbestim", *module])), name)


def test_reference_was_read():
    assert len(LISTED) > 90
    assert len(set(LISTED)) == len(LISTED)
    assert {"crbestim.io", "crbestim.nn", "crbestim.signal"} <= {package.__name__ for package in PACKAGES}


@pytest.mark.parametrize("entry", LISTED)
def test_entry_has_an_example(entry):
    found = imported(entry)
    text = inspect.cleandoc(vars(found)["__doc__"] if inspect.isclass(found) else found.__doc__)
    assert len(re.findall("^Examples\n--------$", text, re.MULTILINE)) == 1
    before, section = text.split("Examples\n--------\n")
    assert ">>>" not in before
    examples = doctest.DocTestParser().get_examples(section)
    run = [example for example in examples if not example.options.get(doctest.SKIP)]
    assert run or (examples and entry in NEEDS_DOWNLOAD)
    if inspect.isfunction(found):  # results are shown by what makes them
        assert any(re.search(rf"\b{found.__name__}\(", example.source) for example in examples)


@pytest.mark.parametrize("entry", LISTED)
def test_entry_is_public(entry):
    *module, name = entry.split(".")
    assert name in importlib.import_module(".".join(["crbestim", *module])).__all__


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=[f"{module.__name__}.{name}" for module, name in PUBLIC])
def test_public_name_is_in_the_reference(module, name):
    path = [*module.__name__.split(".")[1:], name]
    found = getattr(module, name)
    if inspect.ismodule(found):
        assert f"``{found.__name__}``" in REFERENCE
    elif callable(found):
        assert any(imported(entry) is found for entry in LISTED if entry.split(".")[-1] == name)
    else:  # constants have no docstring
        assert f"``{'.'.join(path)}``" in REFERENCE
