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
    add_sequence_options(group, "pulse train: CSV or Pulseq (.seq) (default: the built-in one)")
    group.add_argument(
        "--prior", type=Path, metavar="TOML",
        help="distribution of tissues in SI units, a line a parameter: T1 = [0.3, 4] for a uniform one, T1 = "
        "{mean = 1.6, std = 0.8, low = 0.1, high = 6} for a truncated normal one (default: the model's own)",
    )  # fmt: skip
    return group


def add_sequence_options(group: Any, purpose: str) -> None:
    """Add what tells a pulse train."""
    group.add_argument("--sequence", type=Path, metavar="FILE", help=purpose)
    add_times(group)


def add_times(group: Any) -> None:
    """Add the times that a CSV file of a pulse train may leave out."""
    for name, meaning in (("repetition-time", "TR"), ("inversion-duration", "duration of the inversion pulse")):
        group.add_argument(
            f"--{name}", type=float, metavar="S", help=f"{meaning} in s, if the CSV file does not note it"
        )


def signal_model_of(options: argparse.Namespace) -> SignalModel:
    """Return the signal model."""
    make = model_maker_of(options)
    if isinstance(make, SignalModel):
        if options.sequence is not None or times_of(options):
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
    return given_sequence(options) or PulseSequence.default()


def given_sequence(options: argparse.Namespace) -> PulseSequence | None:
    """Return the pulse train, or None if none is given."""
    if options.sequence is not None:
        return read_sequence(options.sequence, options)
    check_no_times(options, "need --sequence")
    return None


def check_no_times(options: argparse.Namespace, reason: str) -> None:
    """Raise ValueError if times of a CSV file are given."""
    if times_of(options):
        raise ValueError(f"--repetition-time and --inversion-duration {reason}.")


def prior_of(options: argparse.Namespace) -> Prior | None:
    """Return the prior, or None for the model's own."""
    return None if options.prior is None else load_prior(options.prior)


def read_sequence(path: Path, options: argparse.Namespace) -> PulseSequence:
    """Return a pulse train from a file."""
    if path.suffix != ".seq":
        return PulseSequence.from_csv(path, **times_of(options))
    check_no_times(options, f"are for CSV files; {path} has its own times")
    return PulseSequence.from_pulseq(path)


def times_of(options: argparse.Namespace) -> dict[str, float]:
    """Return the times of a CSV file that are given."""
    names = ("repetition_time", "inversion_duration")
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}
