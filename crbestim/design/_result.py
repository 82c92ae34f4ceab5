"""Result of a design."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ..signal import PulseSequence, SignalModel


@dataclass(frozen=True, eq=False, repr=False)
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
        One row a stage (starts, hops, rounds of the refinement): the least objective, and the number of iterations and
        evaluations. The objective is the cost and what the augmented Lagrangian adds for the limits of power and
        hybrid state. It compares starts and hops with each other, but neither with the refinement, which has all
        tissues, nor the rounds of that, whose multipliers differ.
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

    Examples
    --------
    >>> import numpy as np
    >>> from crbestim import BlochHybridStateModel, PulseSequence
    >>> from crbestim.design import SequenceConstraints, optimize_sequence
    >>> flat = PulseSequence(np.full(40, 0.4), np.full(40, 0.3e-3), repetition_time=3.5e-3, inversion_duration=0.5e-3)
    >>> design = optimize_sequence(
    ...     BlochHybridStateModel(flat), constraints=SequenceConstraints(hybrid_state_error=None), n_tissues=4,
    ...     n_knots=8, n_starts=1, n_hops=0, max_iter=5, refine_iter=5, random_state=0, progress=False,
    ... )
    >>> design.complete, design.sequence.n_pulses, design.theta.shape
    (True, 40, (4, 4))
    >>> design.bounds.index.tolist(), design.bounds.columns.tolist()
    (['T1', 'T2'], ['before', 'after', 'ratio'])
    >>> list(design.history)
    ['stage', 'iteration', 'objective', 'seconds']
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

    def __repr__(self) -> str:
        met = "met" if self.limits["met"].all() else "not met"
        return (
            f"SequenceDesign({self.sequence.n_pulses} pulses, cost={self.cost:.4g}, complete={self.complete}, "
            f"limits {met})"
        )
