"""A signal model from a function in torch, with automatic derivatives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._validation import FloatArray, check_names, check_not_above
from ._base import SignalModel
from ._parameter import Parameter

_DTYPES = (torch.float64, torch.complex128)


@dataclass(frozen=True, eq=False)
class FunctionModel(SignalModel):
    """A signal model from a torch function of named parameters; derivatives come by automatic differentiation.

    The function describes one voxel; it is applied to many at once by `torch.func.vmap`, so it must be made of torch
    operations and must not branch on the parameters' values (use `torch.where`).

    Parameters
    ----------
    function : callable
        Called with one keyword argument for each parameter, a 0-d float64 tensor in SI units; returns the signal for
        M0 = 1, a tensor of shape (T,): complex128 for complex data, float64 for real data, such as magnitudes. To be
        sent to other processes it must be importable (no lambda).
    parameters : sequence of Parameter
        The function's arguments, in the order of theta's columns.
    default_targets : sequence of str, default=()
        Parameters that are estimated unless others are asked for; all of them if empty.
    not_above : dict of str to str, optional
        Parameters that never exceed another one, such as ``{"T2": "T1"}``. No parameter can be on both sides.

    Raises
    ------
    TypeError
        If `function` cannot be called, does not return a tensor, or `parameters` holds something else than Parameter.
    ValueError
        If there are no parameters or two of one name, a name is unknown, or the signal has the wrong shape or dtype
        or is not finite at a point within the parameters' ranges.

    See Also
    --------
    SignalModel : The class to derive from, with derivatives by hand.

    Notes
    -----
    Derivatives are forward-mode, one pass for each parameter over all voxels.

    Examples
    --------
    >>> import torch
    >>> from crbestim import FunctionModel, Parameter
    >>> echo_times = torch.linspace(0.01, 0.32, 32, dtype=torch.float64)
    >>> def decay(T2, B0):
    ...     return torch.exp((1j * B0 - 1 / T2) * echo_times)
    >>> model = FunctionModel(
    ...     decay,
    ...     (
    ...         Parameter("T2", "T_2", "s", (0.0, 10.0), closed="right"),
    ...         Parameter("B0", "B_0", "rad/s", (-1e4, 1e4)),
    ...     ),
    ... )
    >>> model.jacobian([[0.05, 20.0], [0.1, 0.0]]).shape
    (2, 32, 2)
    """

    function: Callable[..., Tensor]
    parameters: tuple[Parameter, ...]
    default_targets: tuple[str, ...] = ()
    not_above: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function must be callable; got {type(self.function).__name__}.")
        if isinstance(self.parameters, Parameter):
            raise TypeError("parameters must be a sequence of Parameter, such as (parameter,); got a single one.")
        parameters = tuple(self.parameters)
        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"parameters must hold Parameter objects; got {type(parameter).__name__}.")
        names = [parameter.name for parameter in parameters]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"parameters must have at least one entry and different names; got {names}.")
        not_above = dict(self.not_above)
        check_names(list(dict.fromkeys([*not_above, *not_above.values()])), tuple(names), "not_above")
        check_not_above(not_above)
        object.__setattr__(self, "parameters", parameters)
        object.__setattr__(self, "default_targets", check_names(self.default_targets, tuple(names), "default_targets"))
        object.__setattr__(self, "not_above", not_above)
        signal = self._checked_example()
        object.__setattr__(self, "_length", len(signal))
        object.__setattr__(self, "real_valued", not signal.is_complex())

    @property
    def n_timepoints(self) -> int:
        """Length T of the signal."""
        return int(self.__dict__["_length"])

    def _signal(self, theta: FloatArray) -> NDArray:
        with torch.no_grad():
            return self._many(torch.tensor(theta)).numpy()

    def _jacobian(self, theta: FloatArray) -> NDArray:
        return self._signal_and_jacobian(theta)[1]

    def _signal_and_jacobian(self, theta: FloatArray) -> tuple[NDArray, NDArray]:
        values = torch.tensor(theta)
        # One direction at a time: vmap over directions and voxels together breaks some batched operations.
        with torch.no_grad():
            signal, slopes = values, []
            for direction in torch.eye(theta.shape[1], dtype=values.dtype):
                signal, slope = torch.func.jvp(self._many, (values,), (direction.expand_as(values).contiguous(),))[:2]
                slopes.append(slope)
            return signal.numpy(), torch.stack(slopes, dim=2).numpy()

    def _one(self, row: Tensor) -> Tensor:
        return self.function(**dict(zip(self.parameter_names, row.unbind(), strict=True)))

    def _many(self, theta: Tensor) -> Tensor:
        return torch.func.vmap(self._one)(theta)

    def _checked_example(self) -> Tensor:
        """Signal at a point within the ranges, where all that the function must fulfil is checked."""
        point = {parameter.name: _inner_point(parameter) for parameter in self.parameters}
        for lower, upper in self.not_above.items():
            point[lower] = min(point[lower], point[upper])
        row = torch.tensor(list(point.values()), dtype=torch.float64)
        try:
            inspect.signature(self.function).bind(**point)
        except TypeError as error:
            raise TypeError(f"function must take the arguments {list(point)}: {error}.") from error
        signal = self._one(row)
        if not isinstance(signal, Tensor):
            raise TypeError(f"function must return a torch tensor; got {type(signal).__name__}.")
        if signal.ndim != 1 or not len(signal):
            raise ValueError(f"function must return a signal of shape (T,); got {tuple(signal.shape)}.")
        if signal.dtype not in _DTYPES:
            raise ValueError(
                f"function must return float64 or complex128; got {signal.dtype}. "
                "Are its constants in double precision?"
            )
        if not torch.isfinite(signal).all():
            raise ValueError(f"function must return a finite signal; it is not at {point}.")
        try:
            self._many(row.repeat(2, 1))
        except RuntimeError as error:
            raise ValueError(
                "function must be made of torch operations and neither branch on the parameters' values nor convert "
                f"them to numbers; use torch.where. torch says: {error}"
            ) from error
        return signal


def _inner_point(parameter: Parameter) -> float:
    low, high = parameter.bounds
    if np.isfinite(low) and np.isfinite(high):
        return (low + high) / 2
    return low + 1 if np.isfinite(low) else high - 1 if np.isfinite(high) else 0.0
