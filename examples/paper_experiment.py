r"""
The paper's experiment: data and networks
=========================================

Fingerprints and trained networks for the examples that draw the figures of Zhang et al. (Sections 2.4 to 2.7): 92,160
fingerprints to train on and 10,240 for validation, 9,056 test fingerprints (dataset #1) and two slices on a regular
grid (dataset #2), 13 coefficients. The sequence is the built-in one, and every network is trained and judged with the
bound of the coefficients. ::

    python examples/paper_experiment.py --directory paper_runs

trains what is not there yet. It may be interrupted at any time and goes on where it was. The two networks of the
paper take hours, the others minutes.
"""

import argparse
import os
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from crbestim import (
    CRBWeightedRegressor,
    MTHybridStateModel,
    Pipeline,
    SVDCompressor,
    bias_and_std,
    load_pretrained,
    make_fingerprints,
    make_grid,
    paper_prior,
    save_pretrained,
)

NETWORKS = {
    "paper-crb": {"loss": "crb", "network": "paper", "training": "paper"},
    "paper-mse": {"loss": "mse", "network": "paper", "training": "paper"},
    "crb": {"loss": "crb"},
    "mse": {"loss": "mse"},
    "bias-reduced": {"loss": "bias-reduced"},
}
TITLES = {
    "paper-crb": "paper's network, CRB loss",
    "paper-mse": "paper's network, MSE loss",
    "crb": "default, CRB loss",
    "mse": "default, MSE loss",
    "bias-reduced": "default, bias-reduced",
}
SYMBOLS = {"m0s": r"$m_0^s$", "T1": r"$T_1$", "T2f": r"$T_2^f$"}
UNITS = {"m0s": "", "T1": " [s]", "T2f": " [ms]"}
SCALES = {"m0s": 1, "T1": 1, "T2f": 1e3}
COLORS = {"paper-mse": "C1", "paper-crb": "C0", "mse": "C3", "crb": "C2", "bias-reduced": "C4"}
SLICES = {
    "m0s-T1": {"m0s": (0.02, 0.3), "T1": (0.5, 3.0)},
    "T1-T2f": {"T1": (0.5, 3.0), "T2f": (0.02, 0.2)},
}


