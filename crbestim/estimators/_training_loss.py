"""The loss that a training minimises, and the stages it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .._validation import FloatArray, check_count, check_option
from ..nn import LOSSES, CRBLoss, Criterion
from ._recipes import Recipe, Stages

_FIRST_LOSS = "crb"
_REFINEMENT_SHARE = 10


@dataclass(frozen=True)
class TrainingLoss:
    """A loss, by name or as a callable.

    Attributes
    ----------
    name : str
        For the history.
    function : callable
        Maps errors, parameters and bounds to a scalar.
    """

    name: str
    function: Any

    @classmethod
    def of(cls, loss: Any) -> TrainingLoss:
        """Return a loss that was given by name or as a callable; raise ValueError for any other."""
        if not callable(loss):
            check_option(loss, "loss", tuple(LOSSES))
            return cls(loss, LOSSES[loss]())
        result = cls(getattr(loss, "__qualname__", type(loss).__name__), loss)
        check_count(result.n_realizations, "loss.n_realizations")
        return result

    @property
    def n_realizations(self) -> int:
        """Noise realizations of each sample; if more than one, a stage with the CRB loss comes first."""
        return getattr(self.function, "n_realizations", 1)

    @property
    def needs_crb(self) -> bool:
        """Whether there must be a bound."""
        return getattr(self.function, "needs_crb", True)

    @property
    def identity(self) -> str:
        """What tells the loss from others, in every process."""
        return repr(self.function) if isinstance(self.function, nn.Module) else self.name

    def name_in_stage(self, n_realizations: int) -> str:
        """Return the name of the loss in a stage with so many realizations."""
        return self.name if n_realizations == self.n_realizations else _FIRST_LOSS

    def stages(self, recipe: Recipe, refinement_epochs: int | None, starts_anew: bool) -> Stages:
        """Return the stages of a training, without the first one if weights of an earlier training stand in for it."""
        if self.n_realizations == 1:
            return Stages(recipe.schedule, recipe.max_epochs)
        if refinement_epochs is None:
            refinement_epochs = -(-recipe.max_epochs // _REFINEMENT_SHARE)
        return Stages(recipe.schedule, recipe.max_epochs if starts_anew else 0, refinement_epochs, self.n_realizations)

    def criterion(self, mean: FloatArray, scale: FloatArray, noise_std: float) -> Criterion:
        """Return what skorch minimises, for targets that are standardised by mean and scale, (p,)."""
        first, refinement = self.function, None
        if self.n_realizations > 1:
            first, refinement = CRBLoss(), self.function
        center, unit = (torch.tensor(values, dtype=torch.float32) for values in (mean, scale))
        return Criterion(first, refinement, center, unit, noise_std)
