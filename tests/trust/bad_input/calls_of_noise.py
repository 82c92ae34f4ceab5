"""Noise, its covariance, losses, scores and diagnostics."""

from __future__ import annotations

from typing import Any

import numpy as np

import crbestim
from crbestim import NoiseCovariance, NoiseModel

from . import material
from .arguments import Argument, Call
from .calls_of_models import basis, covariance, noise_std

N_ECHOES = len(material.ECHO_TIMES)
SINGLE = {"single precision": "noise drawn in single precision"}
REAL_TOO = {"real for complex": "real data or stacked coefficients"} | SINGLE
INFINITE_BOUND = {"infinity": "an entry without information"}


def _noise_settings() -> dict[str, Argument]:
    return {
        "noise_std": noise_std(),
        "m0_range": Argument(
            np.array([0.1, 1.0]), fixed_axes=(0,), positive=True, documented={"torch tensor": "a pair"}
        ),
        "covariance": covariance(4),
    }


def _noise_model(**given: Any) -> Any:
    noise = NoiseModel(**given)
    return [noise.noise_std, noise.m0_range, noise.add_to(np.ones((2, 4), complex), 0)]


def _signals(**changes: Any) -> Argument:
    return Argument(**({"value": material.decay_data()[0][:4], "numbers": "either", "documented": REAL_TOO} | changes))


def _from(make: Any) -> Any:
    return lambda **given: make(**given).matrix


def _estimates() -> dict[str, Argument]:
    truth = np.array([[1.0, 2.0], [1.5, 2.5], [0.7, 3.0]])
    return {
        "y_true": Argument(truth, fixed_axes=(0, 1)),
        "y_pred": Argument(truth + 0.1, fixed_axes=(0, 1), synonyms=("y_true",)),
        "crb": Argument(truth / 50, fixed_axes=(0, 1), positive=True, documented=INFINITE_BOUND),
    }


def clean_data(n: int = 5, **changes: Any) -> dict[str, Argument]:
    X, y, crb = (array[:n] for array in material.decay_data())
    return {
        "X": Argument(X, numbers="complex", fixed_axes=(0, 1), synonyms=("y", "covariance"), documented=SINGLE),
        "y": Argument(y, fixed_axes=(0,), columns=("target0",), by_name=False,
                      documented={"one dimension less": "one target"}),
        "crb": Argument(
            crb, fixed_axes=(0,), columns=("target0",), by_name=False, positive=True,
            documented=INFINITE_BOUND | {"one dimension less": "one target"},
        ),
    }  # fmt: skip


def _simulation(**more: Argument) -> dict[str, Argument]:
    return clean_data() | {
        "snr": Argument(40.0, "number", positive=True),
        "n_realizations": Argument(3, "count"),
        **more,
    }


_QUIET = {"random_state": 0, "progress": False}

