r"""
The paper's scans in silico
===========================

What the examples of the paper's Figures 7 and 8 share: a phantom is scanned along a koosh ball with many coils, its
coefficient images are reconstructed by BART, and least squares and some networks estimate its parameters (Sections
2.8, 3.3 and 3.4).

Without BART there is no scan: white noise is added to the coefficients instead, and figures and tables say so.
"""

import resource
from functools import cached_property
from pathlib import Path
from time import perf_counter

import joblib
import numpy as np
import pandas as pd
from paper_experiment import NETWORKS, SCALES, TITLES, UNITS, PaperExperiment, parsed, parser_of

from crbestim import NLLSEstimator
from crbestim.acquisition import (
    compress_coils,
    koosh_ball_trajectory,
    make_coil_sensitivities,
    radial_weights,
    simulate_kspace,
)
from crbestim.reconstruction import find_bart, reconstruct_coefficients


class Scan:
    """Coefficient images of a phantom, reconstructed or with white noise, and what the methods make of them."""

    def __init__(self, phantom, options):
        self.phantom, self.options = phantom, options
        self.experiment = PaperExperiment(options.directory, options.fast)
        self.model, self.basis = self.experiment.model, self.experiment.basis
        self.methods = {"NLLS": "NLLS"} | {name: TITLES[name] for name in options.networks}
        self.reconstructed = find_bart() is not None
        self.source = "reconstructed by BART" if self.reconstructed else "no BART: white noise on the coefficients"

    @cached_property
    def truth(self):
        """The coefficients of the phantom."""
        return self.phantom.signal(self.model, self.basis)

    @cached_property
    def scanned(self):
        """The coefficients of a scan."""
        return self._reconstruction(0) if self.reconstructed else self.with_white_noise(1 / self.options.snr)

    @cached_property
    def without_noise(self):
        """The coefficients of a scan without noise: what differs from the truth are residual aliasing and blur."""
        return self._reconstruction(None) if self.reconstructed else self.truth

    @property
    def noise(self):
        """What noise adds to the coefficients of a scan."""
        return self.scanned - self.without_noise

    def with_white_noise(self, noise_std, seed=2):
        """Return the phantom's coefficients with the noise that the networks were trained for."""
        rng = np.random.default_rng(seed)
        real, imag = rng.standard_normal((2, *self.truth.shape))
        return self.truth + noise_std * (real + 1j * imag)

    def noise_std(self):
        """Return the noise of a scan: standard deviation of a real channel, over all voxels and coefficients."""
        return np.sqrt((np.abs(self.noise[self.phantom.mask]) ** 2).mean() / 2)

    def images(self):
        """Return the scan, and images that have one of its imperfections each; the scan is the first."""
        if not self.reconstructed:
            return {self.source: self.scanned}
        return {
            "scan": self.scanned,
            "its noise alone": self.truth + self.noise,
            "its residual aliasing alone": self.without_noise,
            "white noise of the same size": self.with_white_noise(self.noise_std()),
        }

    def noise_table(self):
        """Return what distinguishes the noise of a scan from the white noise of the training, as a table."""
        mask = self.phantom.mask
        noise, aliasing = self.noise[mask], (self.without_noise - self.truth)[mask]
        covariance = noise.T @ noise.conj() / len(noise) / 2
        std = np.sqrt(np.diagonal(covariance).real)
        correlation = np.abs(covariance) / np.outer(std, std)
        np.fill_diagonal(correlation, 0)
        table = pd.DataFrame(
            {
                "coefficient": np.arange(1, len(std) + 1),
                "norm": np.sqrt((np.abs(self.truth[mask]) ** 2).mean(axis=0)),
                "noise": std,
                "largest correlation with another": correlation.max(axis=0),
                "correlation with the next voxel": self._correlation_of_neighbours(),
                "residual aliasing": np.sqrt((np.abs(aliasing) ** 2).mean(axis=0) / 2),
            }
        )
        return table.assign(**{"aliasing / noise": table["residual aliasing"] / table["noise"]})

    def estimates(self, images, where):
        """Return what each method finds in some voxels: a dict of arrays (n, 3)."""
        coefficients = images[where].astype(complex)
        fit = NLLSEstimator(self.model, basis=self.basis, prior=self.experiment.prior, random_state=0, verbose=0).fit()
        found = {"NLLS": fit.predict(coefficients)}
        for name in self.options.networks:
            found[name] = self.experiment.network(name).predict_coefficients(coefficients)
        return found

    def _correlation_of_neighbours(self):
        """Return the correlation of each coefficient's noise in a voxel with that in the next one, along x."""
        both = self.phantom.mask[1:] & self.phantom.mask[:-1]
        here, there = self.noise[1:][both], self.noise[:-1][both]
        power = np.sqrt((np.abs(here) ** 2).sum(axis=0) * (np.abs(there) ** 2).sum(axis=0))
        return (here * there.conj()).real.sum(axis=0) / power

    @cached_property
    def _kspace(self):
        options = self.options
        echoes = np.arange(0, self.model.n_timepoints, options.echo_step)
        trajectory = koosh_ball_trajectory(len(echoes), options.n_cycles, max(self.phantom.shape))
        coils = make_coil_sensitivities(self.phantom, options.n_coils)
        return echoes, simulate_kspace(self.phantom, self.model, trajectory, coils, echoes)

    def _reconstruction(self, seed):
        """Return the images of a scan with noise, or of one without for None; in full they are kept."""
        if self.options.fast:
            return self._reconstruct(seed)
        apart = ("output", "directory", "networks")
        settings = {key: str(value) for key, value in vars(self.options).items() if key not in apart}
        content = joblib.hash([sorted(settings.items()), self.phantom.fractions, self.basis])
        path = Path(self.options.directory, "scans", f"{content}_{seed}.npy")
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            np.save(path.with_suffix(".part.npy"), self._reconstruct(seed))
            path.with_suffix(".part.npy").replace(path)
        return np.load(path)

    def _reconstruct(self, seed):
        options, start = self.options, perf_counter()
        echoes, data = self._kspace
        if seed is not None:
            # The noise of the coefficients is that of an echo's image over the root of the share of echoes.
            data = data.with_noise(data.noise_std_at(options.snr * np.sqrt(options.echo_step)), seed)
        data = compress_coils(data, options.n_virtual_coils)
        prepared = perf_counter()
        found = reconstruct_coefficients(
            data, self.basis[echoes], weights=radial_weights(data.trajectory, options.weighting),
            strength=options.strength, max_iter=options.max_iter, progress=not options.fast,
        )  # fmt: skip
        of_bart = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(
            f"k-space {prepared - start:.0f} s, reconstruction {perf_counter() - prepared:.0f} s, "
            f"largest memory of BART {of_bart:.1f} GiB"
        )
        return found


