"""How far networks are from the best that any estimator can do under their prior.

Test fingerprints of the paper's experiment get one noise realization each, with the amplitudes of the training or,
with --snr, at one of them. The weighted posterior mean has the least CRB loss of all estimators, the posterior mean
the least mean squared error; both are found by importance sampling. "excess" is the mean of
(estimate - optimum)^2 / CRB, which is what a network's CRB loss exceeds the least one by (for the mean squared error,
in units of the prior's variance); "difference" is the difference of the two losses themselves, which scatters more. A
network with a small excess is biased by choice of its loss; one with a large excess is badly trained. The networks are
those that examples/paper_experiment.py trains. Also prints the time of a training step, networks measured in turn.
"""

import argparse
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import torch

from crbestim import NoiseModel
from crbestim.estimators import PosteriorMean
from crbestim.nn import NETWORKS

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from paper_experiment import NETWORKS as TRAINED
from paper_experiment import PaperExperiment


def mean_and_error(values):
    """Mean of rows and its standard error."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


def noisy_set(experiment, n, snr):
    """Stacked noisy coefficients, parameters and bounds of n test fingerprints."""
    noise, test = NoiseModel(), experiment.test_set()
    rng = np.random.default_rng(3)
    magnitude = noise.draw_magnitude(n, rng) if snr is None else np.full(n, snr * noise.noise_std)
    x = noise.add_to(test.X[:n], rng, magnitude)
    return x, test.y[:n], noise.scale_crb(test.crb[:n], magnitude)


def compare(experiment, names, options):
    """One row for each network and target, and the effective sample sizes."""
    x, y, crb = noisy_set(experiment, options.n_voxels, options.snr)
    yardstick = PosteriorMean(
        experiment.model, basis=experiment.basis, prior=experiment.prior, n_jobs=options.n_jobs, random_state=0
    ).fit()
    best = yardstick.estimate(x)
    sizes = best.effective_sample_size
    print(
        f"effective sample sizes: {np.quantile(sizes, [0, 0.05, 0.5]).round().tolist()} (least, 5 %, median); of the"
    )
    print(f"weighted mean: {np.quantile(best.crb_effective_sample_size, [0, 0.05, 0.5], axis=0).round().tolist()}")
    spread = experiment.prior_std**2
    estimates = {name: experiment.network(name)[-1].predict(x) for name in names}
    estimates |= {"weighted posterior mean": best.crb_weighted_mean, "posterior mean": best.mean}
    rows = []
    for name, estimate in estimates.items():
        quantities = {
            "CRB loss": (estimate - y) ** 2 / crb,
            "excess": (estimate - best.crb_weighted_mean) ** 2 / crb,
            "difference": ((estimate - y) ** 2 - (best.crb_weighted_mean - y) ** 2) / crb,
            "MSE / prior": (estimate - y) ** 2 / spread,
            "excess MSE / prior": (estimate - best.mean) ** 2 / spread,
        }
        for column, target in enumerate([*experiment.model.default_targets, "mean"]):
            row = {"estimator": name, "target": target}
            for quantity, values in quantities.items():
                chosen = values.mean(axis=1) if target == "mean" else values[:, column]
                row[quantity], row[f"{quantity} se"] = mean_and_error(chosen)
            rows.append(row)
    return pd.DataFrame(rows)


def step_times(n_rounds, batch_size=512):
    """Seconds of a training step of each network, medians of rounds in which they take turns."""
    x, y = torch.randn(batch_size, 26), torch.randn(batch_size, 3)
    networks = {name: build(26, 3, 0) for name, build in NETWORKS.items()}
    optimizers = {name: torch.optim.Adam(net.parameters(), lr=1e-4, fused=True) for name, net in networks.items()}
    times = {name: [] for name in networks}
    for _ in range(n_rounds):
        for name, network in networks.items():
            start = perf_counter()
            optimizers[name].zero_grad()
            ((network(x) - y) ** 2).mean().backward()
            optimizers[name].step()
            times[name].append(perf_counter() - start)
    return {name: np.median(values[1:]) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default="paper_runs", help="of trained networks (%(default)s)")
    parser.add_argument("--networks", nargs="+", choices=TRAINED, default=list(TRAINED), help="which (default: all)")
    parser.add_argument("--snr", type=float, help="SNR_max; by default amplitudes are drawn as in the training")
    parser.add_argument("--n-voxels", type=int, default=300, help="test fingerprints (default: %(default)s)")
    parser.add_argument("--n-jobs", type=int, default=2, help="processes of the sampling (default: %(default)s)")
    parser.add_argument("--n-steps", type=int, default=40, help="timed steps of training (default: %(default)s)")
    parser.add_argument("--fast", action="store_true", help="networks that are trained for a moment, not kept")
    parser.add_argument("--output", type=Path, help="CSV file for the table")
    options = parser.parse_args()
    experiment = PaperExperiment(options.directory, options.fast)
    table = compare(experiment, options.networks, options)
    amplitudes = "amplitudes of the training" if options.snr is None else f"SNR {options.snr:g}"
    print(f"{amplitudes}, {options.n_voxels} fingerprints; mean and standard error")
    print(table.to_string(index=False, float_format="{:.3g}".format))
    times = step_times(options.n_steps)
    ratio = times["paper"] / times["residual"]
    print(f"a training step of 512 rows takes the paper's network {ratio:.2f} times as long as the default one")
    if options.output is not None:
        table.to_csv(options.output, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
