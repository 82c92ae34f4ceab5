"""Signal model, pulse sequence, basis and prior from options."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..datasets import Prior
from ..io import load_prior
from ..pretrained import PretrainedPipeline
from ..signal import BlochHybridStateModel, MTBlochModel, MTHybridStateModel, PulseSequence, SignalModel

_DEFAULT = "mt-hybrid-state"
MODELS: dict[str, Callable[[PulseSequence], SignalModel]] = {
    "mt-hybrid-state": MTHybridStateModel,
    "bloch-hybrid-state": BlochHybridStateModel,
    "mt-bloch": MTBlochModel,
}


def add_signal_options(parser: argparse.ArgumentParser) -> Any:
    """Add what a simulation needs to know, and return the group."""
    group = parser.add_argument_group("signal")
    group.add_argument(
        "--signal-model", metavar="NAME|FILE.py:NAME",
        help=f"{', '.join(MODELS)}, or a SignalModel (or a function of a PulseSequence that makes one) in a Python "
        f"file of your own (default: {_DEFAULT})",
    )  # fmt: skip
    group.add_argument(
        "--sequence", type=Path, metavar="FILE", help="pulse train: CSV or Pulseq (.seq) (default: the built-in one)"
    )
    group.add_argument(
        "--prior", type=Path, metavar="TOML",
        help="distribution of tissues in SI units, a line a parameter: T1 = [0.3, 4] for a uniform one, T1 = "
        "{mean = 1.6, std = 0.8, low = 0.1, high = 6} for a truncated normal one (default: the model's own)",
    )  # fmt: skip
    return group


def signal_model_of(options: argparse.Namespace) -> SignalModel:
    """Return the signal model."""
    make = model_maker_of(options)
    if isinstance(make, SignalModel):
        if options.sequence is not None:
            raise ValueError(f"--sequence: {options.signal_model} is a model with its own sequence.")
        return make
    return _made(make, sequence_of(options), options)


def model_of_network(options: argparse.Namespace, pipeline: PretrainedPipeline) -> tuple[SignalModel, Prior]:
    """Return signal model and prior of a network; those that its file cannot tell, from the options.

    Raises
    ------
    ValueError
        If the file tells them and they are given, or neither is the case, or they do not fit the network.
    """
    if options.sequence is not None:
        raise ValueError("--model brings its pulse train; leave out --sequence.")
    prior = _of_network("prior", pipeline.prior_, None if options.prior is None else load_prior(options.prior))
    if pipeline.model_ is not None or options.signal_model is None:
        return _of_network("signal-model", pipeline.model_, options.signal_model), prior
    make = model_maker_of(options)
    sequence = pipeline.sequence_ or PulseSequence.default()
    model = make if isinstance(make, SignalModel) else _made(make, sequence, options)
    described = pipeline.header_["model"]
    names = list(model.parameter_names)
    if described is not None and names != described["parameters"]:
        raise ValueError(f"--signal-model has the parameters {names}; the network's has {described['parameters']}.")
    if model.n_timepoints != pipeline[0].n_features_in_:
        raise ValueError(
            f"--signal-model has {model.n_timepoints} time points; the network's has {pipeline[0].n_features_in_}."
        )
    return model, prior


def _of_network(name: str, own: Any, given: Any) -> Any:
    if own is not None and given is not None:
        raise ValueError(f"--model brings its own {name}; leave out --{name}.")
    if own is None and given is None:
        raise ValueError(f"--model: its file cannot tell the {name}; give it by --{name}.")
    return given if own is None else own


def _made(
    make: Callable[[PulseSequence], SignalModel], sequence: PulseSequence, options: argparse.Namespace
) -> SignalModel:
    try:
        found = make(sequence)
    except Exception as error:
        raise ValueError(f"--signal-model: {options.signal_model} failed: {described(error)}") from error
    if not isinstance(found, SignalModel):
        raise TypeError(f"--signal-model: {options.signal_model} must be a SignalModel; got {type(found).__name__}.")
    return found


def model_maker_of(options: argparse.Namespace) -> SignalModel | Callable[[PulseSequence], SignalModel]:
    """Return what makes the signal model of a pulse sequence, or the model itself, if it is one of the user's."""
    name = options.signal_model or _DEFAULT
    if name in MODELS:
        return MODELS[name]
    path, colon, attribute = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise ValueError(f"--signal-model must be one of {list(MODELS)} or FILE.py:NAME; got {name!r}.")
    found = _attribute_of(Path(path), attribute)
    if not isinstance(found, SignalModel) and not callable(found):
        raise TypeError(f"--signal-model: {name} must be a SignalModel or a function; got {type(found).__name__}.")
    return found


def sequence_of(options: argparse.Namespace) -> PulseSequence:
    """Return the pulse train, the built-in one if none is given."""
    return PulseSequence.default() if options.sequence is None else read_sequence(options.sequence)


def prior_of(options: argparse.Namespace) -> Prior | None:
    """Return the prior, or None for the model's own."""
    return None if options.prior is None else load_prior(options.prior)


def read_sequence(path: Path) -> PulseSequence:
    """Return a pulse train from a file."""
    if path.suffix == ".seq":
        return PulseSequence.from_pulseq(path)
    return PulseSequence.from_csv(path)


def described(error: BaseException) -> str:
    """Return kind, text and place of an error in a file of the user's."""
    frames = traceback.extract_tb(error.__traceback__)
    line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames else None
    file = error.filename if isinstance(error, SyntaxError) else frames[-1].filename if frames else ""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text} ({file}, line {line})"


def _attribute_of(path: Path, name: str) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"--signal-model: there is no file {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.append(str(path.absolute().parent))  # for what it imports from beside it
    sys.modules[spec.name] = module  # dataclasses look there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"--signal-model: {path} failed: {described(error)}") from error
    finally:
        del sys.modules[spec.name]  # so that other processes get its code, which they could not import
    if not hasattr(module, name):
        raise ValueError(f"--signal-model: {path} defines no {name!r}.")
    return getattr(module, name)
