"""Design of a pulse train by the Cramér-Rao bound."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult, minimize
from tqdm.auto import tqdm

from .._files import check_checkpoint, digest_of
from .._validation import FloatArray, check_count, check_option, check_positive, numeric_array
from ..datasets import Prior
from ..datasets._fingerprints import checked_prior
from ..signal import PulseSequence, SignalModel
from ..signal._hybrid_state import HybridStateModel
from ..signal._sequence_model import SequenceModel
from ._constraints import SequenceConstraints
from ._controls import LEAST_KNOTS, PulseControls
from ._cost import BoundCost, Cost
from ._hybrid_state_error import HybridStateError
from ._objective import Objective
from ._recorder import OutOfTimeError, Recorder

_MOST_KNOTS = 480  # by default
_VERY_LARGE = 1e10
_ROUNDS = 5  # of the refinement, between which the multipliers are adapted


@dataclass(frozen=True)
class SequenceDesign:
    """Result of `optimize_sequence`.

    Attributes
    ----------
    sequence : PulseSequence
        The best pulse train, which meets the constraints on flip angle, amplitude, duration and power.
    model : SignalModel
        Its model.
    cost : float
        Its cost over all tissues.
    stages : DataFrame
        One row a stage (starts, hops, rounds of the refinement): the least objective, that is the cost and what is
        added for limits that are not met, and the number of iterations and evaluations.
    history : DataFrame
        One row an iteration: stage, iteration, objective, seconds.
    bounds : DataFrame
        One row a target: median over the tissues of the design of the least standard deviation, sqrt(CRB) at
        |M0| = 1 and sigma = 1, of the template's sequence (before) and of the new one (after), and the median of
        their ratio; the template's may be infinite.
    limits : DataFrame
        The pulses, their power and the error of the hybrid state beside the constraints.
    complete : bool
        Whether the design came to its end; if not, the time was up.
    theta : DataFrame
        The tissues of the design. Judge the sequence by others, for instance with `compare_bounds`.
    """

    sequence: PulseSequence
    model: SignalModel
    cost: float
    stages: pd.DataFrame
    history: pd.DataFrame
    bounds: pd.DataFrame
    limits: pd.DataFrame
    complete: bool
    theta: pd.DataFrame


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

    Flip angles and durations are cubic splines, whose knots are found by L-BFGS-B, with gradients by every pulse from
    the model's adjoint where it has one (the models of a `PulseSequence` in this package do) and by differences
    otherwise. The cost has many local minima. Several random starts run with half of the knots on a quarter of the
    tissues; then a stretch of the best one's knots is drawn anew, time and again, and what becomes of it is kept if it
    is better (basin hopping); the best is refined with all knots on all tissues. Limits of flip angle, amplitude and
    duration are met by construction, those of power and hybrid state by an augmented Lagrangian; in the end the power
    is scaled down to its limit.

    Parameters
    ----------
    model : SequenceModel or callable
        Its sequence is the template, which gives the number of pulses, repetition time and inversion pulse. Or a
        function of a PulseSequence that returns a SignalModel, together with `sequence`.
    prior : Prior, optional
        Distribution of tissues, by default that of the model's kind.
    targets : sequence of str, optional
        Parameters whose bound counts; by default the model's `default_targets`.
    weights : array_like of shape (len(targets),) or mapping of str to float, optional
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
        File in which the progress is kept every ten seconds. A later call with the same arguments (but for
        `time_budget` and `progress`) goes on from there, and ends with the result of an uninterrupted one.
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
        at all, or a checkpoint belongs to another design.

    References
    ----------
    J. Assländer, R. Lattanzi, D. K. Sodickson, M. A. Cloos, Optimized quantification of spin relaxation times in the
    hybrid state, Magn. Reson. Med. 82, 2019.
    """
    make_model, template = _template(model, sequence)
    first = make_model(template)
    if not isinstance(first, SignalModel):
        raise TypeError(f"model must return a SignalModel; got {type(first).__name__}.")
    limits = _checked_limits(constraints, template, first)
    for name, value in {"n_tissues": n_tissues, "n_starts": n_starts, "max_iter": max_iter}.items():
        check_count(value, name)
    for name, value in {"n_hops": n_hops, "refine_iter": refine_iter}.items():
        check_count(value, name, 0)
    check_option("init", init, ("random", "sequence"))
    n_knots = _checked_knots(n_knots, template.n_pulses)
    if time_budget is not None:
        check_positive(time_budget, "time_budget")
    path = check_checkpoint(checkpoint)
    if path is not None and (not isinstance(random_state, numbers.Integral) or isinstance(random_state, bool)):
        raise ValueError(
            f"checkpoint needs an int as random_state, by which the design is known again; got {random_state!r}."
        )
    names = first.check_names(targets, known)
    counts = _checked_weights(weights, names)
    rng = np.random.default_rng(random_state)
    tissues = _tissues(first, prior, theta, n_tissues, rng)

    coarse = PulseControls(template, limits, max(LEAST_KNOTS, n_knots // 2))
    begins = [
        coarse.nearest(template) if init == "sequence" and i == 0 else coarse.random(rng) for i in range(n_starts)
    ]
    whole = BoundCost(cost, tissues, first, names, known, counts)
    quarter = BoundCost(cost, tissues[: max(1, len(tissues) // 4)], first, names, known, counts)
    whole.check_told(first)
    before = whole.bounds(first)
    settings = {
        "limits": repr(limits), "targets": names, "known": list(quarter._known), "weights": counts.tolist(),
        "cost": cost, "n_knots": n_knots, "n_hops": n_hops, "max_iter": max_iter, "refine_iter": refine_iter,
        "times": [template.repetition_time, template.inversion_duration, template.n_pulses],
    }  # fmt: skip
    digest = digest_of(settings, tissues, first._signal(tissues[:1]), before, *begins)
    controls = coarse
    n_total = (n_starts + n_hops) * max_iter + refine_iter
    bar = tqdm(total=n_total, desc="design", unit="iteration", disable=not progress)
    run = _Run(Recorder(path, digest, time_budget), bar)
    try:
        search = Objective(make_model, coarse, quarter, limits)
        for i, begin in enumerate(begins):
            run.minimise(f"start {i}", search, begin, max_iter)
        for i in range(n_hops):
            run.minimise(f"hop {i}", search, coarse.redraw_stretch(run.best, rng), max_iter)
        controls = PulseControls(template, limits, n_knots)
        run.best = controls.nearest(coarse.sequence(run.best))
        objective = Objective(make_model, controls, whole, limits)
        for i, n_iter in enumerate(np.diff(np.arange(_ROUNDS + 1) * refine_iter // _ROUNDS)):
            run.least = np.inf  # as the multipliers have changed
            run.minimise(f"refinement {i}", objective, run.best, int(n_iter))
            objective.tighten(run.best)
        complete = True
    except OutOfTimeError:
        complete = False
    finally:
        run.close()

    knots = controls.within_power(run.best)
    designed = controls.sequence(knots)
    final = make_model(designed)
    after = whole.bounds(final)
    error = None
    if limits.hybrid_state_error is not None and isinstance(final, HybridStateModel):
        error = float(np.exp(HybridStateError(final, tissues).mean_log))
    return SequenceDesign(
        sequence=designed,
        model=final,
        cost=whole.value(after),
        stages=run.stages(),
        history=pd.DataFrame(run.history, columns=["stage", "iteration", "objective", "seconds"]),
        bounds=_median_bounds(before, after, names),
        limits=limits.table(designed, error),
        complete=complete,
        theta=pd.DataFrame(tissues, columns=list(first.parameter_names)),
    )


class _Run:
    """Minimisations one after the other: their best knots, the record of their evaluations, and the progress bar."""

    best: FloatArray

    def __init__(self, recorder: Recorder, bar: tqdm) -> None:
        self._recorder, self._bar = recorder, bar
        self.least = np.inf
        self.history: list[tuple[str, int, float, float]] = []
        self._stages: list[tuple[str, float, int, int]] = []

    def minimise(self, stage: str, objective: Objective, begin: FloatArray, n_iter: int) -> None:
        """Minimise, and keep the best knots if they are better than those of the stages before."""
        if not hasattr(self, "best"):
            self.best = begin
        number, iterations, evaluations, seconds, lowest = len(self._stages), 0, 0, 0.0, np.inf

        def function(knots: FloatArray) -> tuple[float, FloatArray]:
            nonlocal evaluations, seconds, lowest
            value, gradient, seconds = self._recorder.evaluate(objective, number, knots)
            evaluations += 1
            lowest = min(lowest, value)
            if value < self.least:
                self.least, self.best = value, knots.copy()
            # The line search steps back from where a bound is infinite.
            return (value, gradient) if np.isfinite(value) else (_VERY_LARGE, np.zeros_like(gradient))

        def callback(intermediate_result: OptimizeResult) -> None:
            nonlocal iterations
            iterations += 1
            self.history.append((stage, iterations, float(intermediate_result.fun), seconds))
            self._bar.set_postfix({"stage": stage, "objective": f"{self.least:.4f}"}, refresh=False)
            self._bar.update()

        options = {"maxiter": n_iter, "maxfun": 20 * n_iter, "maxcor": 20, "ftol": 1e-9, "gtol": 1e-9}
        try:
            if n_iter:
                limits = [(0.0, 1.0)] * len(begin)
                minimize(
                    function, begin, jac=True, method="L-BFGS-B", bounds=limits, callback=callback, options=options
                )
        finally:
            self._stages.append((stage, lowest, iterations, evaluations))
        self._bar.update(n_iter - iterations)

    def stages(self) -> pd.DataFrame:
        """Return what became of each stage."""
        table = pd.DataFrame(self._stages, columns=["stage", "objective", "iterations", "evaluations"])
        return table.set_index("stage")

    def close(self) -> None:
        """Keep the record and end the bar."""
        self._recorder.write()
        self._bar.close()


def _template(
    model: SequenceModel | Callable[[PulseSequence], SignalModel], sequence: PulseSequence | None
) -> tuple[Callable[[PulseSequence], SignalModel], PulseSequence]:
    """Function that makes the model of a pulse train, and the train to begin with."""
    if isinstance(model, SequenceModel):
        if sequence is not None:
            raise ValueError("sequence is only for a function that makes models; a SequenceModel brings its own.")
        return model.with_sequence, model.sequence
    if isinstance(model, SignalModel) or not callable(model):
        raise TypeError(
            "model must be a SequenceModel, or a function of a PulseSequence that returns a SignalModel; got "
            f"{type(model).__name__}."
        )
    if not isinstance(sequence, PulseSequence):
        raise TypeError(f"sequence must be a PulseSequence when model is a function; got {type(sequence).__name__}.")
    return model, sequence


def _checked_limits(
    constraints: SequenceConstraints | None, template: PulseSequence, model: SignalModel
) -> SequenceConstraints:
    limits = SequenceConstraints() if constraints is None else constraints
    if not isinstance(limits, SequenceConstraints):
        raise TypeError(f"constraints must be SequenceConstraints; got {type(limits).__name__}.")
    limits.check_times(template)
    if limits.hybrid_state_error is not None and isinstance(model, HybridStateModel):
        model._rotating(np.zeros((0, len(model.parameters))))
    return limits


def _checked_knots(n_knots: int | None, n_pulses: int) -> int:
    if n_pulses < LEAST_KNOTS:
        raise ValueError(f"model: a sequence of at least {LEAST_KNOTS} pulses can be designed; got {n_pulses}.")
    if n_knots is None:
        return min(max(LEAST_KNOTS, n_pulses // 2), _MOST_KNOTS)
    check_count(n_knots, "n_knots", LEAST_KNOTS)
    if n_knots > n_pulses:
        raise ValueError(f"n_knots must not exceed the number of pulses, {n_pulses}; got {n_knots}.")
    return n_knots


def _checked_weights(weights: ArrayLike | Mapping[str, float] | None, names: Sequence[str]) -> FloatArray:
    if weights is None:
        return np.ones(len(names))
    if isinstance(weights, Mapping):
        if set(weights) != set(names):
            raise ValueError(f"weights must name the targets {list(names)}; got {list(weights)}.")
        weights = [weights[name] for name in names]
    values = numeric_array(weights, "weights").astype(float)
    if values.shape != (len(names),) or not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError(f"weights must be a positive number for each target, {list(names)}; got {weights!r}.")
    return values


def _tissues(
    model: SignalModel,
    prior: Prior | None,
    theta: ArrayLike | pd.DataFrame | None,
    n_tissues: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Tissues of the design, in an order in which any first part is a fair sample."""
    if theta is None:
        return model.check_theta(checked_prior(prior, model).sample(n_tissues, random_state=rng, method="sobol"))
    if prior is not None:
        raise ValueError("prior and theta must not both be given.")
    return rng.permutation(model.check_theta(theta))


def _median_bounds(before: FloatArray, after: FloatArray, names: Sequence[str]) -> pd.DataFrame:
    columns = {
        "before": np.median(np.sqrt(before), axis=0),
        "after": np.median(np.sqrt(after), axis=0),
        "ratio": np.median(np.sqrt(after / before), axis=0),
    }
    return pd.DataFrame(columns, index=pd.Index(names, name="target"))
