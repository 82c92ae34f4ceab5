"""A module imports only from its own layer and from those below it."""

import ast
import re
from pathlib import Path

import pytest

import crbestim

LAYERS = (
    "_start",
    "_validation",
    "_optional",
    "_files",
    "_numpy_files",
    "_array_log",
    "_threads",
    "covariance",
    "bounds",
    "signal",
    "noise",
    "datasets",
    "least_squares",
    "metrics",
    "nn",
    "estimators",
    "diagnostics",
    "design",
    "pretrained",
    "io",
    "acquisition",
    "reconstruction",
    "cli",
)
FORBIDDEN = {
    "_validation": {"sklearn", "skorch", "torch"},
    "bounds": {"sklearn", "skorch", "torch"},
    "signal": {"sklearn", "skorch"},
    "least_squares": {"sklearn", "skorch", "torch"},
    "nn": {"sklearn", "skorch"},
}
ROOT = Path(crbestim.__file__).parent
MODULES = sorted(path.relative_to(ROOT).with_suffix("").parts for path in ROOT.rglob("*.py") if path.parent != ROOT)
MODULES += [(path.stem,) for path in sorted(ROOT.glob("*.py")) if path.stem != "__init__"]


def imported_modules(source, module):
    """Absolute dotted names of what a module of crbestim, given by the parts of its path, imports."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ["crbestim", *module][: len(module) + 1 - node.level] if node.level else []
            origin = ".".join([*package, *([node.module] if node.module else [])])
            names += [f"{origin}.{alias.name}" for alias in node.names]
    return names


def violations(source, module):
    """Imports that reach above the module's layer, or to a library that the layer must not know."""
    layer = module[0]
    found = []
    for name in imported_modules(source, module):
        library, *rest = name.split(".")
        above = library == "crbestim" and (
            not rest or rest[0] not in LAYERS or LAYERS.index(rest[0]) > LAYERS.index(layer)
        )
        if above or library in FORBIDDEN.get(layer, ()):
            found.append(name)
    return found


@pytest.mark.parametrize("module", MODULES, ids="/".join)
def test_module_imports_from_below_alone(module):
    assert module[0] in LAYERS, f"{module[0]} has no place in the order of layers"
    source = ROOT.joinpath(*module).with_suffix(".py").read_text(encoding="utf-8")
    assert violations(source, module) == []


def test_diagram_shows_the_layers():
    diagram = (Path(__file__).parents[1] / "docs/images/architecture.svg").read_text(encoding="utf-8")
    bold = re.findall(r"<text [^>]*(?:bold|700)[^>]*>([^<]+)</text>", diagram)
    rooms = [name.rstrip("/") for text in bold for name in text.split(", ")]
    assert rooms == [*(layer for layer in LAYERS if layer != "_start"), "what is handed up"]


def test_modules_are_found():
    assert {module[0] for module in MODULES} >= {"_validation", "bounds", "signal", "noise", "datasets", "nn"}
    assert ("signal", "_base") in MODULES


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (("signal", "_base"), "from ..noise import NoiseModel"),
        (("signal", "_base"), "from .. import noise"),
        (("signal", "_base"), "from .._new import x"),
        (("signal", "_base"), "import crbestim.datasets"),
        (("signal", "_base"), "from crbestim import NoiseModel"),
        (("signal", "_base"), "import crbestim"),
        (("signal", "_base"), "def f():\n    from sklearn.utils import Bunch"),
        (("signal", "_torch_engine"), "from ..nn import CRBLoss"),
        (("signal", "_torch_engine"), "import skorch"),
        (("signal", "__init__"), "from ..estimators import Pipeline"),
        (("nn", "_losses"), "import skorch"),
        (("bounds",), "import torch.linalg as linalg"),
        (("bounds",), "from .signal import SignalModel"),
        (("bounds",), "from . import signal"),
    ],
)
def test_imports_from_above_are_noticed(module, source):
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            ("signal", "_base"),
            "from ..bounds import cramer_rao_bound\nfrom .. import _validation\nfrom . import _sequence",
        ),
        (("signal", "_base"), "import crbestim.bounds\nimport numpy as np\nfrom scipy import signal"),
        (("signal", "__init__"), "from ._base import SignalModel\nfrom .._validation import check_names"),
        (("signal", "_torch_engine"), "import torch\nfrom torch.func import debug_unwrap"),
        (("nn", "_losses"), "import torch\nfrom ..noise import NoiseModel"),
        (("noise",), "from ._validation import check_positive\nfrom .signal import SignalModel"),
    ],
)
def test_imports_from_below_pass(module, source):
    assert violations(source, module) == []
