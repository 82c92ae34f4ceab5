"""What is to be said against an estimate."""

from __future__ import annotations

from enum import IntFlag


class QualityFlag(IntFlag):
    """Bits of a quality map; 0: nothing is to be said against the estimates."""

    #: An estimate lies outside of the central 99 % of the prior that the network was trained with.
    OUTSIDE_PRIOR = 1
    #: A standard deviation exceeds a third of that of the prior: the signal tells little.
    POORLY_DETERMINED = 2
    #: The signal is none that the model can give (see `crbestim.goodness_of_fit`).
    NOT_OF_MODEL = 4
    #: A parameter lies at a bound of the least-squares fit.
    AT_BOUND = 8
    #: The least-squares fit ran out of iterations.
    NOT_CONVERGED = 16

    @property
    def text(self) -> str:
        """What it means, in a few words."""
        return _TEXTS[self]


_TEXTS = {
    QualityFlag.OUTSIDE_PRIOR: "an estimate outside of the central 99 % of the training's prior",
    QualityFlag.POORLY_DETERMINED: "a standard deviation above a third of the prior's",
    QualityFlag.NOT_OF_MODEL: "a signal that is none of the model's",
    QualityFlag.AT_BOUND: "a parameter at a bound of the fit",
    QualityFlag.NOT_CONVERGED: "a fit that ran out of iterations",
}
