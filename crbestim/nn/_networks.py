"""Fully connected networks that map stacked coefficients [Re | Im] to standardised parameters."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite

import torch
from torch import Tensor, nn

# Layer widths of the paper's network between input and output; None is the width of the input, and the last
# hidden layer has two units for each target. The paper does not print them: they follow the authors' code.
_PAPER_WIDTHS = (128, 256, 512, 1024, 768, 640, 512, 384, 256, 192, 128, None)
_GROUP_SIZE = 64
_FIRST_CORRECTION = 0.3
_LARGEST_ZERO = 10.0  # standard deviations between mean and zero beyond which a parameter is transformed linearly


class UnitNorm(nn.Module):
    """Scale each row to an l2-norm of 1; the scale of the signal, |M0|, tells nothing about the tissue.

    Examples
    --------
    >>> import torch
    >>> from crbestim.nn import UnitNorm
    >>> UnitNorm()(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).norm(dim=1).round(decimals=3).tolist()
    [1.0, 0.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, m) to (n, m); a row of zeros stays zero."""
        largest = x.abs().amax(dim=1, keepdim=True)  # first, so that no square over- or underflows
        return nn.functional.normalize(x / torch.where(largest > 0, largest, 1.0), dim=1)


class PhaseAlignment(nn.Module):
    r"""Remove the phase of M0: rotate complex coefficients c, stacked [Re | Im], to be as real as possible.

    The rotation by :math:`-\frac{1}{2} \arg \sum_j c_j^2` maximises the energy of the real part; the sign that is
    left is fixed by a positive first coefficient.

    Examples
    --------
    >>> import torch
    >>> from crbestim.nn import PhaseAlignment
    >>> turned = torch.tensor([[0.0, 0.0, 2.0, -1.0]])  # c = (2i, -i), the phase of M0 being 90 degrees
    >>> torch.allclose(PhaseAlignment()(turned), torch.tensor([[2.0, -1.0, 0.0, 0.0]]), atol=1e-6)
    True
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 2k) to (n, 2k)."""
        real, imag = x.chunk(2, dim=1)
        angle = torch.atan2(2 * (real * imag).sum(1), (real**2 - imag**2).sum(1)) / 2
        cos, sin = torch.cos(angle)[:, None], torch.sin(angle)[:, None]
        real, imag = real * cos + imag * sin, imag * cos - real * sin
        sign = torch.where(real[:, :1] < 0, -1.0, 1.0)
        return torch.cat([real * sign, imag * sign], dim=1)


class FingerprintNetwork(nn.Module):
    """Maps stacked coefficients and standardised covariates to standardised parameters.

    Their shapes are (n, n_inputs), (n, n_covariates) and (n, n_outputs).

    Examples
    --------
    A network of your own:

    >>> import torch
    >>> from crbestim import CRBWeightedRegressor, MonoExponentialModel, SVDCompressor, make_fingerprints
    >>> from crbestim.nn import FingerprintNetwork, UnitNorm
    >>> class OneHiddenLayer(FingerprintNetwork):
    ...     def __init__(self, n_inputs, n_outputs, n_covariates=0):
    ...         super().__init__()
    ...         self.normalize = UnitNorm()
    ...         self.hidden = torch.nn.Linear(n_inputs + n_covariates, 32)
    ...         self.last = torch.nn.Linear(32, n_outputs)
    ...
    ...     def forward(self, x, covariates=None):
    ...         x = self.normalize(x)
    ...         x = x if covariates is None else torch.cat([x, covariates], dim=1)
    ...         return self.last(torch.relu(self.hidden(x)))
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> data = make_fingerprints(model, theta=[[0.03 + 0.001 * i] for i in range(100)], progress=False)
    >>> X = SVDCompressor(n_components=3).fit_transform(data.X)
    >>> regressor = CRBWeightedRegressor(network=OneHiddenLayer, max_epochs=2, verbose=0, random_state=0)
    >>> regressor.fit(X, data.y, crb=data.crb).predict(X).shape
    (100, 1)
    >>> type(regressor.module_.estimate).__name__
    'OneHiddenLayer'
    """

    def calibrate(self, x: Tensor, theta: Tensor, zero: Tensor) -> None:
        """Adapt fixed constants before training; nothing by default.

        Parameters
        ----------
        x : Tensor of shape (n, n_inputs)
            Noisy training data.
        theta : Tensor of shape (n, n_outputs)
            Standardised parameters.
        zero : Tensor of shape (n_outputs,)
            Where the parameters are zero, in units of the standardised ones.
        """


class AsinhOutput(nn.Module):
    r"""Outputs on a scale that is linear near zero and logarithmic far from it.

    Maps :math:`o` to :math:`\theta_0 + c \sinh(a o + b)`, where :math:`\theta_0` is the parameter's zero, and a and b
    standardise :math:`\mathrm{asinh}((\theta - \theta_0) / c)`. How well a signal determines a relaxation time or the
    size of a pool is roughly relative to its size. Unlike a logarithm, this has room for negative estimates, without
    which none is unbiased near zero.

    Parameters
    ----------
    n_outputs : int
        Number of columns.
    linear_range : float
        c, in units of the parameter's standard deviation.

    Examples
    --------
    >>> import torch
    >>> from crbestim.nn import AsinhOutput
    >>> output = AsinhOutput(n_outputs=2, linear_range=0.3)
    >>> output.calibrate(torch.randn(100, 2), zero=torch.tensor([-2.0, -1.5]))  # standardised
    >>> output(torch.zeros(5, 2)).shape
    torch.Size([5, 2])
    """

    zero: Tensor
    shift: Tensor
    stretch: Tensor

    def __init__(self, n_outputs: int, linear_range: float) -> None:
        super().__init__()
        self.linear_range = linear_range
        for name, value in (("zero", 0.0), ("shift", 0.0), ("stretch", 1.0)):
            self.register_buffer(name, torch.full((n_outputs,), value))

    def calibrate(self, theta: Tensor, zero: Tensor) -> None:
        """Adapt to standardised parameters, (n, n_outputs), with their zero, (n_outputs,)."""
        self.zero = zero.clamp(-_LARGEST_ZERO, _LARGEST_ZERO)
        transformed = torch.asinh((theta - self.zero) / self.linear_range)
        self.shift = transformed.mean(dim=0)
        self.stretch = transformed.std(dim=0, correction=0).clamp(min=torch.finfo(theta.dtype).eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_outputs) to (n, n_outputs)."""
        return self.zero + self.linear_range * torch.sinh(self.stretch * x + self.shift)


