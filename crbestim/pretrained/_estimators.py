"""Fitted estimators without a network as files of skops, which hold no code."""

from __future__ import annotations

import os
import warnings
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.utils.validation import check_is_fitted

from .. import signal
from .._files import checked_path, write_together
from .._numpy_files import refusing_damage, whole_archive
from .._optional import imported
from ..covariance import NoiseCovariance
from ..datasets import Prior
from ..datasets._priors import TruncatedNormalBelow
from ..estimators import (
    CRBWeightedRegressor,
    DictionaryMatcher,
    NLLSEstimator,
    Pipeline,
    PosteriorMean,
    SVDCompressor,
)
from ..estimators._dictionary import Dictionary
from ..estimators._mixture_sampling import Settings
from ..estimators._posterior_target import NormalCoordinates
from ..estimators._starting_estimator import StartingEstimator
from ..estimators._starts import StartSearch
from ..least_squares._parameter_scaling import ParameterScaling
from ..least_squares._problem import Problem
from ..noise import NoiseModel
from ..signal import Parameter, PulseSequence, SignalModel

#: What `load_estimator` builds beside plain values, arrays and the estimators of scikit-learn. All of them are safe to
#: be made with any arguments and given any attributes. Distributions of scipy.stats are not, as they run code that
#: stands in an attribute; a `Prior` is kept by their names and arguments.
TRUSTED_TYPES: tuple[type, ...] = (
    DictionaryMatcher,
    NLLSEstimator,
    Pipeline,
    PosteriorMean,
    SVDCompressor,
    Dictionary,
    NormalCoordinates,
    ParameterScaling,
    Problem,
    Settings,
    StartSearch,
    StartingEstimator,
    NoiseCovariance,
    NoiseModel,
    Parameter,
    Prior,
    PulseSequence,
    TruncatedNormalBelow,
    *(
        kind
        for kind in vars(signal).values()
        if isinstance(kind, type) and issubclass(kind, SignalModel) and kind not in (SignalModel, signal.FunctionModel)
    ),
)


def save_estimator(estimator: BaseEstimator, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted estimator without a network to one file in the format of skops, which `load_estimator` reads.

    Needs skops (``pip install crbestim[skops]``). The file holds no code. Trained networks go to other files, by
    `save_pretrained`.

    Parameters
    ----------
    estimator : estimator
        A fitted one of this package, such as `DictionaryMatcher`, `NLLSEstimator`, `PosteriorMean` or `SVDCompressor`,
        one of scikit-learn, or a pipeline of these.
    path : path-like
        The file, by custom with the suffix ``.skops``.
    overwrite : bool, default=False
        Whether a file that exists may be replaced.

    Raises
    ------
    ImportError
        If skops is missing.
    TypeError
        If it is no estimator, or a part of it is of a kind that `load_estimator` does not read, such as a network, a
        model of the user's own, a function or a DataFrame.
    ValueError
        If a pipeline has a folder as ``memory``.
    FileExistsError
        If the file exists, unless `overwrite`.
    OSError
        If it cannot be written; then there is none, or the old one.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from crbestim import DictionaryMatcher, MonoExponentialModel, load_estimator, save_estimator
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> matcher = DictionaryMatcher(model, entries={"T2": np.arange(30, 201) * 1e-3}, verbose=0).fit()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_estimator(matcher, Path(folder) / "dictionary.skops")
    ...     again = load_estimator(Path(folder) / "dictionary.skops")
    >>> again.predict(model.signal([[0.05]])).round(3).tolist()
    [[0.05]]
    """
    skops = imported("skops.io", "skops")
    path = checked_path(path)
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(f"estimator must be an estimator; got {type(estimator).__name__}.")
    if _holds_network(estimator):
        raise TypeError("estimator has a network; save_pretrained writes pipelines with one.")
    check_is_fitted(estimator)
    _check_no_folder(estimator, "estimator")
    try:
        content = skops.dumps(estimator)
        refused = set(skops.get_untrusted_types(data=content)) - set(map(_name, TRUSTED_TYPES))
    except (TypeError, AttributeError, RecursionError) as error:
        raise TypeError(f"estimator has a part that cannot be written: {error}.") from error
    if refused:
        raise TypeError(
            f"estimator has parts of kinds that load_estimator does not read: {', '.join(sorted(refused))}."
        )
    write_together({path: lambda file: file.write(content)}, overwrite=overwrite)


def load_estimator(path: str | os.PathLike[str]) -> Any:
    """Read a fitted estimator that `save_estimator` wrote. Nothing in the file is executed.

    Needs skops (``pip install crbestim[skops]``). Only the types in `TRUSTED_TYPES` and those that skops trusts itself
    are built (plain values, arrays, the estimators of scikit-learn); a file with any other one is refused before.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    estimator
        It predicts as the one that was saved.

    Raises
    ------
    ImportError
        If skops is missing.
    TypeError
        If `path` is no path.
    ValueError
        If the file is none of skops or damaged, holds other types or no estimator, or is not of the form that
        `save_estimator` writes.
    OSError
        If it is missing or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from scipy import stats
    >>> from crbestim import MonoExponentialModel, NLLSEstimator, Prior, load_estimator, save_estimator
    >>> model, prior = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16]), Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> fit = NLLSEstimator(model, prior=prior, n_candidates=1024, verbose=0, random_state=0).fit()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_estimator(fit, Path(folder) / "fit.skops")
    ...     again = load_estimator(Path(folder) / "fit.skops")
    >>> again.model == model, again.candidates_.shape
    (True, (1024, 1))
    """
    skops = imported("skops.io", "skops")
    path = checked_path(path)
    with open(path, "rb") as file, refusing_damage(f"path: {path} cannot be read as a file of save_estimator"):
        warnings.simplefilter("default", InconsistentVersionWarning)  # of scikit-learn: to be seen, but no damage
        with whole_archive(file):
            file.seek(0)
            estimator = skops.load(file, trusted=TRUSTED_TYPES)
        if not isinstance(estimator, BaseEstimator):
            raise ValueError(f"it holds no estimator, but {type(estimator).__name__}")
        check_is_fitted(estimator)
        _check_no_folder(estimator, "it")
    return estimator


def _holds_network(estimator: BaseEstimator) -> bool:
    return any(isinstance(part, CRBWeightedRegressor) for part in [estimator, *estimator.get_params().values()])


def _check_no_folder(estimator: BaseEstimator, name: str) -> None:
    """Raise ValueError if a fit would keep pickles in a folder, and load those that are there."""
    for key, value in estimator.get_params().items():
        if key.rpartition("__")[2] == "memory" and value is not None:
            raise ValueError(f"{name} has {key}={value!r}, a folder of pickles; expected None.")


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
