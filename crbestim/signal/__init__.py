"""Signal models: signal and Jacobian of a pulse sequence."""

from ._base import Parameter, SignalModel
from ._bloch_hybrid_state import BlochHybridStateModel
from ._bloch_mcconnell import BlochMcConnellModel
from ._function_model import FunctionModel
from ._mt_bloch import MTBlochModel
from ._mt_hybrid_state import MTHybridStateModel
from ._sequence import PulseSequence

__all__ = [
    "BlochHybridStateModel",
    "BlochMcConnellModel",
    "FunctionModel",
    "MTBlochModel",
    "MTHybridStateModel",
    "Parameter",
    "PulseSequence",
    "SignalModel",
]
