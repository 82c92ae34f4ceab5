"""Two-pool magnetisation transfer in the hybrid state."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray
from ._base import Parameter, SignalModel
from ._mt_kernel import simulate
from ._saturation import LINESHAPES, Lineshape, saturation_table
from ._sequence import PulseSequence

# Where a parameter vanishes from the signal, the bound is the limit; it is evaluated this far off.
_LEAST_B0 = 1e-3  # of pi / TR
_LEAST_M0S = 1e-4
_LEAST_RX = 1e-2  # 1/s
# Closer to a stop band (fraction of pi / TR), or below this B1, the signal is zero and nothing is encoded.
_NO_SIGNAL = 1e-6


class MTHybridStateModel(SignalModel):
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
    saturation : {"graham"}, default="graham"
        How a pulse saturates the semi-solid pool: Graham's first-order rate.

    Attributes
    ----------
    parameters : tuple of Parameter
        m0s (fractional size of the semi-solid pool), T1 (s), T2f (s), Rx (exchange rate, 1/s), T2s (s), B0
        (off-resonance, rad/s), B1 (relative to nominal).

    Raises
    ------
    TypeError
        If `sequence` is no PulseSequence.
    ValueError
        If `lineshape` or `saturation` is unknown.

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
        saturation: str = "graham",
    ) -> None:
        sequence = PulseSequence.default() if sequence is None else sequence
        if not isinstance(sequence, PulseSequence):
            raise TypeError(f"sequence must be a PulseSequence; got {type(sequence).__name__}.")
        if lineshape not in LINESHAPES:
            raise ValueError(f"lineshape must be one of {list(get_args(Lineshape))}; got {lineshape!r}.")
        if saturation != "graham":
            raise ValueError(f"saturation must be 'graham'; got {saturation!r}.")
        shortest = min(sequence.pulse_duration.min(), sequence.inversion_duration)
        longest = max(sequence.pulse_duration.max(), sequence.inversion_duration)
        least, most = self.parameters[4].bounds
        attributes = {
            "sequence": sequence,
            "lineshape": lineshape,
            "saturation": saturation,
            "_table": saturation_table(lineshape, float(shortest / most), float(longest / least)),
        }
        self.__dict__.update(attributes)

    sequence: PulseSequence
    lineshape: Lineshape
    saturation: str

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; make a new one instead of setting {name!r}.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; {name!r} cannot be deleted.")

    def __repr__(self) -> str:
        return f"MTHybridStateModel({self.sequence!r}, {self.lineshape!r}, {self.saturation!r})"

    @property
    def n_timepoints(self) -> int:
        """Number of echoes T of a cycle."""
        return self.sequence.n_pulses

    def _signal(self, theta: FloatArray) -> NDArray:
        return self._simulate(theta, derivatives=False)[0]

    def _jacobian(self, theta: FloatArray) -> NDArray:
        return self._simulate(theta, derivatives=True)[1]

    def _signal_and_jacobian(self, theta: FloatArray) -> tuple[NDArray, NDArray]:
        return self._simulate(theta, derivatives=True)

    def _simulate(self, theta: FloatArray, derivatives: bool) -> tuple[NDArray, NDArray]:
        sequence = self.sequence
        return simulate(
            theta,
            sequence.flip_angle,
            sequence.pulse_duration,
            sequence.polar_angle,
            sequence.repetition_time,
            sequence.inversion_duration,
            self.__dict__["_table"],
            derivatives,
        )

    def _target_values(self, theta: FloatArray) -> FloatArray:
        folded = theta.copy()
        folded[:, 5] = self._fold(theta[:, 5])
        return folded

    def _fold(self, b0: FloatArray) -> FloatArray:
        """Fold B0 [rad/s] into [0, pi/TR], where alone it is identifiable."""
        period = 2 * np.pi / self.sequence.repetition_time
        rest = np.mod(b0, period)
        return np.minimum(rest, period - rest)

    def _regular_point(self, theta: FloatArray, known: Sequence[str] = ()) -> tuple[FloatArray, FloatArray]:
        """Move off the points where a parameter vanishes from the signal.

        The derivative by B0 is proportional to B0 near 0, those by Rx and T2s to m0s near 0, that by T2s to Rx near
        0: the bound of each grows as the inverse square. To first order in Rx the signal tells but the product
        Rx m0s (M0 absorbs the rest of m0s), and only the second order tells the two apart, unless one is known. At
        the stop bands and at B1 = 0 the signal itself vanishes, and every bound with it is inf.
        """
        band = np.pi / self.sequence.repetition_time
        where = theta.copy()
        factor = np.ones_like(theta)
        b0 = self._fold(theta[:, 5])
        where[:, 5] = np.maximum(b0, _LEAST_B0 * band)
        where[:, 0] = np.maximum(theta[:, 0], _LEAST_M0S)
        where[:, 3] = np.maximum(theta[:, 3], _LEAST_RX)
        with np.errstate(divide="ignore", over="ignore"):
            by_b0, by_m0s, by_rx = (
                (where[:, column] / value) ** 2 for column, value in ((5, b0), (0, theta[:, 0]), (3, theta[:, 3]))
            )
        factor[:, 5] *= by_b0
        factor[:, [3, 4]] *= by_m0s[:, None]
        factor[:, 4] *= by_rx
        with np.errstate(over="ignore"):
            factor[:, 0] *= by_rx if "Rx" in known else by_rx**2
        if "m0s" not in known:
            factor[:, 3] *= by_rx
        silent = (band - b0 < _NO_SIGNAL * band) | (theta[:, 6] < _NO_SIGNAL)
        where[silent, 5] = np.minimum(where[silent, 5], (1 - _NO_SIGNAL) * band)
        where[silent, 6] = np.maximum(where[silent, 6], _NO_SIGNAL)
        factor[silent] = np.inf
        return where, factor
