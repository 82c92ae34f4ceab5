"""Numbers from 0 to 1 that describe pulse trains within the limits of flip angle, amplitude and duration."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import BSpline
from scipy.optimize import lsq_linear

from .._validation import FloatArray
from ..signal import PulseSequence
from ._constraints import SequenceConstraints

_DEGREE = 3
LEAST_KNOTS = _DEGREE + 1


class PulseControls:
    """Knots of the flip angles and durations of a train.

    Cubic B-splines are not negative and add up to one, so their sum with weights from 0 to 1 stays in this range. One
    sum places the durations between their limits, the other one the flip angles between the least one and what
    amplitude and duration allow.

    Parameters
    ----------
    template : PulseSequence
        Gives the number of pulses, the repetition time and the inversion pulse.
    constraints : SequenceConstraints
        The limits.
    n_knots : int
        Weights of each of the two sums; at least 4, and no more than pulses.
    """

    def __init__(self, template: PulseSequence, constraints: SequenceConstraints, n_knots: int) -> None:
        n_pulses = template.n_pulses
        inner = np.linspace(0, 1, n_knots - _DEGREE + 1)
        knots = np.concatenate([[0.0] * _DEGREE, inner, [1.0] * _DEGREE])
        places = (np.arange(n_pulses) + 0.5) / n_pulses
        self._splines = BSpline.design_matrix(places, knots, _DEGREE).tocsr()
        self._template, self._limits = template, constraints
        self.n_knots = n_knots

    @property
    def free_knots(self) -> range:
        """Knots that change the train: not those of the durations if all have one."""
        shortest, longest = self._limits.pulse_duration
        return range(self.n_knots if shortest == longest else 2 * self.n_knots)

    def sequence(self, controls: FloatArray) -> PulseSequence:
        """Return the pulse train of knots, (2 n_knots,), first those of the flip angles."""
        share, duration = self._shares(controls)
        low, high = self._limits.flip_angle
        return PulseSequence(
            np.clip(low + share * self._room(duration), low, high),
            duration,
            self._template.repetition_time,
            self._template.inversion_duration,
        )

    def pull_back(self, controls: FloatArray, by_flip: FloatArray, by_duration: FloatArray) -> FloatArray:
        """Return the gradient by the knots from those by the flip angles and the durations."""
        share, duration = self._shares(controls)
        amplitude = self._limits.rf_amplitude
        by_room = np.where(amplitude * duration < self._limits.flip_angle[1], amplitude * by_flip * share, 0.0)
        shortest, longest = self._limits.pulse_duration
        return np.concatenate(
            [
                self._splines.T @ (by_flip * self._room(duration)),
                self._splines.T @ (by_duration + by_room) * (longest - shortest),
            ]
        )

    def within_power(self, controls: FloatArray) -> FloatArray:
        """Return knots whose flip angles, in excess of the least one, are scaled down to the limit of the power."""
        if self._limits.rf_power is None:
            return controls
        share, duration = self._shares(controls)
        excess, low = share * self._room(duration), self._limits.flip_angle[0]
        allowed = self._limits.rf_power * len(duration) * self._template.repetition_time
        square, mixed, rest = ((a / duration).sum() for a in (excess**2, low * excess, np.full_like(excess, low**2)))
        if square + 2 * mixed + rest <= allowed:
            return controls
        # (1 - 1e-12) is for rounding.
        scale = (1 - 1e-12) * (allowed - rest) / (mixed + np.sqrt(mixed**2 + square * (allowed - rest)))
        flip_angle, place = np.split(controls, 2)
        return np.concatenate([scale * flip_angle, place])

    def random(self, rng: np.random.Generator) -> FloatArray:
        """Return random knots: mostly small flip angles with some large ones, and durations of medium length."""
        return self.within_power(
            np.concatenate([rng.beta(0.7, 2.0, self.n_knots), rng.uniform(0.2, 0.8, self.n_knots)])
        )

    def redraw_stretch(self, knots: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return knots of which a stretch, round the cycle, is drawn anew."""
        length = max(1, round(self.n_knots * rng.uniform(0.05, 0.3)))
        places = (rng.integers(self.n_knots) + np.arange(length)) % self.n_knots
        both = np.concatenate([places, self.n_knots + places])
        changed = knots.copy()
        changed[both] = self.random(rng)[both]
        return self.within_power(changed)

    def nearest(self, sequence: PulseSequence) -> FloatArray:
        """Return the knots that come closest to a pulse train."""
        shortest, longest = self._limits.pulse_duration
        duration = np.clip(sequence.pulse_duration, shortest, longest)
        room, spread = self._room(duration), longest - shortest
        share = (sequence.flip_angle - self._limits.flip_angle[0]) / np.where(room > 0, room, 1.0)
        place = (duration - shortest) / (spread if spread else 1.0)
        return self.within_power(np.concatenate([self._fit(np.clip(share, 0, 1)), self._fit(place)]))

    def _fit(self, values: FloatArray) -> FloatArray:
        return np.clip(lsq_linear(self._splines, values, bounds=(0, 1)).x, 0, 1)

    def _shares(self, controls: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Share of the room for flip angles, and durations, of every pulse."""
        share, place = (np.clip(self._splines @ part, 0, 1) for part in np.split(controls, 2))
        shortest, longest = self._limits.pulse_duration
        return share, np.clip(shortest + (longest - shortest) * place, shortest, longest)

    def _room(self, duration: FloatArray) -> FloatArray:
        """Flip angle that amplitude and limit leave above the least one."""
        low, high = self._limits.flip_angle
        return np.minimum(high, self._limits.rf_amplitude * duration) - low
