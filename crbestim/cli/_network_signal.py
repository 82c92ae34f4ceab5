"""Signal model and prior of a trained network."""

from __future__ import annotations

import argparse
from typing import Any

from ..datasets import Prior
from ..pretrained import PretrainedPipeline
from ..signal import PulseSequence, SignalModel
from ._model_file import made_by
from ._signal_options import model_maker_of, prior_of, times_of


def signal_of_network(options: argparse.Namespace, pipeline: PretrainedPipeline) -> tuple[SignalModel, Prior]:
    """Return signal model and prior of a network; those that its file cannot tell, from the options.

    Raises
    ------
    ValueError
        If the file tells them and they are given, or neither is the case, or they do not fit the network.
    """
    if options.sequence is not None or times_of(options):
        raise ValueError("--model brings its pulse train; leave out --sequence.")
    prior = _of_network("prior", pipeline.prior_, prior_of(options))
    if pipeline.model_ is not None or options.signal_model is None:
        return _of_network("signal-model", pipeline.model_, options.signal_model), prior
    make = model_maker_of(options)
    sequence = pipeline.sequence_ or PulseSequence.default()
    model = make if isinstance(make, SignalModel) else made_by(make, sequence, options.signal_model)
    described = pipeline.header_["model"]
    names = list(model.parameter_names)
    if described is not None and names != described["parameters"]:
        raise ValueError(f"--signal-model has the parameters {names}; the network's has {described['parameters']}.")
    if model.n_timepoints != pipeline[0].n_features_in_:
        raise ValueError(
            f"--signal-model has {model.n_timepoints} time points; the network's has {pipeline[0].n_features_in_}."
        )
    return model, prior


def _of_network(name: str, own: Any, given: Any) -> Any:
    if own is not None and given is not None:
        raise ValueError(f"--model brings its own {name}; leave out --{name}.")
    if own is None and given is None:
        raise ValueError(f"--model: its file cannot tell the {name}; give it by --{name}.")
    return given if own is None else own
