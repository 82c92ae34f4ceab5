"""Voxels per second and memory of networks: one call for many voxels, the default network beside the paper's.

Untrained weights predict as fast as trained ones. The networks are timed in turn; the table gives the median of the
rounds, the ratio to the paper's network in the same round, and the growth of the process's peak memory in the call.
"""

import argparse
import resource
from time import perf_counter

import numpy as np
import pandas as pd
import torch

from crbestim import CRBWeightedRegressor, NoiseModel, Pipeline, SVDCompressor

N_TIMEPOINTS, N_COEFFICIENTS = 200, 13


def pipelines():
    """Fitted pipelines by name, trained for one epoch on made-up signals."""
    rng = np.random.default_rng(0)
    y = rng.uniform(0.1, 1, (2_000, 3))
    X = np.exp(-np.arange(N_TIMEPOINTS)[None] / (50 * y[:, :1])) * (1 + 1j * y[:, 1:2]) + y[:, 2:]
    X = X + 0.01 * rng.normal(size=(len(X), 2 * N_TIMEPOINTS)).view(complex)
    compressor = SVDCompressor(N_COEFFICIENTS).fit(X)
    for name in ("residual", "paper"):
        regressor = CRBWeightedRegressor(network=name, max_epochs=1, verbose=0, random_state=0)
        regressor.fit(compressor.transform(X), y, crb=np.ones_like(y))
        yield name, Pipeline([("svdcompressor", compressor), ("crbweightedregressor", regressor)])


def peak_mebibytes():
    """Largest memory that the process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-voxels", type=int, default=1_000_000, help="in one call (default: %(default)s)")
    parser.add_argument("--n-rounds", type=int, default=5, help="of both networks in turn (default: %(default)s)")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    C = rng.normal(size=(options.n_voxels, 2 * N_COEFFICIENTS)).view(complex)
    noise_std = NoiseModel().noise_std
    calls = {
        f"{name}{', with standard deviations' * std}": (
            pipeline,
            {"return_std": True, "noise_std": noise_std} if std else {},
        )
        for name, pipeline in pipelines()
        for std in (False, True)
        if name == "residual" or not std
    }
    rows = []
    for pipeline, params in calls.values():
        pipeline.predict_coefficients(C[: len(C) // 50 + 1], **params)
    for i in range(options.n_rounds):
        seconds = {}
        for name, (pipeline, params) in calls.items():
            before, start = peak_mebibytes(), perf_counter()
            pipeline.predict_coefficients(C, **params)
            seconds[name] = perf_counter() - start
            rows.append({"network": name, "round": i, "seconds": seconds[name], "growth": peak_mebibytes() - before})
        for row in rows[-len(calls) :]:
            row["ratio"] = seconds["paper"] / row["seconds"]
    table = pd.DataFrame(rows).groupby("network", sort=False)
    shown = pd.DataFrame(
        {
            "voxels/s": options.n_voxels / table["seconds"].median(),
            "ratio to the paper's": table["ratio"].median(),
            "least": table["ratio"].min(),
            "greatest": table["ratio"].max(),
            "peak memory grows by [MiB]": table["growth"].max(),
        }
    )
    print(
        f"{options.n_voxels:,} voxels x {N_COEFFICIENTS} coefficients ({C.nbytes / 2**20:.0f} MiB) in one call, ",
        end="",
    )
    print(f"{torch.get_num_threads()} threads, {options.n_rounds} rounds")
    print(shown.to_string(float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
