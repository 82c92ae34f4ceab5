"""What a scanner, a patient and an approximation allow a pulse train to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .._validation import check_positive, check_range
from ..signal import PulseSequence

_LONGEST_PULSE = 0.1  # s


@dataclass(frozen=True)
class SequenceConstraints:
    r"""Limits of the pulses of a train. The inversion pulse is not counted.

    Parameters
    ----------
    flip_angle : tuple of float, default=(0, pi)
        Least and largest flip angle, in rad.
    rf_amplitude : float, default=2000 pi
        Largest amplitude :math:`\omega_1 = \alpha / \tau` of a pulse, in rad/s; 1 kHz is 2000 pi rad/s, and 1 uT is
        267.5 rad/s.
    pulse_duration : tuple of float, default=(0.1e-3, 0.5e-3)
        Shortest and longest pulse, in s.
    rf_power : float or None, default=2.8e5
        Largest power :math:`\sum_t \omega_{1,t}^2 \tau_t / (T\,T_R)`, in rad^2/s^2; None: any.
    hybrid_state_error : float or None, default=0.1
        Largest geometric mean over tissues of `hybrid_state_error`; None: any. Only counts for models of the hybrid
        state, which holds only if the flip angles change slowly.

    Raises
    ------
    TypeError
        If a limit is no number.
    ValueError
        If a limit is not positive and finite, a range is not in order, flip angles exceed 2 pi, durations 0.1 s or the
        error 1, or the least flip angle takes a higher amplitude than allowed in the shortest pulse.

    Notes
    -----
    The power is that of the published pattern of the paper's authors, and rather high: see what the scanner allows.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import PulseSequence
    >>> from crbestim.design import SequenceConstraints
    >>> limits = SequenceConstraints(flip_angle=(0.0, 1.0), rf_amplitude=2 * np.pi * 1000, rf_power=1e5)
    >>> limits.check_times(PulseSequence.default())  # raises an error if they cannot be met
    >>> table = limits.table(PulseSequence.default())
    >>> table["met"].tolist(), table.index[0]  # flip angle, amplitude, duration, power
    ([False, True, True, False], 'flip_angle [rad]')
    """

    flip_angle: tuple[float, float] = (0.0, np.pi)
    rf_amplitude: float = 2 * np.pi * 1000
    pulse_duration: tuple[float, float] = (0.1e-3, 0.5e-3)
    rf_power: float | None = 2.8e5
    hybrid_state_error: float | None = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "flip_angle", check_range(self.flip_angle, "flip_angle", from_zero=True))
        object.__setattr__(self, "pulse_duration", check_range(self.pulse_duration, "pulse_duration"))
        object.__setattr__(self, "rf_amplitude", check_positive(self.rf_amplitude, "rf_amplitude"))
        for name in ("rf_power", "hybrid_state_error"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_positive(getattr(self, name), name))
        if self.hybrid_state_error is not None and self.hybrid_state_error >= 1:
            raise ValueError(
                f"hybrid_state_error must be below 1, or None for no limit; got {self.hybrid_state_error:g}. "
                "Is it in percent?"
            )
        if self.pulse_duration[1] > _LONGEST_PULSE:
            raise ValueError(
                f"pulse_duration must not exceed {_LONGEST_PULSE:g} s; got {self.pulse_duration[1]:g} s. Is it in ms?"
            )
        if self.flip_angle[1] > 2 * np.pi:
            raise ValueError(f"flip_angle must not exceed 2 pi rad; got {self.flip_angle[1]:g}. Is it in degrees?")
        if self.flip_angle[0] > self.rf_amplitude * self.pulse_duration[0]:
            raise ValueError(
                f"flip_angle of at least {self.flip_angle[0]:g} rad needs an rf_amplitude of "
                f"{self.flip_angle[0] / self.pulse_duration[0]:g} rad/s in the shortest pulse_duration; "
                f"rf_amplitude is {self.rf_amplitude:g} rad/s."
            )

    def check_times(self, sequence: PulseSequence) -> None:
        """Check that a train of this kind can keep the limits.

        Parameters
        ----------
        sequence : PulseSequence
            Gives the repetition time.

        Raises
        ------
        TypeError
            If it is no PulseSequence.
        ValueError
            If pulses cannot be as long as allowed, or the shortest take too much power anyway.
        """
        _check_sequence(sequence)
        if self.pulse_duration[1] > sequence.repetition_time:
            raise ValueError(
                f"constraints: pulse_duration must not exceed the repetition time of {sequence.repetition_time:g} s; "
                f"got {self.pulse_duration[1]:g} s."
            )
        least = self.flip_angle[0] ** 2 / self.pulse_duration[0] / sequence.repetition_time
        if self.rf_power is not None and least > self.rf_power:
            raise ValueError(
                f"constraints: the least flip_angle in the shortest pulse_duration takes a power of {least:g} "
                f"rad^2/s^2, above rf_power = {self.rf_power:g}."
            )

    def table(self, sequence: PulseSequence, error: float | None = None) -> pd.DataFrame:
        """Compare a sequence with the limits.

        Parameters
        ----------
        sequence : PulseSequence
            The pulse train.
        error : float, optional
            Geometric mean of its `hybrid_state_error`.

        Returns
        -------
        DataFrame
            Columns lowest, highest (of the sequence), low, high (the limits; NaN if there is none) and met.

        Raises
        ------
        TypeError
            If `sequence` is no PulseSequence.
        """
        _check_sequence(sequence)
        rows = {
            "flip_angle [rad]": (sequence.flip_angle, self.flip_angle),
            "rf_amplitude [rad/s]": (sequence.rf_amplitude, (np.nan, self.rf_amplitude)),
            "pulse_duration [s]": (sequence.pulse_duration, self.pulse_duration),
            "rf_power [rad^2/s^2]": (np.array([sequence.rf_power]), (np.nan, self.rf_power)),
        }
        if error is not None:
            rows["hybrid_state_error"] = np.array([error]), (np.nan, self.hybrid_state_error)
        table = pd.DataFrame(
            [[values.min(), values.max(), *limits] for values, limits in rows.values()],
            index=list(rows),
            columns=["lowest", "highest", "low", "high"],
            dtype=float,
        )
        slack = 1 + 1e-9  # of rounding
        above = table["low"].isna() | (table["lowest"] * slack >= table["low"])
        table["met"] = above & (table["high"].isna() | (table["highest"] <= table["high"] * slack))
        return table


def _check_sequence(sequence: PulseSequence) -> None:
    if not isinstance(sequence, PulseSequence):
        raise TypeError(f"sequence must be a PulseSequence; got {type(sequence).__name__}.")
