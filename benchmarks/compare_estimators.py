"""Networks, least squares and dictionary matching beside each other: bias, variance, speed and cost of setting up.

All methods see the same 13 coefficients of the same fingerprints of the built-in sequence with the same noise, and are
judged by the bound of these coefficients. Prints a table for each region; with --output also writes it as CSV, and
draws the error of the dictionary against its size, without noise, for seven unknown parameters and for two.
"""

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from crbestim import (
    CRBWeightedRegressor,
    DictionaryMatcher,
    MTHybridStateModel,
    NLLSEstimator,
    NoiseModel,
    Pipeline,
    SVDCompressor,
    bias_variance,
    make_fingerprints,
    paper_prior,
)

FIXED = ("m0s", "Rx", "T2s", "B0", "B1")  # in the dictionary of two parameters


def built(build):
    """What a function makes, and the seconds it takes."""
    start = perf_counter()
    estimator = build()
    return estimator, perf_counter() - start


def methods(model, prior, options):
    """Name, fitted estimator, and seconds to set it up, one method after the other."""
    data, simulation = built(lambda: make_fingerprints(model, prior, options.n_training, random_state=0))

    def network(loss):
        regressor = CRBWeightedRegressor(loss, max_epochs=options.n_epochs, random_state=0)
        return Pipeline([SVDCompressor(), regressor]).fit(data.X, data.y, crb=None if loss == "mse" else data.crb)

    crb_network, seconds = built(lambda: network("crb"))
    basis = crb_network[0].basis_
    common = {"basis": basis, "prior": prior, "verbose": 0, "random_state": 0}
    yield "CRB network", crb_network, simulation + seconds
    mse_network, seconds = built(lambda: network("mse"))
    yield "MSE network", mse_network, simulation + seconds
    reduced, seconds = built(lambda: network("bias-reduced"))
    yield "bias-reduced network", reduced, simulation + seconds
    for n_starts in (1, 6):
        cold, seconds = built(lambda n=n_starts: NLLSEstimator(model, n_starts=n, **common).fit())
        yield f"NLLS, cold, {n_starts} start{'s' * (n_starts > 1)}", cold, seconds
    for n_starts in (1, 3):
        warm, seconds = built(lambda n=n_starts: NLLSEstimator(model, init=crb_network, n_starts=n, **common).fit())
        yield f"NLLS, warm, {n_starts} start{'s' * (n_starts > 1)}", warm, seconds
    for entries in options.entries:
        dictionary, seconds = built(lambda k=entries: DictionaryMatcher(model, entries=k, **common).fit())
        yield f"dictionary, {entries:,}", dictionary, seconds


