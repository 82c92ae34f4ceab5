"""Two-pool magnetisation transfer in the hybrid state."""

from __future__ import annotations

from collections.abc import Sequence

from .._validation import FloatArray, check_option
from ._hybrid_state import HybridStateModel
from ._mt_bloch import MTBlochModel
from ._parameter import Parameter
from ._saturation import Lineshape
from ._sequence import PulseSequence
from ._two_pool_kernel import simulate
from ._two_pool_model import Saturation as Saturation
from ._two_pool_model import TwoPoolModel, away_from_no_transfer

_T1S = Parameter("T1s", r"T_1^s", "s", (0.0, 30.0), closed="right")


class MTHybridStateModel(TwoPoolModel, HybridStateModel):
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

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from crbestim import MTHybridStateModel
    >>> model = MTHybridStateModel()
    >>> tissue = {"m0s": 0.15, "T1": 1.2, "T2f": 0.08, "Rx": 30.0, "T2s": 1e-5, "B0": 100.0, "B1": 1.0}
    >>> theta = pd.DataFrame([tissue])
    >>> model.signal(theta).shape, model.jacobian(theta).shape
    ((1, 1141), (1, 1141, 7))
    >>> least_std = np.sqrt(model.crb(theta, targets=("m0s", "T1", "T2f")) / 50**2)  # at an SNR_max of 50
    >>> least_std.round(3)
    array([[0.029, 0.049, 0.003]])
    >>> fold = model.target_values(theta.assign(B0=-100.0), targets="B0")  # the signal does not tell the sign
    >>> fold.round(6).tolist()
    [[100.0]]
    """

    separate_T1: bool

    def __init__(
        self,
        sequence: PulseSequence | None = None,
        lineshape: Lineshape = "super-lorentzian",
        saturation: Saturation = "graham",
        separate_T1: bool = False,
    ) -> None:
        check_option(separate_T1, "separate_T1", (False, True))
        super().__init__(sequence, lineshape, saturation, separate_T1=bool(separate_T1))
        if separate_T1:
            self.__dict__["parameters"] = (*self.parameters, _T1S)

    def _simulate(
        self, theta: FloatArray, derivatives: bool, basis: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        return simulate(theta, self.sequence, self._table, derivatives, basis)

    def _rotating(self, theta: FloatArray) -> tuple[MTBlochModel, FloatArray]:
        if self.separate_T1:
            raise ValueError("model must have one T1: MTBlochModel, to which it is compared, has no other.")
        return MTBlochModel(self.sequence, self.lineshape, self.saturation), theta

    def _regular_point(self, theta: FloatArray, known: Sequence[str] = ()) -> tuple[FloatArray, FloatArray]:
        return away_from_no_transfer(self.parameter_names, theta, *self._away_from_bands(theta), known)
