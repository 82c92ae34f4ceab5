"""Writing a trained pipeline to a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._files import check_not_taken, checked_path
from .._validation import check_finite
from ..datasets import Prior
from ..datasets._fingerprints import checked_prior
from ..datasets._priors import check_prior
from ..estimators import CRBSVDCompressor, CRBWeightedRegressor, SVDCompressor
from ..signal import SignalModel
from ..signal._base import check_model
from ._compressors import pack_compressor
from ._format import Arrays, Header, write_file
from ._models import pack_model
from ._priors import pack_prior
from ._regressors import pack_regressor

_PACKAGES = ("crbestim", "torch", "numpy", "scikit-learn")


def save_pretrained(
    pipeline: Pipeline,
    path: str | os.PathLike[str],
    *,
    model: SignalModel | None = None,
    prior: Prior | None = None,
    target_names: Sequence[str] | None = None,
    card: str = "",
    overwrite: bool = False,
) -> None:
    """Write a trained pipeline to one file in the safetensors format, which `load_pretrained` reads.

    The file holds what prediction needs, how the network was trained, and no code: it is no pickle. The same arguments
    make the same bytes.

    Parameters
    ----------
    pipeline : Pipeline
        A fitted one of two steps, SVDCompressor (or CRBSVDCompressor) and CRBWeightedRegressor.
    path : path-like
        The file, by custom with the suffix ``.safetensors``.
    model : SignalModel, optional
        The model of the training data. One that is given by a pulse sequence and options is rebuilt from the file;
        of any other, names of class and parameters are kept (and the sequence, if it has one).
    prior : Prior, optional
        Where the tissues of the training data were drawn from. A table of it is kept; it is rebuilt from the file if
        its distributions are continuous ones of scipy.stats, or those of `paper_prior`.
    target_names : sequence of str, optional
        Names of the targets, if `y` was no DataFrame in `fit`.
    card : str, default=""
        Model card in Markdown: the command of the training, results, limits.
    overwrite : bool, default=False
        Whether a file that exists may be replaced.

    Raises
    ------
    TypeError
        If arguments are of the wrong type, or the pipeline has other steps or a network of the user's own.
    ValueError
        If model, prior or names do not fit the pipeline, or a weight is NaN or infinite.
    FileExistsError
        If the file exists, unless `overwrite`.
    OSError
        If it cannot be written; then there is none, or the old one.
    sklearn.exceptions.NotFittedError
        If the pipeline is not fitted.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from scipy import stats
    >>> from crbestim import CRBWeightedRegressor, MonoExponentialModel, Pipeline, Prior, SVDCompressor
    >>> from crbestim import load_pretrained, make_fingerprints, save_pretrained
    >>> model, prior = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16]), Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> data = make_fingerprints(model, prior, n_samples=100, random_state=0, progress=False)
    >>> regressor = CRBWeightedRegressor(max_epochs=2, verbose=0, random_state=0)
    >>> pipe = Pipeline([SVDCompressor(n_components=3), regressor]).fit(data.X, data.y, crb=data.crb)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "decay.safetensors"
    ...     save_pretrained(pipe, path, model=model, prior=prior, target_names=["T2"], card="Two epochs, for a try.")
    ...     again = load_pretrained(path)
    >>> bool((again.predict(data.X) == pipe.predict(data.X)).all()), again.card_
    (True, 'Two epochs, for a try.')
    """
    target = checked_path(path)
    (first, compressor), (last, regressor) = _checked_steps(pipeline)
    if not isinstance(card, str):
        raise TypeError(f"card must be text; got {type(card).__name__}.")
    names = _checked_names(target_names, regressor)
    header: Header = {
        "versions": {name: version(name) for name in _PACKAGES},
        "card": card,
        "steps": [first, last],
    }
    arrays: Arrays = {}
    header["compressor"], basis = pack_compressor(compressor)
    header["regressor"], weights = pack_regressor(regressor, names)
    arrays |= basis | weights
    header["model"] = header["prior"] = None
    if model is not None:
        _check_model(model, compressor)
        header["model"], sequence = pack_model(model)
        arrays |= sequence
    if prior is not None:
        header["prior"], table = pack_prior(_checked_prior(prior, model))
        arrays |= table
    for name, array in arrays.items():
        check_finite(np.atleast_1d(array), f"pipeline: {name}")
    check_not_taken(target, overwrite)
    write_file(target, header, arrays)


def _checked_steps(pipeline: object) -> tuple[tuple[str, SVDCompressor], tuple[str, CRBWeightedRegressor]]:
    named: list[Any] = pipeline.steps if isinstance(pipeline, Pipeline) else []
    kinds = [type(step) for _, step in named]
    # No subclasses: they may predict in another way.
    if kinds not in ([SVDCompressor, CRBWeightedRegressor], [CRBSVDCompressor, CRBWeightedRegressor]):
        found = [kind.__name__ for kind in kinds] if kinds else type(pipeline).__name__
        raise TypeError(
            "pipeline must be a Pipeline of an SVDCompressor (or CRBSVDCompressor) and a CRBWeightedRegressor, no "
            f"more; got {found}. save_estimator writes estimators without a network."
        )
    for _, step in named:
        check_is_fitted(step)
    return named[0], named[1]


def _checked_names(names: Sequence[str] | None, regressor: CRBWeightedRegressor) -> list[str] | None:
    if names is None:
        return regressor.target_names_
    n_targets = len(regressor.target_mean_)
    chosen = [names] if isinstance(names, str) else list(names)
    if len(chosen) != n_targets or not all(isinstance(name, str) for name in chosen):
        raise ValueError(f"target_names must be {n_targets} names, one for each target; got {chosen}.")
    if regressor.target_names_ not in (None, chosen):
        raise ValueError(f"target_names must be those of y in fit, {regressor.target_names_}; got {chosen}.")
    return chosen


def _check_model(model: object, compressor: SVDCompressor) -> None:
    n_timepoints = check_model(model).n_timepoints
    if n_timepoints != compressor.n_features_in_:
        raise ValueError(
            f"model has {n_timepoints} time points, but the pipeline takes signals of {compressor.n_features_in_}."
        )


def _checked_prior(prior: object, model: SignalModel | None) -> Prior:
    return check_prior(prior) if model is None else checked_prior(check_prior(prior), model)
