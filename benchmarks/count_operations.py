"""Count the arithmetic operations of the compiled kernels, by running their source with numbers that count.

Prints the additions, multiplications, divisions and square roots of one interval of one voxel, those inside exp and
sin/cos included, as JSON. Needs no compiler: numba is switched off.
"""

import json
import math
import os
from collections import Counter

os.environ["NUMBA_DISABLE_JIT"] = "1"

import numpy as np

from crbestim import BlochHybridStateModel, MTBlochModel, MTHybridStateModel, PulseSequence
from crbestim.signal import (
    _bloch_kernel,
    _engine,
    _exchange_kernel,
    _lanes,
    _saturation_kernel,
    _single_pool_kernel,
    _two_pool_kernel,
)

counts: Counter[str] = Counter()


class Counted(float):
    """A float that counts the operations on it."""


def _operation(name, kind):
    plain = getattr(float, name)

    def operate(self, other):
        counts[kind] += 1
        return Counted(plain(self, float(other)))

    return operate


for names, kind in (
    (("__add__", "__radd__", "__sub__", "__rsub__"), "add"),
    (("__mul__", "__rmul__"), "multiply"),
    (("__truediv__", "__rtruediv__"), "divide"),
):
    for name in names:
        setattr(Counted, name, _operation(name, kind))
Counted.__neg__ = lambda self: Counted(-float(self))


def _counting(kind, function):
    def wrapper(*values):
        counts[kind] += 1
        return function(*values)

    return wrapper


def _place(array, index, i):
    """Index of entry i of a row; an index of one entry more tells the first i."""
    return (*index, i) if len(index) < array.ndim - 1 else (*index[:-1], index[-1] + i)


def _load_row(array, index, length):
    return tuple(Counted(array[_place(array, index, i)][0]) for i in range(length))


def _store_row(array, index, values):
    for i, value in enumerate(values):
        array[_place(array, index, i)] = value


REPLACEMENTS = {
    "load": lambda array, index: Counted(array[index][0]),
    "load_row": _load_row,
    "store": lambda array, index, value: array.__setitem__(index, float(value)),
    "store_row": _store_row,
    "gather": lambda table, row: tuple(map(Counted, table[int(row), :4])),
    "splat": Counted,
    "sqrt": _counting("square root", lambda value: Counted(math.sqrt(value))),
    "floor": lambda value: Counted(math.floor(value)),
    "absolute": lambda value: Counted(abs(value)),
    "where_less": lambda left, right, yes, no: Counted(yes if left < right else no),
    "_power_of_two": lambda exponent: Counted(2.0**exponent),
    "exp": _counting("of them calls of exp", _lanes.exp),
    "sin_cos": _counting("of them calls of sin and cos", _lanes.sin_cos),
    "emit": lambda *arguments: None,
}


MODELS = {
    "MTHybridStateModel": (MTHybridStateModel, _two_pool_kernel, slice(0, 7)),
    "MTBlochModel": (MTBlochModel, _bloch_kernel, slice(0, 7)),
    "BlochHybridStateModel": (BlochHybridStateModel, _single_pool_kernel, [1, 2, 5, 6]),
}
THETA = np.array([[0.15, 1.6, 0.08, 40.0, 1e-5, 200.0, 0.9]])


def run_kernel(kernel, constants, shared, n_pulses, n_parameters, basis=None, dtype=np.float64):
    """Run a kernel on one voxel, as the engine's function of this name does on all, and leave no result."""
    group = np.repeat(constants[:1, :, None], _lanes.WIDTH, axis=2)
    signal = np.empty((_lanes.WIDTH, n_pulses, 1), dtype).view(np.float64)
    jacobian = np.empty((_lanes.WIDTH, n_pulses, n_parameters), dtype).view(np.float64)
    kernel(group, 0, *shared, np.empty((0, n_pulses)), signal, jacobian)
    return signal, jacobian


def operations(make, columns, derivatives, n_pulses):
    """Operations of a whole cycle of one voxel."""
    sequence = PulseSequence(np.linspace(0.2, 1.0, n_pulses), np.full(n_pulses, 3e-4), 3.5e-3, 5e-4)
    counts.clear()
    make(sequence)._simulate(THETA[:, columns], derivatives)
    return Counter(counts)


def main():
    """Print the counts."""
    for module in (
        _lanes,
        _engine,
        _exchange_kernel,
        *(module for _, module, _ in MODELS.values()),
        _saturation_kernel,
    ):
        for name, function in {**REPLACEMENTS, "run_kernel": run_kernel}.items():
            if hasattr(module, name):
                setattr(module, name, function)
    results = {}
    for name, (make, _, columns) in MODELS.items():
        for derivatives in (False, True):
            short, long = (operations(make, columns, derivatives, n_pulses) for n_pulses in (20, 40))
            interval = {kind: (long[kind] - short[kind]) / 20 for kind in sorted(long)}
            interval["total"] = sum(count for kind, count in interval.items() if not kind.startswith("of them"))
            results[f"{name}, {'derivatives' if derivatives else 'signal'}"] = interval
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
