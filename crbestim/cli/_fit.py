"""parameter maps of coefficient images, by non-linear least squares

Slow and thorough: hundreds of voxels a second. Maps of the targets with standard deviations, of the amplitude M0 and
of the noise level that the residual tells, and a map of quality. For example:

  crbestim fit coefficients.nii.gz --model mt-hybrid-state --mask mask.nii.gz --out fits
  crbestim fit coefficients.cfl --sequence pulses.csv --basis basis.cfl --prior prior.toml --out fits
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..estimators import NLLSEstimator
from ..io import load_basis
from ..io._estimate_volume import FURTHER_MAPS
from ..io._estimates import LeastSquaresEstimates
from ..io._save_estimates import names_of
from ..pretrained import load_pretrained
from ._maps import add_volume_options, make_maps, open_inputs
from ._network_signal import signal_of_network
from ._signal_options import add_signal_options, prior_of, signal_model_of
from ._types import count, positive


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_volume_options(parser)
    group = add_signal_options(parser)
    group.add_argument(
        "--model", metavar="NAME|FILE", help="network whose signal model, pulse train, basis and prior to take"
    )
    group.add_argument("--basis", type=Path, metavar="FILE", help="of the coefficients: BART (.cfl) or .npy")
    group = parser.add_argument_group("fit")
    group.add_argument("--targets", nargs="+", metavar="NAME", help="parameters to map (default: the model's own)")
    group.add_argument("--starts", type=count, default=6, metavar="N", help="of each voxel (default: %(default)s)")
    group.add_argument("--init", action="store_true", help="take the network's estimate as one of the starts")
    group.add_argument("--noise-std", type=positive, metavar="NUMBER", help="noise level (default: from the residual)")
    group.add_argument("--seed", type=int, default=0, help="of the starts (default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    """Run it."""
    model, basis, prior, init = _signal(options)
    n_coefficients = model.n_timepoints if basis is None else basis.shape[1]
    volume, mask, covariates = open_inputs(options, n_coefficients, model.real_valued)
    known = [name for name, _ in options.covariate]
    estimator = NLLSEstimator(
        model, options.targets, basis=basis, prior=prior, known=known, noise_std=options.noise_std, init=init,
        n_starts=options.starts, verbose=0, random_state=options.seed,
    ).fit()  # fmt: skip
    names = names_of(LeastSquaresEstimates(estimator).parameters, True, FURTHER_MAPS.values())
    make_maps(
        options, estimator, volume, names, {"Model": options.model or options.signal_model},
        mask=mask, covariates=covariates,
    )  # fmt: skip


def _signal(options: argparse.Namespace) -> tuple[Any, Any, Any, Any]:
    """Return signal model, basis, prior and the estimator to start from."""
    basis = None if options.basis is None else load_basis(options.basis)
    if options.model is None:
        if options.init:
            raise ValueError("--init needs --model, the network to start from.")
        return signal_model_of(options), basis, prior_of(options), None
    pipeline = load_pretrained(options.model, basis=basis)
    model, prior = signal_of_network(options, pipeline)
    return model, pipeline[0].basis_, prior, pipeline if options.init else None
