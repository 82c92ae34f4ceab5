"""Losses as plain values."""

from __future__ import annotations

from typing import Any

from .._validation import check_option
from ..estimators._training_loss import TrainingLoss
from ..nn import LOSSES, BiasReducedLoss

_SETTINGS = ("n_realizations", "variance_weight", "variance_limit", "unbiased")


class UnknownLoss:
    """Stands for a loss of the user's own, which a file cannot hold; it is of no use for a training.

    Parameters
    ----------
    name : str
        Of the loss.
    """

    needs_crb = False

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *tensors: object) -> Any:
        """Refuse to be used."""
        raise ValueError(f"loss: the file of the network does not hold the loss {self.name!r}; pass one to train it.")

    def __repr__(self) -> str:
        return f"UnknownLoss({self.name!r})"


def pack_loss(loss: Any) -> dict[str, Any]:
    """Return the name of a loss, and its settings if it is one with settings; of a user's own only the name."""
    if type(loss) is BiasReducedLoss:
        return {"name": "BiasReducedLoss", "settings": {name: getattr(loss, name) for name in _SETTINGS}}
    if isinstance(loss, str):
        return {"name": loss}
    return {"unknown": loss.name if isinstance(loss, UnknownLoss) else TrainingLoss.of(loss).identity}


def unpack_loss(description: dict[str, Any]) -> Any:
    """Return the loss, or what stands for it.

    Raises
    ------
    ValueError
        If the name is that of no loss.
    """
    if "unknown" in description:
        return UnknownLoss(str(description["unknown"]))
    name = description["name"]
    if "settings" in description and name == "BiasReducedLoss":
        return BiasReducedLoss(**description["settings"])
    check_option(name, "the loss", tuple(LOSSES))
    return name
