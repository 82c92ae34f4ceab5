"""Training losses; a target is the pair (theta, crb)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CRBLoss(nn.Module):
    """Squared error over the Cramér-Rao bound, averaged over entries with a finite bound (Zhang et al., Eq. 1).

    Both are in the same units, whatever these are: the loss does not change with them.
    """

    def forward(self, prediction: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        """Map (n, p) and ((n, p), (n, p)) to a scalar."""
        theta, crb = target
        # 1 / inf = 0 takes an entry out of the numerator.
        return ((prediction - theta) ** 2 / crb).sum() / torch.isfinite(crb).sum().clamp(min=1)


class MSELoss(nn.Module):
    """Mean squared error in the targets' own units, from standardised values; the bound is not used.

    Parameters
    ----------
    scale : Tensor of shape (p,)
        Unit of the standardised targets.
    """

    scale: Tensor

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)

    def forward(self, prediction: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        """Map (n, p) and ((n, p), (n, p)) to a scalar."""
        theta, _ = target
        return (((prediction - theta) * self.scale) ** 2).mean()
