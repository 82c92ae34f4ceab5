"""What the models of magnetisation transfer share: parameters, saturation, and where a parameter vanishes."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from .._validation import FloatArray, check_option
from ._generalized_bloch import GeneralizedBlochTable, generalized_bloch_table
from ._parameter import Parameter
from ._saturation import LINESHAPES, Lineshape, SaturationTable, saturation_table
from ._sequence import PulseSequence
from ._sequence_model import SequenceModel

Saturation = Literal["graham", "generalized-bloch"]

# Where a parameter vanishes from the signal, the bound is the limit; it is evaluated this far off.
_LEAST_M0S = 1e-4
LEAST_RX = 1e-2  # 1/s

_SHORTEST_PULSE = 1e-5  # s, that the saturation table holds at least


class TwoPoolModel(SequenceModel):
    """Free and semi-solid pool under a periodic pulse train.

    Parameters
    ----------
    sequence : PulseSequence or None
        The pulse train; None is the built-in one.
    lineshape : {"super-lorentzian", "lorentzian", "gaussian"}
        Of the semi-solid pool.
    saturation : {"graham", "generalized-bloch"}
        How a pulse saturates the semi-solid pool.
    **options : object
        Further attributes.

    Raises
    ------
    TypeError
        If `sequence` is no PulseSequence.
    ValueError
        If `lineshape` or `saturation` is none of the above.
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

    lineshape: Lineshape
    saturation: Saturation

    def __init__(
        self, sequence: PulseSequence | None, lineshape: Lineshape, saturation: Saturation, **options: object
    ) -> None:
        check_option(lineshape, "lineshape", LINESHAPES)
        check_option(saturation, "saturation", get_args(Saturation))
        super().__init__(sequence, lineshape=lineshape, saturation=saturation, **options)

    @property
    def _table(self) -> SaturationTable | GeneralizedBlochTable:
        """Saturation of the semi-solid pool for pulses up to TR, over the ranges of T2s and B1."""
        sequence = self.sequence
        t2s, b1 = (self.parameters[column].bounds for column in (4, 6))
        shortest = min(float(sequence.pulse_duration.min()), sequence.inversion_duration, _SHORTEST_PULSE)
        x = shortest / t2s[1], sequence.repetition_time / t2s[0]
        if self.saturation == "graham":
            return saturation_table(self.lineshape, *x)
        half_turns = max(1.0, np.ceil(sequence.flip_angle.max() / np.pi))  # so that few trains need another table
        return generalized_bloch_table(self.lineshape, *x, b1[1] * np.pi * half_turns)


def away_from_no_transfer(
    names: Sequence[str], theta: FloatArray, where: FloatArray, factor: FloatArray, known: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """Move off m0s = 0 and Rx = 0, where others vanish from the signal with them.

    The derivatives by Rx, T2s and T1s are proportional to m0s near 0, those by T2s and T1s to Rx near 0: the bound of
    each grows as the inverse square. To first order in Rx the signal tells but the product Rx m0s (M0 absorbs the rest
    of m0s), and only the second order tells the two apart, unless one is known.

    Takes the names of theta's columns and the known ones; takes and returns where the bound is evaluated, and the
    factor on the bounds, both (n, P).
    """
    m0s, rx = names.index("m0s"), names.index("Rx")
    semi_solid = [column for column, name in enumerate(names) if name in ("T2s", "T1s")]
    where[:, m0s] = np.maximum(theta[:, m0s], _LEAST_M0S)
    where[:, rx] = np.maximum(theta[:, rx], LEAST_RX)
    with np.errstate(divide="ignore", over="ignore"):
        by_m0s, by_rx = ((where[:, column] / theta[:, column]) ** 2 for column in (m0s, rx))
        factor[:, [rx, *semi_solid]] *= by_m0s[:, None]
        factor[:, semi_solid] *= by_rx[:, None]
        factor[:, m0s] *= by_rx if "Rx" in known else by_rx**2
        if "m0s" not in known:
            factor[:, rx] *= by_rx
    return where, factor
