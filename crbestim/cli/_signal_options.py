"""Signal model, pulse sequence, basis and prior from options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..datasets import Prior
from ..io import load_prior
from ..signal import BlochHybridStateModel, MTBlochModel, MTHybridStateModel, PulseSequence, SignalModel
from ._model_file import attribute_of, made_by

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
        f"file of your own, which is run (default: {_DEFAULT})",
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
    return made_by(make, sequence_of(options), options.signal_model)


def model_maker_of(options: argparse.Namespace) -> SignalModel | Callable[[PulseSequence], SignalModel]:
    """Return what makes the signal model of a pulse sequence, or the model itself, if it is one of the user's."""
    name = options.signal_model or _DEFAULT
    if name in MODELS:
        return MODELS[name]
    path, colon, attribute = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise ValueError(f"--signal-model must be one of {list(MODELS)} or FILE.py:NAME; got {name!r}.")
    found = attribute_of(Path(path), attribute)
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
