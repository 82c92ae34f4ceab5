"""Inversion recovery of two exchanging pools after rectangular inversion pulses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray, check_option, check_positive
from ._generalized_bloch import GeneralizedBlochTable, generalized_bloch_table
from ._parameter import Parameter
from ._protocol import ProtocolModel, protocol_values
from ._saturation import LINESHAPES, Lineshape, SaturationTable, saturation_table
from ._two_pool_model import LEAST_RX, Saturation, TwoPoolModel, away_from_no_transfer


@dataclass(frozen=True)
class InversionRecoveryMTModel(ProtocolModel):
    r"""Free and semi-solid pool that relax and exchange after an inversion pulse.

    A rectangular pulse of flip angle :math:`\pi` and duration :math:`\tau` acts on both pools in equilibrium,

    .. math::
        z^f(0) = -\eta\, e^{-\tau / 2 T_2^f}\, m_0^f, \qquad z^s(0) = a(\tau/T_2^s)\, m_0^s, \qquad m_0^f = 1 - m_0^s,

    with the saturation factor a of `MTHybridStateModel`. Then the pools relax with the same R1 and exchange, and the
    signal is the free pool's,

    .. math::
        s = m_0^f \left[1 + (a\, m_0^s - q\, m_0^f - 1)\, e^{-R_1 t} - m_0^s\, (q + a)\, e^{-(R_1 + R_x) t}\right],
        \quad q = \eta\, e^{-\tau / 2 T_2^f}, \quad t = T_I .

    Parameters
    ----------
    inversion_times : sequence of float of length T
        In s, from the middle of the pulse to the readout.
    pulse_durations : sequence of float of length T
        :math:`\tau` in s, of the pulse before each readout. Several durations are needed to tell T2s.
    T2f : float, default=0.05
        Transversal relaxation time of the free pool in s, which is not estimated.
    lineshape : {"super-lorentzian", "lorentzian", "gaussian"}, default="super-lorentzian"
        Of the semi-solid pool.
    saturation : {"generalized-bloch", "graham"}, default="generalized-bloch"
        How a pulse saturates the semi-solid pool. Graham's rate fails for pulses as short as T2s.
    data : {"complex", "real"}, default="complex"
        Complex data, or real ones with the sign of the signal, a positive M0 and real noise.

    Attributes
    ----------
    parameters : tuple of Parameter
        ``m0s``, ``R1`` (1/s), ``Rx`` (1/s), ``T2s`` (s), and ``efficiency``, :math:`\eta`.

    Raises
    ------
    TypeError, ValueError
        If times do not fit each other or are not positive, an inversion time is shorter than half its pulse, or an
        option is none of the above.

    Notes
    -----
    The pulse acts at its middle; relaxation and exchange go on as if it had no length. All recovers before the next
    inversion. Where a parameter vanishes from the signal (m0s = 0, Rx = 0), the bound is the limit.

    As exchange stops, its effect becomes that of a change of R1, and one or two pulse durations no longer tell them
    apart (two do if T2s is known, one if R1 is known, too). The bounds of m0s, R1, Rx and T2s are then inf below
    Rx = 0.01 /s.

    References
    ----------
    J. Assländer et al., Generalized Bloch model: A theory for pulsed magnetization transfer, Magn. Reson. Med. 87,
    2022.
    D. F. Gochberg and J. C. Gore, Quantitative imaging of magnetization transfer using an inversion recovery
    sequence, Magn. Reson. Med. 49, 2003.

    Examples
    --------
    >>> import numpy as np
    >>> durations, times = np.meshgrid([25e-6, 0.2e-3, 1e-3], np.geomspace(5e-3, 5.0, 12), indexing="ij")
    >>> model = InversionRecoveryMTModel(times.ravel(), durations.ravel())
    >>> model.signal([[0.1, 1.2, 50.0, 12e-6, 0.95]]).shape
    (1, 36)
    """

    inversion_times: tuple[float, ...]
    pulse_durations: tuple[float, ...]
    T2f: float = 0.05
    lineshape: Lineshape = "super-lorentzian"
    saturation: Saturation = "generalized-bloch"
    data: Literal["complex", "real"] = "complex"

    parameters = (
        TwoPoolModel.parameters[0],
        Parameter("R1", "R_1", "1/s", (0.0, 100.0), closed="right"),
        TwoPoolModel.parameters[3],
        TwoPoolModel.parameters[4],
        Parameter("efficiency", r"\eta", "1", (0.0, 1.0)),
    )

    def __post_init__(self) -> None:
        times = protocol_values(self.inversion_times, "inversion_times", unit="s")
        durations = protocol_values(self.pulse_durations, "pulse_durations", unit="s", least=1e-9)
        if len(times) != len(durations):
            raise ValueError(
                f"pulse_durations must have one value for each of the {len(times)} inversion times; got "
                f"{len(durations)}."
            )
        if (np.array(times) < np.array(durations) / 2).any():
            raise ValueError(
                "inversion_times count from the middle of the pulse: none may be below half its duration."
            )
        object.__setattr__(self, "inversion_times", times)
        object.__setattr__(self, "pulse_durations", durations)
        object.__setattr__(self, "T2f", check_positive(self.T2f, "T2f"))
        check_option(self.lineshape, "lineshape", LINESHAPES)
        check_option(self.saturation, "saturation", get_args(Saturation))
        self._check_data("complex", "real")

    @property
    def n_timepoints(self) -> int:
        """Number of samples T."""
        return len(self.inversion_times)

    def _signal_and_jacobian(self, theta: FloatArray) -> tuple[NDArray, NDArray]:
        m0s, R1, Rx, T2s, efficiency = theta.T[:, :, None]
        m0f = 1 - m0s
        time, duration = np.array(self.inversion_times), np.array(self.pulse_durations)
        a, a_by_log_x = self._table.factor_and_slope(np.array(np.pi), duration / T2s)
        kept = np.exp(-duration / (2 * self.T2f))
        q = efficiency * kept
        slow = np.exp(-R1 * time)
        fast = slow * np.exp(-Rx * time)
        total, difference = a * m0s - q * m0f - 1, m0s * (q + a)  # at t = 0: z^f + z^s - 1, and the rest of z^f / m0f
        bracket = 1 + total * slow - difference * fast
        by_m0s = -bracket + m0f * (q + a) * (slow - fast)
        by_R1 = m0f * time * (difference * fast - total * slow)
        by_Rx = m0f * difference * time * fast
        by_T2s = m0f * m0s * (slow - fast) * -a_by_log_x / T2s
        by_efficiency = -m0f * kept * (m0f * slow + m0s * fast)
        return m0f * bracket, np.stack([by_m0s, by_R1, by_Rx, by_T2s, by_efficiency], axis=2)

    def _regular_point(self, theta: FloatArray, known: Sequence[str] = ()) -> tuple[FloatArray, FloatArray]:
        where, factor = theta.copy(), np.ones_like(theta)
        # To first order in Rx, exchange adds t exp(-R1 t), as R1 does, with an amplitude for each pulse duration.
        unknown = 1 + sum(name not in known for name in ("T2s", "R1"))
        if "Rx" not in known and len(set(self.pulse_durations)) < unknown:
            factor[theta[:, 2] < LEAST_RX, :4] = np.inf
        return away_from_no_transfer(self.parameter_names, theta, where, factor, known)

    @property
    def _table(self) -> SaturationTable | GeneralizedBlochTable:
        """Saturation of the semi-solid pool for these pulses over the range of T2s."""
        shortest, longest = min(self.pulse_durations), max(self.pulse_durations)
        T2s = self.parameters[3].bounds
        x = shortest / T2s[1], longest / T2s[0]
        if self.saturation == "graham":
            return saturation_table(self.lineshape, *x)
        return generalized_bloch_table(self.lineshape, *x, np.pi)
