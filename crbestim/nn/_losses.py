"""Training losses: functions of the errors of estimates, the true parameters and their bounds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .._validation import check_count, check_not_negative, check_positive


class CRBLoss(nn.Module):
    """Squared error over the Cramér-Rao bound, averaged over entries with a finite bound.

    References
    ----------
    X. Zhang, Q. Duchemin, K. Liu et al., Cramér-Rao bound-informed training of neural networks for quantitative MRI,
    Magn. Reson. Med. 88, 2022, Eq. (1).

    Examples
    --------
    >>> import torch
    >>> from crbestim.nn import CRBLoss
    >>> error, theta = torch.tensor([[0.1], [0.2], [9.0]]), torch.tensor([[1.0], [1.5], [2.0]])
    >>> crb = torch.tensor([[0.01], [0.04], [torch.inf]])  # the last one does not count
    >>> round(float(CRBLoss()(error, theta, crb)), 3)
    1.0
    """

    def forward(self, error: Tensor, theta: Tensor, crb: Tensor) -> Tensor:
        """Map errors of estimates, parameters and bounds, (n, p) each, to a scalar."""
        return _mean_where_finite(error**2 / crb, crb)


class MSELoss(nn.Module):
    """Mean squared error in the targets' own units; the bound is not used.

    Examples
    --------
    >>> import torch
    >>> from crbestim.nn import MSELoss
    >>> error, theta, crb = torch.full((4, 2), 0.5), torch.ones(4, 2), torch.ones(4, 2)
    >>> float(MSELoss()(error, theta, crb))
    0.25
    """

    needs_crb = False

    def forward(self, error: Tensor, theta: Tensor, crb: Tensor) -> Tensor:
        """Map errors of estimates, parameters and bounds, (n, p) each, to a scalar."""
        return (error**2).mean()


class RelativeLoss(nn.Module):
    """Mean relative absolute error; the bound is not used. No parameter may be zero.

    Examples
    --------
    >>> import torch
    >>> from crbestim.nn import RelativeLoss
    >>> error, theta, crb = torch.full((4, 2), -0.5), torch.full((4, 2), 2.0), torch.ones(4, 2)
    >>> float(RelativeLoss()(error, theta, crb))
    0.25
    """

    needs_crb = False

    def forward(self, error: Tensor, theta: Tensor, crb: Tensor) -> Tensor:
        """Map errors of estimates, parameters and bounds, (n, p) each, to a scalar."""
        return (error / theta).abs().mean()


class BiasReducedLoss(nn.Module):
    r"""Squared bias over the bound, and the variance as far as it exceeds the bound.

    .. math::
        L = \frac{1}{S P} \sum_{s,p} \frac{(\bar\theta_{p,s} - \theta_{p,s})^2}{\mathrm{CRB}_{p,s}}
        + \lambda \max\left(\frac{\hat\sigma^2_{p,s}}{\mathrm{CRB}_{p,s}} - \delta,\, 0\right)

    with mean :math:`\bar\theta` and sample variance :math:`\hat\sigma^2` of the estimates from N noise realizations of
    the same fingerprint at the same amplitude; entries with an infinite bound are left out. The squared mean error
    overstates the squared bias by :math:`\hat\sigma^2 / N`, which would reward shrinking as the CRB-loss does; it is
    subtracted unless `unbiased` is False.

    Parameters
    ----------
    n_realizations : int, default=8
        N, at least 2.
    variance_weight : float, default=0.05
        :math:`\lambda`, not negative.
    variance_limit : float, default=1.0
        :math:`\delta`, positive.
    unbiased : bool, default=True
        Whether to subtract :math:`\hat\sigma^2 / N` from the squared mean error.

    References
    ----------
    A. Mao, S. Flassbeck, J. Assländer, Bias-reduced neural networks for parameter estimation in quantitative MRI,
    arXiv 2312.11468, with :math:`\lambda = \delta = 1` and without the subtraction.

    Examples
    --------
    >>> import torch
    >>> from crbestim import CRBWeightedRegressor
    >>> from crbestim.nn import BiasReducedLoss
    >>> loss = BiasReducedLoss(n_realizations=4, variance_weight=1.0)
    >>> error = torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None, None]  # four realizations of one tissue; no bias
    >>> round(float(loss(error, theta=torch.ones(1, 1), crb=torch.full((1, 1), 4 / 3))), 3)  # (0 - var / N) / CRB
    -0.25
    >>> regressor = CRBWeightedRegressor(loss=loss, refinement_epochs=2)
    """

    def __init__(
        self,
        n_realizations: int = 8,
        variance_weight: float = 0.05,
        variance_limit: float = 1.0,
        unbiased: bool = True,
    ) -> None:
        super().__init__()
        self.n_realizations = check_count(n_realizations, "n_realizations", minimum=2)
        self.variance_weight = check_not_negative(variance_weight, "variance_weight")
        self.variance_limit = check_positive(variance_limit, "variance_limit")
        self.unbiased = unbiased

    def forward(self, error: Tensor, theta: Tensor, crb: Tensor) -> Tensor:
        """Map errors of estimates, (N, n, p), parameters and bounds, (n, p) each, to a scalar."""
        variance = error.var(dim=0)
        squared_bias = error.mean(dim=0) ** 2
        if self.unbiased:
            squared_bias = squared_bias - variance / len(error)
        excess = torch.relu(variance / crb - self.variance_limit)
        return _mean_where_finite(squared_bias / crb + self.variance_weight * excess, crb)

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"n_realizations={self.n_realizations}, variance_weight={self.variance_weight}, "
            f"variance_limit={self.variance_limit}, unbiased={self.unbiased}"
        )


def _mean_where_finite(values: Tensor, crb: Tensor) -> Tensor:
    """Average values, which are 0 where the bound, (n, p), is inf, over the entries with a finite bound."""
    return values.sum() / torch.isfinite(crb).sum().clamp(min=1)


LOSSES: dict[str, Callable[[], nn.Module]] = {
    "crb": CRBLoss,
    "mse": MSELoss,
    "relative": RelativeLoss,
    "bias-reduced": BiasReducedLoss,
}
