"""Pulse trains as immutable arrays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from .._files import checked_path, write_whole
from .._numpy_files import refusing_damage
from .._validation import FloatArray, check_finite, check_positive, check_repetition_time, numeric_array
from ._pulseq import read_cycle

_NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_NOTE = re.compile(
    rf"^# repetition_time = {_NUMBER} s, inversion_duration = {_NUMBER} s(?:;.*; (\d{{1,9}}) pulses\r?$)?",
    re.MULTILINE,
)


@dataclass(frozen=True, eq=False)
class PulseSequence:
    """A cycle of rectangular RF pulses that opens with a crushed inversion and repeats for ever.

    Pulse t sits in the middle of interval t, echo t at its end; the RF phase alternates by pi.

    Parameters
    ----------
    flip_angle : array_like of shape (T,)
        Flip angles of the pulses as played, in rad, within [0, 2 pi].
    pulse_duration : array_like of shape (T,)
        Durations of the pulses, in s; none longer than the repetition time.
    repetition_time : float
        Time between two pulses, in s.
    inversion_duration : float
        Duration of the rectangular inversion pulse (flip angle pi), in s.

    Raises
    ------
    ValueError
        If the arrays differ in length, are empty or not finite, a time is not positive, a pulse is longer
        than the repetition time, that is longer than 1 s, or a flip angle lies outside [0, 2 pi].

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from crbestim import PulseSequence
    >>> flip_angle = 0.2 + 0.3 * np.sin(np.linspace(0, np.pi, 60))
    >>> train = PulseSequence(flip_angle, np.full(60, 0.3e-3), repetition_time=3.5e-3, inversion_duration=0.5e-3)
    >>> train.polar_angle.shape, round(float(train.rf_amplitude.max()))  # rad/s
    ((60,), 1666)
    >>> PulseSequence.default()
    PulseSequence(1141 pulses, repetition_time=0.0035, inversion_duration=0.0005)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "train.csv"
    ...     train.to_csv(path, comments="sixty pulses")
    ...     PulseSequence.from_csv(path) == train
    True
    """

    flip_angle: FloatArray
    pulse_duration: FloatArray
    repetition_time: float
    inversion_duration: float

    def __post_init__(self) -> None:
        flip_angle = _vector(self.flip_angle, "flip_angle")
        pulse_duration = _vector(self.pulse_duration, "pulse_duration")
        repetition_time = check_repetition_time(self.repetition_time)
        inversion_duration = check_positive(self.inversion_duration, "inversion_duration")
        if flip_angle.shape != pulse_duration.shape:
            raise ValueError(
                "flip_angle and pulse_duration must have the same length; "
                f"got {len(flip_angle)} and {len(pulse_duration)}."
            )
        if flip_angle.min() < 0 or flip_angle.max() > 2 * np.pi:
            raise ValueError(
                "flip_angle must lie in [0, 2 pi] rad; got values from "
                f"{flip_angle.min():g} to {flip_angle.max():g}. Are they in degrees?"
            )
        if pulse_duration.min() <= 0:
            raise ValueError(f"pulse_duration must be positive (s); got {pulse_duration.min():g}.")
        for name, longest in (("pulse_duration", pulse_duration.max()), ("inversion_duration", inversion_duration)):
            if longest > repetition_time:
                raise ValueError(
                    f"{name} must not exceed repetition_time = {repetition_time:g} s; got {longest:g} s. "
                    "All times are in seconds."
                )
        for name, value in (
            ("flip_angle", flip_angle),
            ("pulse_duration", pulse_duration),
            ("repetition_time", repetition_time),
            ("inversion_duration", inversion_duration),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def from_csv(
        cls,
        path: str | PathLike[str],
        *,
        repetition_time: float | None = None,
        inversion_duration: float | None = None,
    ) -> PulseSequence:
        """Read a pulse train from a CSV file.

        Parameters
        ----------
        path : path-like
            A file with a header that names the columns ``flip_angle`` (rad) and ``pulse_duration`` (s), one
            row a pulse as played. Lines that start with ``#`` are comments.
        repetition_time, inversion_duration : float, optional
            In s; as for the constructor. By default those that `to_csv` noted in the file.

        Returns
        -------
        PulseSequence

        Raises
        ------
        ValueError
            If the file is damaged or a column missing, the values are no valid sequence, their number is not the one
            that is noted, or a time is neither given nor noted in the file, or both and different.
        """
        given = {"repetition_time": repetition_time, "inversion_duration": inversion_duration}
        table = _table_of(path)
        times = _times(path, given, len(table))
        try:
            return cls(table["flip_angle"].to_numpy(), table["pulse_duration"].to_numpy(), **times)
        except (ValueError, TypeError) as error:
            raise type(error)(f"path: {path}: {error}") from error

    @classmethod
    def from_pulseq(cls, path: str | PathLike[str]) -> PulseSequence:
        r"""Read the pulse train of a Pulseq file; needs pypulseq (``pip install crbestim[pulseq]``).

        The file holds one cycle or several equal ones. A cycle is an inversion (a pulse of pi that a crusher follows)
        and T >= 2 excitation pulses. All pulses are rectangular, on resonance and without gradients; the excitation
        pulses are TR apart from centre to centre, with phases that alternate by pi and gradients of zero net moment
        between them. Readouts are not looked at: the models' echoes lie half-way between the pulses.

        Parameters
        ----------
        path : path-like
            A file of version 1.4 or later. It is played for ever: what comes after its last pulse and before its
            first lies between two cycles.

        Returns
        -------
        PulseSequence
            Flip angles are :math:`2\pi` times the integral of the RF amplitude in Hz, to the file's six digits.

        Raises
        ------
        ImportError
            If pypulseq is missing.
        OSError
            If the file cannot be opened.
        ValueError
            If the file is damaged, or plays something else; the message names the block or pulse, its time, what was
            found and what was expected.

        Notes
        -----
        The inversion may stand TR/2 to TR after the pulse before it and before the pulse after it, so that it has at
        most an interval TR of its own, crushers included. To the models it stands TR/2 from either (plus half of its
        duration in `MTBlochModel` and `BlochMcConnellModel`); the rest of that interval is neglected.

        The models assume that the inversion refocuses the transversal magnetisation. Therefore crushers and times must
        be the same on its two sides, its phase must be that of the excitation pulses or differ by pi, and these must
        alternate on from one cycle of the file to the next. A part :math:`\sin\vartheta_1 \sin\vartheta_T` of the
        magnetisation takes this way; where it is below 1e-3, a crusher after the inversion is enough.

        References
        ----------
        K. J. Layton et al., Pulseq: A rapid and hardware-independent pulse sequence prototyping framework, Magn.
        Reson. Med. 77, 2017.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import pypulseq
        >>> from crbestim import PulseSequence
        >>> played = pypulseq.Sequence()
        >>> crusher, pause = pypulseq.make_trapezoid("z", area=1000, duration=3e-3), pypulseq.make_delay(3e-3)
        >>> for flip_angle, phase, then in [(np.pi, 0.0, crusher), (0.4, 0.0, pause), (0.6, np.pi, crusher)]:
        ...     rf = pypulseq.make_block_pulse(flip_angle, duration=0.5e-3, phase_offset=phase, use="excitation")
        ...     played.add_block(rf)
        ...     played.add_block(then)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "train.seq"
        ...     _ = played.write(str(path))
        ...     train = PulseSequence.from_pulseq(path)
        >>> train
        PulseSequence(2 pulses, repetition_time=0.0035, inversion_duration=0.0005)
        >>> train.flip_angle.round(3).tolist()
        [0.4, 0.6]
        """
        try:
            return cls(*read_cycle(path))
        except ValueError as error:
            raise ValueError(f"path: {path}: {error}") from error

    @classmethod
    def default(cls) -> PulseSequence:
        """Return the built-in sequence: 1141 pulses, TR 3.5 ms, cycle 4 s.

        It was designed by the bound of m0s, T1 and T2f over the paper's prior, with the number of pulses, the times
        and the power of the pattern that the paper's authors published; its file tells how.

        Returns
        -------
        PulseSequence
        """
        return _builtin()

    def to_csv(self, path: str | PathLike[str], comments: str | Sequence[str] = ()) -> None:
        """Write the pulses to a CSV file that `from_csv` reads, to the last bit (with pandas before 3 to 1e-12).

        The two times are no columns; they are noted in a comment, from which `from_csv` takes them, with the number of
        pulses, by which it knows a file that was cut.

        Parameters
        ----------
        path : path-like
            File. One that exists is replaced as a whole.
        comments : str or sequence of str, default=()
            Lines to begin with.

        Raises
        ------
        OSError
            If the file cannot be written; then there is none, or the old one.
        """
        notes = [comments] if isinstance(comments, str) else comments
        lines = [f"# {line}" for note in notes for line in note.splitlines()]
        lines.append(
            f"# repetition_time = {self.repetition_time!r} s, inversion_duration = {self.inversion_duration!r} s; "
            f"flip_angle in rad, pulse_duration in s; {self.n_pulses} pulses"
        )
        lines.append("flip_angle,pulse_duration")
        pulses = zip(self.flip_angle.tolist(), self.pulse_duration.tolist(), strict=True)
        lines += [f"{flip_angle!r},{pulse_duration!r}" for flip_angle, pulse_duration in pulses]
        write_whole(checked_path(path), lambda file: file.write(("\n".join(lines) + "\n").encode()))

    @property
    def n_pulses(self) -> int:
        """Number of pulses T of the train, the inversion pulse not counted."""
        return len(self.flip_angle)

    @property
    def polar_angle(self) -> FloatArray:
        """Nominal polar angle at each echo, in rad, shape (T,): (alpha_t + alpha_{t+1}) / 4, alpha_T / 2."""
        following = np.append(self.flip_angle[1:], self.flip_angle[-1])
        return (self.flip_angle + following) / 4

    @property
    def rf_amplitude(self) -> FloatArray:
        """Amplitude of each pulse, gamma B1 = alpha / tau, in rad/s, shape (T,)."""
        return self.flip_angle / self.pulse_duration

    @property
    def rf_power(self) -> float:
        r"""Mean of :math:`\omega_1^2` over the repetition times, in rad^2/s^2: sum of alpha^2 / tau, over T TR."""
        return float((self.flip_angle**2 / self.pulse_duration).sum() / (self.n_pulses * self.repetition_time))

    def __reduce__(self) -> tuple[type[PulseSequence], tuple[FloatArray, FloatArray, float, float]]:
        return type(self), (self.flip_angle, self.pulse_duration, self.repetition_time, self.inversion_duration)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PulseSequence):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return (
            f"PulseSequence({self.n_pulses} pulses, repetition_time={self.repetition_time:g}, "
            f"inversion_duration={self.inversion_duration:g})"
        )

    def _key(self) -> tuple[bytes, bytes, float, float]:
        return (
            self.flip_angle.tobytes(),
            self.pulse_duration.tobytes(),
            self.repetition_time,
            self.inversion_duration,
        )


def _vector(values: FloatArray, name: str) -> FloatArray:
    checked = numeric_array(values, name)
    if checked.dtype.kind == "c":
        raise TypeError(f"{name} must be a sequence of real numbers; got {checked.dtype}.")
    array = checked.astype(np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} must be a non-empty 1-D array; got shape {array.shape}.")
    check_finite(array, name)
    array.flags.writeable = False
    return array


def _table_of(path: str | PathLike[str]) -> pd.DataFrame:
    """Read a table with the columns of a pulse train; raise ValueError if it is none."""
    with refusing_damage(f"path: {path} is no CSV file, or is damaged"):
        table = pd.read_csv(path, comment="#", skipinitialspace=True)
    missing = {"flip_angle", "pulse_duration"} - set(table.columns)
    if missing:
        raise ValueError(
            f"path: {path} must have the columns flip_angle (rad) and pulse_duration (s); "
            f"{sorted(missing)} missing, found {list(table.columns)}."
        )
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes what is too many for row names
        raise ValueError(f"path: {path} has more values in a row than columns.")
    for name in ("flip_angle", "pulse_duration"):
        if table[name].dtype.kind not in "iuf":
            raise ValueError(f"path: {path}: {name} must hold numbers; got {table[name].dtype}.")
    return table


def _times(path: str | PathLike[str], given: dict[str, float | None], n_pulses: int) -> dict[str, float]:
    """Return the two times, from the arguments or the last note of `to_csv`; raise if the table is not whole."""
    # Any encoding will do: only the note is looked for, and a table that pandas can read may be compressed.
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    *noted_times, noted_pulses = (_NOTE.findall(text) or [(None, None, "")])[-1]
    if noted_pulses and (int(noted_pulses) != n_pulses or not text.endswith("\n")):
        raise ValueError(
            f"path: {path} notes {noted_pulses} pulses, but has {n_pulses}, or its last line does not end; it "
            "seems to be cut short, or was edited."
        )
    times = {}
    for (name, value), note in zip(given.items(), noted_times, strict=True):
        noted = None if note is None else float(note)
        if value is None:
            if noted is None:
                raise ValueError(f"{name} is not noted in {path} and must be given, in s.")
            value = noted
        elif noted is not None and not np.isclose(check_positive(value, name), noted, rtol=1e-9, atol=0):
            raise ValueError(f"{name} = {value!r} s was given, but {path} notes {noted!r} s; one of them is wrong.")
        times[name] = value
    return times


@cache
def _builtin() -> PulseSequence:
    return PulseSequence.from_csv(Path(__file__).with_name("builtin_sequence.csv"))
