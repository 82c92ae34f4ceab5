"""Compressors, networks, least squares, matching and posterior means."""

from __future__ import annotations

from typing import Any

import numpy as np

from crbestim import CRBSVDCompressor, Pipeline, SVDCompressor

from . import material
from .arguments import Argument, Call
from .calls_of_models import OPTIONAL, basis, covariance
from .calls_of_noise import INFINITE_BOUND, N_ECHOES

VOXELS = dict.fromkeys(("NaN", "infinity", "minus infinity"), "NaN for that voxel")
REAL_SIGNALS = {"real for complex": "real data"}
SCIKIT_LEARN = ("X", "Input", "array", "data", "samples", "features", "sample(s)", "feature(s)")


def _training_signals(**changes: Any) -> Argument:
    return Argument(
        **(
            {
                "value": material.decay_data()[0],
                "numbers": "either",
                "synonyms": SCIKIT_LEARN,
                "documented": REAL_SIGNALS,
            }
            | changes
        )
    )


def _voxels(**changes: Any) -> Argument:
    return Argument(
        **(
            {
                "value": material.noisy(),
                "numbers": "complex",
                "fixed_axes": (1,),
                "synonyms": SCIKIT_LEARN,
                "documented": VOXELS,
            }
            | changes
        )
    )


def _targets() -> dict[str, Argument]:
    _, y, crb = material.decay_data()
    one = {"one dimension less": "one target"}
    return {
        "y": Argument(y, fixed_axes=(0,), columns=("T2",), by_name=False, documented=one, synonyms=SCIKIT_LEARN),
        "crb": Argument(
            crb, fixed_axes=(0,), columns=("T2",), by_name=False, positive=True, documented=INFINITE_BOUND | one
        ),
    }


def _training_set() -> dict[str, Argument]:
    return {"X": Argument(material.stacked(), fixed_axes=(0,), synonyms=SCIKIT_LEARN), **_targets()}


def _covariates(n: int) -> Argument:
    return Argument(material.fields().to_numpy()[:n], fixed_axes=(0, 1), columns=("B1", "TE"), documented={})


def _fit_network(**given: Any) -> Any:
    return material.regressor().fit(**given).predict(material.stacked()[:4])


def _fit_pipeline(X: Any, y: Any, crb: Any) -> Any:
    fitted = Pipeline([SVDCompressor(2), material.regressor()]).fit(X, y, crb=crb)
    return fitted.predict_coefficients(material.decay_data()[0][:4] @ fitted[0].basis_)


def _fit_compressor(X: Any, basis: Any, n_components: Any) -> Any:
    fitted = SVDCompressor(n_components, basis=basis).fit(X)
    return [np.abs(fitted.basis_), fitted.explained_energy_ratio_]


def _compressor_settings() -> dict[str, Argument]:
    return {
        "X": _training_signals(fixed_axes=(1,), synonyms=(*SCIKIT_LEARN, "basis")),
        "basis": basis(N_ECHOES, 2),
        "n_components": Argument(2, "count", documented=_unused("a basis")),
    }


def _unused(beside: str) -> dict[str, str]:
    return dict.fromkeys(
        ("None", "several numbers", "an empty list", "NaN", "infinity", "a complex number", "a word", "another type",
         "a boolean", "bytes", "no positive integer"), f"not used beside {beside}",
    )  # fmt: skip


def _bound_compressor(**given: Any) -> Any:
    settings = {"n_components": 3, "n_samples": 16, "weight": 0.3, "prior": material.decay_prior()}
    X = given.pop("X", None)
    fitted = CRBSVDCompressor(material.decay(), random_state=0, **(settings | given)).fit(X)
    return [np.abs(fitted.basis_), fitted.inflation_]


def _least_squares(**given: Any) -> Any:
    X, y = given.pop("X"), given.pop("y")
    return material.least_squares(**given).fit(X, y).predict(material.noisy())


def _least_squares_settings() -> dict[str, Argument]:
    return {
        "X": _voxels(documented=VOXELS | OPTIONAL, synonyms=(*SCIKIT_LEARN, "y")),
        "y": Argument(material.decay_data()[1][:3], documented=OPTIONAL | {"one dimension less": "one target"},
                      fixed_axes=(1,)),
        "basis": basis(N_ECHOES, 2),
        "covariance": covariance(N_ECHOES),
        "noise_std": Argument(0.01, "number", positive=True, documented={"None": "from the residual"}),
        "n_starts": Argument(2, "count"),
        "n_candidates": Argument(64, "count"),
        "max_iterations": Argument(20, "count"),
        "targets": Argument(("T2",), "names", documented={"None": "the default ones"}),
    }  # fmt: skip


def _entries() -> dict[str, Argument]:
    return {
        "entries": Argument(np.linspace(0.03, 0.2, 12)[:, None], fixed_axes=(1,), columns=("T2",), times=("T2",),
                            documented={"a scalar": "their number", "one dimension less": "their number"}),
        "memory_limit": Argument(2e9, "number", positive=True),
        "covariance": covariance(N_ECHOES),
    }  # fmt: skip