class ResidualNetwork(FingerprintNetwork):
    """Default network: normalised, phase-aligned and standardised input, and residual blocks.

    A block adds to its input a small correction at first, so that no normalisation of the layers is needed.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Number of columns of input and output; `n_inputs` is even.
    n_covariates : int, default=0
        Number of columns of the covariates.
    width : int, default=256
        Units of each hidden layer.
    n_blocks : int, default=2
        Number of residual blocks, of two layers each.
    linear_range : float, default=0.3
        Of the `AsinhOutput`, in standard deviations of a parameter; inf: outputs are linear.

    Examples
    --------
    >>> import torch
    >>> from crbestim.nn import ResidualNetwork
    >>> network = ResidualNetwork(n_inputs=26, n_outputs=3, width=64)
    >>> x, theta = torch.randn(100, 26), torch.randn(100, 3)
    >>> network.calibrate(x, theta, zero=torch.full((3,), -2.0))  # before training
    >>> network(x).shape
    torch.Size([100, 3])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        n_covariates: int = 0,
        *,
        width: int = 256,
        n_blocks: int = 2,
        linear_range: float = 0.3,
    ) -> None:
        super().__init__()
        self.normalize = nn.Sequential(UnitNorm(), PhaseAlignment())
        self.register_buffer("mean", torch.zeros(n_inputs))
        self.register_buffer("std", torch.ones(n_inputs))
        self.first = nn.Linear(n_inputs + n_covariates, width)
        self.blocks = nn.ModuleList(_residual_block(width) for _ in range(n_blocks))
        self.last = nn.Sequential(nn.ReLU(), nn.Linear(width, n_outputs))
        self.output = AsinhOutput(n_outputs, linear_range) if isfinite(linear_range) else None

    def calibrate(self, x: Tensor, theta: Tensor, zero: Tensor) -> None:
        """Take mean and standard deviation of the normalised input, and the scale of the outputs."""
        normalized = self.normalize(x)
        self.mean = normalized.mean(dim=0)
        self.std = normalized.std(dim=0, correction=0).clamp(min=torch.finfo(x.dtype).eps)
        if self.output is not None:
            self.output.calibrate(theta, zero)

    def forward(self, x: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Map (n, n_inputs) and (n, n_covariates) to (n, n_outputs)."""
        x = self.first(_side_by_side((self.normalize(x) - self.mean) / self.std, covariates))
        for block in self.blocks:
            x = x + block(x)
        x = self.last(x)
        return x if self.output is None else self.output(x)


