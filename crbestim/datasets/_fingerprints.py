"""Simulated training and test data with their bounds."""

from __future__ import annotations

import numbers
import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from .._validation import check_count, check_names
from ..covariance import NoiseCovariance, as_covariance
from ..signal import BlochHybridStateModel, BlochMcConnellModel, MTBlochModel, MTHybridStateModel, SignalModel
from ..signal._base import check_model
from ._fingerprint_parts import FingerprintLog, split
from ._priors import Prior, check_prior, paper_prior, truncated_normal


def default_prior(model: SignalModel) -> Prior:
    """Return the prior that goes with a model of a pulse sequence: that of the paper, as far as it goes.

    A single pool's T2 is distributed as T2f. T1s, if the semi-solid pool has its own, is 0.35(15) s in [0.1, 2] s, our
    choice around the values of the brain in Assländer et al., Imaging Neuroscience 2, 2024.

    Parameters
    ----------
    model : SignalModel
        The model.

    Returns
    -------
    Prior

    Raises
    ------
    ValueError
        If there is none; then pass a prior.

    Examples
    --------
    >>> from crbestim import BlochHybridStateModel
    >>> from crbestim.datasets import default_prior
    >>> prior = default_prior(BlochHybridStateModel())
    >>> prior.names
    ('T1', 'T2', 'B0', 'B1')
    >>> prior.sample(10, random_state=0).shape
    (10, 4)
    """
    if isinstance(model, MTHybridStateModel | MTBlochModel | BlochMcConnellModel | BlochHybridStateModel):
        known = dict(paper_prior(model.sequence.repetition_time).distributions)
        known["T2"] = known["T2f"]
        known["T1s"] = truncated_normal(0.35, 0.15, 0.1, 2.0)
        return Prior({name: known[name] for name in model.parameter_names})
    raise ValueError(f"prior must be given for {type(model).__name__}: there is no default prior for it.")


def checked_prior(prior: Prior | None, model: SignalModel) -> Prior:
    """Return the prior, or the model's default one for None; raise if it is not one of the model's parameters."""
    prior = default_prior(model) if prior is None else check_prior(prior)
    if set(prior.names) != set(model.parameter_names):
        raise ValueError(
            f"prior must have the model's parameters {list(model.parameter_names)}; got {list(prior.names)}."
        )
    return prior