CALLS = [
    Call("SVDCompressor.fit, basis given", _fit_compressor, _compressor_settings),
    Call(
        "SVDCompressor.fit",
        lambda X, n_components: np.abs(SVDCompressor(n_components).fit(X).basis_),
        lambda: {
            "X": _training_signals(synonyms=(*SCIKIT_LEARN, "n_components")),
            "n_components": Argument(1, "count"),
        },
        tolerance=1e-6,
    ),
    Call(
        "SVDCompressor.transform",
        lambda X: material.compressor().transform(X),
        lambda: {"X": _training_signals(value=material.noisy(), numbers="complex", fixed_axes=(1,), documented={})},
    ),
    Call(
        "SVDCompressor.inverse_transform",
        lambda X: material.compressor().inverse_transform(X),
        lambda: {"X": Argument(material.stacked()[:3], fixed_axes=(1,))},
    ),
    Call(
        "CRBSVDCompressor.fit",
        _bound_compressor,
        lambda: {
            "X": _training_signals(fixed_axes=(1,), documented=REAL_SIGNALS | OPTIONAL),
            "n_components": Argument(3, "count"),
            "n_samples": Argument(16, "count"),
            "weight": Argument(0.3, "number"),
        },
        weight=0.5,
    ),
    Call(
        "CRBWeightedRegressor.fit",
        _fit_network,
        _training_set,
        weight=0.3,
        single=2e-2,
        tolerance=1e-5,
    ),
    Call(
        "CRBWeightedRegressor.fit, covariates",
        lambda covariates: material.regressor()
        .fit(material.stacked(), material.decay_data()[1], crb=material.decay_data()[2], covariates=covariates)
        .predict(material.stacked()[:4], covariates=material.fields().to_numpy()[:4])
        if covariates is not None
        else material.regressor().fit(material.stacked(), material.decay_data()[1], crb=material.decay_data()[2])
        .predict(material.stacked()[:4]),
        lambda: {"covariates": Argument(material.fields().to_numpy(), fixed_axes=(0,), documented=OPTIONAL)},
        weight=0.1,
        single=2e-2,
        tolerance=1e-5,
    ),
    Call(
        "CRBWeightedRegressor.predict",
        lambda X, noise_std: material.trained().predict(X, return_std=True, noise_std=noise_std),
        lambda: {
            "X": Argument(material.stacked()[:3], fixed_axes=(0, 1), synonyms=(*SCIKIT_LEARN, "noise_std"),
                          documented={"zeros": "NaN for a row of zeros"}),
            "noise_std": Argument(np.array([0.01, 0.02, 0.03]), fixed_axes=(0,), positive=True,
                                  documented={"a scalar": "the same for all rows",
                                              "one dimension less": "the same for all rows",
                                              "one row": "the same for all rows"}),
        },
        tolerance=1e-5,
    ),
    Call(
        "CRBWeightedRegressor.predict, covariates",
        lambda covariates: material.trained_with_covariates().predict(material.stacked()[:3], covariates=covariates),
        lambda: {"covariates": _covariates(3)},
        tolerance=1e-5,
    ),
    Call("Pipeline.fit", _fit_pipeline, lambda: {"X": _training_signals(fixed_axes=(0,)), **_targets()}, weight=0.3,
         single=2e-2, tolerance=1e-5),
    Call(
        "Pipeline.predict",
        lambda X: material.pipeline().predict(X),
        lambda: {"X": _training_signals(value=material.noisy(), numbers="complex", fixed_axes=(1,),
                                        documented={"zeros": "NaN for a row of zeros"})},
        tolerance=1e-5,
    ),
    Call(
        "Pipeline.predict_coefficients",
        lambda C: material.pipeline().predict_coefficients(C),
        lambda: {"C": Argument(material.noisy() @ material.compressor().basis_, numbers="complex", fixed_axes=(1,),
                               synonyms=("X",),
                               documented={"zeros": "NaN for a row of zeros",
                                           "tiny": "zeros in single precision", "one dimension more": "an image"})},
        tolerance=1e-5,
    ),
    Call("NLLSEstimator.fit", _least_squares, _least_squares_settings, weight=0.2, tolerance=1e-6, holds=("nan",)),
    Call(
        "NLLSEstimator.predict",
        lambda X: material.fitted().predict(X, return_std=True),
        lambda: {"X": _voxels()},
        weight=0.5,
        tolerance=1e-6,
        holds=("nan",),
    ),
    Call(
        "NLLSEstimator.predict, covariates",
        lambda covariates: material.fitted_with_known_t1().predict(material.noisy(), covariates=covariates),
        lambda: {"covariates": Argument(np.array([[0.9], [1.1], [1.3]]), fixed_axes=(0, 1), columns=("T1",),
                                        times=("T1",), documented={"one dimension less": "a single one",
                                                                    "tiny": "NaN where the model has no signal"})},
        weight=0.2,
        tolerance=1e-6,
    ),
    Call(
        "DictionaryMatcher.fit",
        lambda **given: material.matcher(**given).fit().predict(material.noisy()),
        _entries,
    ),
    Call(
        "DictionaryMatcher.predict",
        lambda X: material.matcher().fit().predict(X, return_m0=True),
        lambda: {"X": _voxels()},
        weight=0.5,
        holds=("nan",),
    ),
    Call(
        "PosteriorMean.fit",
        lambda **given: material.posterior_mean(**given).fit().n_features_in_,
        lambda: {
            "basis": basis(N_ECHOES, 3),
            "n_samples": Argument(100, "count"),
            "n_candidates": Argument(200, "count"),
            "n_components": Argument(3, "count"),
            "noise": Argument(material.NOISE, "object"),
        },
        weight=0.5,
    ),
    Call(
        "PosteriorMean.predict",
        lambda X: material.fitted_posterior_mean().predict(X),
        lambda: {"X": _voxels()},
        weight=0.1,
        tolerance=1e-6,
        holds=("nan",),
    ),
]  # fmt: skip