class GroupNorm(nn.GroupNorm):
    """Group norm of rows without further axes, for which torch's own is slow."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, m) to (n, m)."""
        groups = x.view(len(x), self.num_groups, -1)
        return nn.functional.layer_norm(groups, groups.shape[2:], eps=self.eps).flatten(1) * self.weight + self.bias


class PaperNetwork(FingerprintNetwork):
    """Network of Zhang et al., Section 2.5: 14 fully connected layers on l2-normalised input.

    Every layer but the last is followed by group norm (groups of 64 units, a single one in narrower layers) and
    ReLU; the output of an earlier layer is added to that of a later one of the same width.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Number of columns of input and output.
    n_covariates : int, default=0
        Number of columns of the covariates, which the paper has none of; the first layer sees them beside the input.

    References
    ----------
    X. Zhang, Q. Duchemin, K. Liu et al., Cramér-Rao bound-informed training of neural networks for quantitative MRI,
    Magn. Reson. Med. 88, 2022, Section 2.5.

    Examples
    --------
    >>> import torch
    >>> from crbestim.nn import PaperNetwork
    >>> network = PaperNetwork(n_inputs=26, n_outputs=3)
    >>> network(torch.zeros(5, 26)).shape
    torch.Size([5, 3])
    >>> len(network.layers) + 1
    14
    """

    def __init__(self, n_inputs: int, n_outputs: int, n_covariates: int = 0) -> None:
        super().__init__()
        self.normalize = UnitNorm()
        n_inputs += n_covariates
        hidden = [n_inputs if width is None else width for width in _PAPER_WIDTHS] + [2 * n_outputs]
        widths = [n_inputs, *hidden]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), GroupNorm(_n_groups(after), after), nn.ReLU())
            for before, after in pairwise(widths)
        )
        self.last = nn.Linear(widths[-1], n_outputs)

    def forward(self, x: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Map (n, n_inputs) and (n, n_covariates) to (n, n_outputs)."""
        x = _side_by_side(self.normalize(x), covariates)
        earlier = {x.shape[1]: x}
        for layer in self.layers:
            x = layer(x)
            width = x.shape[1]
            if width in earlier:
                x = x + earlier[width]
            earlier[width] = x
        return self.last(x)


def _residual_block(width: int) -> nn.Sequential:
    last = nn.Linear(width, width)
    with torch.no_grad():
        last.weight *= _FIRST_CORRECTION
    return nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)


def _side_by_side(x: Tensor, covariates: Tensor | None) -> Tensor:
    return x if covariates is None else torch.cat([x, covariates], dim=1)


def _n_groups(width: int) -> int:
    """Return how many groups of at least 64 units a layer is divided into, equally; 1 if it is narrower."""
    return next(groups for groups in range(max(1, width // _GROUP_SIZE), 0, -1) if width % groups == 0)


NETWORKS: dict[str, type[FingerprintNetwork]] = {
    "residual": ResidualNetwork,
    "paper": PaperNetwork,
}
