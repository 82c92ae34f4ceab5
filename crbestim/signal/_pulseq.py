"""The cycle of inversion and excitation pulses in a Pulseq file."""

from __future__ import annotations

from os import PathLike

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray
from ._pulseq_file import Timeline, read_timeline

_SAME_FLIP_ANGLE = 1e-5  # relative; files have six digits
_INVERSION_ANGLE = 1e-3  # relative, from pi
_SAME_TIME = 2e-6  # s, between pulses whose starts are rounded to the RF raster of 1 us
_SAME_PHASE = 0.01  # rad; six digits of a phase that grows by pi from pulse to pulse
_BALANCED = 0.1  # 1/m, which turns by 9 degrees over 25 cm
_LEAST_CRUSHER = 100.0  # 1/m, one turn over 1 cm
_NO_SPIN_ECHO = 1e-3  # of the magnetisation
_SYMMETRIC = 1e-5  # s


def read_cycle(path: str | PathLike[str]) -> tuple[FloatArray, FloatArray, float, float]:
    """Return what makes a PulseSequence of a file: flip angles, durations, repetition time, inversion's duration.

    The file is taken as a circle: after its end comes its start.

    Raises
    ------
    ImportError, OSError
        As `read_timeline`.
    ValueError
        If the file is damaged, or holds no repeated cycle that the models can represent.
    """
    train = read_timeline(path)
    moments = train.moments[1:].copy()  # after each pulse
    moments[-1] += train.moments[0]
    intervals = np.append(np.diff(train.time), train.length - train.time[-1] + train.time[0])
    inversion = _inversions(train, moments)
    _check_balance(train, moments, inversion)
    period = _period(train, inversion)
    repetition_time = _repetition_time(train, intervals, period)
    _check_phases(train, period)
    flip_angle, duration = train.flip_angle[1:period], train.duration[1:period]
    # Polar angles at the last echo before the inversion and the first after it, as PulseSequence.polar_angle.
    if np.sin(flip_angle[-1] / 2) * np.sin((flip_angle[0] + flip_angle[1]) / 4) > _NO_SPIN_ECHO:
        _check_spin_echo(train, moments, intervals, period)
    return flip_angle, duration, repetition_time, float(train.duration[0])


def _inversions(train: Timeline, moments: FloatArray) -> NDArray[np.bool_]:
    """Which pulses are inversions: those of pi with a crusher after them."""
    by_pi = abs(train.flip_angle / np.pi - 1) < _INVERSION_ANGLE
    crusher = np.linalg.norm(moments, axis=1)
    if not by_pi[0]:
        raise ValueError(
            f"there is no inversion: {train.place(0)}, the first, has a flip angle of {train.flip_angle[0]:.6g} rad; "
            "expected pi."
        )
    if crusher[0] < _LEAST_CRUSHER:
        raise ValueError(
            f"there is no crusher after the inversion, {train.place(0)}: the net gradient moment is {crusher[0]:.4g} "
            f"1/m; expected at least {_LEAST_CRUSHER:g} 1/m."
        )
    return by_pi & (crusher >= _LEAST_CRUSHER)


def _check_balance(train: Timeline, moments: FloatArray, inversion: NDArray[np.bool_]) -> None:
    between = ~(inversion | np.roll(inversion, -1))
    index = _first(between & (abs(moments).max(axis=1) > _BALANCED))
    if index is not None:
        raise ValueError(
            f"the gradients after {train.place(index)} have a net moment of {_vector(moments[index])} 1/m; expected "
            "0, but for crushers around an inversion pulse of pi."
        )


def _period(train: Timeline, inversion: NDArray[np.bool_]) -> int:
    """Return the number of pulses in a cycle, the inversion included; raise if the cycles differ."""
    starts = np.flatnonzero(inversion)
    lengths = np.diff(np.append(starts, len(inversion)))
    period, cycle = lengths[0], np.cumsum(inversion)
    if period < 3:
        raise ValueError(
            f"the inversion, {train.place(0)}, is followed by {period - 1} excitation pulses; expected at least two, "
            "as their distance is the repetition time."
        )
    number = np.arange(len(inversion)) - np.repeat(starts, lengths)  # within the cycle; 0 is the inversion
    for name, unit, tolerance in (("flip_angle", "rad", _SAME_FLIP_ANGLE), ("duration", "s", 1e-9)):
        values = getattr(train, name)
        expected = values[np.minimum(number, period - 1)]
        margin = tolerance * expected if name == "flip_angle" else tolerance
        index = _first((number < period) & (abs(values - expected) > margin))
        if index is not None:
            pulse = f"pulse {number[index]}" if number[index] else "inversion"
            raise ValueError(
                f"cycle {cycle[index]} differs from cycle 1 at its {pulse}, {train.place(index)}: {name} "
                f"{values[index]:.6g} {unit}; expected {expected[index]:.6g} {unit}."
            )
    index = _first(lengths != period)
    if index is not None:
        raise ValueError(
            f"cycle {index + 1}, which {train.place(starts[index])} opens, has {lengths[index] - 1} pulses after its "
            f"inversion; expected {period - 1} as in cycle 1."
        )
    return int(period)


