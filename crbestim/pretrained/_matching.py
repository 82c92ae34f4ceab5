"""Whether a sequence or a basis is the one that a network was trained with, and what differs if it is not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import check_matrix
from ..signal import PulseSequence

# Single precision is enough for a pulse train or a basis that went through files: in units of the largest value.
_ROUNDING = 1e-6
_SAME_SUBSPACE = 1e-4


def check_same_sequence(sequence: PulseSequence, trained: PulseSequence) -> None:
    """Raise ValueError if a sequence is not that of the training, within single precision.

    Raises
    ------
    TypeError
        If it is no PulseSequence.
    ValueError
        With all that differs.
    """
    if not isinstance(sequence, PulseSequence):
        raise TypeError(f"sequence must be a PulseSequence; got {type(sequence).__name__}.")
    differences = list(_differences_of_sequences(sequence, trained))
    if differences:
        raise ValueError(f"sequence is not that of the training: {'; '.join(differences)}.")


def check_same_basis(basis: ArrayLike, trained: NDArray) -> None:
    """Raise ValueError if a basis is not that of the training, within single precision.

    Raises
    ------
    TypeError
        If it does not hold numbers.
    ValueError
        With what differs.
    """
    values = check_matrix(basis, "basis", kind="either")
    if values.shape != trained.shape:
        raise ValueError(f"basis is not that of the training: its shape is {values.shape} instead of {trained.shape}.")
    difference = np.abs(values - trained).max(axis=0)
    differs = difference > _ROUNDING * np.abs(trained).max()
    if not differs.any():
        return
    first, worst = int(differs.argmax()), int(difference.argmax())
    message = (
        f"basis is not that of the training: vector {first} is the first that differs, the largest difference is "
        f"{difference[worst]:.3g}, in vector {worst} (counted from 0)."
    )
    outside = np.linalg.norm(trained - values @ (values.conj().T @ trained), axis=0).max()
    if outside < _SAME_SUBSPACE:
        message += (
            " It spans the same space: coefficients C in it become those of the training by C @ (basis^H basis_)."
        )
    raise ValueError(message)


def _differences_of_sequences(sequence: PulseSequence, trained: PulseSequence) -> Iterator[str]:
    if sequence.n_pulses != trained.n_pulses:
        yield f"it has {sequence.n_pulses} pulses instead of {trained.n_pulses}"
    for name in ("repetition_time", "inversion_duration"):
        value, expected = getattr(sequence, name), getattr(trained, name)
        if abs(value - expected) > _ROUNDING * expected:
            yield f"{name} is {value:.9g} s instead of {expected:.9g} s"
    n_both = min(sequence.n_pulses, trained.n_pulses)
    for name, unit in (("flip_angle", "rad"), ("pulse_duration", "s")):
        values, expected = getattr(sequence, name)[:n_both], getattr(trained, name)[:n_both]
        difference = np.abs(values - expected)
        differs = difference > _ROUNDING * expected.max()
        if differs.any():
            first, worst = int(differs.argmax()), int(difference.argmax())
            yield (
                f"{name} differs first at pulse {first + 1} ({values[first]:.6g} instead of {expected[first]:.6g} "
                f"{unit}), most at pulse {worst + 1} (by {difference[worst]:.3g} {unit}; counted from 1)"
            )
