"""Checks of what a user hands to a design."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .._validation import FloatArray, check_count, numeric_array
from ..datasets import Prior
from ..datasets._fingerprints import checked_prior
from ..signal import PulseSequence, SignalModel
from ..signal._hybrid_state import HybridStateModel
from ..signal._sequence_model import SequenceModel
from ._constraints import SequenceConstraints
from ._controls import LEAST_KNOTS

_MOST_KNOTS = 480  # by default


def check_template(
    model: SequenceModel | Callable[[PulseSequence], SignalModel], sequence: PulseSequence | None
) -> tuple[Callable[[PulseSequence], SignalModel], PulseSequence]:
    """Function that makes the model of a pulse train, and the train to begin with."""
    if isinstance(model, SequenceModel):
        if sequence is not None:
            raise ValueError("sequence is only for a function that makes models; a SequenceModel brings its own.")
        return model.with_sequence, model.sequence
    if isinstance(model, SignalModel) or not callable(model):
        raise TypeError(
            "model must be an MTHybridStateModel, BlochHybridStateModel or MTBlochModel, or a function of a "
            f"PulseSequence that returns a SignalModel; got {type(model).__name__}."
        )
    if isinstance(model, type) and sequence is None:
        raise TypeError(
            f"model is the class {model.__name__}; give an instance, {model.__name__}(sequence), or the template as "
            "sequence as well."
        )
    if not isinstance(sequence, PulseSequence):
        raise TypeError(f"sequence must be a PulseSequence when model is a function; got {type(sequence).__name__}.")
    return model, sequence


def check_limits(
    constraints: SequenceConstraints | None, template: PulseSequence, model: SignalModel
) -> SequenceConstraints:
    limits = SequenceConstraints() if constraints is None else constraints
    if not isinstance(limits, SequenceConstraints):
        raise TypeError(f"constraints must be SequenceConstraints; got {type(limits).__name__}.")
    limits.check_times(template)
    if limits.hybrid_state_error is not None and isinstance(model, HybridStateModel):
        try:
            model._rotating(np.zeros((0, len(model.parameters))))
        except ValueError as error:
            raise ValueError(
                f"{error} Its error cannot be limited: use SequenceConstraints(hybrid_state_error=None)."
            ) from error
    return limits


def check_knots(n_knots: int | None, n_pulses: int) -> int:
    if n_pulses < LEAST_KNOTS:
        raise ValueError(f"The sequence must have at least {LEAST_KNOTS} pulses to be designed; got {n_pulses}.")
    if n_knots is None:
        return min(max(LEAST_KNOTS, n_pulses // 2), _MOST_KNOTS)
    check_count(n_knots, "n_knots", LEAST_KNOTS)
    if n_knots > n_pulses:
        raise ValueError(f"n_knots must not exceed the number of pulses, {n_pulses}; got {n_knots}.")
    return n_knots


def check_weights(weights: ArrayLike | Mapping[str, float] | None, names: Sequence[str]) -> FloatArray:
    if weights is None:
        return np.ones(len(names))
    if isinstance(weights, (Mapping, pd.Series)):
        weights = {str(name): value for name, value in weights.items()}
        if set(weights) != set(names):
            raise ValueError(f"weights must name the targets {list(names)}; got {list(weights)}.")
        weights = [weights[name] for name in names]
    values = numeric_array(weights, "weights").astype(float)
    if values.shape != (len(names),) or not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError(f"weights must be a positive number for each target, {list(names)}; got {weights!r}.")
    return values


def check_tissues(
    model: SignalModel,
    prior: Prior | None,
    theta: ArrayLike | pd.DataFrame | None,
    n_tissues: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Tissues of the design: the user's, or a sample of the prior."""
    if theta is None:
        return model.check_theta(checked_prior(prior, model).sample(n_tissues, random_state=rng, method="sobol"))
    if prior is not None:
        raise ValueError("prior and theta must not both be given.")
    return model.check_theta(theta)
