"""Design of a pulse train by the Cramér-Rao bound."""

from __future__ import annotations

import numbers
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from tqdm.auto import tqdm

from .._files import check_checkpoint, digest_of
from .._validation import FloatArray, check_count, check_option, check_positive, random_generator
from ..datasets import Prior
from ..signal import PulseSequence, SignalModel
from ..signal._sequence_model import SequenceModel
from ._arguments import check_knots, check_limits, check_template, check_tissues, check_weights
from ._constraints import SequenceConstraints
from ._controls import LEAST_KNOTS, PulseControls
from ._cost import BoundCost, Cost
from ._hybrid_state_error import limited_error
from ._objective import Objective
from ._recorder import OutOfTimeError, Recorder
from ._result import SequenceDesign
from ._search import Search

_MOST_ROUNDS = 5  # of the refinement, between which the multipliers are adapted
_LEAST_ROUND = 20  # iterations


def optimize_sequence(
    model: SequenceModel | Callable[[PulseSequence], SignalModel],
    prior: Prior | None = None,
    targets: str | Sequence[str] | None = None,
    weights: ArrayLike | Mapping[str, float] | None = None,
    constraints: SequenceConstraints | None = None,
    *,
    sequence: PulseSequence | None = None,
    theta: ArrayLike | pd.DataFrame | None = None,
    known: str | Sequence[str] = (),
    cost: Cost = "log",
    n_tissues: int = 128,
    n_knots: int | None = None,
    init: str = "random",
    n_starts: int = 8,
    n_hops: int = 16,
    max_iter: int = 150,
    refine_iter: int = 600,
    time_budget: float | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    random_state: int | None = None,
    progress: bool = True,
) -> SequenceDesign:
    r"""Find flip angles and pulse durations that minimise the Cramér-Rao bound over a population of tissues.

    With the bound :math:`C_{ik}` of target k in tissue i and weights :math:`w_k` that add up to one,

    .. math::
        \mathrm{log} = \frac1n \sum_{ik} w_k \tfrac12 \log C_{ik}, \quad
        \mathrm{relative} = \tfrac12 \log \Big(\frac1n \sum_{ik} w_k C_{ik} / \theta_{ik}^2\Big).

    The durations, and the flip angles as a share of what the limits leave at these durations, are cubic splines. Their
    knots are found by L-BFGS-B, with gradients by every pulse from the model's adjoint where it has one (those of the
    hybrid state and `MTBlochModel` do) and by differences otherwise.

    The cost has many local minima. Several random starts run with half of the knots on a quarter of the tissues; then
    a stretch of the best one's knots is drawn anew, time and again, and what becomes of it is kept if it is better
    (basin hopping); the best is refined with all knots on all tissues. Limits of flip angle, amplitude and duration
    are met by construction, those of power and hybrid state by an augmented Lagrangian. In the end the power is scaled
    down to its limit; the error of the hybrid state can miss its limit after a short search.

    Parameters
    ----------
    model : MTHybridStateModel, BlochHybridStateModel, MTBlochModel, or callable
        Its sequence is the template, which gives the number of pulses, repetition time and inversion pulse. Or a
        function of a PulseSequence that returns a SignalModel, together with `sequence`.
    prior : Prior, optional
        Distribution of tissues, by default that of the model's kind; needed for models of your own.
    targets : sequence of str, optional
        Parameters whose bound counts; by default the model's `default_targets`.
    weights : array_like of shape (len(targets),), or mapping or Series of str to float, optional
        How much each target counts; by default all alike.
    constraints : SequenceConstraints, optional
        Limits; by default those of `SequenceConstraints`.
    sequence : PulseSequence, optional
        The template, for a function that makes models.
    theta : array_like or DataFrame of shape (n, P), optional
        Tissues, instead of samples of a prior.
    known : sequence of str, default=()
        Parameters that are not estimated, but known exactly.
    cost : {"log", "relative"}, default="log"
        The mean logarithm of the least standard deviation, in which every tissue counts alike, or the least mean
        squared relative error, in which tissues count that are hard to tell.
    n_tissues : int, default=128
        Size of the sample of the prior.
    n_knots : int, optional
        Knots of the flip angles, and as many of the durations; by default one for two pulses, but at most 480.
    init : {"random", "sequence"}, default="random"
        Where the first start begins: at random knots, as all others, or at the template.
    n_starts : int, default=8
        Number of starts.
    n_hops : int, default=16
        Number of changes to the best start that are tried.
    max_iter : int, default=150
        Iterations of each start and hop, at most.
    refine_iter : int, default=600
        Iterations of the refinement, at most.
    time_budget : float, optional
        Time in s after which the best sequence so far is returned.
    checkpoint : path-like, optional
        File in which the progress is kept every ten seconds or, if writing takes long, more seldom. A later call with
        the same arguments (but for `time_budget` and `progress`) goes on from there, and ends with the result of an
        uninterrupted one.
    random_state : int, optional
        Of tissues and starts; needed for a checkpoint.
    progress : bool, default=True
        Whether to show a progress bar.

    Returns
    -------
    SequenceDesign

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an argument has the wrong value, limits contradict one another, a target of a tissue is told by no pulses
        at all, no train is found that tells all targets, or a checkpoint belongs to another design.
    KeyboardInterrupt
        After an interruption from the keyboard; the checkpoint has been written.

    Warns
    -----
    ConvergenceWarning
        If the design came to its end, but the error of the hybrid state is above its limit.

    See Also
    --------
    design.compare_bounds : Judges the result.
    design.hybrid_state_error : Tells what the approximation does to it.

    References
    ----------
    J. Assländer, R. Lattanzi, D. K. Sodickson, M. A. Cloos, Optimized quantification of spin relaxation times in the
    hybrid state, Magn. Reson. Med. 82, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import BlochHybridStateModel, PulseSequence
    >>> from crbestim.design import SequenceConstraints, optimize_sequence
    >>> flat = PulseSequence(np.full(40, 0.4), np.full(40, 0.3e-3), repetition_time=3.5e-3, inversion_duration=0.5e-3)
    >>> search = {"n_tissues": 4, "n_knots": 8, "n_starts": 1, "n_hops": 0, "max_iter": 10, "refine_iter": 10}
    >>> design = optimize_sequence(  # a short search, for a try
    ...     BlochHybridStateModel(flat), targets="T1", constraints=SequenceConstraints(hybrid_state_error=None),
    ...     random_state=0, progress=False, **search
    ... )
    >>> design.sequence
    PulseSequence(40 pulses, repetition_time=0.0035, inversion_duration=0.0005)
    >>> bool(design.bounds["ratio"]["T1"] < 1), bool(design.limits["met"].all())
    (True, True)
    """
    make_model, template = check_template(model, sequence)
    first = make_model(template)
    if not isinstance(first, SignalModel):
        raise TypeError(f"model must return a SignalModel; got {type(first).__name__}.")
    limits = check_limits(constraints, template, first)
    for name, value in {"n_tissues": n_tissues, "n_starts": n_starts, "max_iter": max_iter}.items():
        check_count(value, name)
    for name, value in {"n_hops": n_hops, "refine_iter": refine_iter}.items():
        check_count(value, name, 0)
    check_option(init, "init", ("random", "sequence"))
    n_knots = check_knots(n_knots, template.n_pulses)
    if time_budget is not None:
        check_positive(time_budget, "time_budget")
    path = check_checkpoint(checkpoint)
    rng = random_generator(random_state)
    if path is not None and (not isinstance(random_state, numbers.Integral) or isinstance(random_state, bool)):
        raise ValueError(
            f"checkpoint needs an int as random_state, by which the design is known again; got {random_state!r}."
        )
    names = first.check_names(targets, known)
    shares = check_weights(weights, names)
    tissues = check_tissues(first, prior, theta, n_tissues, rng)
    BoundCost(cost, tissues, first, names, known, shares).check_told(first)  # in the user's order of rows
    if theta is not None:
        tissues = rng.permutation(tissues)  # so that the first quarter is a fair sample

    coarse = PulseControls(template, limits, max(LEAST_KNOTS, n_knots // 2))
    begins = [
        coarse.nearest(template) if init == "sequence" and i == 0 else coarse.random(rng) for i in range(n_starts)
    ]
    whole = BoundCost(cost, tissues, first, names, known, shares)
    quarter = BoundCost(cost, tissues[: max(1, len(tissues) // 4)], first, names, known, shares)
    before = whole.bounds(first)
    settings = {
        "limits": repr(limits), "targets": names, "known": list(whole.known), "weights": shares.tolist(),
        "cost": cost, "n_knots": n_knots, "n_hops": n_hops, "max_iter": max_iter, "refine_iter": refine_iter,
        "times": [template.repetition_time, template.inversion_duration, template.n_pulses],
        "random_state": repr(random_state),
        "versions": [version(name) for name in ("crbestim", "numpy", "scipy")],
    }  # fmt: skip
    recorder = Recorder(path, digest_of(settings, tissues, first._signal(tissues[:1]), before, *begins), time_budget)
    n_total = (n_starts + n_hops) * max_iter + refine_iter
    search = Search(recorder, tqdm(total=n_total, desc="design", unit="iteration", disable=not progress))
    try:
        objective = Objective(make_model, coarse, quarter, limits)
        for i, begin in enumerate(begins):
            search.minimise(f"start {i}", objective, begin, max_iter)
        for i in range(n_hops):
            search.minimise(f"hop {i}", objective, coarse.redraw_stretch(search.best, rng), max_iter)
        if refine_iter:
            _refine(
                search, Objective(make_model, PulseControls(template, limits, n_knots), whole, limits), refine_iter
            )
        complete = True
    except OutOfTimeError:
        complete = False
    finally:
        search.close()

    designed = search.controls.sequence(search.controls.within_power(search.best))
    final = make_model(designed)
    after = whole.bounds(final)
    if complete and not np.isfinite(after).all():
        raise ValueError(
            f"No train of {template.n_pulses} pulses was found that tells the targets {list(names)} in all tissues; "
            "try more pulses, fewer targets, or known parameters."
        )
    error = limited_error(final, tissues, limits)
    table = limits.table(designed, None if error is None else float(np.exp(error.mean_log)))
    if complete and not table["met"].all():
        missed = table[~table["met"]]
        warnings.warn(
            f"{missed.index[0]} is {missed['highest'].iloc[0]:.3g}, above its limit of {missed['high'].iloc[0]:.3g}; "
            "more iterations (refine_iter, max_iter) may meet it.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return SequenceDesign(
        sequence=designed,
        model=final,
        cost=whole.value(after),
        stages=search.stages(),
        history=pd.DataFrame(search.history, columns=["stage", "iteration", "objective", "seconds"]),
        bounds=_median_bounds(before, after, names),
        limits=table,
        complete=complete,
        theta=pd.DataFrame(tissues, columns=list(first.parameter_names)),
    )


def _refine(search: Search, objective: Objective, n_iter: int) -> None:
    """Go on from the best train with the knots of the objective, and adapt its multipliers between rounds."""
    begin = objective.controls.nearest(search.controls.sequence(search.best))
    n_rounds = max(1, min(_MOST_ROUNDS, n_iter // _LEAST_ROUND))
    for i, n_round in enumerate(np.diff(np.arange(n_rounds + 1) * n_iter // n_rounds)):
        search.least = np.inf  # as the objective has changed
        search.minimise(f"refinement {i}", objective, begin, int(n_round))
        begin = search.best if search.controls is objective.controls else begin
        objective.tighten(begin)


def _median_bounds(before: FloatArray, after: FloatArray, names: Sequence[str]) -> pd.DataFrame:
    with np.errstate(invalid="ignore"):
        ratio = np.sqrt(after / before)
    columns = {
        "before": np.median(np.sqrt(before), axis=0),
        "after": np.median(np.sqrt(after), axis=0),
        "ratio": np.median(ratio, axis=0),
    }
    return pd.DataFrame(columns, index=pd.Index(names, name="target"))
