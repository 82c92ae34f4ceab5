"""What matters in network and training: variants of the default, and of the paper's recipe, in one table.

All variants see the same fingerprints (the training set of examples/paper_experiment.py; those with more or fewer of
them make as many steps) and are judged by the same test fingerprints and noise at one SNR, in units of the bound of
the SVD's coefficients whatever basis a network itself sees. A row is one training; "default" is trained with several
seeds, whose spread tells which differences mean something. Finished variants stay in the output file and are not
trained again. "one network per parameter" is three networks of the default's size, one for each target.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from crbestim import CRBSVDCompressor, CRBWeightedRegressor, bias_and_std, make_fingerprints
from crbestim.nn import FingerprintNetwork, ResidualNetwork

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from paper_experiment import PaperExperiment


class WithPhase(ResidualNetwork):
    """The default network without the alignment of M0's phase: normalisation alone, as in the paper."""

    def __init__(self, *shape, **settings):
        super().__init__(*shape, **settings)
        self.normalize = self.normalize[0]


class AveragedWeights(FingerprintNetwork):
    """The default network; what predicts is a moving average of its weights over some 1,000 steps."""

    def __init__(self, *shape):
        super().__init__()
        self.current = ResidualNetwork(*shape)
        self.average = AveragedModel(self.current, multi_avg_fn=get_ema_multi_avg_fn(0.999)).requires_grad_(False)

    def calibrate(self, *data):
        """Calibrate both."""
        self.current.calibrate(*data)
        self.average.module.load_state_dict(self.current.state_dict())

    def forward(self, *inputs):
        """Update the average in every training step."""
        if not self.training:
            return self.average(*inputs)
        self.average.update_parameters(self.current)
        return self.current(*inputs)


