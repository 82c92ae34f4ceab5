"""Result of a design."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ..signal import PulseSequence, SignalModel


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
