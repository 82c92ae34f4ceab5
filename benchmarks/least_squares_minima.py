"""Does least squares find the global minimum, and does it reach the bound?

First the share of voxels in which a fit ends in a wrong minimum, against SNR and number of starts, for tissues of the
paper's prior in 13 coefficients of the built-in sequence. Wrong is a cost that exceeds the lowest one known by more
than 1 % (and, beside it, 0.1 %); the lowest is that of 50 starts and of all other fits. One fit that starts at the
true parameters is shown for comparison: what that misses is no matter of starts. With --output the shares are drawn.

Then bias and variance against the bound: over tissues whose bound is informative, and over those for which no bound of
the prior is within five standard deviations, sqrt(CRB), of any fitted parameter, as the Cramér-Rao bound assumes. Once
with all seven parameters unknown, once with Rx, T2s, B0 and B1 known.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from tqdm import trange

from crbestim import MTHybridStateModel, NLLSEstimator, NoiseModel, SVDCompressor, paper_prior

NUISANCE = ("Rx", "T2s", "B0", "B1")
TOLERANCES = (1e-2, 1e-3)


class Truth(RegressorMixin, BaseEstimator):
    """An estimator that knows the true parameters."""

    def __init__(self, theta):
        self.theta = theta

    def fit(self, X=None, y=None):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        return self.theta


def cost(estimator, data):
    """Relative cost of each voxel's fit."""
    return (estimator.fit().estimate(data).residual_norm / np.linalg.norm(data, axis=1)) ** 2


def wrong_minima(model, basis, theta, snr, numbers):
    """Rows with the share of wrong minima for each number of starts."""
    data = NoiseModel.at_snr(snr).add_to(model.signal(theta, basis=basis), np.random.default_rng(0))
    common = {"targets": model.parameter_names, "basis": basis, "verbose": 0, "random_state": 0}
    costs = {n: cost(NLLSEstimator(model, n_starts=n, **common), data) for n in numbers}
    truth = Truth(model.target_values(theta, model.parameter_names))
    costs["truth"] = cost(NLLSEstimator(model, init=truth, n_starts=1, **common), data)
    thorough = NLLSEstimator(model, n_starts=50, n_candidates=2**16, **(common | {"random_state": 1}))
    lowest = np.min([cost(thorough, data), *costs.values()], axis=0)
    rows = []
    for n, values in costs.items():
        shares = [(values > lowest * (1 + tolerance)).mean() for tolerance in TOLERANCES]
        rows.append({"snr": snr, "starts": n, "wrong_1e-2": shares[0], "wrong_1e-3": shares[1]})
    return pd.DataFrame(rows)