def variants(n_epochs, n_paper_epochs):
    """Settings of the regressor by name."""
    of_default = {
        "default": {},
        "default, seed 1": {"random_state": 1},
        "default, seed 2": {"random_state": 2},
        "phase of M0 kept": {"network": WithPhase},
        "linear outputs": {"network": partial(ResidualNetwork, linear_range=np.inf)},
        "linear_range=0.1": {"network": partial(ResidualNetwork, linear_range=0.1)},
        "linear_range=1": {"network": partial(ResidualNetwork, linear_range=1.0)},
        "width=128": {"network": partial(ResidualNetwork, width=128)},
        "width=512": {"network": partial(ResidualNetwork, width=512)},
        "n_blocks=1": {"network": partial(ResidualNetwork, n_blocks=1)},
        "n_blocks=3": {"network": partial(ResidualNetwork, n_blocks=3)},
        "learning_rate=1e-3": {"learning_rate": 1e-3},
        "learning_rate=4e-3": {"learning_rate": 4e-3},
        "batch_size=1024": {"batch_size": 1024},
        "batch_size=256": {"batch_size": 256},
        "half the epochs": {"max_epochs": max(1, n_epochs // 2)},
        "twice the epochs": {"max_epochs": 2 * n_epochs},
        "a quarter of the fingerprints": {"share": 0.25, "max_epochs": 4 * n_epochs},
        "four times the fingerprints": {"share": 4, "max_epochs": max(1, n_epochs // 4)},
        "averaged weights": {"network": AveragedWeights},
        "CRB-SVD basis": {"basis": "CRB-SVD"},
        "one network per parameter": {"separate": True},
        "the paper's network, one-cycle training": {"network": "paper"},
    }
    of_paper = {
        "paper": {},
        "paper, learning_rate=0.003": {"learning_rate": 0.003},
        "paper, learning_rate=0.03": {"learning_rate": 0.03},
        "paper, batch_size=256": {"batch_size": 256},
        "paper, batch_size=1024": {"batch_size": 1024},
    }
    common = {"max_epochs": n_epochs, "random_state": 0}
    settings = {name: common | values for name, values in of_default.items()}
    recipe = {"network": "paper", "training": "paper", "max_epochs": n_paper_epochs, "random_state": 0}
    return settings | {name: recipe | values for name, values in of_paper.items()}


class Side:
    """Networks side by side, one for each column of the targets."""

    def __init__(self, regressors):
        self.regressors = regressors
        self.target_names_ = None

    def predict(self, X):
        """Return the columns that each of them predicts."""
        return np.column_stack([regressor.predict(X) for regressor in self.regressors])

    def _takes_real_data(self, n_columns):
        return False


def trained(settings, X, y, crb):
    """A fitted regressor, or three."""
    settings = dict(settings)
    if not settings.pop("separate", False):
        return CRBWeightedRegressor(**settings).fit(X, y, crb=crb)
    columns = range(y.shape[1])
    return Side([CRBWeightedRegressor(**settings).fit(X, y[:, i], crb=crb[:, i]) for i in columns])


def judged(network, experiment, X, test, snr, n_realizations):
    """Parts of the CRB loss over all test fingerprints, and for each target over the informative ones."""
    of = bias_and_std(
        network, X, test.y, test.crb, snr, n_realizations, prior_std=experiment.prior_std, random_state=2,
        target_names=experiment.model.default_targets, progress=False,
    )  # fmt: skip
    bias, variance = of.squared_bias / of.sqrt_crb**2, of.std**2 / of.sqrt_crb**2
    loss = (bias + variance).mean(axis=1)
    row = {"CRB loss": loss.mean(), "se": loss.std() / np.sqrt(len(loss))}
    for i, target in enumerate(of.target_names):
        chosen = of.informative[:, i]
        row |= {f"{target} bias²": bias[chosen, i].mean(), f"{target} variance": variance[chosen, i].mean()}
    return row


def stacked(coefficients):
    """Real and imaginary parts side by side."""
    return np.hstack([coefficients.real, coefficients.imag])


def training_set(experiment, share, basis):
    """Training set: the experiment's, a part of it, one that is a number of times as large, or that of a basis."""
    arrays = experiment.training_set()
    if share <= 1 and basis is experiment.basis:
        return tuple(array[: round(share * len(array))] for array in arrays)
    data = make_fingerprints(
        experiment.model, experiment.prior, round(share * len(arrays[0])), basis=basis, compressed=True,
        random_state=7, progress=False,
    )  # fmt: skip
    return stacked(data.X), data.y, data.crb


def crb_svd_basis(experiment):
    """As many vectors as the experiment's, chosen by what they keep of the targets' bounds."""
    n_components = experiment.basis.shape[1]
    targets = experiment.model.default_targets
    return CRBSVDCompressor(experiment.model, n_components, targets=targets, random_state=0).fit().basis_


def n_weights(network):
    """Number of weights of what estimates."""
    parts = network.regressors if isinstance(network, Side) else [network]
    estimates = [part.module_.estimate for part in parts]
    return sum(
        values.numel() for estimate in estimates for values in getattr(estimate, "current", estimate).parameters()
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default="paper_runs", help="of the training set (%(default)s)")
    parser.add_argument("--output", type=Path, default="network_study.csv", help="table, also read (%(default)s)")
    parser.add_argument("--only", nargs="+", help="names of variants")
    parser.add_argument("--n-epochs", type=int, default=30, help="of the default's variants (default: %(default)s)")
    parser.add_argument("--n-paper-epochs", type=int, default=10, help="of the paper's (default: %(default)s)")
    parser.add_argument("--n-test", type=int, default=2000, help="test fingerprints (default: %(default)s)")
    parser.add_argument("--n-realizations", type=int, default=50, help="of noise (default: %(default)s)")
    parser.add_argument("--snr", type=float, default=50, help="SNR_max (default: %(default)s)")
    parser.add_argument("--fast", action="store_true", help="a trial run on a few fingerprints")
    options = parser.parse_args()
    experiment = PaperExperiment(options.directory, options.fast)
    test = make_fingerprints(
        experiment.model, theta=experiment.test_tissues()[: options.n_test], basis=experiment.basis, progress=False
    )
    rows = pd.read_csv(options.output).to_dict("records") if options.output.exists() else []
    for name, settings in variants(options.n_epochs, options.n_paper_epochs).items():
        if any(row["variant"] == name for row in rows) or (options.only and name not in options.only):
            continue
        basis = crb_svd_basis(experiment) if settings.pop("basis", None) else experiment.basis
        X, y, crb = training_set(experiment, settings.pop("share", 1), basis)
        start = perf_counter()
        network = trained(settings | {"verbose": 0}, X, y, crb)
        row = {"variant": name, "weights": n_weights(network), "seconds": perf_counter() - start}
        X_test = stacked(test.X @ basis)
        rows.append(row | judged(network, experiment, X_test, test, options.snr, options.n_realizations))
        pd.DataFrame(rows).to_csv(options.output, index=False, float_format="%.4g")
        print(
            pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1, float_format="{:.4g}".format),
            flush=True,
        )
    print(f"\nSNR {options.snr:g}, {len(test.y)} fingerprints, {options.n_realizations} noise realizations")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
