"""Two-pool magnetisation transfer in the hybrid state."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from .._validation import FloatArray
from ._base import Parameter
from ._generalized_bloch import GeneralizedBlochTable, generalized_bloch_table
from ._hybrid_state import HybridStateModel
from ._saturation import LINESHAPES, Lineshape, SaturationTable, saturation_table
from ._sequence import PulseSequence
from ._two_pool_kernel import simulate

Saturation = Literal["graham", "generalized-bloch"]

# Where a parameter vanishes from the signal, the bound is the limit; it is evaluated this far off.
_LEAST_M0S = 1e-4
_LEAST_RX = 1e-2  # 1/s

_T1S = Parameter("T1s", r"T_1^s", "s", (0.0, 30.0), closed="right")


class MTHybridStateModel(HybridStateModel):
    r"""Free and semi-solid pool under a periodic pulse train that keeps the free pool in the hybrid state.

    The free pool's magnetisation has length r along the axis of polar angle v, which B0, B1 and the nominal
    angle :math:`\vartheta` of the sequence give,

    .. math:: \sin v = \sin(B_1 \vartheta) / n, \quad \cos v = \cos(B_1 \vartheta) \cos(B_0 T_R/2) / n,

    and z is the semi-solid pool's longitudinal magnetisation. Between pulses

    .. math::
        \dot r &= -[\cos^2 v (R_1 + R_x m_0^s) + \sin^2 v R_2^f] r + R_x m_0^f \cos v\, z + m_0^f \cos v R_1 \\
        \dot z &= R_x m_0^s \cos v\, r - (R_1 + R_x m_0^f) z + m_0^s R_1;

    a pulse saturates z. The signal at an echo is :math:`M_0 r \sin v` in the exact periodic steady state.
    Derivatives are analytic.

    Parameters
    ----------
    sequence : PulseSequence, optional
        By default the built-in one, `PulseSequence.default`.
    lineshape : {"super-lorentzian", "lorentzian", "gaussian"}, default="super-lorentzian"
        Of the semi-solid pool.
    saturation : {"graham", "generalized-bloch"}, default="graham"
        How a pulse saturates the semi-solid pool. Graham's first-order rate takes z as constant while the pulse
        lasts; the generalized Bloch model solves
        :math:`\dot z = -\omega_1^2 \int_0^t G((t - u)/T_2^s)\, z(u)\, du`, so a short strong pulse can invert z.
    separate_T1 : bool, default=False
        Whether the semi-solid pool has a relaxation time of its own. T1 is then the free pool's, and T1s a further
        parameter, the last one; :math:`R_1` in the equation of z becomes :math:`R_1^s = 1/T_1^s`.

    Attributes
    ----------
    parameters : tuple of Parameter
        m0s (fractional size of the semi-solid pool), T1 (s), T2f (s), Rx (exchange rate, 1/s), T2s (s), B0
        (off-resonance, rad/s), B1 (relative to nominal), and T1s (s) if asked for.

    Raises
    ------
    TypeError
        If `sequence` is no PulseSequence.
    ValueError
        If `lineshape`, `saturation` or `separate_T1` is none of the above.

    Notes
    -----
    The hybrid state is an approximation for flip angles that change slowly. It is best on resonance and degrades
    towards the stop bands, :math:`|B_0| T_R = \pi`, and for B1 far from 1.

    The signal is even in B0 and changes sign under :math:`B_0 \to 2\pi/T_R - B_0`, which M0 absorbs. Only the
    fold of B0 into :math:`[0, \pi/T_R]` is identifiable; `target_values` returns it.

    References
    ----------
    J. Assländer et al., Hybrid-state free precession in nuclear magnetic resonance, Commun. Phys. 2, 2019.
    X. Zhang, Q. Duchemin, K. Liu et al., Cramér-Rao bound-informed training of neural networks for
    quantitative MRI, Magn. Reson. Med. 88, 2022.
    S. J. Graham and R. M. Henkelman, Understanding pulsed magnetization transfer, J. Magn. Reson. Imaging 7, 1997.
    J. Assländer et al., Generalized Bloch model: A theory for pulsed magnetization transfer, Magn. Reson. Med. 87,
    2022.
    """

    parameters = (
        Parameter("m0s", r"m_0^s", "1", (0.0, 1.0), closed="left"),
        Parameter("T1", r"T_1", "s", (0.0, 30.0), closed="right"),
        Parameter("T2f", r"T_2^f", "s", (0.0, 30.0), closed="right"),
        Parameter("Rx", r"R_x", "1/s", (0.0, 1000.0)),
        Parameter("T2s", r"T_2^s", "s", (1e-6, 1e-4)),
        Parameter("B0", r"B_0", "rad/s", (-np.inf, np.inf), closed="neither"),
        Parameter("B1", r"B_1 / B_1^\mathrm{nominal}", "1", (0.0, 3.0)),
    )
    default_targets = ("m0s", "T1", "T2f")
    not_above = MappingProxyType({"T2f": "T1"})

    def __init__(
        self,
        sequence: PulseSequence | None = None,
        lineshape: Lineshape = "super-lorentzian",
        saturation: Saturation = "graham",
        separate_T1: bool = False,
    ) -> None:
        for name, value, choices in (
            ("lineshape", lineshape, LINESHAPES),
            ("saturation", saturation, get_args(Saturation)),
            ("separate_T1", separate_T1, (False, True)),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {list(choices)}; got {value!r}.")
        super().__init__(sequence, lineshape=lineshape, saturation=saturation, separate_T1=bool(separate_T1))
        if separate_T1:
            self.__dict__["parameters"] = (*self.parameters, _T1S)

    lineshape: Lineshape
    saturation: Saturation
    separate_T1: bool

    @property
    def _table(self) -> SaturationTable | GeneralizedBlochTable:
        """Saturation of the semi-solid pool over the sequence's pulses and the ranges of T2s and B1."""
        sequence = self.sequence
        durations = np.append(sequence.pulse_duration, sequence.inversion_duration)
        t2s, b1 = (self.parameters[column].bounds for column in (4, 6))
        x = float(durations.min() / t2s[1]), float(durations.max() / t2s[0])
        if self.saturation == "graham":
            return saturation_table(self.lineshape, *x)
        return generalized_bloch_table(self.lineshape, *x, b1[1] * max(np.pi, float(sequence.flip_angle.max())))

    def _simulate(
        self, theta: FloatArray, derivatives: bool, basis: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        return simulate(theta, self.sequence, self._table, derivatives, basis)

    def _regular_point(self, theta: FloatArray, known: Sequence[str] = ()) -> tuple[FloatArray, FloatArray]:
        """Move off the points where a parameter vanishes from the signal.

        The derivatives by Rx, T2s and T1s are proportional to m0s near 0, those by T2s and T1s to Rx near 0: the
        bound of each grows as the inverse square. To first order in Rx the signal tells but the product Rx m0s (M0
        absorbs the rest of m0s), and only the second order tells the two apart, unless one is known.
        """
        where, factor = self._away_from_bands(theta)
        semi_solid = [4, 7] if self.separate_T1 else [4]
        where[:, 0] = np.maximum(theta[:, 0], _LEAST_M0S)
        where[:, 3] = np.maximum(theta[:, 3], _LEAST_RX)
        with np.errstate(divide="ignore", over="ignore"):
            by_m0s, by_rx = ((where[:, column] / theta[:, column]) ** 2 for column in (0, 3))
            factor[:, [3, *semi_solid]] *= by_m0s[:, None]
            factor[:, semi_solid] *= by_rx[:, None]
            factor[:, 0] *= by_rx if "Rx" in known else by_rx**2
            if "m0s" not in known:
                factor[:, 3] *= by_rx
        return where, factor
