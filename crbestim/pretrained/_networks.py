"""Torch networks as settings, which are plain values, and tensors of their weights."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from .._validation import check_finite
from ..nn import NETWORKS, FingerprintNetwork
from ._format import Arrays, take

Shape = tuple[int, int, int]  # numbers of inputs, outputs and covariates

_N_PROBES = 64


def _linear_range(network: Any) -> float | None:
    output = network.output  # None if outputs are linear, which is a range of inf, and no number in JSON
    return None if output is None else float(output.linear_range)


# How the keywords of the networks' constructors are read off a network.
_READ: dict[str, Callable[[Any], Any]] = {
    "width": lambda network: network.first.out_features,
    "n_blocks": lambda network: len(network.blocks),
    "linear_range": _linear_range,
}


def pack_network(network: FingerprintNetwork, shape: Shape, prefix: str) -> tuple[dict[str, Any], Arrays]:
    """Return name and settings of a network, without the numbers that follow from the data, and its weights.

    Raises
    ------
    TypeError
        If it is none of this package's networks, or there is something about it that a file does not hold.
    ValueError
        If a weight is NaN or infinite.
    """
    name = next((name for name, kind in NETWORKS.items() if type(network) is kind), None)
    if name is None:
        raise TypeError(
            f"pipeline has a network of type {type(network).__name__}; expected ResidualNetwork or PaperNetwork."
        )
    description = {"name": name} | {keyword: _READ[keyword](network) for keyword in _keywords(name)}
    arrays = {f"{prefix}.{entry}": value.cpu().numpy() for entry, value in network.state_dict().items()}
    for entry, array in arrays.items():
        check_finite(array, f"pipeline: {entry}")
    rebuilt = unpack_network(description, shape, arrays, prefix)
    probes = [torch.linspace(-1, 1, _N_PROBES * n).view(n, _N_PROBES).T.contiguous() for n in (shape[0], shape[2])]
    with torch.no_grad():
        both = copy.deepcopy(network).cpu().eval()(*probes), rebuilt(*probes)
        if not torch.allclose(*both, rtol=0, atol=0, equal_nan=True):
            raise TypeError(f"pipeline: its {type(network).__name__} was changed in a way that a file cannot hold.")
    return description, arrays


def unpack_network(description: dict[str, Any], shape: Shape, arrays: Arrays, prefix: str) -> FingerprintNetwork:
    """Build a network and give it its weights.

    Raises
    ------
    ValueError, TypeError
        If the description is none, or tensors do not fit it.
    """
    found = {name for name in arrays if name.startswith(f"{prefix}.")}
    name = description["name"]
    if name not in NETWORKS:
        raise ValueError(f"the network {name!r} is unknown")
    settings = {keyword: description[keyword] for keyword in _keywords(name)}
    _check_settings(settings, n_tensors=len(found))
    with torch.device("meta"):  # neither memory nor random numbers for weights that are replaced
        network = NETWORKS[name](*shape, **settings)
    expected = network.state_dict()
    unknown = sorted(found - {f"{prefix}.{entry}" for entry in expected})
    if unknown:
        raise ValueError(f"the network has no place for the tensor {unknown[0]!r}")
    weights = {
        entry: torch.tensor(take(arrays, f"{prefix}.{entry}", tuple(value.shape), "float32"))
        for entry, value in expected.items()
    }
    network.load_state_dict(weights, assign=True)
    return network.eval()


def network_parameter(description: dict[str, Any]) -> str | Callable[..., FingerprintNetwork]:
    """Return the regressor's parameter `network` that makes networks of this description."""
    name = description["name"]
    defaults = _keywords(name)
    settings = {keyword: description[keyword] for keyword in defaults}
    _check_settings(settings)
    return name if settings == defaults else partial(NETWORKS[name], **settings)


def _keywords(name: str) -> dict[str, Any]:
    """Return the settings of a kind of network, with their defaults."""
    parameters = inspect.signature(NETWORKS[name]).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def _check_settings(settings: dict[str, Any], n_tensors: float = math.inf) -> None:
    """Check the settings, each block having at least one tensor, and replace what stands for an infinite one."""
    for keyword, least, most in (("width", 1, math.inf), ("n_blocks", 0, n_tensors)):
        value = settings.get(keyword, least)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{keyword} of the network must be a whole number from {least} to {most}; got {value!r}")
    linear_range = settings.get("linear_range", 1.0)
    if linear_range is None:
        settings["linear_range"] = math.inf
    elif type(linear_range) is not float or not 0 < linear_range < math.inf:
        raise ValueError(f"linear_range of the network must be a positive number or null; got {linear_range!r}")
