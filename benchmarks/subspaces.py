"""What compression does to the Cramér-Rao bound: singular vectors of the signals against CRB-SVD.

Prints for each number of coefficients k the inflation of sqrt(CRB), compressed over full, of every target: median and
95th percentile over tissues of the prior that were not used for the basis; and the share of the signals' energy that
is lost.
"""

import argparse
from pathlib import Path

import numpy as np

from crbestim import CRBSVDCompressor, MTHybridStateModel, PulseSequence, SVDCompressor, paper_prior


def inflation(model, tissues, full, basis):
    """Ratio of sqrt(CRB), compressed to full, (n, p)."""
    return np.sqrt(model.crb(tissues, basis=basis) / full)


def lost_energy(signals, basis):
    """Share of the energy of normalised signals that a basis leaves out."""
    return 1 - np.linalg.norm(signals @ basis) ** 2 / len(signals)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequence", type=Path, help="CSV file of a pulse train; by default the built-in sequence")
    parser.add_argument("--repetition-time", type=float, default=3.5e-3, help="s (default: %(default)s)")
    parser.add_argument("--inversion-duration", type=float, default=0.5e-3, help="s (default: %(default)s)")
    parser.add_argument(
        "--sizes", type=int, nargs=2, default=(8, 25), help="least and largest k (default: %(default)s)"
    )
    parser.add_argument("--n-samples", type=int, default=2048, help="tissues for the bases (default: %(default)s)")
    parser.add_argument("--n-held-out", type=int, default=4000, help="other tissues (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="figure (PNG)")
    options = parser.parse_args()
    if options.sequence is None:
        sequence = PulseSequence.default()
    else:
        sequence = PulseSequence.from_csv(
            options.sequence,
            repetition_time=options.repetition_time,
            inversion_duration=options.inversion_duration,
        )
    model = MTHybridStateModel(sequence)
    prior = paper_prior(sequence.repetition_time)
    training, tissues = (
        prior.sample(options.n_samples, random_state=0),
        prior.sample(options.n_held_out, random_state=1),
    )
    signals = model.signal(tissues)
    signals /= np.linalg.norm(signals, axis=1, keepdims=True)
    full = model.crb(tissues)
    clean = model.signal(training)
    targets = model.default_targets
    sizes = range(options.sizes[0], options.sizes[1] + 1)
    print(f"{sequence.n_pulses} pulses, {len(tissues)} held-out tissues; inflation of sqrt(CRB): median (95 %)")
    print("  k  basis    weight  " + "".join(f"{name:>16}" for name in targets) + "   geometric mean  lost energy")
    curves = {"SVD": [], "CRB-SVD": []}
    for k in sizes:
        compressors = {
            "SVD": SVDCompressor(k).fit(clean),
            "CRB-SVD": CRBSVDCompressor(model, k, prior=prior, n_samples=options.n_samples, random_state=0).fit(),
        }
        for name, compressor in compressors.items():
            ratio = inflation(model, tissues, full, compressor.basis_)
            median, tail = np.median(ratio, axis=0), np.percentile(ratio, 95, axis=0)
            curves[name].append((median, tail))
            cells = "".join(f"{m:>9.3f} ({t:4.2f})" for m, t in zip(median, tail, strict=True))
            weight = getattr(compressor, "weight_", 0.0)
            lost = lost_energy(signals, compressor.basis_)
            mean = np.exp(np.log(median).mean())
            print(f"{k:>3}  {name:<8} {weight:>5.2f}  {cells}   {mean:>14.3f}  {lost:>10.2%}")
    if options.output is not None:
        draw(options.output, sizes, curves, [model.parameters[model.parameter_names.index(n)] for n in targets])


def draw(path, sizes, curves, targets):
    """One panel a target: median as lines, 95th percentile dashed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(targets), figsize=(9, 3.4), sharey=True, layout="constrained")
    for i, (ax, parameter) in enumerate(zip(axes, targets, strict=True)):
        for (name, values), color in zip(curves.items(), ("C1", "C0"), strict=True):
            median, tail = np.array(values)[:, :, i].T
            ax.plot(sizes, 100 * (median - 1), "o-", color=color, markersize=3, label=f"{name}, median")
            ax.plot(sizes, 100 * (tail - 1), "--", color=color, linewidth=1, label=f"{name}, 95th percentile")
        ax.axhline(5, color="0.6", linewidth=0.8)
        ax.set(title=f"${parameter.symbol}$", xlabel="number of coefficients k", yscale="log")
    axes[0].set_ylabel(r"excess of $\sqrt{\mathrm{CRB}}$ [%]")
    axes[-1].legend(fontsize="small")
    fig.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
