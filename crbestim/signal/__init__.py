"""Signal models: signal and Jacobian of a measurement."""

from ._base import SignalModel
from ._bloch_hybrid_state import BlochHybridStateModel
from ._bloch_mcconnell import BlochMcConnellModel
from ._function_model import FunctionModel
from ._inversion_recovery import InversionRecoveryModel
from ._inversion_recovery_mt import InversionRecoveryMTModel
from ._mono_exponential import MonoExponentialModel
from ._mt_bloch import MTBlochModel
from ._mt_hybrid_state import MTHybridStateModel
from ._multi_echo_gradient_echo import MultiEchoGradientEchoModel
from ._parameter import Parameter
from ._sequence import PulseSequence
from ._variable_flip_angle import VariableFlipAngleModel

__all__ = [
    "BlochHybridStateModel",
    "BlochMcConnellModel",
    "FunctionModel",
    "InversionRecoveryMTModel",
    "InversionRecoveryModel",
    "MTBlochModel",
    "MTHybridStateModel",
    "MonoExponentialModel",
    "MultiEchoGradientEchoModel",
    "Parameter",
    "PulseSequence",
    "SignalModel",
    "VariableFlipAngleModel",
]
