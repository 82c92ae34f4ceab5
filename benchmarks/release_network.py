"""Write the network that ships with the package: judge it, put the results into its model card, save it.

    python examples/paper_experiment.py --directory paper_runs --networks bias-reduced
    python benchmarks/release_network.py --directory paper_runs

The first trains (or finds) the network; the second judges it on the 9,056 test fingerprints and the grid slices of the
paper's experiment, prints the card and writes crbestim/pretrained/networks/mt-hybrid-state.safetensors.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from crbestim import bias_and_std, interval_coverage, save_pretrained

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from paper_experiment import PaperExperiment

ROOT = Path(__file__).parents[1]
UNITS = {"m0s": (1, ""), "T1": (1, " [s]"), "T2f": (1e3, " [ms]")}
CARD = """\
# mt-hybrid-state

Estimates m0s, T1 and T2f from 13 complex coefficients of the built-in pulse sequence (`PulseSequence.default()`,
`MTHybridStateModel`), with the standard deviation that the Cramer-Rao bound allows.

## Training

`python examples/paper_experiment.py --directory paper_runs --networks bias-reduced`: 92,160 fingerprints of tissues
drawn from `paper_prior` (and 10,240 for validation), |M0| from 0.1 to 1 at a noise of 0.01 (SNR_max 10 to 100), bound
of the coefficients; {stages}.
The network has {weights:,} weights, and {bound_weights:,} more for the error bars.

## Results

`python benchmarks/release_network.py --directory paper_runs`: SNR_max {snr:g}, {n:,} test fingerprints,
{n_realizations} noise realizations each, bound of the coefficients. "informative": the bound's root is below a third
of the prior's standard deviation. Standard errors over the fingerprints in brackets (of medians: bootstrap).

{results}

On two slices through the middle of the prior (m0s 0.02 to 0.3, T1 0.5 to 3 s, T2f 0.02 to 0.2 s), 40 x 40 tissues:

{grid}

## Limits

- Another sequence, basis or TR needs another network; `load_pretrained(..., sequence=, basis=)` checks them.
- Tissues outside the prior, such as T2f above T1 or T1 above 6 s, were never seen.
- The hybrid-state model has an error of its own against Bloch simulations, and one T1 for both pools.
- Where the bound exceeds the prior's width, next to the stop bands for instance, estimates scatter as the bound tells:
  look at the standard deviations.
"""


def with_error(value, error):
    """A number with its standard error in brackets."""
    return f"{value:.3g} ({error:.1g})"


def markdown(rows):
    """A table."""
    table = pd.DataFrame(rows).astype(str)
    lines = [table.columns, ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def median_with_error(values):
    """Median and its error by bootstrap."""
    rng = np.random.default_rng(0)
    return with_error(np.median(values), np.std([np.median(rng.choice(values, len(values))) for _ in range(100)]))


def results(network, experiment, snr, n_realizations):
    """Rows of the table of test fingerprints."""
    test = experiment.test_set()
    common = {"target_names": test.target_names, "random_state": 2, "progress": False}
    of = bias_and_std(network, test.X, test.y, test.crb, snr, n_realizations, prior_std=experiment.prior_std, **common)
    groups = np.where(of.informative, "informative", None)
    covered = interval_coverage(
        network, test.X, test.y, snr, n_realizations, levels=[0.6827, 0.95], groups=groups, **common
    )
    for i, target in enumerate(of.target_names):
        chosen = of.informative[:, i]
        bias, variance = (of.squared_bias / of.sqrt_crb**2)[chosen, i], (of.std**2 / of.sqrt_crb**2)[chosen, i]
        of_target = covered[covered["target"] == target].set_index("level")
        yield {
            "target": target,
            "informative": f"{chosen.mean():.2f}",
            "bias²/CRB": with_error(bias.mean(), bias.std() / np.sqrt(chosen.sum())),
            "var/CRB": with_error(variance.mean(), variance.std() / np.sqrt(chosen.sum())),
            "median std/sqrt(CRB)": median_with_error(np.sqrt(variance)),
            **{
                f"coverage of {100 * level:.0f} %": with_error(*of_target.loc[level, ["coverage", "coverage_se"]])
                for level in of_target.index
            },
        }


def grid_results(network, experiment, snr, n_realizations):
    """Rows of the table of grid slices."""
    for piece in ("m0s-T1", "T1-T2f"):
        data = experiment.grid(piece)
        of = bias_and_std(
            network, data.X, data.y, data.crb, snr, n_realizations, prior_std=experiment.prior_std,
            target_names=data.target_names, random_state=2, progress=False,
        )  # fmt: skip
        row = {"slice": piece}
        for i, target in enumerate(of.target_names):
            factor, unit = UNITS[target]
            row[f"mean abs. bias {target}{unit}"] = f"{factor * np.abs(of.bias[:, i]).mean():.2g}"
            row[f"median std/sqrt(CRB) {target}"] = f"{np.median(of.std[:, i] / of.sqrt_crb[:, i]):.3f}"
        yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default="paper_runs", help="of trained networks (%(default)s)")
    parser.add_argument("--snr", type=float, default=50, help="SNR_max (default: %(default)s)")
    parser.add_argument("--fast", action="store_true", help="a network that is trained for a moment")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "crbestim/pretrained/networks/mt-hybrid-state.safetensors", help="file"
    )
    options = parser.parse_args()
    experiment = PaperExperiment(options.directory, options.fast)
    pipeline = experiment.network("bias-reduced")
    module, history = pipeline[-1].module_, pipeline[-1].history_
    sizes = [sum(values.numel() for values in part.parameters()) for part in (module.estimate, module.bound)]
    counts = history["loss"].value_counts(sort=False)
    shared = (pipeline[-1], experiment, options.snr, experiment.n_realizations)
    card = CARD.format(
        stages=", then ".join(f"{count} epochs of '{loss}'" for loss, count in counts.items()),
        weights=sizes[0],
        bound_weights=sizes[1],
        snr=options.snr,
        n=100 if options.fast else 9_056,
        n_realizations=experiment.n_realizations,
        results=markdown(results(*shared)),
        grid=markdown(grid_results(*shared)),
    )
    print(card)
    options.output.parent.mkdir(exist_ok=True)
    save_pretrained(
        pipeline, options.output, model=experiment.model, prior=experiment.prior, card=card, overwrite=True
    )


if __name__ == "__main__":
    main()