class PaperExperiment:
    """Data and networks; what is trained is kept in a directory, unless it is a trial run."""

    def __init__(self, directory: Path | None = None, fast: bool = False) -> None:
        self.fast = fast
        self.directory = None if fast else Path(directory or "paper_runs")
        self.n_realizations = 4 if fast else 300
        self.model, self.prior = MTHybridStateModel(), paper_prior()
        self.prior_std = self.prior.std()[list(self.model.default_targets)].to_numpy()
        stored = None if fast else self.directory / "training.npz"
        if stored is not None and stored.exists():
            with np.load(stored) as arrays:
                self.basis, self._training = arrays["basis"], {name: arrays[name] for name in ("X", "y", "crb")}
        else:
            self._simulate_training(1_000 if fast else 102_400)
            if stored is not None:
                self.directory.mkdir(parents=True, exist_ok=True)
                np.savez(stored, basis=self.basis, **self._training)

    def _simulate_training(self, n):
        theta = self.prior.sample(n, random_state=0)
        self.basis = SVDCompressor(13).fit(self.model.signal(theta)).basis_
        data = make_fingerprints(self.model, theta=theta, basis=self.basis, compressed=True)
        self._training = {"X": data.X, "y": data.y, "crb": data.crb}

    @cache  # noqa: B019 - there is one experiment a process
    def network(self, name: str) -> Pipeline:
        """Return a network, trained now unless it was before."""
        path = None if self.fast else self.directory / f"{name}.safetensors"
        if path is not None and path.exists():
            return load_pretrained(path, sequence=self.model.sequence, basis=self.basis)
        compressor = SVDCompressor(basis=self.basis).fit(self.model.signal(self.prior.sample(32, random_state=0)))
        short = {"max_epochs": 3, "refinement_epochs": 1, "batch_size": 128, "verbose": 0} if self.fast else {}
        checkpoint = None if path is None else path.with_suffix(".checkpoint")
        settings = NETWORKS[name] | short
        regressor = CRBWeightedRegressor(**settings, checkpoint=checkpoint, random_state=0)
        X, y, crb = self.training_set()
        regressor.fit(X, pd.DataFrame(y, columns=list(self.model.default_targets)), crb=crb)
        pipeline = Pipeline([("svdcompressor", compressor), ("crbweightedregressor", regressor)])
        if path is not None:
            save_pretrained(pipeline, path, model=self.model, prior=self.prior, card=card(name))
        return pipeline

    def training_set(self):
        """Return stacked coefficients, targets and bounds of the fingerprints for training and validation."""
        X = self._training["X"]
        return np.hstack([X.real, X.imag]), self._training["y"], self._training["crb"]

    @cache  # noqa: B019
    def test_set(self):
        """Return dataset #1: stacked coefficients of tissues of the prior that no network has seen."""
        return self._simulated(self.test_tissues())

    def test_tissues(self):
        """Return the tissues of dataset #1."""
        return self.prior.sample(100 if self.fast else 9_056, random_state=1)

    def axes(self, name: str) -> dict[str, np.ndarray]:
        """Return the two axes of a slice of dataset #2."""
        return {parameter: np.linspace(*limits, 5 if self.fast else 40) for parameter, limits in SLICES[name].items()}

    @cache  # noqa: B019
    def grid(self, name: str):
        """Return a slice of dataset #2, as stacked coefficients."""
        return self._simulated(make_grid(self.axes(name), self.prior))

    def judged(self, name: str, part: str, snr: float = 50, n_realizations: int | None = None) -> Bunch:
        """Return bias and standard deviations of a network on "test" or a slice; they are kept in the directory."""
        n_realizations = n_realizations or self.n_realizations
        network = self.network(name)
        data = self.test_set() if part == "test" else self.grid(part)
        stored = None if self.fast else self.directory / "judged" / f"{name}_{part}_{snr:g}_{n_realizations}.joblib"
        layers = {key: value.numpy() for key, value in network[-1].module_.state_dict().items()}
        weights = joblib.hash([layers, network[-1].target_mean_, network[-1].target_scale_])
        if stored is not None and stored.exists():
            kept = joblib.load(stored)
            if kept["weights"] == weights:
                return kept["found"]
        found = bias_and_std(
            network[-1], data.X, data.y, data.crb, snr, n_realizations, target_names=self.model.default_targets,
            prior_std=self.prior_std, random_state=2, progress=stored is not None,
        )  # fmt: skip
        if stored is not None:
            stored.parent.mkdir(exist_ok=True)
            joblib.dump({"weights": weights, "found": found}, stored)
        return found

    def _simulated(self, theta):
        """Return fingerprints with stacked coefficients."""
        data = make_fingerprints(self.model, theta=theta, basis=self.basis, compressed=True, progress=False)
        data.X = np.hstack([data.X.real, data.X.imag])
        return data


def card(name: str) -> str:
    """Return the model card of a network."""
    return (
        f"# {TITLES[name]}\n\nTrained by `python examples/paper_experiment.py --networks {name}` on 92,160 "
        "fingerprints of the built-in sequence (10,240 for validation), tissues of `paper_prior`, 13 coefficients, "
        "SNR_max 10 to 100, bound of the coefficients.\n"
    )


def parser_of(description: str) -> argparse.ArgumentParser:
    """Return a parser of the options that all examples of the paper share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--directory", type=Path, default="paper_runs", help="of trained networks (%(default)s)")
    parser.add_argument("--output", type=Path, help="directory for tables (CSV) and figures (PNG)")
    parser.add_argument("--fast", action="store_true", default="CRBESTIM_FAST" in os.environ, help="a trial run")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the options, and make the directory of the output."""
    options = parser.parse_args()
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
    return options


def arguments(description: str) -> argparse.Namespace:
    """Read the options of the examples of networks."""
    parser = parser_of(description)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, help="which networks")
    return parsed(parser)


if __name__ == "__main__":
    chosen = arguments("Train the networks of the paper's experiment.")
    experiment = PaperExperiment(chosen.directory, chosen.fast)
    for network in chosen.networks or NETWORKS:
        print(network, flush=True)
        experiment.network(network)
