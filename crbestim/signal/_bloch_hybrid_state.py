"""A single pool in the hybrid state."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from .._validation import FloatArray
from ._hybrid_state import HybridStateModel
from ._mt_bloch import MTBlochModel
from ._parameter import Parameter
from ._saturation import SaturationTable, saturation_table
from ._sequence import PulseSequence
from ._single_pool_kernel import simulate

_ANY_T2S = 1e-5  # of a semi-solid pool of size zero


class BlochHybridStateModel(HybridStateModel):
    r"""A single pool under a periodic pulse train that keeps it in the hybrid state.

    The magnetisation has length r along the axis of polar angle v, which B0, B1 and the nominal angle
    :math:`\vartheta` of the sequence give as in `MTHybridStateModel`. Between pulses

    .. math:: \dot r = -[\cos^2 v\, R_1 + \sin^2 v\, R_2] r + \cos v\, R_1,

    and the signal at an echo is :math:`M_0 r \sin v` in the exact periodic steady state: the limit
    :math:`m_0^s = 0`, :math:`R_x = 0` of the two-pool model. Derivatives are analytic.

    Parameters
    ----------
    sequence : PulseSequence, optional
        By default the built-in one, `PulseSequence.default`. The durations of its pulses play no role.

    Attributes
    ----------
    parameters : tuple of Parameter
        T1 (s), T2 (s), B0 (off-resonance, rad/s), B1 (relative to nominal).

    Raises
    ------
    TypeError
        If `sequence` is no PulseSequence.

    Notes
    -----
    As for `MTHybridStateModel`, only the fold of B0 into :math:`[0, \pi/T_R]` is identifiable; `target_values`
    returns it.

    References
    ----------
    J. Assländer et al., Hybrid-state free precession in nuclear magnetic resonance, Commun. Phys. 2, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import BlochHybridStateModel, PulseSequence
    >>> phase = np.linspace(0, 1, 300)
    >>> train = PulseSequence(0.1 + 0.9 * np.sin(3 * np.pi * phase) ** 2, np.full(300, 0.3e-3), 3.5e-3, 0.5e-3)
    >>> model = BlochHybridStateModel(train)
    >>> model.parameter_names
    ('T1', 'T2', 'B0', 'B1')
    >>> theta = [[1.2, 0.08, 0.0, 1.0]]
    >>> model.signal(theta).shape
    (1, 300)
    >>> bound = model.crb(theta, known=("B0", "B1"))  # of T1 and T2, with measured maps of the fields
    >>> bool((bound < model.crb(theta)).all())
    True
    """

    parameters = (
        Parameter("T1", r"T_1", "s", (0.0, 30.0), closed="right"),
        Parameter("T2", r"T_2", "s", (0.0, 30.0), closed="right"),
        Parameter("B0", r"B_0", "rad/s", (-np.inf, np.inf), closed="neither"),
        Parameter("B1", r"B_1 / B_1^\mathrm{nominal}", "1", (0.0, 3.0)),
    )
    default_targets = ("T1", "T2")
    not_above = MappingProxyType({"T2": "T1"})

    def __init__(self, sequence: PulseSequence | None = None) -> None:
        super().__init__(sequence)

    def _simulate(
        self, theta: FloatArray, derivatives: bool, basis: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        return simulate(theta, self.sequence, derivatives, basis)

    @property
    def _table(self) -> SaturationTable:
        durations = np.append(self.sequence.pulse_duration, self.sequence.inversion_duration)
        return saturation_table("gaussian", float(durations.min() / _ANY_T2S), float(durations.max() / _ANY_T2S))

    def _two_pools(self, theta: Tensor) -> Tensor:
        T1, T2, B0, B1 = theta.unbind(1)
        none = torch.zeros_like(T1)
        return torch.stack([none, T1, T2, none, torch.full_like(T1, _ANY_T2S), B0, B1], dim=1)

    def _rotating(self, theta: FloatArray) -> tuple[MTBlochModel, FloatArray]:
        return MTBlochModel(self.sequence), self._two_pools(torch.from_numpy(theta)).numpy()

    def _regular_point(self, theta: FloatArray, known: Sequence[str] = ()) -> tuple[FloatArray, FloatArray]:
        return self._away_from_bands(theta)
