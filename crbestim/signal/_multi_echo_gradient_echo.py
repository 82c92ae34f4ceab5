"""Multi-echo gradient echo with off-resonance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray
from ._parameter import Parameter
from ._protocol import ProtocolModel, protocol_values

_LONGEST = 2.0  # s, longer than any T2*: a longer echo time is most likely in ms
_SAME_SPACING = 1e-6  # in units of the longest echo time, as single precision rounds


@dataclass(frozen=True)
class MultiEchoGradientEchoModel(ProtocolModel):
    r"""Decay and precession of the transversal magnetisation after one excitation.

    .. math:: s_t = \exp\left[(i B_0 - 1/T_2^*)\, T_{E,t}\right]

    Parameters
    ----------
    echo_times : sequence of float of length T
        In s.

    Attributes
    ----------
    parameters : tuple of Parameter
        ``T2star`` in s, and ``B0``, the off-resonance (angular) frequency, in rad/s.

    Raises
    ------
    TypeError, ValueError
        If the times are not from 0 to 2 s.

    Notes
    -----
    At equally spaced echoes, :math:`\Delta T_E` apart, M0 absorbs a change of B0 by :math:`2\pi/\Delta T_E`. Only the
    alias in :math:`[-\pi/\Delta T_E, \pi/\Delta T_E)` is identifiable; `target_values` returns it. Fat and other lines
    are not modelled.

    Examples
    --------
    >>> import numpy as np
    >>> model = MultiEchoGradientEchoModel(np.arange(1, 7) * 2e-3)
    >>> np.sqrt(model.crb([[0.03, 200.0]]) / 100**2).round(4).tolist()  # s and rad/s, at an SNR_max of 100
    [[0.0014, 1.5145]]
    """

    echo_times: tuple[float, ...]

    parameters = (
        Parameter("T2star", "T_2^*", "s", (0.0, 30.0), closed="right"),
        Parameter("B0", "B_0", "rad/s", (-np.inf, np.inf), closed="neither"),
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "echo_times", protocol_values(self.echo_times, "echo_times", unit="s", most=_LONGEST))

    @property
    def n_timepoints(self) -> int:
        """Number of echoes T."""
        return len(self.echo_times)

    def _signal_and_jacobian(self, theta: FloatArray) -> tuple[NDArray, NDArray]:
        T2star, B0, times = theta[:, :1], theta[:, 1:], np.array(self.echo_times)
        signal = np.exp((1j * B0 - 1 / T2star) * times)
        return signal, np.stack([signal * times / T2star**2, 1j * signal * times], axis=2)

    def _target_values(self, theta: FloatArray) -> FloatArray:
        spacings = np.diff(self.echo_times)
        spacing = abs(spacings.mean()) if len(spacings) else 0.0
        tolerance = _SAME_SPACING * max(self.echo_times)
        if spacing <= tolerance or not np.allclose(np.abs(spacings), spacing, rtol=0, atol=tolerance):
            return theta
        limit = np.pi / spacing
        folded = theta.copy()
        folded[:, 1] = (theta[:, 1] + limit) % (2 * limit) - limit
        return folded
