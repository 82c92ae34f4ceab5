"""Every kind of signal model with a prior, for the tests that each of them must pass."""

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import stats
from tissues import BAND, TR

from crbestim import (
    BlochHybridStateModel,
    BlochMcConnellModel,
    FunctionModel,
    InversionRecoveryModel,
    InversionRecoveryMTModel,
    MonoExponentialModel,
    MTBlochModel,
    MTHybridStateModel,
    MultiEchoGradientEchoModel,
    Parameter,
    Prior,
    PulseSequence,
    SignalModel,
    VariableFlipAngleModel,
)

T1 = Parameter("T1", "T_1", "s", (0.0, 30.0), closed="right")
T2 = Parameter("T2", "T_2", "s", (0.0, 30.0), closed="right")
PHASE = np.linspace(0, 1, 60)
TRAIN = PulseSequence(
    0.5 + 0.48 * np.sin(2 * np.pi * PHASE) * np.cos(4 * PHASE),
    5e-5 * np.round(6 - 4 * np.cos(3 * np.pi * PHASE)),
    TR,
    inversion_duration=5e-4,
)
SHORT_TRAIN = PulseSequence(TRAIN.flip_angle[::10], TRAIN.pulse_duration[::10], TR, inversion_duration=5e-4)
RECOVERY = (0.05, 0.1, 0.2, 0.4, 1.2, 2.0, 4.0)  # no time near the zero of the signals below
ECHOES = torch.linspace(0.01, 0.3, 12, dtype=torch.float64)
DURATIONS, INVERSION_TIMES = np.meshgrid([25e-6, 0.1e-3, 1e-3], np.geomspace(4e-3, 4.0, 10), indexing="ij")


def magnitude_decay(T2):
    return torch.exp(-ECHOES / T2)


def spin_echo_with_t1(T1, T2):
    return (1 - torch.exp(-0.5 / T1)) * torch.exp((30j - 1 / T2) * ECHOES) - 0.1 * torch.exp(-ECHOES / T1)


@dataclass(frozen=True)
class Saturation(SignalModel):
    """A model of one's own with an analytic Jacobian and real data."""

    times: tuple[float, ...]
    parameters = (T1,)
    real_valued = True

    @property
    def n_timepoints(self):
        return len(self.times)

    def _signal(self, theta):
        return 1 - np.exp(-np.array(self.times) / theta)

    def _jacobian(self, theta):
        times = np.array(self.times)
        return (-times / theta**2 * np.exp(-times / theta))[:, :, None]


@dataclass
class Case:
    """A model, the ranges of its uniform prior, and an SNR at which least squares is efficient."""

    model: SignalModel
    ranges: dict[str, tuple[float, float]]
    snr: float = 1e3
    known: tuple[str, ...] = field(default=())
    n_components: int = 4
    n_starts: int = 1

    @property
    def prior(self):
        return Prior({name: stats.uniform(low, high - low) for name, (low, high) in self.ranges.items()})

    @property
    def free(self):
        """Names of the parameters that are not known."""
        return tuple(name for name in self.model.parameter_names if name not in self.known)

    def draw(self, n, seed=0):
        """Rows of theta from the prior."""
        return self.prior.sample(n, random_state=seed)

    @property
    def truth(self):
        """The middle of the prior."""
        return np.array([[(low + high) / 2 for low, high in self.ranges.values()]])


ONE_POOL = {"T1": (0.8, 1.6), "T2": (0.06, 0.12), "B0": (0.1 * BAND, 0.4 * BAND), "B1": (0.85, 1.1)}
TWO_POOLS = {
    "m0s": (0.1, 0.2),
    "T1": (1.2, 2.0),
    "T2f": (0.06, 0.1),
    "Rx": (30.0, 60.0),
    "T2s": (8e-6, 12e-6),
    "B0": (0.1 * BAND, 0.4 * BAND),
    "B1": (0.85, 1.1),
}
EXCHANGE = {
    "m0s": (0.06, 0.14),
    "R1": (0.8, 1.4),
    "Rx": (40.0, 90.0),
    "T2s": (8e-6, 14e-6),
    "efficiency": (0.9, 1.0),
}
RELAXATION = {"T1": (0.8, 1.4), "efficiency": (0.9, 0.99)}

CASES = {
    "two pools, hybrid state": Case(MTHybridStateModel(TRAIN), TWO_POOLS, 1e6, n_components=9, n_starts=4),
    "two pools, Bloch": Case(MTBlochModel(TRAIN), TWO_POOLS, 1e6, n_components=9),
    "two pools, reference": Case(BlochMcConnellModel(SHORT_TRAIN), TWO_POOLS, 1e7, ("T1", "B0", "B1", "Rx", "T2s"), 4),
    "one pool, hybrid state": Case(BlochHybridStateModel(TRAIN), ONE_POOL, 1e6, n_components=6, n_starts=4),
    "mono-exponential": Case(MonoExponentialModel(np.arange(1, 13) * 0.02), {"T2": (0.05, 0.15)}),
    "mono-exponential, magnitude": Case(
        MonoExponentialModel(np.arange(1, 13) * 0.02, data="magnitude"), {"T2": (0.05, 0.15)}
    ),
    "inversion recovery": Case(InversionRecoveryModel(RECOVERY), RELAXATION),
    "inversion recovery, real": Case(InversionRecoveryModel(RECOVERY, repetition_time=5.0, data="real"), RELAXATION),
    "inversion recovery, magnitude": Case(InversionRecoveryModel(RECOVERY, data="magnitude"), RELAXATION),
    "multi-echo gradient echo": Case(
        MultiEchoGradientEchoModel(np.arange(1, 9) * 3e-3), {"T2star": (0.02, 0.06), "B0": (-400.0, 400.0)}
    ),
    "variable flip angle, known B1": Case(
        VariableFlipAngleModel(np.deg2rad([2, 4, 8, 14, 20]), 5e-3), {"T1": (0.8, 1.6), "B1": (0.8, 1.2)}, 3e3, ("B1",)
    ),
    "variable flip angle, magnitude": Case(
        VariableFlipAngleModel(np.deg2rad([2, 6, 14, 25]), 5e-3, data="magnitude"),
        {"T1": (0.8, 1.6), "B1": (0.8, 1.2)}, 3e3, ("B1",), 3,
    ),
    "inversion recovery with MT": Case(
        InversionRecoveryMTModel(INVERSION_TIMES.ravel(), DURATIONS.ravel()), EXCHANGE, 1e4, n_components=6
    ),
    "inversion recovery with MT, Graham": Case(
        InversionRecoveryMTModel(INVERSION_TIMES.ravel(), DURATIONS.ravel(), saturation="graham", data="real"),
        EXCHANGE, 1e5, n_components=6,
    ),
    "function, complex": Case(FunctionModel(spin_echo_with_t1, (T1, T2)), {"T1": (0.8, 1.6), "T2": (0.06, 0.12)}, 1e4),
    "function, real": Case(FunctionModel(magnitude_decay, (T2,)), {"T2": (0.05, 0.15)}),
    "subclass, real": Case(Saturation((0.2, 0.5, 1.0, 2.0, 4.0)), {"T1": (0.8, 1.6)}, n_components=3),
}  # fmt: skip
