"""a network for a pulse sequence of your own

Simulates fingerprints of random tissues, compresses them, trains and writes one file. For example:

  crbestim train --sequence pulses.csv --prior prior.toml --out mine.safetensors

Finished parts of the simulation, and the training after every epoch, are kept beside --out until it is written, and
the same command goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from ..datasets import Prior, make_fingerprints
from ..datasets._fingerprint_parts import ORIGIN
from ..datasets._fingerprints import checked_prior
from ..estimators import CRBSVDCompressor, CRBWeightedRegressor, Pipeline, SVDCompressor
from ..io import load_basis
from ..nn import LOSSES
from ..noise import NoiseModel
from ..pretrained import load_pretrained, save_pretrained
from ..signal import SignalModel
from ._outputs import check_outputs
from ._signal_options import add_signal_options, prior_of, signal_model_of
from ._types import count, file_ending_in, positive
from ._working_directory import are_begun, begin_writing, directory_of_parts, state_beside, working_directory

_BASIS_TISSUES = 2**13


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--out", type=file_ending_in(".safetensors"), required=True, metavar="FILE", help="the network (.safetensors)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    add_signal_options(parser)
    group = parser.add_argument_group("compression")
    basis = group.add_mutually_exclusive_group()
    basis.add_argument("--basis", type=Path, metavar="FILE", help="of the reconstruction: BART (.cfl) or .npy")
    basis.add_argument("--components", type=count, default=13, metavar="K", help="coefficients (default: %(default)s)")
    group.add_argument(
        "--compression", choices=("svd", "crb-svd"),
        help="without --basis: singular vectors, or a basis that keeps the bound (default: svd)",
    )  # fmt: skip
    group = parser.add_argument_group("training")
    group.add_argument(
        "--targets", nargs="+", metavar="NAME", help="parameters to estimate (default: the model's own)"
    )
    group.add_argument("--loss", choices=list(LOSSES), default="bias-reduced", help="(default: %(default)s)")
    group.add_argument(
        "--samples", type=count, default=102_400, metavar="N", help="fingerprints (default: %(default)s)"
    )
    group.add_argument(
        "--epochs", type=count, metavar="N", help="passes through them (default: 100); a tenth more with bias-reduced"
    )
    group.add_argument(
        "--snr", type=positive, nargs=2, default=(10.0, 100.0), metavar=("LOW", "HIGH"),
        help="range of |M0| over the noise (default: 10 100)",
    )  # fmt: skip
    group.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    """Run it."""
    parts = directory_of_parts(options.out.absolute().parent, f"train-{options.out.name}")
    overwrite = options.overwrite or are_begun(parts, [options.out])
    check_outputs(overwrite, options.out)
    low, high = options.snr
    if low > high:
        raise ValueError(f"--snr must be a range LOW HIGH; got {low:g} {high:g}.")
    if options.basis is not None and options.compression is not None:
        raise ValueError("--basis is the compression; leave out --compression.")
    model = signal_model_of(options)
    prior = checked_prior(prior_of(options), model)
    seeds = np.random.SeedSequence(options.seed).generate_state(3).tolist()
    compressor = _compressor(options, model, prior, seeds[0])
    card = f"# {options.out.stem}\n\nTrained by `{options.command_line}`.\n"
    with state_beside(options.out) as state:
        with working_directory(parts.parent, parts, ORIGIN):
            data = make_fingerprints(
                model, prior, options.samples, options.targets, basis=compressor.basis_, compressed=True,
                random_state=seeds[1], checkpoint=parts, progress=not options.quiet,
            )  # fmt: skip
            y = pd.DataFrame(data.y, columns=list(data.target_names))
            regressor = CRBWeightedRegressor(
                options.loss, noise=NoiseModel(noise_std=1 / high, m0_range=(low / high, 1.0)),
                max_epochs=options.epochs, checkpoint=state, verbose=0 if options.quiet else 1,
                random_state=options.seed,
            ).fit(compressor.stack_coefficients(data.X), y, crb=data.crb)  # fmt: skip
            pipeline = Pipeline([("compressor", compressor), ("regressor", regressor)])
            begin_writing(parts, [options.out], overwrite)
            save_pretrained(pipeline, options.out, model=model, prior=prior, card=card, overwrite=overwrite)
        state.unlink(missing_ok=True)
    last = regressor.history_.iloc[-1]
    print(
        f"{options.out}: {len(regressor.history_)} epochs, validation loss {last['valid_loss']:.4g} ({last['loss']})"
    )
    _tell_what_is_lost(options.out)


def _tell_what_is_lost(path: Path) -> None:
    written = load_pretrained(path)
    lost = [name for name, found in (("signal-model", written.model_), ("prior", written.prior_)) if found is None]
    if lost:
        options = " and ".join(f"--{name}" for name in lost)
        print(f"Its file cannot tell the {' and '.join(lost)}: give {options} to fit and evaluate as well.")


def _compressor(options: argparse.Namespace, model: SignalModel, prior: Prior, seed: int) -> SVDCompressor:
    signals = model.signal(prior.sample(_BASIS_TISSUES, random_state=seed))
    if options.basis is not None:
        return SVDCompressor(basis=load_basis(options.basis)).fit(signals)
    if options.compression != "crb-svd":
        return SVDCompressor(options.components).fit(signals)
    return CRBSVDCompressor(
        model, options.components, targets=options.targets, prior=prior, random_state=seed
    ).fit(signals)  # fmt: skip
