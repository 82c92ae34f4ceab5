"""Inversion recovery of a single pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray, check_positive
from ._parameter import Parameter
from ._protocol import ProtocolModel, magnitude, protocol_values


@dataclass(frozen=True)
class InversionRecoveryModel(ProtocolModel):
    r"""Inversion recovery with an imperfect inversion and a readout that leaves no longitudinal magnetisation.

    .. math:: s_t = 1 - (1 + \eta)\, e^{-T_{I,t}/T_1} + \eta\, e^{-T_R/T_1}

    The last term, of an incomplete recovery before the next inversion, is left out if no repetition time is given.

    Parameters
    ----------
    inversion_times : sequence of float of length T
        In s.
    repetition_time : float, optional
        TR in s, from inversion to inversion, not below the longest inversion time; by default it is so long that all
        recovers.
    data : {"complex", "real", "magnitude"}, default="complex"
        Complex data; real ones with the sign of the signal (phase-sensitive inversion recovery); or magnitudes
        :math:`|s_t|`. Of the latter two, M0 is positive and the noise real and Gaussian.

    Attributes
    ----------
    parameters : tuple of Parameter
        ``T1`` in s, and the inversion's ``efficiency`` :math:`\eta`.

    Raises
    ------
    TypeError, ValueError
        If times are not finite and not negative, TR is too short, or `data` is none of the three.

    Notes
    -----
    The noise of a magnitude is Rician, and not Gaussian where the signal passes zero; the bound of magnitudes does not
    know of this. The derivative of a magnitude jumps there.

    Examples
    --------
    >>> import numpy as np
    >>> model = InversionRecoveryModel(np.geomspace(0.05, 5.0, 8), data="real")
    >>> model.signal([[1.0, 0.95]]).round(2)
    array([[-0.85, -0.77, -0.62, -0.36,  0.03,  0.49,  0.85,  0.99]])
    """

    inversion_times: tuple[float, ...]
    repetition_time: float | None = None
    data: Literal["complex", "real", "magnitude"] = "complex"

    parameters = (
        Parameter("T1", "T_1", "s", (0.0, 30.0), closed="right"),
        Parameter("efficiency", r"\eta", "1", (0.0, 1.0)),
    )

    def __post_init__(self) -> None:
        times = protocol_values(self.inversion_times, "inversion_times", unit="s")
        object.__setattr__(self, "inversion_times", times)
        self._check_data("complex", "real", "magnitude")
        if self.repetition_time is not None:
            object.__setattr__(self, "repetition_time", check_positive(self.repetition_time, "repetition_time"))
            if self.repetition_time < max(times):
                raise ValueError(
                    f"repetition_time must not be below the longest inversion time, {max(times):g} s; got "
                    f"{self.repetition_time:g} s."
                )

    @property
    def n_timepoints(self) -> int:
        """Number of inversion times T."""
        return len(self.inversion_times)

    def _signal_and_jacobian(self, theta: FloatArray) -> tuple[NDArray, NDArray]:
        T1, efficiency = theta[:, :1], theta[:, 1:]
        decay, by_T1 = _decay(np.array(self.inversion_times), T1)
        signal, slope, by_efficiency = 1 - (1 + efficiency) * decay, -(1 + efficiency) * by_T1, -decay
        if self.repetition_time is not None:
            rest, rest_by_T1 = _decay(np.array([self.repetition_time]), T1)
            signal, slope, by_efficiency = signal + efficiency * rest, slope + efficiency * rest_by_T1, rest - decay
        jacobian = np.stack([slope, by_efficiency], axis=2)
        return magnitude(signal, jacobian) if self.data == "magnitude" else (signal, jacobian)


def _decay(times: FloatArray, T1: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return exp(-t / T1) and its derivative by T1, (n, len(times))."""
    decay = np.exp(-times / T1)
    return decay, decay * times / T1**2