def make_fingerprints(
    model: SignalModel,
    prior: Prior | None = None,
    n_samples: int = 10_000,
    targets: str | Sequence[str] | None = None,
    basis: ArrayLike | None = None,
    random_state: int | np.random.Generator | None = None,
    *,
    compressed: bool = False,
    known: str | Sequence[str] = (),
    covariance: ArrayLike | NoiseCovariance | None = None,
    theta: ArrayLike | pd.DataFrame | None = None,
    method: Literal["random", "sobol"] = "random",
    memory_limit: int = 2**28,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Bunch:
    r"""Simulate clean fingerprints and their Cramér-Rao bounds for random tissues.

    The Jacobian exists for one chunk of samples at a time.

    Parameters
    ----------
    model : SignalModel
        What makes the signals.
    prior : Prior, optional
        Where tissues are drawn from; by default the one that goes with the model.
    n_samples : int, default=10_000
        How many.
    targets : sequence of str, optional
        Parameters to be estimated; by default those of the model that are not known.
    basis : array_like of shape (T, k), optional
        Compression basis: `crb` is then the bound for the compressed data.
    random_state : int, Generator or None, default=None
        Seed of the prior's sample.
    compressed : bool, default=False
        Keep the coefficients of the signals in `basis` instead of the signals: T / k times less memory.
    known : sequence of str, default=()
        Parameters that the bound takes as known; their values are returned as `covariates`.
    covariance : array_like of shape (T, T) or (k, k), or NoiseCovariance, optional
        Of coloured noise, for the bounds: that of the signals, or of the coefficients in `basis`.
    theta : array_like or DataFrame of shape (n, P), optional
        Use these tissues instead of drawing from the prior; `prior` and `n_samples` are then not used.
    method : {"random", "sobol"}, default="random"
        Independent or quasi-random tissues.
    memory_limit : int, default=2**28
        Working memory in bytes beyond the result (at least one sample at a time is simulated).
    checkpoint : path-like, optional
        Directory in which finished parts, of up to 2048 samples, are kept. If it holds some of the same model and
        arguments, only the rest is simulated, and the result is the same. `random_state` must be an int, unless
        `theta` is given.
    progress : bool, default=True
        Show a progress bar.

    Returns
    -------
    Bunch
        ``X`` : ndarray of shape (n, T), clean signals at M0 = 1, or (n, k), their coefficients, if `compressed`;
        complex unless the model's data are real;
        ``y`` : ndarray of shape (n, p), targets, B0 folded;
        ``crb`` : ndarray of shape (n, p), bound at :math:`|M_0| = 1`, :math:`\sigma = 1`, of the full data or,
        if `basis` is given, of the compressed data;
        ``full_crb`` : ndarray of shape (n, p), bound of the full data (left out if `covariance` is that of the
        coefficients, as the noise of the full data is not known then);
        ``theta`` : DataFrame of shape (n, P);
        ``covariates`` : DataFrame of shape (n, len(known)), values of the known parameters; left out if there are
        none;
        ``target_names`` : tuple of str.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit each other; if the checkpoint cannot be used, or belongs to another simulation.

    See Also
    --------
    Prior : Distributions of tissues.
    make_grid : Slices through the space of parameters.
    NoiseModel : Amplitude and noise, with the bound that they change.

    Examples
    --------
    >>> from scipy import stats
    >>> from crbestim import MonoExponentialModel, Prior, make_fingerprints
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> prior = Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> data = make_fingerprints(model, prior, n_samples=100, random_state=0, progress=False)
    >>> data.X.shape, data.y.shape, data.crb.shape, data.target_names
    ((100, 5), (100, 1), (100, 1), ('T2',))
    >>> given = make_fingerprints(model, theta=[[0.05], [0.1]], progress=False)  # tissues of your own
    >>> given.y.ravel().tolist()
    [0.05, 0.1]
    """
    check_model(model)
    if checkpoint is not None and theta is None and not isinstance(random_state, numbers.Integral):
        raise ValueError(f"checkpoint needs an int as random_state, or theta; got {random_state!r}.")
    names = model.check_names(targets, known)
    known = check_names(known, model.parameter_names, "known")
    check_count(memory_limit, "memory_limit")
    if compressed and basis is None:
        raise ValueError("compressed=True needs a basis.")
    basis = None if basis is None else model._check_basis(basis)
    if theta is None:
        theta = checked_prior(prior, model).sample(n_samples, random_state=random_state, method=method)
    values = model.check_theta(theta)
    n = len(values)
    bases = (None,) if basis is None else (None, basis)
    noise = as_covariance(covariance)
    of_coefficients = noise is not None and basis is not None and noise.size == basis.shape[1]
    noises = (None if of_coefficients else noise, noise)[: len(bases)]
    if compressed and basis is not None:
        X = np.empty((n, basis.shape[1]), dtype=np.result_type(model._dtype, basis))
    else:
        X = np.empty((n, model.n_timepoints), dtype=model._dtype)
    crb = [np.empty((n, len(names))) for _ in bases]
    arrays = {"X": X} | {f"crb_{i}": stored for i, stored in enumerate(crb)}
    parts = split(n, model._bound_chunk(memory_limit), X.itemsize * X.shape[1], memory_limit)
    with ExitStack() as stack:
        log = None
        if checkpoint is not None:
            log = stack.enter_context(
                closing(FingerprintLog(checkpoint, model, values, names, known, basis, noise, arrays, parts))
            )
        bar = stack.enter_context(tqdm(total=n, desc="fingerprints", unit="voxel", disable=not progress))
        for number, part in enumerate(parts):
            if log is not None and log.take(number):
                bar.update(len(X[part]))
                continue
            for chunk, signals, bounds in model._stream_bounds(
                values[part], names, bases, known, noises, memory_limit
            ):
                X[part][chunk] = signals[-1 if compressed else 0]
                for stored, bound in zip(crb, bounds, strict=True):
                    stored[part][chunk] = bound
                bar.update(len(signals[0]))
            if log is not None:
                log.keep(number)
    data = Bunch(
        X=X,
        y=model.target_values(values, names),
        crb=crb[-1],
        full_crb=crb[0],
        theta=pd.DataFrame(values, columns=list(model.parameter_names)),
        target_names=names,
    )
    if of_coefficients:
        del data["full_crb"]
    if known:
        data["covariates"] = data.theta[list(known)]
    return data