def _repetition_time(train: Timeline, intervals: FloatArray, period: int) -> float:
    """Return the time between excitation pulses; raise if it varies, or inversions leave another time to them."""
    cycles = intervals.reshape(-1, period)
    typical = np.median(cycles[0, 1:-1])
    wrong = abs(cycles - typical) > _SAME_TIME
    wrong[:, [0, -1]] = False
    index = _first(wrong.ravel())
    if index is not None:
        raise ValueError(
            f"the repetition time varies: {train.place(index + 1)} follows its predecessor after "
            f"{_ms(intervals[index])}; expected {_ms(typical)} from centre to centre."
        )
    wrong = (cycles < typical / 2 - _SAME_TIME) | (cycles > typical + _SAME_TIME)
    wrong[:, 1:-1] = False
    index = _first(wrong.ravel())
    if index is not None:
        following = train.place((index + 1) % len(intervals))
        over_the_end = ", counted on from the file's end to its start" if index + 1 == len(intervals) else ""
        raise ValueError(
            f"{following} comes {_ms(intervals[index])} after {train.place(index)}{over_the_end}; expected half a "
            f"repetition time to a whole one ({_ms(typical / 2)} to {_ms(typical)}) before and after an inversion."
        )
    return round(float(cycles[0, 1:-1].mean()), 8)


def _check_phases(train: Timeline, period: int) -> None:
    """Raise if the phases of the excitation pulses of a cycle do not alternate by pi."""
    increments = np.diff(train.phase)
    wrong = abs(_wrapped(increments - np.pi)) > _SAME_PHASE
    wrong[::period] = wrong[period - 1 :: period] = False
    index = _first(wrong)
    if index is not None:
        raise ValueError(
            f"the RF phase of {train.place(index + 1)} differs from its predecessor's by "
            f"{_wrapped(increments[index]):.4g} rad; expected pi."
        )


def _check_spin_echo(train: Timeline, moments: FloatArray, intervals: FloatArray, period: int) -> None:
    """Raise if an inversion between crushers does not refocus the magnetisation as the models assume."""
    for index in range(0, len(train.phase), period):
        place = f"the inversion, {train.place(index)},"
        turn = train.phase[index] - train.phase[index + 1]
        if abs(_wrapped(2 * turn)) > 2 * _SAME_PHASE:
            raise ValueError(
                f"{place} differs in RF phase from the pulse after it by {_wrapped(turn):.4g} rad; expected 0 or pi."
            )
        # How the phase goes on after the file's end is nowhere told.
        turn = train.phase[index + 1] - train.phase[index - 1]
        if index and abs(_wrapped(turn - np.pi)) > _SAME_PHASE:
            raise ValueError(
                f"the RF phases of the pulses before and after {place} differ by {_wrapped(turn):.4g} rad; expected "
                "pi, as between all others."
            )
        if abs(moments[index - 1] - moments[index]).max() > _BALANCED:
            raise ValueError(
                f"{place} has crushers that differ: net moments of {_vector(moments[index - 1])} 1/m before and "
                f"{_vector(moments[index])} 1/m after it; expected the same."
            )
        if abs(intervals[index - 1] - intervals[index]) > _SYMMETRIC:
            raise ValueError(
                f"{place} comes {_ms(intervals[index - 1])} after one pulse and {_ms(intervals[index])} before the "
                "next; expected the middle."
            )


def _first(wrong: NDArray[np.bool_]) -> int | None:
    return int(np.argmax(wrong)) if wrong.any() else None


def _wrapped(phase: FloatArray) -> FloatArray:
    """Map phases to (-pi, pi]."""
    return np.pi - np.mod(np.pi - phase, 2 * np.pi)


def _vector(moment: FloatArray) -> str:
    return "(" + ", ".join(f"{component:.4g}" for component in moment) + ")"


def _ms(time: float) -> str:
    return f"{time * 1e3:.6g} ms"