def voxels_per_second(estimator, X, n):
    """Median speed of three predictions of about n voxels, after one to warm up."""
    repeated = np.tile(X, (-(-n // len(X)), 1))[:n]
    estimator.predict(repeated[: n // 8])
    times = []
    for _ in range(3):
        start = perf_counter()
        estimator.predict(repeated)
        times.append(perf_counter() - start)
    return n / np.median(times)


def judge(name, estimator, seconds, test, prior_std, options):
    """Rows of the comparison for one method."""
    table = bias_variance(
        estimator, test.X, test.y, test.crb, options.snr, options.n_realizations, target_names=test.target_names,
        prior_std=prior_std, random_state=2, progress=False,
    )  # fmt: skip
    noisy = NoiseModel.at_snr(options.snr).add_to(test.X, np.random.default_rng(3))
    n_timed = 8 * options.n_timed if "network" in name else options.n_timed
    table.insert(0, "method", name)
    table["voxels_per_second"] = voxels_per_second(estimator, noisy, n_timed)
    table["setup_seconds"] = seconds
    return table


def with_error(value, error):
    """A number with its standard error in units of the last digit, such as 0.76(1)."""
    if not np.isfinite(error) or error <= 0:
        return f"{value:.3g}"
    digits = int(np.clip(-np.floor(np.log10(error)), 0, 3))
    return f"{value:.{digits}f}({error * 10**digits:.0f})"


def show(table, region):
    """Print a region as Markdown, one row a method."""
    rows = table[table["region"] == region]
    counts = rows.groupby("target", sort=False)["n_samples"].first()
    heads = [f"{name} (n = {n})" for name, n in counts.items()]
    print(f"\n{region}: bias²/CRB + var/CRB, mean over n tissues and standard error in units of the last digit")
    print(f"| method | {' | '.join(heads)} | voxels/s | set-up [s] |")
    print("|---|" + "---|" * len(heads) + "---|---|")
    for name, block in rows.groupby("method", sort=False):
        cells = [
            " + ".join(with_error(row[key], row[f"{key}_se"]) for key in ("bias2_over_crb", "variance_over_crb"))
            for _, row in block.iterrows()
        ]
        speed, setup = block[["voxels_per_second", "setup_seconds"]].iloc[0]
        print(f"| {name} | {' | '.join(cells)} | {speed:,.0f} | {setup:,.0f} |")


def dictionary_errors(model, prior, sizes, n, snr):
    """Median |error| / sqrt(CRB at an SNR) of clean signals by size, with seven parameters unknown and with two."""
    targets, rows = model.default_targets, []
    basis = SVDCompressor(13).fit(model.signal(prior.sample(4000, random_state=7))).basis_
    tissues = prior.sample(n, random_state=5)
    middle = prior.mean().to_dict() | {"B0": prior.support()["B0"][1] / 8}
    for free, table in (("7 parameters", tissues), ("T1 and T2f", tissues.assign(**{k: middle[k] for k in FIXED}))):
        known = FIXED if free != "7 parameters" else ()
        least = np.sqrt(model.crb(table, ("T1", "T2f"), basis=basis, known=known)) / snr
        clean = model.signal(table)
        for size in sizes:
            entries = prior.sample(size, random_state=0, method="sobol")
            if free != "7 parameters":
                entries = entries.assign(**{name: middle[name] for name in FIXED})
            matcher = DictionaryMatcher(model, targets, basis, entries=entries, verbose=0)
            estimate = pd.DataFrame(matcher.fit().predict(clean), columns=list(targets))[["T1", "T2f"]]
            error = np.median(np.abs(estimate - table[["T1", "T2f"]]) / least, axis=0)
            rows += [{"free": free, "entries": size, "T1": error[0], "T2f": error[1]}]
            print(f"{free}, {size:>9,} entries: median |error| / sqrt(CRB): T1 {error[0]:.3g}, T2f {error[1]:.3g}")
    return pd.DataFrame(rows)


def draw(path, errors, snr):
    """Error against size, one panel a parameter."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(7, 3.2), sharey=True, layout="constrained")
    for ax, name, symbol in zip(axes, ("T1", "T2f"), ("T_1", r"T_2^f"), strict=True):
        for (free, rows), marker in zip(errors.groupby("free", sort=False), "os", strict=True):
            ax.loglog(rows["entries"], rows[name], marker=marker, label=f"unknown: {free}")
        ax.axhline(1, color="0.5", linestyle="--", linewidth=1, label=f"noise at SNR {snr:g}: sqrt(CRB)")
        ax.set(xlabel="entries of the dictionary", title=f"${symbol}$")
    axes[0].set_ylabel("median |error| / sqrt(CRB)")
    axes[0].legend(fontsize=8)
    fig.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snr", type=float, default=50, help="SNR_max (default: %(default)s)")
    parser.add_argument("--n-training", type=int, default=40_000, help="fingerprints (default: %(default)s)")
    parser.add_argument("--n-epochs", type=int, default=65, help="of each network (default: %(default)s)")
    parser.add_argument("--n-test", type=int, default=500, help="unseen tissues (default: %(default)s)")
    parser.add_argument("--n-realizations", type=int, default=50, help="of noise (default: %(default)s)")
    parser.add_argument("--n-timed", type=int, default=4096, help="voxels for least squares' speed; networks 8 times")
    parser.add_argument("--entries", type=int, nargs="+", default=[10_000, 100_000], help="of the dictionaries")
    parser.add_argument("--largest", type=int, default=20, help="log2 of the largest dictionary of the figure")
    parser.add_argument("--output", type=Path, help="directory for table and figure")
    options = parser.parse_args()
    model, prior = MTHybridStateModel(), paper_prior()
    prior_std = prior.std()[list(model.default_targets)]
    tables, test = [], None
    for name, estimator, seconds in methods(model, prior, options):
        if test is None:
            basis = estimator[0].basis_
            test = make_fingerprints(model, prior, options.n_test, basis=basis, random_state=1, progress=False)
        tables.append(judge(name, estimator, seconds, test, prior_std, options))
        print(tables[-1][["method", "target", "region", "crb_loss"]].to_string(index=False, header=False), flush=True)
    table = pd.concat(tables, ignore_index=True)
    print(f"\nSNR {options.snr:g}, {options.n_realizations} noise realizations, {options.n_test} tissues")
    for region in ("informative", "all"):
        show(table, region)
    errors = dictionary_errors(model, prior, [2**i for i in range(8, options.largest + 1, 2)], 500, options.snr)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.output / "comparison.csv", index=False)
        draw(options.output / "dictionary_size.png", errors, options.snr)


if __name__ == "__main__":
    main()
