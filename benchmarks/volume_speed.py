"""A whole brain on the command line against the bare network: time and memory.

Writes coefficient images of noisy fingerprints (NIfTI, compressed), and in each round times the network alone, on the
same voxels in memory with standard deviations, and `crbestim predict` as a process of its own, from its start to the
last map: start of Python, decompression, checks, estimates, maps, report. Prints the ratio of the two rates, and the
most memory that the process held, next to that of one with a hundredth of the voxels.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from crbestim import NoiseModel, load_pretrained
from crbestim.io import save_volume


def coefficients_of(network, n, rng):
    """Noisy coefficients of n voxels: some thousands of tissues, many noise realizations."""
    theta = network.prior_.sample(min(n, 8192), random_state=0)
    clean = network.model_.signal(theta, basis=network[0].basis_).astype(np.complex64)
    return NoiseModel.at_snr(50).add_to(clean[np.arange(n) % len(clean)], rng, np.ones(n))


def process(folder, name):
    """Seconds and peak memory in bytes of the command on a file."""
    command = [
        sys.executable, "-m", "crbestim.cli", "predict", f"{name}.nii.gz", "--model", "mt-hybrid-state", "--noise-std",
        "0.02", "--out", f"maps_{name}", "--overwrite", "--quiet",
    ]  # fmt: skip
    start = perf_counter()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    peak = 0
    while child.poll() is None:  # ru_maxrss of a child begins with that of its parent
        peak = max(peak, peak_memory(child.pid))
        sleep(0.02)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} failed")
    return perf_counter() - start, peak


def peak_memory(pid):
    """Most memory in bytes that a running process held so far (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(160, 125, 100), help="voxels (default: 2 million)")
    parser.add_argument("--n-rounds", type=int, default=3, help="(default: %(default)s)")
    options = parser.parse_args()
    n = int(np.prod(options.shape))
    network = load_pretrained("mt-hybrid-state")
    data = coefficients_of(network, n, np.random.default_rng(0)).reshape(*options.shape, -1)
    with tempfile.TemporaryDirectory() as folder:
        save_volume(Path(folder) / "brain.nii.gz", data)
        thin = data[:, :, : max(1, options.shape[2] // 100)]
        save_volume(Path(folder) / "thin.nii.gz", thin)
        rates, ratios, peaks = [], [], []
        for _ in range(options.n_rounds):
            start = perf_counter()
            network.predict_coefficients(data, return_std=True, noise_std=0.02)
            bare = perf_counter() - start
            whole, peak = process(folder, "brain")
            rates.append(n / whole)
            ratios.append(bare / whole)
            peaks.append(peak)
        _, least = process(folder, "thin")
    low, middle, high = np.quantile(ratios, [0, 0.5, 1])
    print(f"{n:,} voxels of {data.shape[3]} coefficients, {options.n_rounds} rounds")
    print(f"crbestim predict: {np.median(rates):,.0f} voxels/s")
    print(f"speed relative to the bare network: {middle:.2f} ({low:.2f} to {high:.2f})")
    print(f"peak memory {max(peaks) / 2**20:.0f} MiB, of which {least / 2**20:.0f} MiB for a hundredth of the voxels")


if __name__ == "__main__":
    main()
