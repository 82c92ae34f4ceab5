"""Peak memory of every long operation against its size.

Runs each operation in a process of its own with a small and a large problem, and prints the most memory that the
process held, what its result takes, and what each further item costs beyond its own data and result.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from crbestim import (
    CRBWeightedRegressor,
    DictionaryMatcher,
    MTHybridStateModel,
    NLLSEstimator,
    NoiseModel,
    PosteriorMean,
    bias_and_std,
    load_pretrained,
    make_fingerprints,
    paper_prior,
)
from crbestim.design import optimize_sequence
from crbestim.io import estimate_volume, open_coefficients, save_volume

NETWORK = "mt-hybrid-state"


def coefficients(n):
    """Noisy coefficients of n voxels in single precision, as they come from a reconstruction."""
    network = load_pretrained(NETWORK)
    theta = network.prior_.sample(min(n, 8192), random_state=0)
    clean = network.model_.signal(theta, basis=network[0].basis_).astype(np.complex64)
    noise = NoiseModel.at_snr(50)
    return noise.add_to(clean[np.arange(n) % len(clean)], np.random.default_rng(0), np.ones(n, np.float32))


def simulation(n):
    """Fingerprints, compressed, with their bounds."""
    basis = load_pretrained(NETWORK)[0].basis_
    data = make_fingerprints(
        MTHybridStateModel(), n_samples=n, basis=basis, compressed=True, random_state=0, progress=False
    )
    return data.X, data.y, data.crb, data.theta.to_numpy() if isinstance(data.theta, pd.DataFrame) else data.theta


def training(n):
    """One epoch of the default network on n fingerprints."""
    rng = np.random.default_rng(0)
    X, y, crb = rng.standard_normal((n, 26)), rng.random((n, 3)), np.ones((n, 3))
    CRBWeightedRegressor(max_epochs=1, refinement_epochs=1, random_state=0, verbose=0).fit(X, y, crb=crb)
    return X, y, crb


def volume(n):
    """Maps and standard deviations of a volume of n voxels in a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images.cfl")
        run_here("write_volume", n, "--output", path)  # elsewhere: the images stay out of this process
        found = estimate_volume(load_pretrained(NETWORK), open_coefficients(path, 13), noise_std=0.02, verbose=0)
    images = np.broadcast_to(np.complex64(0), (n, 13))  # of the size of the file, which is mapped into memory
    maps = [values for each in found.maps for values in (each.values, each.std) if values is not None]
    return [images, found.quality, *maps]


def write_volume(n, path):
    """Write the images of n voxels."""
    side = 100 if n >= 100_000 else 10
    save_volume(path, coefficients(n).reshape(side, side, -1, 13))


def least_squares(n):
    """NLLS of n voxels."""
    X = coefficients(n)
    basis = load_pretrained(NETWORK)[0].basis_
    fit = NLLSEstimator(MTHybridStateModel(), basis=basis, prior=paper_prior(), random_state=0, verbose=0).fit()
    return X, fit.predict(X)


def dictionary(n):
    """Dictionary of n entries, matched with 10,000 voxels."""
    basis = load_pretrained(NETWORK)[0].basis_
    matcher = DictionaryMatcher(
        MTHybridStateModel(), basis=basis, prior=paper_prior(), entries=n, random_state=0, verbose=0
    ).fit()
    return (matcher.predict(coefficients(10_000)),)


def posterior_mean(n):
    """Posterior means of n voxels."""
    X = coefficients(n)
    basis = load_pretrained(NETWORK)[0].basis_
    mean = PosteriorMean(
        MTHybridStateModel(), basis=basis, noise=NoiseModel.at_snr(50), n_samples=500, n_adaptation_samples=200,
        n_candidates=4096, random_state=0, verbose=0,
    ).fit()  # fmt: skip
    return X, mean.predict(X)


def judgement(n):
    """Bias and standard deviation of a network over n tissues with 20 noise realizations each."""
    network = load_pretrained(NETWORK)[-1]
    rng = np.random.default_rng(0)
    X, y, crb = rng.standard_normal((n, 26)), rng.random((n, 3)), np.ones((n, 3))
    found = bias_and_std(network, X, y, crb, 50, 20, random_state=0, progress=False)
    return X, y, crb, *(value for value in found.values() if isinstance(value, np.ndarray))


def design(n):
    """Ten iterations of a design for n tissues."""
    optimize_sequence(
        MTHybridStateModel(), n_tissues=n, n_starts=1, n_hops=1, max_iter=5, refine_iter=5, random_state=0,
        progress=False,
    )  # fmt: skip
    return ()


SIZES = {
    simulation: (10_000, 1_000_000),
    training: (10_000, 1_000_000),
    volume: (100_000, 10_000_000),
    least_squares: (1_000, 20_000),
    dictionary: (10_000, 100_000),
    posterior_mean: (10, 100),
    judgement: (1_000, 100_000),
    design: (16, 128),
}
OPERATIONS = {operation.__name__: operation for operation in SIZES}


def peak_memory():
    """Most memory in bytes that this process held so far (Linux)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def run_here(name, n, *further):
    """Run an operation of this file in a process of its own, and return what it printed."""
    command = [sys.executable, __file__, "--only", name, "--size", str(n), *further]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measured(name, n):
    """Return the peak of an operation in a process of its own, and the size of its data and result, in bytes."""
    return [int(number) for number in run_here(name, n).split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fraction", type=float, default=1, help="of the sizes (default: all)")
    parser.add_argument("--only", nargs="+", help="operations (default: all)")
    parser.add_argument("--size", type=int, help="run one operation here with that size, and print its bytes")
    parser.add_argument("--output", type=Path, help="table (CSV)")
    options = parser.parse_args()
    if options.only == ["write_volume"]:
        write_volume(options.size, options.output)
        return
    if options.size:
        kept = OPERATIONS[options.only[0]](options.size)
        print(peak_memory(), sum(array.nbytes for array in kept))
        return
    rows = []
    for name in options.only or OPERATIONS:
        small, large = (max(1, round(options.fraction * size)) for size in SIZES[OPERATIONS[name]])
        run_here(name, small)  # compiles what is not compiled yet
        (first, first_kept), (second, kept) = measured(name, small), measured(name, large)
        rows.append(
            {
                "operation": name.replace("_", " "),
                "small": small,
                "peak [MiB]": round(first / 2**20),
                "large": large,
                "peak [MiB], large": round(second / 2**20),
                "data and result [MiB], large": round(kept / 2**20),
                "growth beyond them [bytes an item]": round(
                    ((second - kept) - (first - first_kept)) / max(1, large - small)
                ),
            }
        )
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    if options.output is not None:
        table.to_csv(options.output, index=False)


if __name__ == "__main__":
    main()