def draw(path, table, n):
    """Share of wrong minima against the SNR, one line a number of starts."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
    starts = [name for name in table["starts"].unique() if name != "truth"]
    for name, color in zip(starts, mpl.colormaps["viridis"](np.linspace(0, 0.9, len(starts))), strict=True):
        rows = table[table["starts"] == name]
        share = rows["wrong_1e-2"]
        error = np.sqrt(share * (1 - share) / n)
        ax.errorbar(
            rows["snr"], 100 * share, 100 * error, marker="o", markersize=3, color=color,
            label=f"{name} start{'s' * (name > 1)}",
        )  # fmt: skip
    rows = table[table["starts"] == "truth"]
    ax.plot(rows["snr"], 100 * rows["wrong_1e-2"], "k--", linewidth=1, label="1 start, at the truth")
    ax.set(xscale="log", xlabel="SNR$_{max}$", ylabel="wrong minima [% of voxels]")
    ax.set_yscale("symlog", linthresh=0.5)
    ax.set_ylim(0, 40)
    ticks = [0, 0.2, 0.5, 1, 2, 5, 10, 20]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks(table["snr"].unique(), [f"{snr:g}" for snr in table["snr"].unique()])
    ax.minorticks_off()
    fig.legend(loc="outside right center", fontsize=9)
    fig.savefig(path, dpi=150)


def responses(estimator, clean, covariates, snr, n_realizations):
    """Mean and variance of the estimates over noise realizations."""
    rng, noise, estimates = np.random.default_rng(1), NoiseModel.at_snr(snr), []
    for _ in trange(n_realizations, desc=f"SNR {snr:g}", leave=False):
        estimates.append(estimator.predict(noise.add_to(clean, rng), covariates=covariates))
    return np.mean(estimates, axis=0), np.var(estimates, axis=0, ddof=1)


def far_from_bounds(model, theta, free, deviation, prior):
    """Tell which tissues have no bound of the prior within five standard deviations, (n, F), of a fitted parameter."""
    far = np.ones(len(theta), dtype=bool)
    support, band = prior.support(), np.pi / model.sequence.repetition_time
    for name, std in zip(free, deviation.T, strict=True):
        values = theta[name].to_numpy()
        if name == "B0":  # symmetric about 0 and the stop band
            values, low, high = model.target_values(theta, "B0")[:, 0], 0.0, band
        elif name == "T2f":
            low, high = support[name][0], theta["T1"].to_numpy()
        else:
            low, high = support[name]
        far &= (values - low > 5 * std) & (high - values > 5 * std)
    return far


def efficiency(model, basis, prior, theta, snr, known, n_realizations):
    """Print bias and variance in units of the bound."""
    free = [name for name in model.parameter_names if name not in known]
    targets = ["m0s", "T1", "T2f"]
    deviation = np.sqrt(model.crb(theta, free, basis=basis, known=known)) / snr
    least = deviation[:, [free.index(name) for name in targets]]
    estimator = NLLSEstimator(model, targets, basis, prior, known=known, verbose=0, random_state=0).fit()
    covariates = theta[list(known)] if known else None
    mean, variance = responses(estimator, model.signal(theta, basis=basis), covariates, snr, n_realizations)
    bias2 = ((mean - model.target_values(theta, targets)) ** 2 - variance / n_realizations) / least**2
    variance = variance / least**2
    regions = {
        "informative": least < prior.std()[targets].to_numpy() / 3,
        "far from bounds": np.repeat(far_from_bounds(model, theta, free, deviation, prior)[:, None], 3, axis=1),
    }
    for region, chosen in regions.items():
        for i, name in enumerate(targets):
            rows = chosen[:, i]
            n = int(rows.sum())
            if n < 10:
                print(f"{snr:>6g}  {len(free)} unknown  {region:<16} {name:<4} {n:>4}   too few")
                continue
            means = [
                f"{v[rows, i].mean():8.3f} ({v[rows, i].std(ddof=1) / np.sqrt(n):.3f})" for v in (bias2, variance)
            ]
            medians = [f"{np.median(v[rows, i]):7.3f}" for v in (bias2, variance)]
            print(
                f"{snr:>6g}  {len(free)} unknown  {region:<16} {name:<4} {n:>4}  bias²/CRB {means[0]}, median "
                f"{medians[0]}; var/CRB {means[1]}, median {medians[1]}",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-voxels", type=int, default=2000, help="of the shares (default: %(default)s)")
    parser.add_argument("--snr", type=float, nargs="+", default=[20, 50, 100, 200, 500, 1000], help="of the shares")
    parser.add_argument("--starts", type=int, nargs="+", default=[1, 2, 4, 6, 8, 12])
    parser.add_argument("--n-tissues", type=int, default=600, help="of the bias (default: %(default)s)")
    parser.add_argument("--n-realizations", type=int, default=40, help="of noise (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="figure (PNG)")
    options = parser.parse_args()
    model, prior = MTHybridStateModel(), paper_prior()
    basis = SVDCompressor(13).fit(model.signal(prior.sample(4000, random_state=7))).basis_
    theta = prior.sample(options.n_voxels, random_state=11)
    print(f"wrong minima, {options.n_voxels} voxels (standard error of a share s: sqrt(s (1 - s) / n))")
    tables = []
    for snr in options.snr:
        tables.append(wrong_minima(model, basis, theta, snr, options.starts))
        print(tables[-1].to_string(index=False, header=len(tables) == 1), flush=True)
    if options.output is not None:
        draw(options.output, pd.concat(tables), options.n_voxels)
    print(f"\nmean (standard error) over tissues, {options.n_realizations} noise realizations each")
    tissues = prior.sample(options.n_tissues, random_state=4)
    for snr, known in ((100, ()), (400, ()), (1600, ()), (100, NUISANCE)):
        efficiency(model, basis, prior, tissues, snr, known, options.n_realizations)


if __name__ == "__main__":
    main()
