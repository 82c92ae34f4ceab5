"""What a training minimises: the loss of the estimates, and that of the predicted bound beside it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ._networks import FingerprintNetwork

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


class EstimatorNetwork(nn.Module):
    """Two networks that see the same data: one estimates parameters, one the root of their bound.

    Parameters
    ----------
    estimate : FingerprintNetwork
        Maps data to standardised parameters.
    bound : FingerprintNetwork or None
        Maps data to the logarithm of sqrt(CRB) in units of the noise over the l2-norm of the data and of the
        parameters' scale. None: no bound is learnt.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from crbestim.nn import EstimatorNetwork, ResidualNetwork
    >>> network = EstimatorNetwork(estimate=ResidualNetwork(26, 3, width=64), bound=ResidualNetwork(26, 3, width=64))
    >>> x = torch.ones(5, 26)
    >>> estimate, log_std = network(x)
    >>> estimate.shape, log_std.shape
    (torch.Size([5, 3]), torch.Size([5, 3]))
    >>> bool(torch.allclose(network.log_std(10 * x), log_std - np.log(10), atol=1e-4))  # ten times the SNR
    True
    """

    def __init__(self, estimate: FingerprintNetwork, bound: FingerprintNetwork | None) -> None:
        super().__init__()
        self.estimate = estimate
        self.bound = bound

    def forward(self, x: Tensor, covariates: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Map (n, m) and (n, c) to standardised parameters and logarithms of sqrt(CRB) at sigma = 1, (n, p) each."""
        return self.estimate(x, covariates), None if self.bound is None else self.log_std(x, covariates)

    def log_std(self, x: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the logarithm of sqrt(CRB) at sigma = 1 in units of the parameters' scale.

        Parameters
        ----------
        x : Tensor of shape (n, m)
            Data.
        covariates : Tensor of shape (n, c), optional
            Standardised covariates.

        Returns
        -------
        Tensor of shape (n, p)

        Raises
        ------
        RuntimeError
            If there is no network for the bound.
        """
        if self.bound is None:
            raise RuntimeError("The network was trained without a bound.")
        largest = x.abs().amax(dim=1, keepdim=True)  # first, so that no square over- or underflows
        log_norm = torch.log(largest) + torch.log((x / largest).norm(dim=1, keepdim=True))
        return self.bound(x, covariates) - log_norm


class Criterion(nn.Module):
    """Loss of an `EstimatorNetwork` for the target (theta, crb): standardised parameters, and bounds in their units.

    Parameters
    ----------
    loss : callable
        Maps errors, parameters and bounds, (n, p) each, in the parameters' own units to a scalar.
    refinement : callable or None
        The same for errors (N, n, p) from N noise realizations of each sample; it is used for batches that hold them.
    mean, scale : Tensor of shape (p,)
        Of the standardisation.
    noise_std : float
        Noise of the data.

    Examples
    --------
    >>> import torch
    >>> from crbestim.nn import CRBLoss, Criterion, EstimatorNetwork, ResidualNetwork
    >>> network = EstimatorNetwork(estimate=ResidualNetwork(26, 3, width=64), bound=None)
    >>> criterion = Criterion(CRBLoss(), None, mean=torch.zeros(3), scale=torch.ones(3), noise_std=0.01)
    >>> x, theta, crb = torch.ones(5, 26), torch.zeros(5, 3), torch.full((5, 3), 0.01)
    >>> loss = criterion(network(x), (theta, crb))
    >>> loss.backward()
    >>> loss.shape
    torch.Size([])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, loss: Loss, refinement: Loss | None, mean: Tensor, scale: Tensor, noise_std: float) -> None:
        super().__init__()
        self.loss = loss
        self.refinement = refinement
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.noise_std = noise_std

    def forward(self, prediction: tuple[Tensor, Tensor | None], target: tuple[Tensor, Tensor]) -> Tensor:
        """Map ((N n, p), (N n, p)) and ((n, p), (n, p)) to a scalar, the loss of the estimates."""
        (estimate, log_std), (theta, crb) = prediction, target
        error = (estimate.view(-1, *theta.shape) - theta) * self.scale
        truth = theta * self.scale + self.mean
        if len(error) > 1 and self.refinement is not None:
            loss = self.refinement(error, truth, crb)
        else:
            loss = self.loss(error[0], truth, crb)
        if not isinstance(loss, Tensor) or loss.ndim:
            raise TypeError(f"loss must return a scalar Tensor; got {_described(loss)}.")
        if log_std is None:
            return loss
        of_bound = self._loss_of_bound(log_std.view(-1, *theta.shape), crb)
        return loss + of_bound - of_bound.detach()  # its gradient, not its value: the two networks share no weight

    def _loss_of_bound(self, log_std: Tensor, crb: Tensor) -> Tensor:
        finite = torch.isfinite(crb)
        truth = torch.log(torch.where(finite, crb, 1.0)) / 2 - torch.log(self.scale * self.noise_std)
        return ((log_std - truth) ** 2 * finite).sum() / (len(log_std) * finite.sum().clamp(min=1))


def _described(value: object) -> str:
    return f"a Tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
