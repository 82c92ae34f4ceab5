"""Signal models and pulse sequences as plain values."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

from .. import signal
from ..signal import Parameter, PulseSequence, SignalModel
from ._format import Arrays, plain, take

_TRAIN = ("flip_angle", "pulse_duration")
_TIMES = ("repetition_time", "inversion_duration")

# What can be rebuilt: a model that is given by a pulse sequence and options that are plain values.
_MODELS: dict[str, Callable[..., SignalModel]] = {
    name: value
    for name, value in vars(signal).items()
    if isinstance(value, type) and issubclass(value, SignalModel) and "sequence" in inspect.signature(value).parameters
}


def pack_model(model: SignalModel) -> tuple[dict[str, Any], Arrays]:
    """Return what the model is, and the arrays of its sequence, if it has one."""
    description: dict[str, Any] = {
        "class": type(model).__name__,
        "parameters": list(model.parameter_names),
        "details": [plain(astuple(parameter)[1:]) for parameter in model.parameters],
    }
    sequence = getattr(model, "sequence", None)
    if not isinstance(sequence, PulseSequence):
        return description, {}
    description["sequence"] = {name: getattr(sequence, name) for name in _TIMES}
    if type(model) in _MODELS.values():
        options = [name for name in inspect.signature(type(model)).parameters if name != "sequence"]
        description["options"] = {name: plain(getattr(model, name)) for name in options}
    return description, {f"sequence.{name}": getattr(sequence, name) for name in _TRAIN}


def unpack_model(description: dict[str, Any], arrays: Arrays) -> tuple[SignalModel | None, PulseSequence | None]:
    """Return the model, if it can be rebuilt, and the sequence, if there is one.

    Raises
    ------
    ValueError, TypeError
        If what is described does not exist.
    """
    if "sequence" not in description:
        return None, None
    flip_angle, pulse_duration = (take(arrays, f"sequence.{name}") for name in _TRAIN)
    repetition_time, inversion_duration = (description["sequence"][name] for name in _TIMES)
    sequence = PulseSequence(flip_angle, pulse_duration, repetition_time, inversion_duration)
    if "options" not in description:
        return None, sequence
    name = description["class"]
    if name not in _MODELS:
        raise ValueError(f"the model {name!r} is unknown")
    model = _MODELS[name](sequence=sequence, **description["options"])
    if list(model.parameter_names) != description["parameters"]:
        raise ValueError(
            f"{name} has the parameters {list(model.parameter_names)}, but had {description['parameters']} when the "
            "network was trained"
        )
    return model, sequence


def unpack_parameters(description: dict[str, Any], model: SignalModel | None) -> tuple[Parameter, ...] | None:
    """Return the parameters of a model that may not be there itself; None if an older file does not tell them."""
    if model is not None:
        return model.parameters
    if "details" not in description:
        return None
    return tuple(
        Parameter(name, str(symbol), str(unit), (float(low), float(high)), closed)
        for name, (symbol, unit, (low, high), closed) in zip(
            description["parameters"], description["details"], strict=True
        )
    )
