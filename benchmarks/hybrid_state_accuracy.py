"""Error of the hybrid state and of `MTBlochModel` against the Bloch-McConnell equations, over the paper's prior.

For every voxel: the relative L2 error of the signal after the complex scale that fits best (M0 absorbs it), and what
it does to an efficient estimator that trusts the model: the bias of the parameters to first order,
pinv([J, s, i s]) (s_reference - s), in the parameters' units and over sqrt(CRB). For some voxels, also sqrt(CRB) of
the models and of the reference.

    python benchmarks/hybrid_state_accuracy.py --output accuracy.png
    python benchmarks/hybrid_state_accuracy.py --sequence pattern.csv --output accuracy.png
"""

import argparse
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from crbestim import BlochMcConnellModel, MTBlochModel, MTHybridStateModel, PulseSequence, paper_prior

MODELS = {"hybrid state": MTHybridStateModel, "MTBlochModel": MTBlochModel}
TARGETS = ("m0s", "T1", "T2f")
UNITS = {
    "m0s": (1e2, "%"), "T1": (1e3, "ms"), "T2f": (1e3, "ms"), "Rx": (1, "1/s"),
    "T2s": (1e6, "µs"), "B0": (1, "rad/s"), "B1": (1e2, "%"),
}  # fmt: skip
B0, B1, T2F = "abs(B0) TR / π", "B1", "T2f [ms]"
BINS = {
    B0: [0, 0.4, 0.8, 1.2, 1.6, 2],
    B1: [0.3, 0.7, 0.9, 1.1, 1.3, 1.7],
    T2F: [5, 50, 100, 200, 400, 6000],
}
SNR = 50


def relative_error(signal, reference):
    return 100 * np.linalg.norm(signal - reference, axis=1) / np.linalg.norm(reference, axis=1)


def best_scale(signal, reference):
    product = np.einsum("nt,nt->n", signal.conj(), reference)
    return signal * (product / np.einsum("nt,nt->n", signal.conj(), signal))[:, None]


def first_order_bias(model, theta, reference):
    """Bias of the model's parameters at M0 = 1, (n, 7), from the difference of the signals."""
    signal, bias = model.signal(theta), np.empty(theta.shape)
    columns = np.concatenate([model.jacobian(theta), signal[:, :, None], 1j * signal[:, :, None]], axis=2)
    for row, (matrix, difference) in enumerate(zip(columns, reference - signal, strict=True)):
        real = np.concatenate([matrix.real, matrix.imag])
        scale = np.linalg.norm(real, axis=0)
        step = np.linalg.lstsq(real / scale, np.concatenate([difference.real, difference.imag]), rcond=None)[0]
        bias[row] = (step / scale)[: theta.shape[1]]
    return bias


def compare(sequence, theta):
    """One row a voxel: where it lies, and of each model errors in %, bias in the parameter's unit and in sqrt(CRB)."""
    spread = paper_prior(sequence.repetition_time).std()
    reference = BlochMcConnellModel(sequence).signal(theta)
    table = pd.DataFrame(
        {B0: np.abs(theta["B0"]) * sequence.repetition_time / np.pi, B1: theta["B1"], T2F: 1e3 * theta["T2f"]}
    )
    for label, kind in MODELS.items():
        model = kind(sequence)
        table[label, "error"] = relative_error(best_scale(model.signal(theta), reference), reference)
        bias = pd.DataFrame(first_order_bias(model, theta.to_numpy(), reference), columns=theta.columns).abs()
        least = pd.DataFrame(np.sqrt(model.crb(theta, TARGETS)) / SNR, columns=TARGETS)
        for name in TARGETS:
            table[label, name] = UNITS[name][0] * bias[name]
            table[label, name, "ratio"] = bias[name] / least[name]
            table[label, name, "informative"] = least[name] < spread[name] / 3
    return table


def quartiles(values):
    if len(values) < 5:
        return "--"
    return "{1:.3g} ({0:.3g} to {2:.3g})".format(*(float(f"{q:.2g}") for q in np.quantile(values, [0.25, 0.5, 0.75])))


def errors(table):
    """Median and quartiles of the error in bins of each quantity, as rows of text."""

    def row(quantity, label, part):
        return [quantity, label, str(len(part)), *(quartiles(part[model, "error"]) for model in MODELS)]

    rows = [["voxels with", "", "N", *(f"{model} [%]" for model in MODELS)]]
    for quantity, edges in BINS.items():
        bins = pd.cut(table[quantity], edges, labels=[f"{low} to {high}" for low, high in pairwise(edges)])
        for i, (label, part) in enumerate(table.groupby(bins, observed=True)):
            rows.append(row("\\ " if i else quantity, str(label), part))
    return [*rows, row("all", "", table)]


def biases(table):
    """Bias of each target in the voxels that are informative about it, as rows of text."""
    rows = [["target", "model", "N", "bias", "bias / √CRB", "above √CRB [%]"]]
    for name in TARGETS:
        for i, model in enumerate(MODELS):
            part = table[table[model, name, "informative"]]
            ratio = part[model, name, "ratio"]
            label = "\\ " if i else f"{name} [{UNITS[name][1]}]"
            share = f"{100 * np.mean(ratio > 1):.0f}"
            rows.append([label, model, str(len(part)), quartiles(part[model, name]), quartiles(ratio), share])
    return rows


