"""What estimators say of the voxels of a block."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._files import digest_of
from .._validation import FloatArray
from ..diagnostics._goodness_of_fit import goodness_of
from ..estimators import CRBWeightedRegressor, NLLSEstimator, Pipeline, SVDCompressor
from ..least_squares import FitStatus
from ..metrics._response import INFORMATIVE_FRACTION
from ..signal import Parameter
from ._quality import QualityFlag, labels_of_targets, mark, no_flags, poorly_determined

_N_PROBES = 4  # signals by whose estimates an estimator is known again
_PRIOR_RANGE = ("0.5%", "99.5%")


@dataclass(frozen=True)
class NetworkEstimates:
    """Estimates of a trained pipeline.

    Attributes
    ----------
    pipeline : Pipeline
        Fitted.
    check : NLLSEstimator, optional
        Fitted: each signal is compared with its model, which takes as long as a fit.
    """

    pipeline: Pipeline
    check: NLLSEstimator | None = None

    @classmethod
    def with_check(cls, pipeline: Any) -> NetworkEstimates:
        """Compare each signal with the model that the pipeline's file tells."""
        names = cls(pipeline).covariate_names
        check = NLLSEstimator(
            pipeline.model_, basis=pipeline[0].basis_, prior=pipeline.prior_, init=pipeline, known=list(names),
            verbose=0, random_state=0,
        )  # fmt: skip
        return cls(pipeline, check.fit())

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The targets."""
        names = self.pipeline[-1].target_names_ or [f"target{i + 1}" for i in range(self._n_targets)]
        known = {parameter.name: parameter for parameter in getattr(self.pipeline, "parameters_", None) or ()}
        return tuple(
            known.get(name, Parameter(name, rf"\mathrm{{{name}}}", "unknown", (-np.inf, np.inf))) for name in names
        )

    @property
    def real_valued(self) -> bool:
        """Whether it was trained with real data."""
        return not self.pipeline[0]._complex

    @property
    def covariate_names(self) -> Sequence[str]:
        """The known parameters, in the order of the training."""
        regressor = self.pipeline[-1]
        return regressor.covariate_names_ or [f"covariate{i + 1}" for i in range(regressor.n_covariates_)]

    @property
    def settings(self) -> str:
        """A hash of what decides on the estimates."""
        regressor = self.pipeline[-1]
        weights = [tensor.cpu().numpy() for tensor in regressor.module_.state_dict().values()]
        scales = [
            regressor.target_mean_,
            regressor.target_scale_,
            regressor._covariates.mean,
            regressor._covariates.scale,
        ]
        arrays = [self.pipeline[0].basis_, *scales, *weights]
        return digest_of({"check_model": self.check is not None}, *arrays)

    def __call__(
        self, rows: NDArray, noise_std: FloatArray | None = None, **covariates: FloatArray
    ) -> dict[str, NDArray]:
        """Return estimate, std (if the noise is known) and quality of n voxels."""
        known = pd.DataFrame({name: covariates[name] for name in self.covariate_names}) if covariates else None
        options = {"return_std": True, "noise_std": noise_std} if noise_std is not None else {}
        found = self.pipeline.predict_coefficients(rows, covariates=known, **options)
        estimate, std = found if noise_std is not None else (found, None)
        estimate = estimate.reshape(len(rows), -1)
        result = {"estimate": estimate.astype(np.float32)}
        quality = no_flags(len(rows))
        table = getattr(self.pipeline, "prior_table_", None)
        if table is not None:
            table = table.reindex([parameter.name for parameter in self.parameters])
            low, high = (table[name].to_numpy() for name in _PRIOR_RANGE)
            mark(quality, ((estimate < low) | (estimate > high)).any(axis=1), QualityFlag.OUTSIDE_PRIOR)
        if std is not None:
            std = std.reshape(len(rows), -1)
            with np.errstate(over="ignore"):
                result["std"] = std.astype(np.float32)
            if np.isinf(result["std"]).any():
                raise ValueError("noise_std is so large that standard deviations are beyond single precision.")
            if table is not None:
                for target, poor in enumerate((std > INFORMATIVE_FRACTION * table["std"].to_numpy()).T):
                    mark(quality, poor, poorly_determined(target))
        if self.check is not None:
            assert noise_std is not None
            fits = goodness_of(self.check, rows / noise_std[:, None], 1.0, covariates=known)
            mark(quality, fits.flagged, QualityFlag.NOT_OF_MODEL)
        return result | {"quality": quality}

    def quality_labels(self, noise_is_known: bool) -> dict[int, str]:
        """Return the flags that are looked at, with what they mean."""
        labels: dict[int, str] = {}
        if getattr(self.pipeline, "prior_table_", None) is not None:
            labels[int(QualityFlag.OUTSIDE_PRIOR)] = QualityFlag.OUTSIDE_PRIOR.text
            if noise_is_known:
                labels |= labels_of_targets(parameter.name for parameter in self.parameters)
        if self.check is not None:
            labels[int(QualityFlag.NOT_OF_MODEL)] = QualityFlag.NOT_OF_MODEL.text
        return labels

    @property
    def _n_targets(self) -> int:
        return len(self.pipeline[-1].target_mean_)


@dataclass(frozen=True)
class LeastSquaresEstimates:
    """Fits of an `NLLSEstimator`.

    Attributes
    ----------
    estimator : NLLSEstimator
        Fitted.
    """

    estimator: NLLSEstimator

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The targets."""
        known = {parameter.name: parameter for parameter in self.estimator.model.parameters}
        return tuple(known[name] for name in self.estimator.target_names_)

    @property
    def covariate_names(self) -> Sequence[str]:
        """The known parameters."""
        known = self.estimator.known
        return [known] if isinstance(known, str) else list(known)

    @property
    def settings(self) -> str:
        """A hash of what decides on the estimates."""
        own = self.estimator._digest(np.zeros(0), None, np.zeros(0, np.int8))
        # What follows from the model, rounded: the last bits are not the same on all machines.
        norms = self.estimator._search.dictionary.norm[:16].astype(np.float32)
        model = repr(type(self.estimator.model))
        return digest_of({"estimator": own, "model": model, "init": self._start_identity()}, norms)

    def _start_identity(self) -> str:
        """Tell the estimator that gives starts by its weights, or by what it makes of a few signals."""
        start = self.estimator._first_start
        if start is None:
            return "none"
        init = getattr(start.estimator, "estimator", start.estimator)  # a frozen one
        if _is_network(init):
            return NetworkEstimates(init).settings
        model, (theta, directions, _) = self.estimator.model, self.estimator._search.dictionary
        signals = directions[:, :_N_PROBES].T.astype(np.float64 if model.real_valued else np.complex128)
        known = pd.DataFrame(theta[:_N_PROBES], columns=model.parameter_names)[list(self.covariate_names)]
        found = start.predict(signals, known, np.arange(len(signals)))
        return f"{type(init).__qualname__} {[f'{value:.3g}' for value in found.ravel()]}"

    def quality_labels(self, noise_is_known: bool) -> dict[int, str]:
        """Return the flags that are looked at, with what they mean."""
        return {int(flag): flag.text for flag in (QualityFlag.AT_BOUND, QualityFlag.NOT_CONVERGED)}

    def __call__(self, rows: NDArray, **covariates: FloatArray) -> dict[str, NDArray]:
        """Return estimate, std, M0, noise_std and quality of n voxels."""
        known = pd.DataFrame({name: covariates[name] for name in self.covariate_names}) if covariates else None
        found = self.estimator.estimate(rows, covariates=known)
        quality = no_flags(len(rows))
        columns = [found.parameter_names.index(name) for name in found.target_names]
        mark(quality, found.at_bound[:, columns].any(axis=1), QualityFlag.AT_BOUND)
        mark(quality, found.status == FitStatus.MAX_ITERATIONS, QualityFlag.NOT_CONVERGED)
        return {
            "estimate": found.targets.astype(np.float32),
            "std": found.std.astype(np.float32),
            "m0": np.abs(found.m0).astype(np.float32),
            "noise_std": found.noise_std.astype(np.float32),
            "quality": quality,
        }


def estimates_of(estimator: Any, check_model: bool) -> Any:
    """Return what applies an estimator to rows; raise TypeError for one of another kind."""
    if isinstance(estimator, NLLSEstimator):
        quiet = copy(estimator)
        quiet.verbose = 0  # a bar for the volume, none for each block
        return LeastSquaresEstimates(quiet)
    if _is_network(estimator):
        return NetworkEstimates.with_check(estimator) if check_model else NetworkEstimates(estimator)
    raise TypeError(
        "estimator must be a fitted NLLSEstimator, or a Pipeline of an SVDCompressor and a CRBWeightedRegressor; got "
        f"{type(estimator).__name__}."
    )


def _is_network(estimator: Any) -> bool:
    return (
        isinstance(estimator, Pipeline)
        and isinstance(estimator[0], SVDCompressor)
        and isinstance(estimator[-1], CRBWeightedRegressor)
    )
