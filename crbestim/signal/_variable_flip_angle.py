"""Spoiled gradient echo at several flip angles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray, check_repetition_time
from ._parameter import Parameter
from ._protocol import ProtocolModel, magnitude, protocol_values


@dataclass(frozen=True)
class VariableFlipAngleModel(ProtocolModel):
    r"""Steady state of a spoiled gradient echo (Ernst's formula) at several flip angles.

    .. math:: s_t = \sin(B_1 \alpha_t)\, \frac{1 - E_1}{1 - E_1 \cos(B_1 \alpha_t)}, \quad E_1 = e^{-T_R/T_1}

    Parameters
    ----------
    flip_angles : sequence of float of length T
        Nominal flip angles in rad.
    repetition_time : float
        TR in s.
    data : {"complex", "magnitude"}, default="complex"
        Whether the data are complex, or real magnitudes with a positive M0 and Gaussian noise.

    Attributes
    ----------
    parameters : tuple of Parameter
        ``T1`` in s, and ``B1`` over its nominal value.

    Raises
    ------
    TypeError, ValueError
        If the angles are not finite and not negative, TR is not positive, or `data` is neither.

    Notes
    -----
    For small angles the signal depends on :math:`B_1^2\, T_1` alone, so that T1 can hardly be told without a measured
    B1: pass ``known=("B1",)`` to the bound, to data and to fits.

    References
    ----------
    R. R. Ernst and W. A. Anderson, Application of Fourier transform spectroscopy to magnetic resonance, Rev. Sci.
    Instrum. 37, 1966.

    Examples
    --------
    >>> import numpy as np
    >>> model = VariableFlipAngleModel(np.deg2rad([2, 5, 10, 15, 20]), repetition_time=5e-3)
    >>> np.sqrt(model.crb([[1.0, 1.0]]) / 500**2).round(2)  # s, at an SNR_max of 500
    array([[13.15]])
    >>> np.sqrt(model.crb([[1.0, 1.0]], known="B1") / 500**2).round(2)
    array([[0.09]])
    """

    flip_angles: tuple[float, ...]
    repetition_time: float
    data: Literal["complex", "magnitude"] = "complex"

    parameters = (
        Parameter("T1", "T_1", "s", (0.0, 30.0), closed="right"),
        Parameter("B1", r"B_1 / B_1^\mathrm{nominal}", "1", (0.0, 3.0), closed="right"),
    )
    default_targets = ("T1",)

    def __post_init__(self) -> None:
        flip_angles = protocol_values(self.flip_angles, "flip_angles", unit="rad", most=2 * np.pi)
        object.__setattr__(self, "flip_angles", flip_angles)
        repetition_time = check_repetition_time(self.repetition_time)
        object.__setattr__(self, "repetition_time", repetition_time)
        self._check_data("complex", "magnitude")

    @property
    def n_timepoints(self) -> int:
        """Number of flip angles T."""
        return len(self.flip_angles)

    def _signal_and_jacobian(self, theta: FloatArray) -> tuple[NDArray, NDArray]:
        nominal, rate = np.array(self.flip_angles), self.repetition_time / theta[:, :1]
        E1, recovered = np.exp(-rate), -np.expm1(-rate)
        sin, cos = np.sin(theta[:, 1:] * nominal), np.cos(theta[:, 1:] * nominal)
        denominator = 1 - E1 * cos
        signal = sin * recovered / denominator
        by_T1 = sin * (cos - 1) / denominator**2 * E1 * rate / theta[:, :1]
        by_B1 = nominal * recovered * (cos - E1) / denominator**2
        jacobian = np.stack([by_T1, by_B1], axis=2)
        return magnitude(signal, jacobian) if self.data == "magnitude" else (signal, jacobian)
