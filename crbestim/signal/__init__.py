"""Signal models: signal and Jacobian of a pulse sequence."""

from ._base import Parameter, SignalModel
from ._mt_hybrid_state import MTHybridStateModel
from ._sequence import PulseSequence

__all__ = ["MTHybridStateModel", "Parameter", "PulseSequence", "SignalModel"]