def bounds(sequence, theta):
    """Median sqrt(CRB) of every parameter at SNR 50, and quartiles of the models' over the reference's, as text."""
    kinds = {**MODELS, "reference": BlochMcConnellModel}
    roots = {label: np.sqrt(kind(sequence).crb(theta, tuple(UNITS))) / SNR for label, kind in kinds.items()}
    rows = [["parameter", *kinds, *(f"{label} / reference" for label in MODELS)]]
    for column, (name, (factor, unit)) in enumerate(UNITS.items()):
        medians = [f"{factor * np.median(root[:, column]):.3g}" for root in roots.values()]
        ratios = [quartiles(roots[label][:, column] / roots["reference"][:, column]) for label in MODELS]
        rows.append([f"{name} [{unit}]", *medians, *ratios])
    return rows


def as_rst(rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def plot(table, title):
    figure, axes = plt.subplots(2, 3, figsize=(14, 8), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    labels = {B0: r"$|B_0| T_R / \pi$", B1: r"$B_1 / B_1^\mathrm{nominal}$", T2F: r"$T_2^f$ [ms]"}
    hybrid, rotating = MODELS
    shared = {"s": 8, "linewidths": 0}
    from_pass_band = np.abs(table[B0] - 2 * np.round(table[B0] / 2))
    for axis, quantity in zip(axes[0], BINS, strict=True):
        colour, label = (table[B1], labels[B1]) if quantity == B0 else (from_pass_band, labels[B0] + " to pass band")
        points = axis.scatter(table[quantity], table[hybrid, "error"], c=colour, cmap="viridis", **shared)
        figure.colorbar(points, ax=axis, label=label)
        axis.scatter(table[quantity], table[rotating, "error"], color="C1", **shared)
        bins = pd.cut(table[quantity], BINS[quantity])
        place = table.groupby(bins, observed=True)[quantity].median()
        for model, style in ((hybrid, "o-"), (rotating, "s-")):
            medians = table.groupby(bins, observed=True)[[(model, "error")]].median()
            axis.plot(place, medians, style, color="black", mfc="white", ms=5)
        axis.set(xlabel=labels[quantity], ylabel="relative error of the signal [%]", yscale="log")
    axes[0, 2].set_xscale("log")
    for axis, name in zip(axes[1], TARGETS, strict=True):
        symbol = next(p.symbol for p in MTHybridStateModel.parameters if p.name == name)
        told = table[hybrid, name, "informative"]
        axis.scatter(table[B0][~told], table[hybrid, name][~told], color="0.8", **shared)
        points = axis.scatter(
            table[B0][told], table[hybrid, name][told], c=table[B1][told], cmap="viridis",
            vmin=BINS[B1][0], vmax=BINS[B1][-1], **shared,
        )  # fmt: skip
        figure.colorbar(points, ax=axis, label=labels[B1])
        told = table[rotating, name, "informative"]
        axis.scatter(table[B0][told], table[rotating, name][told], color="C1", **shared)
        low, high = np.quantile(table[rotating, name][told], 0.02), np.quantile(table[hybrid, name], 0.99)
        axis.set(xlabel=labels[B0], ylabel=f"|bias| of ${symbol}$ [{UNITS[name][1]}]", yscale="log", ylim=(low, high))
    for axis in axes.flat:
        axis.yaxis.set_major_formatter("{x:g}")
    axes[0, 2].xaxis.set_major_formatter("{x:g}")
    legend = [
        plt.Line2D([], [], marker="o", ls="", color="C0", mfc=plt.get_cmap("viridis")(0.6), mec="none", label=hybrid),
        plt.Line2D([], [], marker="o", ls="", color="0.8", label=f"{hybrid}, voxel not informative"),
        plt.Line2D([], [], marker="o", ls="", color="C1", mec="none", label=rotating),
        plt.Line2D([], [], marker="o", color="black", mfc="white", label=f"{hybrid}, median"),
        plt.Line2D([], [], marker="s", color="black", mfc="white", label=f"{rotating}, median"),
    ]
    figure.legend(handles=legend, loc="outside lower center", ncols=len(legend))
    figure.suptitle(title)
    return figure


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--sequence", help="CSV with flip_angle [rad], pulse_duration [s]; the built-in one if absent")
    parser.add_argument("--repetition-time", type=float, default=3.5e-3, help="of that sequence, in s")
    parser.add_argument("--inversion-duration", type=float, default=0.5e-3, help="of that sequence, in s")
    parser.add_argument("--n-voxels", type=int, default=1024)
    parser.add_argument("--n-bounds", type=int, default=128, help="voxels whose bounds are compared")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--title", default="Hybrid state against Bloch-McConnell")
    parser.add_argument("--output", help="figure to write")
    arguments = parser.parse_args()
    times = {
        "repetition_time": arguments.repetition_time,
        "inversion_duration": arguments.inversion_duration,
    }
    given = arguments.sequence
    sequence = PulseSequence.from_csv(given, **times) if given else PulseSequence.default()
    prior = paper_prior(sequence.repetition_time)
    theta = prior.sample(arguments.n_voxels, random_state=arguments.seed, method="sobol")
    table = compare(sequence, theta)
    print(as_rst(errors(table)), end="\n\n")
    print(as_rst(biases(table)), end="\n\n")
    print(as_rst(bounds(sequence, theta[: arguments.n_bounds])))
    if arguments.output:
        plot(table, arguments.title).savefig(arguments.output, dpi=110)


if __name__ == "__main__":
    main()
