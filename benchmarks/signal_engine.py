"""How fast the signal engine is: rates, scaling, memory, and ratios to other implementations, measured in one run.

    python benchmarks/signal_engine.py [--fast] [--dataset-size N] [--threads N]

The comparison with torchsim's HSFPSimulator runs if torchsim is installed (``pip install crbestim[benchmark]``). Every
rate is the best of several runs, every ratio the median over pairs of runs that take turns, with its range.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import plain_numpy
import torch
from numba import njit

import crbestim
from crbestim import BlochHybridStateModel, MTBlochModel, MTHybridStateModel, PulseSequence, paper_prior
from crbestim._threads import n_threads
from crbestim.signal._lanes import WIDTH, load_row, store

HERE = Path(__file__).parent
TR = 3.5e-3

DATASET = """
import time
from pathlib import Path
from crbestim import MTHybridStateModel, SVDCompressor, make_fingerprints
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
model = MTHybridStateModel()
pilot = make_fingerprints(model, n_samples=500, random_state=1, progress=False)
basis = SVDCompressor(13).fit(pilot.X).basis_
del pilot
before = peak()
start = time.perf_counter()
data = make_fingerprints(model, n_samples={n}, basis=basis, compressed=True, random_state=0, progress=False)
seconds = time.perf_counter() - start
print(seconds, before, peak())
"""
FIRST_USE = """
import time
from crbestim import MTHybridStateModel
model = MTHybridStateModel()
theta = [[0.1, 1.0, 0.1, 40.0, 1e-5, 100.0, 1.0]]
start = time.perf_counter()
model.crb(theta)
print(time.perf_counter() - start)
"""


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="few voxels and runs, to see that it works")
    parser.add_argument("--dataset-size", type=int, default=100_000, help="fingerprints of the memory test")
    parser.add_argument("--threads", type=int, default=n_threads(), help="threads of the engine, by default all")
    options = parser.parse_args()
    repeats, n = (2, 64) if options.fast else (9, 2048)
    if options.fast:
        options.dataset_size = min(options.dataset_size, 500)
    set_threads(options.threads)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {options.threads} threads, numpy {np.__version__}\n")

    rates(options.threads, n, repeats)
    scaling(n, repeats)
    operations(options.threads, n, repeats)
    comparisons(n, max(3, repeats // 2))
    gradients(min(n, 256), max(3, repeats // 2))
    memory(options.dataset_size)
    first_use()


def set_threads(number):
    """Let the engine use so many threads from now on."""
    os.environ["OMP_NUM_THREADS"] = str(number)


def best(function, repeats):
    """Shortest time of some runs in seconds, after one that is not counted."""
    function()
    return min(timed(function) for _ in range(repeats))


def timed(function):
    """Time of one run in seconds."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratio(slow, fast, repeats):
    """Times of `slow` over those of `fast`, run in turns: median, least and most."""
    slow(), fast()
    ratios = [timed(slow) / timed(fast) for _ in range(repeats)]
    return f"{np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"


def voxels(model, n):
    """Checked theta of the paper's prior, reduced to the parameters of the model."""
    sample = (
        paper_prior(TR)
        .sample(n, random_state=0)
        .rename(columns={"T2f": "T2"} if "T2" in model.parameter_names else {})
    )
    sample["T1s"] = 0.35
    return model.check_theta(sample[list(model.parameter_names)])


def train(n_pulses):
    """The built-in pulse train, resampled to another number of pulses."""
    full = PulseSequence.default()
    place = np.linspace(0, full.n_pulses - 1, n_pulses)
    flip, duration = (
        np.interp(place, np.arange(full.n_pulses), values) for values in (full.flip_angle, full.pulse_duration)
    )
    return PulseSequence(flip, duration, TR, full.inversion_duration)


def rates(threads, n, repeats):
    """Fingerprints per second of every model and option."""
    print(f"Fingerprints per second, {n} voxels, in 1 thread / in {threads}")
    print(line("model", "T", ["signal", "derivatives", "their coefficients", "bound"]))
    for label, model in (
        ("MTHybridStateModel", MTHybridStateModel(train(666))),
        ("MTHybridStateModel", MTHybridStateModel(train(1141))),
        ("  separate T1", MTHybridStateModel(train(1141), separate_T1=True)),
        ("  generalized Bloch", MTHybridStateModel(train(1141), saturation="generalized-bloch")),
        ("MTBlochModel", MTBlochModel(train(1141))),
        ("BlochHybridStateModel", BlochHybridStateModel(train(666))),
        ("BlochHybridStateModel", BlochHybridStateModel(train(1141))),
    ):
        theta = voxels(model, n)
        basis = np.linalg.qr(np.random.default_rng(0).normal(size=(model.n_timepoints, 13)))[0]
        cells = []
        for function in (
            partial(model._signal, theta),
            partial(model._signal_and_jacobian, theta),
            partial(model._coefficients, theta, basis, derivatives=True),
            partial(model.crb, theta),
        ):
            pair = []
            for number in (1, threads):
                set_threads(number)
                pair.append(n / best(function, repeats))
            cells.append(f"{pair[0]:.0f} / {pair[1]:.0f}")
        print(line(label, model.n_timepoints, cells))
    print("  Derivatives come with the signal; the coefficients are those of both in a basis of 13.\n")


