"""Error of the hybrid-state model against the Bloch-McConnell equations with finite pulses, over the paper's prior.

For every voxel: the relative L2 error of the signal at M0 = 1, as it is and after the complex scale that fits best
(M0 absorbs it), and what it does to an efficient estimator that trusts the hybrid state: the bias of the parameters to
first order, pinv([J, s, i s]) (s_reference - s), in the parameters' units and over sqrt(CRB). For some voxels, also
sqrt(CRB) of both models, as the reference tells more about B0 and B1.

    python benchmarks/hybrid_state_accuracy.py --output accuracy.png
    python benchmarks/hybrid_state_accuracy.py --sequence pattern.csv --output accuracy.png
"""

import argparse
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from crbestim import MTHybridStateModel, PulseSequence, paper_prior
from crbestim.signal._bloch_mcconnell import BlochMcConnellModel

TARGETS = ("m0s", "T1", "T2f")
UNITS = {
    "m0s": (1e2, "%"), "T1": (1e3, "ms"), "T2f": (1e3, "ms"), "Rx": (1, "1/s"),
    "T2s": (1e6, "µs"), "B0": (1, "rad/s"), "B1": (1e2, "%"),
}  # fmt: skip
B0, B1, T2F = "abs(B0) TR / π", "B1", "T2f [ms]"
BINS = {
    B0: [0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.6, 1.8, 2],
    B1: [0.3, 0.6, 0.8, 0.95, 1.05, 1.2, 1.4, 1.7],
    T2F: [5, 20, 50, 100, 200, 400, 6000],
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
    """One row a voxel: where it lies, errors in %, bias in the parameter's unit and in sqrt(CRB) at SNR 50."""
    prior = paper_prior(sequence.repetition_time)
    hybrid, exact = MTHybridStateModel(sequence), BlochMcConnellModel(sequence)
    signal, reference = hybrid.signal(theta), exact.signal(theta)
    bias = pd.DataFrame(first_order_bias(hybrid, theta.to_numpy(), reference), columns=theta.columns)
    least = pd.DataFrame(np.sqrt(hybrid.crb(theta, TARGETS)) / SNR, columns=TARGETS)
    table = pd.DataFrame(
        {
            B0: np.abs(theta["B0"]) * sequence.repetition_time / np.pi,
            B1: theta["B1"],
            T2F: 1e3 * theta["T2f"],
            "error": relative_error(signal, reference),
            "scaled error": relative_error(best_scale(signal, reference), reference),
        }
    )
    for name in TARGETS:
        table[name] = UNITS[name][0] * np.abs(bias[name])
        table[f"{name} in sqrt(CRB)"] = np.abs(bias[name]) / least[name]
        table[f"{name} informative"] = least[name] < prior.std()[name] / 3
    return table


def quartiles(values):
    if len(values) < 5:
        return "--"
    return "{1:.3g} ({0:.3g} to {2:.3g})".format(*(float(f"{q:.2g}") for q in np.quantile(values, [0.25, 0.5, 0.75])))


def error_row(label, part):
    return [label, str(len(part)), quartiles(part["error"]), quartiles(part["scaled error"])]


def bias_row(label, part):
    row = [label]
    for name in TARGETS:
        informative = part[part[f"{name} informative"]]
        ratio = informative[f"{name} in sqrt(CRB)"]
        row += [str(len(ratio)), quartiles(informative[name]), quartiles(ratio)]
    return row


ERROR_HEADER = ["N", "as it is [%]", "after scaling [%]"]
BIAS_HEADER = [cell for name in TARGETS for cell in ("N", f"{name} [{UNITS[name][1]}]", "[√CRB]")]


def summary(table, quantity, header, row):
    """Median and quartiles in bins of one quantity, as rows of text."""
    edges = BINS[quantity]
    bins = pd.cut(table[quantity], edges, labels=[f"{low} to {high}" for low, high in pairwise(edges)])
    rows = [row(str(label), part) for label, part in table.groupby(bins, observed=True)]
    return [[quantity, *header], *rows, row("all", table)]


def bounds(sequence, theta):
    """Median sqrt(CRB) of every parameter in both models at SNR 50, and quartiles of their ratio, as rows of text."""
    models = MTHybridStateModel(sequence), BlochMcConnellModel(sequence)
    hybrid, exact = (np.sqrt(model.crb(theta, tuple(UNITS))) / SNR for model in models)
    rows = [["parameter", "hybrid state", "Bloch-McConnell", "ratio"]]
    for column, (name, (factor, unit)) in enumerate(UNITS.items()):
        medians = [f"{factor * np.median(bound[:, column]):.3g}" for bound in (hybrid, exact)]
        rows.append([f"{name} [{unit}]", *medians, quartiles(exact[:, column] / hybrid[:, column])])
    return rows


def as_rst(rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def plot(table, title):
    figure, axes = plt.subplots(2, 3, figsize=(14, 7.5), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    labels = {B0: r"$|B_0| T_R / \pi$", B1: r"$B_1 / B_1^\mathrm{nominal}$", T2F: r"$T_2^f$ [ms]"}
    from_pass_band = np.abs(table[B0] - 2 * np.round(table[B0] / 2))
    for axis, quantity in zip(axes[0], BINS, strict=True):
        colour, label = (table[B1], labels[B1]) if quantity == B0 else (from_pass_band, labels[B0] + " to pass band")
        points = axis.scatter(table[quantity], table["scaled error"], c=colour, s=8, cmap="viridis", linewidths=0)
        figure.colorbar(points, ax=axis, label=label)
        bins = pd.cut(table[quantity], BINS[quantity])
        medians = table.groupby(bins, observed=True)[[quantity, "scaled error"]].median()
        axis.plot(
            medians[quantity], medians["scaled error"], "o-", color="black", mfc="white", label="median of a bin"
        )
        axis.set(xlabel=labels[quantity], ylabel="relative error of the signal [%]", yscale="log", ylim=(0.5, 150))
        axis.legend(loc="lower right", fontsize="small")
    axes[0, 2].set_xscale("log")
    for axis, name in zip(axes[1], TARGETS, strict=True):
        symbol = next(p.symbol for p in MTHybridStateModel.parameters if p.name == name)
        told = table[f"{name} informative"]
        axis.scatter(table[B0][~told], table[name][~told], color="0.8", s=8, linewidths=0, label="not informative")
        points = axis.scatter(
            table[B0][told], table[name][told], c=table[B1][told], s=8, cmap="viridis", linewidths=0,
            vmin=BINS[B1][0], vmax=BINS[B1][-1], label="informative",
        )  # fmt: skip
        figure.colorbar(points, ax=axis, label=labels[B1])
        low, high = np.quantile(table[name], [0.01, 0.99])
        axis.set(xlabel=labels[B0], ylabel=f"|bias| of ${symbol}$ [{UNITS[name][1]}]", yscale="log", ylim=(low, high))
        axis.legend(loc="lower right", fontsize="small", markerscale=2.5)
    for axis in axes.flat:
        axis.yaxis.set_major_formatter("{x:g}")
    axes[0, 2].xaxis.set_major_formatter("{x:g}")
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
    for header, row in ((ERROR_HEADER, error_row), (BIAS_HEADER, bias_row)):
        for quantity in BINS:
            print(as_rst(summary(table, quantity, header, row)), end="\n\n")
    for name in TARGETS:
        ratio = table.loc[table[f"{name} informative"], f"{name} in sqrt(CRB)"]
        print(f"{name}: |bias| > sqrt(CRB) in {100 * np.mean(ratio > 1):.0f} % of {len(ratio)} informative voxels")
    print(f"\nsqrt(CRB) at SNR {SNR} in {min(arguments.n_bounds, len(theta))} voxels", end="\n\n")
    print(as_rst(bounds(sequence, theta[: arguments.n_bounds])))
    if arguments.output:
        plot(table, arguments.title).savefig(arguments.output, dpi=110)


if __name__ == "__main__":
    main()
