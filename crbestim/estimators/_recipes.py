"""Recipes of training: optimizer, learning rate and its schedule, and the stages it goes through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

from torch import optim

_WARM_UP = 0.1  # of the epochs
_HALVING = 40  # epochs


@dataclass(frozen=True)
class OneCycle:
    """Learning rate that rises linearly over the first tenth of the epochs and falls to zero as a cosine."""

    n_epochs: int

    def __call__(self, epoch: int) -> float:
        """Return the factor on the learning rate in an epoch (counted from 0)."""
        position = (epoch + 0.5) / self.n_epochs
        if position < _WARM_UP:
            return position / _WARM_UP
        return (1 + cos(pi * (position - _WARM_UP) / (1 - _WARM_UP))) / 2


@dataclass(frozen=True)
class StepDecay:
    """Learning rate that is halved every 40 epochs, however many there are."""

    n_epochs: int

    def __call__(self, epoch: int) -> float:
        """Return the factor on the learning rate in an epoch (counted from 0)."""
        return 0.5 ** (epoch // _HALVING)


@dataclass(frozen=True)
class Stages:
    """Epochs of a training with one noise realization of each sample, then epochs with several.

    Parameters
    ----------
    schedule : callable
        Maps the number of epochs of a stage to its `OneCycle` or `StepDecay`; each stage starts anew.
    n_epochs : int
        Of the first stage.
    n_refinement_epochs : int, default=0
        Of the second stage.
    n_refinement_realizations : int, default=1
        Noise realizations of each sample in the second stage.
    """

    schedule: Callable[[int], Callable[[int], float]]
    n_epochs: int
    n_refinement_epochs: int = 0
    n_refinement_realizations: int = 1

    @property
    def total(self) -> int:
        """Number of epochs."""
        return self.n_epochs + self.n_refinement_epochs

    @property
    def first_of_last(self) -> int:
        """First epoch of the last stage."""
        return self.n_epochs if self.n_refinement_epochs else 0

    def n_realizations(self, epoch: int) -> int:
        """Return how many noise realizations of each sample an epoch (counted from 0) needs."""
        return 1 if epoch < self.n_epochs else self.n_refinement_realizations

    def __call__(self, epoch: int) -> float:
        """Return the factor on the learning rate in an epoch (counted from 0)."""
        if epoch < self.n_epochs:
            return self.schedule(self.n_epochs)(epoch)
        return self.schedule(self.n_refinement_epochs)(epoch - self.n_epochs) if self.n_refinement_epochs else 0.0


@dataclass(frozen=True)
class Recipe:
    """Optimizer, schedule and their settings; a max_norm of None leaves gradients as they are."""

    optimizer: type[optim.Optimizer]
    schedule: Callable[[int], Callable[[int], float]]
    learning_rate: float
    batch_size: int
    max_epochs: int
    max_norm: float | None


RECIPES = {
    "one-cycle": Recipe(optim.AdamW, OneCycle, 2e-3, 512, 100, 1.0),
    # Zhang et al., Section 2.6.
    "paper": Recipe(optim.Adam, StepDecay, 0.01, 512, 400, None),
}
