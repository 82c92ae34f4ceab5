"""Mono-exponential decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray
from ._parameter import Parameter
from ._protocol import ProtocolModel, protocol_values

_LONGEST = 10.0  # s, three times the T2 of water: a longer echo time is most likely in ms


@dataclass(frozen=True)
class MonoExponentialModel(ProtocolModel):
    r"""Decay of the transversal magnetisation, such as that of a multi-echo spin-echo measurement.

    .. math:: s_t = \exp(-T_{E,t} / T_2)

    Parameters
    ----------
    echo_times : sequence of float of length T
        In s.
    data : {"complex", "magnitude"}, default="complex"
        Whether the data are complex, or real magnitudes with a positive M0 and Gaussian noise.

    Attributes
    ----------
    parameters : tuple of Parameter
        ``T2`` in s.

    Raises
    ------
    TypeError, ValueError
        If the times are not from 0 to 10 s, or `data` is neither.

    Notes
    -----
    The noise of a magnitude is Rician; it is Gaussian to good approximation where the signal is more than three times
    the noise. Pulses are perfect: stimulated echoes of a real train are not modelled.

    Examples
    --------
    >>> import numpy as np
    >>> model = MonoExponentialModel(np.arange(1, 9) * 0.02)
    >>> np.sqrt(model.crb([[0.08]]) / 100**2).round(4)  # s, at an SNR_max of 100
    array([[0.0016]])
    """

    echo_times: tuple[float, ...]
    data: Literal["complex", "magnitude"] = "complex"

    parameters = (Parameter("T2", "T_2", "s", (0.0, 30.0), closed="right"),)

    def __post_init__(self) -> None:
        object.__setattr__(self, "echo_times", protocol_values(self.echo_times, "echo_times", unit="s", most=_LONGEST))
        self._check_data("complex", "magnitude")

    @property
    def n_timepoints(self) -> int:
        """Number of echoes T."""
        return len(self.echo_times)

    def _signal_and_jacobian(self, theta: FloatArray) -> tuple[NDArray, NDArray]:
        times = np.array(self.echo_times)
        signal = np.exp(-times / theta)
        return signal, (signal * times / theta**2)[:, :, None]
