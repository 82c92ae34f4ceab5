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

from crbestim import MTHybridStateModel, PulseSequence
from crbestim.signal import _engine, _lanes, _saturation_kernel, _single_pool_kernel, _two_pool_kernel

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


def _store_row(array, index, values):
    for i, value in enumerate(values):
        array[(*index, i)] = value


REPLACEMENTS = {
    "load": lambda array, index: Counted(array[index][0]),
    "load_row": lambda array, index, length: tuple(Counted(array[(*index, i)][0]) for i in range(length)),
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


def operations(module, arguments, n_parameters, derivatives):
    """Operations of a whole cycle of one voxel."""
    kernel, constants, shared, n_pulses = arguments
    counts.clear()
    lanes = np.repeat(constants[:1, :, None], _lanes.WIDTH, axis=2)
    empty = np.empty((0, n_pulses))
    p = n_parameters if derivatives else 0
    kernel(lanes, 0, *shared, empty, np.empty((_lanes.WIDTH, n_pulses)), np.empty((_lanes.WIDTH, n_pulses, p)))
    return Counter(counts)


def main():
    """Print the counts."""
    for module in (_lanes, _engine, _saturation_kernel, _two_pool_kernel, _single_pool_kernel):
        for name, function in REPLACEMENTS.items():
            if hasattr(module, name):
                setattr(module, name, function)
    theta = np.array([[0.15, 1.6, 0.08, 40.0, 1e-5, 200.0, 0.9]])
    captured = {}

    def capture(module):
        def run_kernel(kernel, constants, shared, n_pulses, n_parameters, basis=None):
            captured[module] = kernel, constants, shared, n_pulses
            return np.empty(0), np.empty(0)

        return run_kernel

    results = {}
    for label, module, simulate in (
        ("two pools", _two_pool_kernel, lambda seq: MTHybridStateModel(seq)._simulate(theta, True)),
        (
            "single pool",
            _single_pool_kernel,
            lambda seq: _single_pool_kernel.simulate(theta[:, [1, 2, 5, 6]], seq, True),
        ),
    ):
        module.run_kernel = capture(module)
        for derivatives in (True, False):
            cycles = []
            for n_pulses in (20, 40):
                ramp = np.linspace(0.2, 1.0, n_pulses)
                simulate(PulseSequence(ramp, np.full(n_pulses, 3e-4), 3.5e-3, 5e-4))
                n_parameters = 7 if module is _two_pool_kernel else 4
                cycles.append(operations(module, captured[module], n_parameters, derivatives))
            interval = {kind: (cycles[1][kind] - cycles[0][kind]) / 20 for kind in cycles[1]}
            interval["total"] = sum(count for kind, count in interval.items() if not kind.startswith("of them"))
            results[f"{label}, {'with derivatives' if derivatives else 'signal'}"] = interval
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
