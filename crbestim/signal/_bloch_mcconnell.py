"""Two-pool magnetisation transfer with the full dynamics of the free pool and finite pulses: the reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from .._validation import FloatArray
from ._base import SignalModel
from ._mt_hybrid_state import MTHybridStateModel, Saturation
from ._saturation import Lineshape
from ._sequence import PulseSequence

_CHUNK_BYTES = 2**27
_INTERVAL_BYTES = 12 * 25 * 8  # a dozen matrices for each interval of a voxel
_STEP = 1e-5  # of the central differences, as a fraction of a parameter's scale


@dataclass(frozen=True, init=False)
class BlochMcConnellModel(SignalModel):
    r"""Free and semi-solid pool under a periodic pulse train, without the hybrid-state approximation.

    The free pool has all three components, pulses have their length, and off-resonance, relaxation and exchange go
    on while they last. In the frame of pulse t, which turns z towards x with :math:`\omega_1 = B_1 \alpha_t/\tau_t`
    (0 between pulses),

    .. math::
        \dot x &= -R_2^f x - B_0 y + \omega_1 z, \qquad \dot y = B_0 x - R_2^f y \\
        \dot z &= -\omega_1 x - (R_1 + R_x m_0^s) z + R_x m_0^f z^s + m_0^f R_1 \\
        \dot z^s &= R_x m_0^s z - (R_1 + R_x m_0^f) z^s + m_0^s R_1 .

    A pulse is the matrix exponential of these equations over its first half, the multiplication of :math:`z^s` by
    the saturation factor a of the whole pulse, which can be negative, and the same exponential again. With Graham's
    rate in the equations instead, the signal changes by less than 5e-4 over the paper's prior. The signal is x + iy
    at the echoes in the exact periodic steady state, in the frame of the last pulse. It takes some 30 ms a voxel and
    tells the error of `MTHybridStateModel`.

    Parameters
    ----------
    sequence : PulseSequence, optional
        By default the built-in one, `PulseSequence.default`.
    lineshape, saturation : str
        As for `MTHybridStateModel`.

    Attributes
    ----------
    parameters : tuple of Parameter
        Those of `MTHybridStateModel`.

    Raises
    ------
    TypeError, ValueError
        As `MTHybridStateModel`.

    Notes
    -----
    The inversion pulse takes its duration in addition to the T repetition times, and stands between crushers that
    turn the transversal magnetisation by the same angle :math:`\phi` before and after it. Of its matrix R the mean
    over :math:`\phi` leaves :math:`R_{+-}` (the spin echo) and the longitudinal part,

    .. math:: x' = \tfrac12 (R_{xx} - R_{yy})\, x, \qquad y' = -\tfrac12 (R_{xx} - R_{yy})\, y .

    Derivatives are central differences with steps of 1e-5 of T1, T2f and T2s, of m0s and B1 or 1, of Rx or 1/s, and
    of 0.1 pi/TR for B0, and good to about six digits. At the end of a parameter's range the difference is one-sided,
    and its error of first order in the step. Where a parameter vanishes from the signal, `crb` does not take the
    limit.

    Unlike the hybrid state's, the signal tells the sign of B0: :math:`s(-B_0) = s(B_0)^*`.

    References
    ----------
    H. M. McConnell, Reaction rates by nuclear magnetic resonance, J. Chem. Phys. 28, 1958.
    S. J. Graham and R. M. Henkelman, Understanding pulsed magnetization transfer, J. Magn. Reson. Imaging 7, 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import BlochMcConnellModel, MTBlochModel, PulseSequence
    >>> flip_angle = 0.3 + 0.2 * np.sin(np.linspace(0, 6, 40))
    >>> train = PulseSequence(flip_angle, np.full(40, 0.3e-3), repetition_time=3.5e-3, inversion_duration=0.5e-3)
    >>> theta = [[0.15, 1.2, 0.08, 30.0, 1e-5, 100.0, 1.0]]  # m0s, T1, T2f, Rx, T2s, B0, B1
    >>> exact, fast = BlochMcConnellModel(train).signal(theta), MTBlochModel(train).signal(theta)
    >>> exact.shape
    (1, 40)
    >>> bool(np.linalg.norm(fast - exact) / np.linalg.norm(exact) < 0.01)
    True
    """

    sequence: PulseSequence
    lineshape: Lineshape
    saturation: Saturation

    parameters = MTHybridStateModel.parameters
    default_targets = MTHybridStateModel.default_targets
    not_above = MTHybridStateModel.not_above

    def __init__(
        self,
        sequence: PulseSequence | None = None,
        lineshape: Lineshape = "super-lorentzian",
        saturation: Saturation = "graham",
    ) -> None:
        checked = MTHybridStateModel(sequence, lineshape, saturation)
        for name in ("sequence", "lineshape", "saturation"):
            object.__setattr__(self, name, getattr(checked, name))

    @property
    def n_timepoints(self) -> int:
        """Number of echoes T of a cycle."""
        return self.sequence.n_pulses

    def _signal(self, theta: FloatArray) -> NDArray:
        step = max(1, _CHUNK_BYTES // (_INTERVAL_BYTES * self.n_timepoints))
        return np.concatenate([self._simulate(theta[start : start + step]) for start in range(0, len(theta), step)])

    def _jacobian(self, theta: FloatArray) -> NDArray:
        columns = []
        for column, (low, high) in enumerate(self._differences(theta)):
            ends = self._signal(np.concatenate([low, high]))
            columns.append((ends[len(theta) :] - ends[: len(theta)]) / (high - low)[:, column, None])
        return np.stack(columns, axis=2)

    def _differences(self, theta: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yield for each parameter theta with one step down and one up, both within the range."""
        scale = np.maximum(theta, [1, 0, 0, 1, 0, 0, 1])
        scale[:, 5] = 0.1 * np.pi / self.sequence.repetition_time
        least, most = np.array([parameter.bounds for parameter in self.parameters]).T
        least, most = np.maximum(theta - _STEP * scale, least), np.minimum(theta + _STEP * scale, most)
        least[:, 1], most[:, 2] = np.maximum(least[:, 1], theta[:, 2]), np.minimum(most[:, 2], theta[:, 1])
        no_room = least[:, 1] == most[:, 1]  # T1 = T2f at the end of the range: a step beyond it
        most[no_room, 1] *= 1 + _STEP
        for column in range(theta.shape[1]):
            low, high = theta.copy(), theta.copy()
            low[:, column], high[:, column] = least[:, column], most[:, column]
            yield low, high

    def _simulate(self, theta: FloatArray) -> NDArray:
        maps, inversion = self._maps(theta)
        since_start = np.broadcast_to(np.eye(5), (len(theta), 5, 5))
        echoes = np.empty((len(theta), len(maps), 5), dtype=np.complex128)
        for t, interval in enumerate(maps):
            since_start = interval @ since_start
            echoes[:, t] = since_start[:, 0] + 1j * since_start[:, 1]
        cycle = inversion @ since_start
        start = np.linalg.solve(np.eye(4) - cycle[:, :4, :4], cycle[:, :4, 4:])
        return echoes[:, :, 4] + (echoes[:, :, :4] @ start)[:, :, 0]

    def _maps(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Affine maps of (x, y, z, z^s, 1): of every interval, (T, n, 5, 5), and of the inversion, (n, 5, 5)."""
        sequence = self.sequence
        flip = np.append(sequence.flip_angle, np.pi)[:, None] * theta[:, 6]
        duration = np.append(sequence.pulse_duration, sequence.inversion_duration)[:, None]
        half = expm(_generator(theta, flip / duration) * duration[:, :, None, None] / 2)
        table = MTHybridStateModel(sequence, self.lineshape, self.saturation)._table
        saturate = np.ones((*flip.shape, 5))
        saturate[:, :, 3] = table.factor(flip, duration / theta[:, 4])
        pulses = half @ (saturate[..., None] * half)
        free = _free_precession(theta, (sequence.repetition_time - duration[:-1]) / 2)
        next_frame = np.array([-1, -1, 1, 1, 1])  # the RF phase alternates by pi
        return free @ pulses[:-1] @ (free * next_frame), _between_crushers(pulses[-1])


def _generator(theta: FloatArray, omega: FloatArray) -> FloatArray:
    """Matrix of the equations of (x, y, z, z^s, 1), (T, n, 5, 5), for omega_1 (T, n), without saturation."""
    m0s, T1, T2f, Rx, _, B0, _ = theta.T
    generator = np.zeros((*omega.shape, 5, 5))
    generator[..., 0, 0] = generator[..., 1, 1] = -1 / T2f
    generator[..., 0, 1], generator[..., 1, 0] = -B0, B0
    generator[..., 0, 2], generator[..., 2, 0] = omega, -omega
    generator[..., 2, 2], generator[..., 2, 3] = -1 / T1 - Rx * m0s, Rx * (1 - m0s)
    generator[..., 3, 2], generator[..., 3, 3] = Rx * m0s, -1 / T1 - Rx * (1 - m0s)
    generator[..., 2, 4], generator[..., 3, 4] = (1 - m0s) / T1, m0s / T1
    return generator


def _free_precession(theta: FloatArray, time: FloatArray) -> FloatArray:
    """Exponential of the equations without a pulse, (T, n, 5, 5), over times (T, 1)."""
    m0s, T1, T2f, Rx, _, B0, _ = theta.T
    turned = np.exp((1j * B0 - 1 / T2f) * time)
    kept, exchanged = np.exp(-time / T1), -np.expm1(-Rx * time)
    free = np.zeros((*turned.shape, 5, 5))
    free[..., 0, 0] = free[..., 1, 1] = turned.real
    free[..., 1, 0], free[..., 0, 1] = turned.imag, -turned.imag
    free[..., 2, 2], free[..., 2, 3] = kept * (1 - exchanged * m0s), kept * exchanged * (1 - m0s)
    free[..., 3, 2], free[..., 3, 3] = kept * exchanged * m0s, kept * (1 - exchanged * (1 - m0s))
    free[..., 2, 4], free[..., 3, 4] = (1 - kept) * (1 - m0s), (1 - kept) * m0s
    free[..., 4, 4] = 1
    return free


def _between_crushers(pulse: FloatArray) -> FloatArray:
    """Mean of a pulse about y, (n, 5, 5), over equal turns about z before and after it."""
    crushed = pulse.copy()
    crushed[:, :2, :], crushed[:, :, :2] = 0, 0
    # The xy elements of such a pulse are antisymmetric and cancel.
    crushed[:, 0, 0] = (pulse[:, 0, 0] - pulse[:, 1, 1]) / 2
    crushed[:, 1, 1] = -crushed[:, 0, 0]
    return crushed