def line(label, n_pulses, cells):
    """One line of the table."""
    return f"  {label:22s} {n_pulses!s:>5s}" + "".join(f"{cell:>20s}" for cell in cells)


def scaling(n, repeats):
    """Time against the number of voxels and of intervals."""
    print("Time of signal and 7 derivatives, all threads")
    sizes = [(666, number) for number in (1, 4, 16, 64, 256, n)]
    for n_pulses, number in sizes + [(n_pulses, n // 4) for n_pulses in (100, 333, 1141, 2282)]:
        model = MTHybridStateModel(train(n_pulses))
        seconds = best(partial(model._signal_and_jacobian, voxels(model, number)), repeats)
        each = seconds / (number * n_pulses) * 1e9
        print(f"  T = {n_pulses:5d}, n = {number:5d}: {seconds * 1e3:8.2f} ms, {each:6.1f} ns a voxel and interval")
    print()


def operations(threads, n, repeats):
    """Arithmetic of an interval, and the rate of it as a share of what the processor reaches in multiply-adds."""
    counted = subprocess.run(
        [sys.executable, HERE / "count_operations.py"], check=True, capture_output=True, text=True
    )
    set_threads(1)
    peak = max(processor_peak() for _ in range(repeats))
    print("Arithmetic of an interval of one voxel, and share of the processor's peak in one thread")
    print(f"  peak of independent multiply-adds in {WIDTH} lanes, measured: {peak / 1e9:.1f} Gflop/s")
    for label, count in json.loads(counted.stdout).items():
        model = getattr(crbestim, label.split(",")[0])(train(1141))
        theta = voxels(model, n // 8)
        simulate = model._signal_and_jacobian if "derivatives" in label else model._signal
        rate = len(theta) * 1141 * count["total"] / best(lambda f=simulate, theta=theta: f(theta), repeats)
        detail = ", ".join(f"{number:.0f} {kind}" for kind, number in count.items() if kind != "total")
        print(f"  {label}: {count['total']:.0f} ({detail}); {rate / 1e9:.1f} Gflop/s, {rate / peak:.0%}")
    set_threads(threads)
    print()


@njit(error_model="numpy")
def _multiply_add(values, n_rounds):
    s0, s1, s2, s3, s4, s5, s6, s7, s8, s9 = load_row(values, (0,), 10)
    a, b = load_row(values, (1,), 2)
    for _ in range(n_rounds):
        s0, s1, s2, s3, s4 = s0 * a + b, s1 * a + b, s2 * a + b, s3 * a + b, s4 * a + b
        s5, s6, s7, s8, s9 = s5 * a + b, s6 * a + b, s7 * a + b, s8 * a + b, s9 * a + b
    store(values, (0, 0), s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9)


def processor_peak():
    """Floating-point operations per second of one thread in independent multiply-adds."""
    values = np.full((2, 10, WIDTH), 0.5)
    _multiply_add(values, 1)
    n_rounds = 2_000_000
    return 20 * WIDTH * n_rounds / timed(lambda: _multiply_add(values, n_rounds))


def comparisons(n, repeats):
    """Times of other implementations over ours, for the same voxels and the same result."""
    print("Time of another implementation over ours, all threads: median (range) of runs that take turns")
    model = MTHybridStateModel(train(1141))
    theta = voxels(model, min(n, 400))
    ours = partial(model._signal_and_jacobian, theta)
    for label, simulate in (
        ("plain NumPy", lambda block: plain_numpy.simulate(model, block)),
        ("eager torch, forward mode", lambda block: torch_derivatives(model, torch.as_tensor(block))),
    ):
        for ours_part, values in zip(ours(), simulate(theta[:50]), strict=True):
            np.testing.assert_allclose(values, ours_part[:50], rtol=1e-6, atol=1e-9 * abs(ours_part).max())
        compare(f"{label}, MT, T = 1141, 7 derivatives", simulate, theta, ours, repeats)
    if importlib.util.find_spec("torchsim") is None:
        print("  torchsim is not installed: no comparison with its HSFPSimulator\n")
        return
    from torchsim.simulators import HSFPSimulator

    for n_pulses in (666, 1141):
        model = BlochHybridStateModel(train(n_pulses))
        theta = voxels(model, n)
        theta[:, 2:] = 0, 1
        simulator = HSFPSimulator(flip=np.rad2deg(model.sequence.polar_angle), TR=1e3 * TR)
        label = f"torchsim HSFPSimulator, single pool, T = {n_pulses}, derivatives for T1 and T2 (ours: B0, B1 too)"
        compare(
            label, partial(torchsim_derivatives, simulator), theta, partial(model._signal_and_jacobian, theta), repeats
        )
    print()


def compare(label, simulate, theta, ours, repeats):
    """Print the ratio of times for the number of voxels at a time that suits the other one best."""

    def in_blocks(size):
        return [simulate(theta[start : start + size]) for start in range(0, len(theta), size)]

    sizes = [size for size in (25, 50, 100, 200, 400, 1000) if size < len(theta)] + [len(theta)]
    size = min(sizes, key=lambda size: timed(lambda: in_blocks(size)))
    print(f"  {label}, {size} voxels at a time: {ratio(lambda: in_blocks(size), ours, repeats)}")


def torch_derivatives(model, theta):
    """Signal and derivatives of our torch engine, in forward mode and eagerly."""
    none = theta.new_zeros(theta.shape[1])
    derivatives, signal = torch.func.jacfwd(lambda shift: 2 * (model.torch_signal(theta + shift),), has_aux=True)(none)
    return signal, derivatives


def torchsim_derivatives(simulator, theta):
    """Signal and derivatives of torchsim's simulator, which takes milliseconds."""
    T1, T2 = 1e3 * torch.as_tensor(theta[:, :2].T.copy())
    return simulator.jacobian(("T1", "T2"), T1=T1, T2=T2)


def gradients(n, repeats):
    """Times of gradients by every pulse, for a sequence's design, over those of signals and derivatives."""
    print("Gradient by every pulse of a weighted sum of signals and derivatives, all threads: median (range) of times")
    for kind in (MTHybridStateModel, MTBlochModel):
        model = kind(train(1141))
        theta = voxels(model, n)
        weights = np.ones((len(theta), 1141, 1 + theta.shape[1]))
        adjoint, engine = partial(model._pulse_gradient, theta, weights), partial(model._signal_and_jacobian, theta)
        print(
            f"  {kind.__name__}, {len(theta)} voxels, over signals and derivatives: {ratio(adjoint, engine, repeats)}"
        )
    model = MTHybridStateModel(train(1141))
    theta = voxels(model, 48)
    weights = np.ones((len(theta), 1141, 8))
    slow, fast = partial(torch_gradient, model, theta, weights), partial(model._pulse_gradient, theta, weights)
    for ours, values in zip(fast(), slow(), strict=True):
        np.testing.assert_allclose(values, ours, rtol=0, atol=1e-5 * abs(ours).max())
    print(f"  torch, reverse over forward mode, MTHybridStateModel, 48 voxels, over ours: {ratio(slow, fast, 3)}\n")


def torch_gradient(model, theta, weights):
    """The same gradient through our torch engine, 16 voxels at a time."""
    pulses = [
        torch.tensor(values.copy(), requires_grad=True)
        for values in (model.sequence.flip_angle, model.sequence.pulse_duration)
    ]
    for start in range(0, len(theta), 16):
        block, weight = (torch.as_tensor(values[start : start + 16]) for values in (theta, weights))
        none = block.new_zeros(block.shape[1])
        derivatives, signal = torch.func.jacfwd(
            lambda shift, block=block: 2 * (model.torch_signal(block + shift, *pulses),), has_aux=True
        )(none)
        ((signal * weight[:, :, 0]).sum() + (derivatives * weight[:, :, 1:]).sum()).backward()
    return [values.grad.numpy() for values in pulses]


def memory(n):
    """Peak memory (Linux) of a process that makes a compressed data set with both bounds."""
    run = subprocess.run([sys.executable, "-c", DATASET.format(n=n)], check=True, capture_output=True, text=True)
    seconds, before, peak = map(float, run.stdout.split())
    print(f"{n} fingerprints in 13 coefficients with full-data and compressed bound, T = 1141: {seconds:.0f} s")
    print(f"  peak memory of the process {peak:.0f} MiB, {before:.0f} MiB of it before (imports, basis)\n")


def first_use():
    """Time of the first bound of a user, and in later processes."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        times = [
            float(
                subprocess.run(
                    [sys.executable, "-c", FIRST_USE], check=True, capture_output=True, env=environment
                ).stdout
            )
            for _ in range(2)
        ]
    print(f"First bound of a fresh installation: {times[0]:.1f} s (compilation); in a later process: {times[1]:.2f} s")


if __name__ == "__main__":
    main()
