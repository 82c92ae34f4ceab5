"""The Cramér-Rao bound of a population of tissues as one number, and its gradient by every pulse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from .._validation import FloatArray, check_names, check_option
from ..bounds import information_root
from ..signal import SignalModel
from ..signal._base import _with_scale
from ..signal._sequence_model import SequenceModel

Cost = Literal["log", "relative"]


class BoundCost:
    r"""Cost of a sequence: what the bound of the targets is over a population of tissues.

    With the bound :math:`C_{ik}` of target k in tissue i and normalised weights :math:`w_k`,

    .. math::
        \mathrm{log} = \frac1n \sum_{ik} w_k \tfrac12 \log C_{ik}, \quad
        \mathrm{relative} = \tfrac12 \log \Big(\frac1n \sum_{ik} w_k C_{ik} / \theta_{ik}^2\Big),

    the mean logarithm of the least standard deviations, or the logarithm of the least mean relative error.

    Parameters
    ----------
    kind : {"log", "relative"}
        The cost.
    theta : ndarray of shape (n, P)
        Tissues.
    model : SignalModel
        Tells the names of the parameters.
    targets, known : sequence of str
        As for `SignalModel.crb`.
    weights : ndarray of shape (len(targets),)
        Positive.
    """

    def __init__(
        self,
        kind: Cost,
        theta: FloatArray,
        model: SignalModel,
        targets: Sequence[str],
        known: Sequence[str],
        weights: FloatArray,
    ) -> None:
        check_option(kind, "cost", get_args(Cost))
        self.theta, self._kind, self._weights = theta, kind, weights / weights.sum()
        self._targets = model._columns(targets)
        self.known = check_names(known, model.parameter_names, "known")
        self._free = [column for column, name in enumerate(model.parameter_names) if name not in self.known]
        self._positions = [self._free.index(column) for column in self._targets]
        self._scale = np.ones((len(theta), len(self._targets)))
        if kind == "relative":
            values = model._target_values(theta)[:, self._targets]
            if (values == 0).any():
                row, column = np.argwhere(values == 0)[0]
                raise ValueError(
                    f"cost='relative' needs targets that are not zero; {targets[column]} is, in tissue {row}."
                )
            self._scale = 1 / values**2

    def check_told(self, model: SignalModel) -> None:
        """Raise ValueError if a target of a tissue is infinite whatever the pulses, as where there is no signal."""
        factor = model._regular_point(self.theta, self.known)[1][:, self._targets]
        if not np.isfinite(factor).all():
            row, column = np.argwhere(~np.isfinite(factor))[0]
            tissue = ", ".join(f"{n} = {v:g}" for n, v in zip(model.parameter_names, self.theta[row], strict=True))
            raise ValueError(
                f"theta: no pulses tell {model.parameter_names[self._targets[column]]} in tissue {row}, {tissue}; "
                "leave such tissues out."
            )

    def bounds(self, model: SignalModel) -> FloatArray:
        """Return the bounds of the targets, (n, len(targets))."""
        parts = [self._evaluate(model, chunk)[0] for chunk in self._chunks(model)]
        return np.concatenate(parts)

    def value(self, bounds: FloatArray) -> float:
        """Return the cost of bounds."""
        with np.errstate(divide="ignore"):
            if self._kind == "log":
                return float((0.5 * np.log(bounds) @ self._weights).mean())
            return float(0.5 * np.log(((bounds * self._scale) @ self._weights).mean()))

    def value_and_gradient(
        self, model: SequenceModel, signal_weights: FloatArray | None = None
    ) -> tuple[float, FloatArray, FloatArray]:
        """Return the cost of a model that has pulse gradients, and its gradient by flip angles and durations.

        To the gradient is added that of the sum of the signals with weights, (n, T), if there are any. That of an
        infinite cost is zero.
        """
        chunks = self._chunks(model)
        kept = self._evaluate(model, chunks[0]) if len(chunks) == 1 else None
        bounds = self.bounds(model) if kept is None else kept[0]
        total: list[FloatArray] = [np.zeros(model.n_timepoints), np.zeros(model.n_timepoints)]
        if not np.isfinite(bounds).all():
            return np.inf, total[0], total[1]
        slopes = self._slopes(bounds)
        for chunk in chunks:
            _, where, factor, columns, root = kept or self._evaluate(model, chunk)
            # C = (F^-1)_kk with F = Re(A^H A) changes with A by -2 A (F^-1)_:k (F^-1)_k:
            inverse = root @ root[:, self._positions].swapaxes(1, 2)
            weights = -2 * (columns @ (inverse * (slopes[chunk] * factor)[:, None, :])) @ inverse.swapaxes(1, 2)
            weights = self._of_model(weights, len(model.parameters))
            if signal_weights is not None:
                weights[:, :, 0] += signal_weights[chunk]
            part = model._pulse_gradient(where, weights)
            for sum_, values in zip(total, part, strict=True):
                sum_ += values
        return self.value(bounds), total[0], total[1]

    def _evaluate(
        self, model: SignalModel, chunk: slice
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        """Bounds, where they are evaluated, factors, columns of the Jacobian with those of M0, and root of F^-1."""
        where, factor = model._regular_point(self.theta[chunk], self.known)
        columns = _with_scale(*model._checked_pair(where), self._free, False)
        root = information_root(columns)
        factor = factor[:, self._targets]
        variance = (root[:, self._positions] ** 2).sum(axis=2)
        bounds = np.where(variance > 0, variance, np.inf) * factor
        return bounds, where, factor, columns, root

    def _slopes(self, bounds: FloatArray) -> FloatArray:
        """Derivatives of the cost by the bounds."""
        if self._kind == "log":
            return 0.5 * self._weights / (len(bounds) * bounds)
        scaled = self._scale * self._weights
        return 0.5 * scaled / (bounds * scaled).sum()

    def _of_model(self, weights: FloatArray, n_parameters: int) -> FloatArray:
        """Weights of [s, J], (n, T, 1 + P), from those of the columns of `_with_scale`."""
        result = np.zeros((*weights.shape[:2], 1 + n_parameters), dtype=weights.dtype)
        n_free = len(self._free)
        for i, column in enumerate(self._free):
            result[:, :, 1 + column] = weights[:, :, i]
        result[:, :, 0] = weights[:, :, n_free]
        if weights.shape[2] > n_free + 1:  # the column i s of Im M0
            result[:, :, 0] -= 1j * weights[:, :, n_free + 1]
        return result

    def _chunks(self, model: SignalModel) -> list[slice]:
        return list(model._chunks(len(self.theta), model._bound_copies))
