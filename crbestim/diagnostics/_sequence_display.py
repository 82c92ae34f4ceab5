"""Figure of a pulse train."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..signal import PulseSequence


class SequenceDisplay:
    """Flip angles, RF amplitudes and durations of a pulse train over a cycle.

    Parameters
    ----------
    sequence : PulseSequence
        The pulse train.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (3,)
        Where it was drawn: flip angle, amplitude, duration.
    figure_ : matplotlib Figure
        Their figure.

    Raises
    ------
    TypeError
        If `sequence` is no PulseSequence.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from crbestim import PulseSequence, SequenceDisplay
    >>> display = SequenceDisplay.from_sequence(PulseSequence.default(), name="built-in")
    >>> flip_angle = np.linspace(0.1, 1.0, 1141)
    >>> ramp = PulseSequence(flip_angle, np.full(1141, 0.3e-3), repetition_time=3.5e-3, inversion_duration=0.5e-3)
    >>> both = SequenceDisplay(ramp).plot(display.axes_, name="ramp")  # in the same figure
    >>> len(both.axes_), len(both.axes_[0].lines)
    (3, 2)
    >>> plt.close(display.figure_)
    """

    axes_: Any
    figure_: Any

    def __init__(self, sequence: PulseSequence) -> None:
        if not isinstance(sequence, PulseSequence):
            raise TypeError(f"sequence must be a PulseSequence; got {type(sequence).__name__}.")
        self.sequence = sequence

    @classmethod
    def from_sequence(cls, sequence: PulseSequence, *, axes: Any = None, **kwargs: Any) -> SequenceDisplay:
        """Draw a pulse train.

        Parameters
        ----------
        sequence : PulseSequence
            The pulse train.
        axes : sequence of three matplotlib Axes, optional
            Where to draw.
        **kwargs
            As for `plot`.

        Returns
        -------
        SequenceDisplay

        Raises
        ------
        TypeError, ValueError
            If `sequence` is no PulseSequence, or there are not three axes.
        """
        return cls(sequence).plot(axes, **kwargs)

    def plot(self, axes: Any = None, *, name: str | None = None, **line: Any) -> SequenceDisplay:
        """Draw flip angle, amplitude and duration of each pulse against the time since the inversion.

        Parameters
        ----------
        axes : sequence of three matplotlib Axes, optional
            Where to draw, for instance another train's; by default a new figure.
        name : str, optional
            For a legend.
        **line
            Properties of the lines, such as color.

        Returns
        -------
        SequenceDisplay
            Itself.

        Raises
        ------
        ValueError
            If there are not three axes.
        """
        import matplotlib.pyplot as plt

        if axes is None:
            _, axes = plt.subplots(3, sharex=True, figsize=(7, 5), layout="constrained")
        axes = np.asarray(axes, dtype=object)
        if axes.shape != (3,):
            raise ValueError(f"axes must be three matplotlib Axes; got {axes.size}.")
        sequence = self.sequence
        times = (np.arange(sequence.n_pulses) + 0.5) * sequence.repetition_time
        panels = {
            r"flip angle $\alpha$ [rad]": sequence.flip_angle,
            r"amplitude $\omega_1$ [krad/s]": sequence.rf_amplitude / 1e3,
            r"duration $\tau$ [ms]": 1e3 * sequence.pulse_duration,
        }
        for axis, (label, values) in zip(axes, panels.items(), strict=True):
            axis.plot(times, values, **{"linewidth": 1, "label": name, **line})
            axis.set_ylabel(label)
            axis.margins(x=0.01)
            axis.autoscale()  # to all trains, as set_ylim would stop it
            axis.set_ylim(bottom=0)
        axes[-1].set_xlabel("time after the inversion [s]")
        if name is not None:
            axes[0].legend(fontsize="small", loc="upper center", ncols=2)
        axes[0].figure.align_ylabels(list(axes))
        self.axes_, self.figure_ = axes, axes[0].figure
        return self