CALLS = [
    Call("NoiseModel", _noise_model, _noise_settings),
    Call(
        "NoiseModel.at_snr",
        lambda **given: NoiseModel.at_snr(**given).noise_std,
        lambda: {"snr": Argument(50.0, "number", positive=True), "covariance": covariance(4)},
    ),
    Call(
        "NoiseModel.add_to",
        lambda **given: material.NOISE.add_to(rng=0, **given),
        lambda: {
            "X": _signals(fixed_axes=(0,), synonyms=("magnitude",)),
            "magnitude": Argument(np.array([0.5, 1.0, 0.7, 0.9]), fixed_axes=(0,), positive=True,
                                  documented={"None": "drawn", "not positive": "no amplitude"}),
        },
    ),
    Call(
        "NoiseModel.augment",
        lambda **given: material.NOISE.augment(rng=0, **given),
        lambda: {
            "X": _signals(fixed_axes=(0,), synonyms=("crb",)),
            "crb": Argument(material.decay_data()[2][:4], fixed_axes=(0,), positive=True, synonyms=("y",),
                            documented=INFINITE_BOUND),
        },
        holds=("inf",),
    ),
    Call(
        "NoiseModel.compress",
        lambda basis: NoiseModel(covariance=material.covariance(4)).compress(basis).covariance.matrix,
        lambda: {"basis": basis(4, 2, documented={})},
    ),
    Call(
        "estimate_noise_std",
        crbestim.estimate_noise_std,
        lambda: {
            "background": Argument(
                0.1 * np.random.default_rng(0).standard_normal((20, 4)),
                numbers="either",
                documented=dict.fromkeys(("one dimension less", "one dimension more"), "any shape"),
            )
        },
    ),
    Call("NoiseCovariance", _from(NoiseCovariance), lambda: {
        "matrix": covariance(4, synonyms=("covariance",), documented={})}),
    Call("NoiseCovariance.from_square_root", _from(NoiseCovariance.from_square_root), lambda: {
        "root": Argument(np.linalg.cholesky(material.covariance(4)), numbers="either", fixed_axes=(1,),
                         documented={"an axis too long": "more columns than rows", "transposed": "any square root"})}),
    Call("NoiseCovariance.from_samples", _from(NoiseCovariance.from_samples), lambda: {
        "noise": Argument(np.random.default_rng(0).standard_normal((20, 4)), numbers="either",
                          synonyms=("covariance",))}),
    Call(
        "NoiseCovariance.colour",
        NoiseCovariance(material.covariance(4)).colour,
        lambda: {"noise": Argument(np.random.default_rng(0).standard_normal((5, 4)), numbers="either",
                                   fixed_axes=(1,), synonyms=("data",))},
    ),
    Call(
        "NoiseCovariance.whiten",
        NoiseCovariance(material.covariance(4)).whiten,
        lambda: {"values": Argument(np.random.default_rng(0).standard_normal((5, 4)), numbers="either",
                                    fixed_axes=(1,), synonyms=("data",),
                                    documented={"one dimension more": "any array", "no rows": "no rows"})},
    ),
    Call(
        "NoiseCovariance.compress",
        lambda basis: NoiseCovariance(material.covariance(4)).compress(basis).matrix,
        lambda: {"basis": basis(4, 2, documented={})},
    ),
    Call("crb_loss", crbestim.crb_loss, _estimates),
    Call("crb_efficiency_score", crbestim.crb_efficiency_score, _estimates, holds=("inf",)),
    Call(
        "CRBEfficiencyScorer",
        lambda **given: crbestim.CRBEfficiencyScorer(
            NoiseModel.at_snr(1e3), n_realizations=2, random_state=0
        )(material.pipeline(), **given),
        lambda: clean_data(),
        weight=0.5,
    ),
    Call(
        "bias_variance",
        lambda **given: crbestim.bias_variance(material.pipeline(), **_QUIET, **given),
        lambda: _simulation(
            covariance=covariance(N_ECHOES),
            prior_std=Argument(np.array([0.05]), fixed_axes=(0,), documented={"None": "that of y"}),
        ),
        holds=("nan",),
        weight=0.5,
    ),
    Call(
        "bias_and_std",
        lambda **given: crbestim.bias_and_std(material.pipeline(), **_QUIET, **given),
        _simulation,
        holds=("inf",),
        weight=0.5,
    ),
    Call(
        "interval_coverage",
        lambda **given: crbestim.interval_coverage(material.pipeline(), **_QUIET, **given),
        lambda: {name: argument for name, argument in _simulation(
            levels=Argument(np.array([0.5, 0.9])),
        ).items() if name != "crb"},
        holds=("nan", "inf"),
        weight=0.5,
    ),
    Call(
        "goodness_of_fit",
        lambda **given: crbestim.goodness_of_fit(
            material.decay(), prior=material.decay_prior(), verbose=0, **given
        ),
        lambda: {
            "X": Argument(material.noisy(), numbers="complex", fixed_axes=(1,), documented=dict.fromkeys(
                ("NaN", "infinity", "minus infinity"), "flagged voxel") | {"one dimension more": "an image"}),
            "noise_std": Argument(0.01, "number", positive=True),
            "significance": Argument(1e-3, "number", positive=True),
        },
        holds=("nan", "inf"),
        weight=0.1,
    ),
]  # fmt: skip
