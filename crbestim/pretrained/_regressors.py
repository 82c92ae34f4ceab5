"""Fitted regressors as plain values and the weights of their networks."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .._validation import FloatArray
from ..estimators import CRBWeightedRegressor
from ..estimators._covariates import Covariates
from ..nn import EstimatorNetwork
from ._format import Arrays, check_names_or_none, plain_entries, take
from ._losses import pack_loss, unpack_loss
from ._networks import network_parameter, pack_network, unpack_network
from ._noise import pack_noise, unpack_noise

# Settings that have an entry of their own, or belong to the machine on which the network was trained.
_LEFT_OUT = ("loss", "network", "noise", "checkpoint", "device")


def pack_regressor(regressor: CRBWeightedRegressor, target_names: list[str] | None) -> tuple[dict[str, Any], Arrays]:
    """Return what prediction needs to know of a fitted regressor, and how it was trained.

    Raises
    ------
    TypeError
        If its network is none of this package's.
    """
    module, covariates = regressor.module_, regressor._covariates
    shape = regressor.n_features_in_, len(regressor.target_mean_), len(covariates.mean)
    estimate, arrays = pack_network(module.estimate, shape, "estimate")
    bound = None
    if module.bound is not None:
        bound, weights = pack_network(module.bound, shape, "bound")
        arrays |= weights
    noise, matrices = pack_noise(regressor.noise)
    arrays |= matrices | {
        "target_mean": regressor.target_mean_,
        "target_scale": regressor.target_scale_,
        "covariate_mean": covariates.mean,
        "covariate_scale": covariates.scale,
    }
    settings = regressor.get_params(deep=False)
    history = regressor.history_
    return {
        "estimate": estimate,
        "bound": bound,
        "target_names": target_names,
        "single_target": regressor._single_target,
        "covariate_names": covariates.names,
        "loss": pack_loss(settings["loss"]),
        "noise": noise,
        "settings": plain_entries({name: value for name, value in settings.items() if name not in _LEFT_OUT}),
        "history": {name: history[name].tolist() for name in history.columns},
    }, arrays


def unpack_regressor(description: dict[str, Any], n_features: int, arrays: Arrays) -> CRBWeightedRegressor:
    """Return a fitted regressor for so many features, as if it had been trained on the CPU.

    Raises
    ------
    ValueError, TypeError
        If tensors are missing or do not fit the description.
    """
    target_mean, target_scale = _mean_and_scale(arrays, "target")
    covariates = Covariates(None, *_mean_and_scale(arrays, "covariate"))
    n_targets, n_covariates = len(target_mean), len(covariates.mean)
    if not n_targets or (description["single_target"] and n_targets > 1):
        raise ValueError(f"the network has {n_targets} targets, and single_target={description['single_target']!r}")
    shape = n_features, n_targets, n_covariates
    estimate = unpack_network(description["estimate"], shape, arrays, "estimate")
    bound = description["bound"]
    if bound is not None:
        bound = unpack_network(bound, shape, arrays, "bound")

    known = CRBWeightedRegressor._get_param_names()
    settings = {name: value for name, value in description["settings"].items() if name in known}
    settings |= {
        "loss": unpack_loss(description["loss"]),
        "network": network_parameter(description["estimate"]),
        "noise": unpack_noise(description["noise"], arrays),
    }
    regressor = CRBWeightedRegressor(**settings)
    regressor.module_ = EstimatorNetwork(estimate, bound).eval()
    regressor.target_mean_, regressor.target_scale_ = target_mean, target_scale
    regressor.target_names_ = check_names_or_none(description["target_names"], n_targets, "the names of the targets")
    names = check_names_or_none(description["covariate_names"], n_covariates, "the names of the covariates")
    regressor._covariates = covariates._replace(names=names)
    regressor.covariate_names_, regressor.n_covariates_ = names, n_covariates
    regressor.n_features_in_ = n_features
    regressor._single_target = bool(description["single_target"])
    regressor._history = _history(description["history"])
    return regressor


def _mean_and_scale(arrays: Arrays, what: str) -> tuple[FloatArray, FloatArray]:
    mean = take(arrays, f"{what}_mean")
    scale = take(arrays, f"{what}_scale", mean.shape)
    if mean.ndim != 1 or (scale <= 0).any():
        raise ValueError(f"the tensors '{what}_mean' and '{what}_scale' must be 1-D, and the scale positive")
    return mean, scale


def _history(columns: dict[str, list[Any]]) -> pd.DataFrame:
    history = pd.DataFrame(columns)
    return history.set_index(pd.RangeIndex(1, len(history) + 1, name="epoch"))
