"""Cost of maps against the size of the volume and the number of Dask workers, beside this process alone.

Every row is one volume of noisy coefficients in memory, estimated by the network that ships with the package or by
least squares, by a number of worker processes of one thread each, in turns with a single process of one thread. Cost
is the time of the blocks, the passage of data to the workers and back included; the start of the workers is not.
Dask starts its workers with MALLOC_TRIM_THRESHOLD_, so that they give memory back at once; rows with "memory kept" are
of workers that do not. "nothing" returns seven numbers a voxel without any computation: what is left is the reading,
the passage and the keeping of the data.
"""

import argparse
import os
from itertools import product
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numba count the cores
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import dask
import numpy as np
import pandas as pd
from distributed import LocalCluster
from volume_speed import coefficients_of

from crbestim import NLLSEstimator, load_pretrained
from crbestim.io import Volume, estimate_volume, map_volume

KEEP_MEMORY = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**28,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,
}


def volume_of(network, n):
    """n voxels of noisy coefficients in slices of 64 x 64, or of a part of one."""
    rows = coefficients_of(network, n, np.random.default_rng(0))
    return Volume.from_array(rows.reshape(-1, min(n, 64), max(1, n // 4096), rows.shape[1]))


def nothing(rows, noise_std=None):
    """As many numbers as a network gives."""
    return {"numbers": rows[:, :7].real.astype(np.float32)}


def seconds(estimator, volume, scheduler, options):
    """Time and results."""
    start = perf_counter()
    if estimator is nothing:
        found = map_volume(nothing, volume, scheduler=scheduler, verbose=0, **options)["numbers"]
    else:
        found = estimate_volume(estimator, volume, scheduler=scheduler, verbose=0, **options).maps[0].values
    return perf_counter() - start, found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network-voxels", type=int, nargs="+", default=[65_536, 262_144, 1_048_576])
    parser.add_argument("--fit-voxels", type=int, nargs="+", default=[512, 2_048])
    parser.add_argument("--estimators", nargs="+", help="only these (default: all)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--n-rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--output", help="CSV file for the table")
    options = parser.parse_args()
    network = load_pretrained("mt-hybrid-state")
    fit = NLLSEstimator(
        network.model_, basis=network[0].basis_, prior=network.prior_, n_starts=2, verbose=0, random_state=0
    ).fit()
    jobs = [("network", network, n, {"noise_std": 0.02, "most_voxels": 32_768}) for n in options.network_voxels]
    jobs += [("nothing", nothing, n, {"most_voxels": 32_768}) for n in options.network_voxels]
    jobs += [("least squares", fit, n, {"most_voxels": 128}) for n in options.fit_voxels]
    jobs = [job for job in jobs if options.estimators is None or job[0] in options.estimators]
    rows = []
    for n_workers, kept in product(options.workers, (False, True)):
        with dask.config.set(KEEP_MEMORY if kept else {}), LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=40
        ) as cluster:  # fmt: skip
            for name, estimator, n, settings in jobs:
                volume = volume_of(network, n)
                times = []
                for _ in range(options.n_rounds):
                    alone, expected = seconds(estimator, volume, None, settings)
                    shared, values = seconds(estimator, volume, cluster.scheduler_address, settings)
                    np.testing.assert_array_equal(values, expected)
                    times.append((alone, shared))
                times = np.array(times)
                ratio = times[:, 0] / times[:, 1]
                rows.append(
                    {
                        "estimator": name, "voxels": n, "workers": n_workers, "memory kept": kept,
                        "voxels/s": n / np.median(times[:, 1]),
                        "speed / one process": np.median(ratio), "least": ratio.min(), "most": ratio.max(),
                    }
                )  # fmt: skip
                print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1), flush=True)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    if options.output:
        table.to_csv(options.output, index=False)


if __name__ == "__main__":
    main()