def arguments(description, fast, full):
    """Read the options that the examples of scans share; what fast and full runs differ in has defaults of its own."""
    fast = {"n_cycles": 30, "echo_step": 10, "n_coils": 4, "n_virtual_coils": 2, "max_iter": 20} | fast
    full = {"n_cycles": 80, "echo_step": 8, "n_coils": 20, "n_virtual_coils": 8, "max_iter": 50} | full
    parser = parser_of(description)
    parser.add_argument(
        "--networks", nargs="+", choices=NETWORKS, default=["crb", "mse", "bias-reduced"], help="beside least squares"
    )
    parser.add_argument("--snr", type=float, default=50, help="of evenly spread samples (default: %(default)s)")
    parser.add_argument("--strength", type=float, default=1e-3, help="of the low-rank penalty (default: %(default)s)")
    parser.add_argument(
        "--weighting", type=float, default=1.0, help="power of k in the data term (default: %(default)s)"
    )
    for name, value in full.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(value), help=f"default: {value}, fast {fast[name]}"
        )
    options = parsed(parser)
    for name in full:
        if getattr(options, name) is None:
            setattr(options, name, (fast if options.fast else full)[name])
    return options


def of_regions(scan, regions, estimates):
    """Return mean and standard deviation in regions of one tissue each, as a table.

    ``regions`` are pairs of a tissue and a mask by name; ``estimates`` those of all voxels of `joined` regions, for
    each kind of images and each method.
    """
    rows, where = [], joined(regions)
    for images, by_method in estimates.items():
        for method, values in by_method.items():
            for region, (tissue, mask) in regions.items():
                inside = values[mask[where]]
                for target, found in zip(scan.model.default_targets, inside.T, strict=True):
                    truth, scale = scan.phantom.tissues.loc[tissue, target], SCALES[target]
                    rows.append(
                        {
                            "images": images,
                            "method": scan.methods[method],
                            "region": region,
                            "target": target + UNITS[target],
                            "truth": scale * truth,
                            "mean": scale * found.mean(),
                            "bias": scale * (found.mean() - truth),
                            "standard deviation": scale * found.std(),
                            "standard error": scale * found.std() / np.sqrt(len(found)),
                            "voxels": len(found),
                        }
                    )
    return pd.DataFrame(rows)


def means(table):
    """Return mean ± standard deviation of each method, a row for each kind of images, region and target."""
    both = table.apply(lambda row: f"{row['mean']:.3g} ± {row['standard deviation']:.2g}", axis=1)
    keys = ["images", "region", "target", "truth"]
    rows = table.assign(both=both, truth=table["truth"].map("{:.3g}".format)).set_index([*keys, "method"])["both"]
    order = list(dict.fromkeys(rows.index.droplevel("method")))
    return rows.unstack().loc[order, list(dict.fromkeys(table["method"]))].reset_index()


def joined(regions):
    """Return the mask of all regions together."""
    return np.any([mask for _, mask in regions.values()], axis=0)


def costs(table):
    """Return bias / standard deviation of each method and kind of images, root mean squares over all regions."""
    squares = table.assign(**{name: table[name] ** 2 for name in ("bias", "standard deviation")})
    parts = squares.groupby(["target", "method", "images"], sort=False)[["bias", "standard deviation"]].mean() ** 0.5
    both = parts.apply(lambda row: f"{row['bias']:.2g} / {row['standard deviation']:.2g}", axis=1)
    return both.unstack().loc[list(dict.fromkeys(table["target"])), table["images"].unique()].reset_index()


def save_table(table, options, name):
    """Print a table, and write it if there is a directory for it."""
    print(table.to_string(index=False, float_format="{:.3g}".format))
    if options.output is not None:
        table.to_csv(options.output / f"{name}.csv", index=False, float_format="%.4g")
