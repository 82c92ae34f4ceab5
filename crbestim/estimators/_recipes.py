"""Recipes of training: optimizer, learning rate and its schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

from torch import optim


@dataclass(frozen=True)
class OneCycle:
    """Learning rate that rises linearly over the first epochs and falls to zero as a cosine."""

    n_epochs: int
    warm_up: float = 0.1

    def __call__(self, epoch: int) -> float:
        """Return the factor on the learning rate in an epoch (counted from 0)."""
        position = (epoch + 0.5) / self.n_epochs
        if position < self.warm_up:
            return position / self.warm_up
        return (1 + cos(pi * (position - self.warm_up) / (1 - self.warm_up))) / 2


@dataclass(frozen=True)
class StepDecay:
    """Learning rate that is halved every so many epochs."""

    n_epochs: int
    every: int = 40

    def __call__(self, epoch: int) -> float:
        """Return the factor on the learning rate in an epoch (counted from 0)."""
        return 0.5 ** (epoch // self.every)


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
