"""Steps that minimise a damped quadratic exactly within bounds."""

from __future__ import annotations

import numpy as np
from numba import njit

from .._threads import run_blocks
from .._validation import FloatArray
from ._problem import Quadratic

_BLOCK, _LEAST_BLOCK = 256, 64  # fits that a thread takes at a time
_LEAST_CURVATURE = 1e-12  # of a parameter, relative to the largest


def bounded_steps(unit: FloatArray, quadratic: Quadratic, damping: FloatArray) -> tuple[FloatArray, FloatArray]:
    r"""Minimise :math:`2 g^T p + p^T (G + \lambda \, \mathrm{diag} \, G)\, p` over steps that stay in the unit cube.

    Parameters
    ----------
    unit : ndarray of shape (n, F)
        Where the fits are.
    quadratic : Quadratic
        Gradients g and Gram matrices G there.
    damping : ndarray of shape (n,)
        Marquardt's :math:`\lambda`.

    Returns
    -------
    step : ndarray of shape (n, F)
        p.
    reduction : ndarray of shape (n,)
        By how much the undamped quadratic falls.
    """
    n = len(unit)
    step, reduction = np.zeros_like(unit), np.empty(n)
    run_blocks(
        lambda block: _solve(
            unit[block],
            quadratic.gradient[block],
            quadratic.gram[block],
            damping[block],
            step[block],
            reduction[block],
        ),
        n,
        _BLOCK,
        _LEAST_BLOCK,
    )
    return step, reduction


@njit(cache=True, error_model="numpy", nogil=True)
def _solve(unit, gradient, gram, damping, step, reduction):  # type: ignore[no-untyped-def]
    n, size = unit.shape
    hessian = np.empty((size, size))
    for i in range(n):
        largest = 0.0
        for j in range(size):
            largest = max(largest, gram[i, j, j])
        for j in range(size):
            for k in range(size):
                hessian[j, k] = gram[i, j, k]
            hessian[j, j] += damping[i] * max(gram[i, j, j], _LEAST_CURVATURE * largest) + 1e-300
        _minimise(hessian, gradient[i], -unit[i], 1 - unit[i], step[i])
        reduction[i] = 0.0
        for j in range(size):
            curvature = 0.0
            for k in range(size):
                curvature += gram[i, j, k] * step[i, k]
            reduction[i] -= step[i, j] * (2 * gradient[i, j] + curvature)


@njit(cache=True, error_model="numpy", nogil=True)
def _minimise(hessian, gradient, low, high, step):  # type: ignore[no-untyped-def]
    """Minimise a strictly convex quadratic in a box by the primal active-set method, from a step of zero.

    Nocedal and Wright, Numerical Optimization, 2nd edition, algorithm 16.3.
    """
    size = len(step)
    held = np.zeros(size, np.bool_)
    free = np.empty(size, np.int64)
    factor, target = np.empty((size, size)), np.empty(size)
    for j in range(size):
        held[j] = (low[j] >= 0 and gradient[j] > 0) or (high[j] <= 0 and gradient[j] < 0)
    for _ in range(10 * size):
        n_free = 0
        for j in range(size):
            if not held[j]:
                free[n_free] = j
                n_free += 1
        _solve_free(hessian, gradient, step, held, free[:n_free], factor, target)
        length, blocking = 1.0, -1
        for a in range(n_free):
            j = free[a]
            limit = low[j] if target[a] < low[j] else high[j]
            if target[a] < low[j] or target[a] > high[j]:
                share = (limit - step[j]) / (target[a] - step[j])
                if share < length:
                    length, blocking = share, a
        for a in range(n_free):
            step[free[a]] += length * (target[a] - step[free[a]])
        if blocking >= 0:
            j = free[blocking]
            step[j] = low[j] if target[blocking] < low[j] else high[j]
            held[j] = True
            continue
        steepest, worst = 0.0, -1
        for j in range(size):
            if held[j]:
                slope = gradient[j]
                for k in range(size):
                    slope += hessian[j, k] * step[k]
                inward = -slope if step[j] <= low[j] else slope
                # Relative to the curvature: a slope of rounding would hold and release forever.
                if inward > 1e-13 * abs(gradient[j]) and inward / np.sqrt(hessian[j, j]) > steepest:
                    steepest, worst = inward / np.sqrt(hessian[j, j]), j
        if worst < 0:
            return
        held[worst] = False


@njit(cache=True, error_model="numpy", nogil=True)
def _solve_free(hessian, gradient, step, held, free, factor, target):  # type: ignore[no-untyped-def]
    """Minimise over the free components by a Cholesky factorisation."""
    size, n_free = len(step), len(free)
    for a in range(n_free):
        j = free[a]
        target[a] = -gradient[j]
        for k in range(size):
            if held[k]:
                target[a] -= hessian[j, k] * step[k]
        for b in range(a + 1):
            value = hessian[j, free[b]]
            for c in range(b):
                value -= factor[a, c] * factor[b, c]
            factor[a, b] = value / factor[b, b] if b < a else np.sqrt(max(value, 1e-16 * hessian[j, j]))
    for a in range(n_free):
        for c in range(a):
            target[a] -= factor[a, c] * target[c]
        target[a] /= factor[a, a]
    for a in range(n_free - 1, -1, -1):
        for c in range(a + 1, n_free):
            target[a] -= factor[c, a] * target[c]
        target[a] /= factor[a, a]
