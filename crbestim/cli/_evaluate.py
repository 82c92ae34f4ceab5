"""bias, variance and coverage of a network, in units of the Cramér-Rao bound

Fresh tissues of the network's prior, each with many noise realizations. For example:

  crbestim evaluate --model mt-hybrid-state --snr 20 50 --out table.csv
"""

from __future__ import annotations

import argparse

import pandas as pd

from .._files import write_whole
from ..datasets import make_fingerprints
from ..diagnostics import bias_variance
from ..pretrained import load_pretrained
from ._network_signal import signal_of_network
from ._outputs import check_outputs
from ._signal_options import add_signal_options
from ._types import count, file_ending_in, positive

_SHOWN = {
    "bias": "bias",
    "std": "std",
    "bias2_over_crb": "bias^2/CRB",
    "variance_over_crb": "variance/CRB",
    "crb_loss": "CRB loss",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--model", required=True, metavar="NAME|FILE", help="network")
    add_signal_options(parser)
    parser.add_argument(
        "--snr", type=positive, nargs="+", default=[50.0], metavar="SNR", help="|M0| over the noise (default: 50)"
    )
    parser.add_argument("--samples", type=count, default=2000, metavar="N", help="tissues (default: %(default)s)")
    parser.add_argument(
        "--realizations", type=count, default=100, metavar="N", help="of the noise (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--out", type=file_ending_in(".csv"), metavar="CSV", help="write the table to a file as well")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")


def run(options: argparse.Namespace) -> None:
    """Run it."""
    if options.out is not None:
        check_outputs(options.overwrite, options.out)
    pipeline = load_pretrained(options.model)
    model, prior = signal_of_network(options, pipeline)
    names = pipeline.target_names_
    if names is None:
        raise ValueError(f"--model: {options.model} was saved without the names of its targets.")
    basis = pipeline[0].basis_
    data = make_fingerprints(
        model, prior, options.samples, names, basis=basis, compressed=True, random_state=options.seed,
        progress=not options.quiet,
    )  # fmt: skip
    X = pipeline[0].stack_coefficients(data.X)
    tables = [
        bias_variance(
            pipeline[1], X, data.y, {"compressed": data.crb, "full": data.full_crb}, snr, options.realizations,
            target_names=names, prior_std=prior.std()[names].to_numpy(), random_state=options.seed + 1,
            progress=not options.quiet,
        ).assign(snr=snr)
        for snr in options.snr
    ]  # fmt: skip
    table = pd.concat(tables)
    if options.out is not None:
        write_whole(options.out, lambda file: file.write(table.to_csv().encode()))
    print(_readable(table).to_string(index=False))
    print("Bias and std in the unit of the target; +-: standard errors.")


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that are looked at, with their standard errors."""
    shown = table[["snr", "bound", "target", "region", "n_samples"]].rename(columns={"n_samples": "n"})
    for name, title in _SHOWN.items():
        pairs = zip(table[name], table[f"{name}_se"], strict=True)
        shown[title] = [f"{value:.3g} +- {se:.1g}" for value, se in pairs]
    return shown
