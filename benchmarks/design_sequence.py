"""Design the built-in pulse train, write it as a table, and compare it with another one on tissues not seen before.

    python benchmarks/design_sequence.py --output crbestim/signal/builtin_sequence.csv --reference pattern.csv

The number of pulses, the times and the power are those of the pattern published by the paper's authors, which has
amplitudes up to 4482 rad/s, durations from 0.22 to 0.50 ms, flip angles up to 2.21 rad and an error of the hybrid
state of 11 % (geometric mean); the limits on these can be given. Compared are sqrt(CRB) of the targets, with all nine
real parameters unknown, ours over the reference's in each voxel, over the paper's prior and over its part in the
middle of the pass band, |B0| TR <= pi / 2.
"""

import argparse
import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from crbestim import MTBlochModel, MTHybridStateModel, PulseSequence, SequenceDisplay, __version__, paper_prior
from crbestim.design import SequenceConstraints, compare_bounds, hybrid_state_error, optimize_sequence

N_PULSES, REPETITION_TIME, INVERSION_DURATION = 1141, 3.5e-3, 0.5e-3
TARGETS = ("m0s", "T1", "T2f")
SEED_OF_JUDGES = 20_000_000  # tissues that no design has seen


def judges(n):
    """Tissues of the whole prior, and of the middle of the pass band."""
    prior = paper_prior(REPETITION_TIME)
    whole = prior.sample(n, random_state=SEED_OF_JUDGES)
    middle = whole.assign(B0=whole["B0"] / 4)  # uniform in +- pi / (2 TR)
    return {"whole prior": whole, "middle of the pass band": middle}


def rounded(sequence):
    """The train with as many digits as a file needs."""
    return PulseSequence(
        np.round(sequence.flip_angle, 7), np.round(sequence.pulse_duration, 11), REPETITION_TIME, INVERSION_DURATION
    )


def how_it_was_made(design, options):
    """Comments for the file."""
    search = "seed", "n_starts", "n_hops", "max_iter", "refine_iter", "n_tissues", "n_knots", "cost"
    arguments = " ".join(f"--{name.replace('_', '-')} {getattr(options, name)}" for name in search)
    limits = design.limits.replace(np.nan, 0.0)
    return [
        f"crbestim {__version__}, {datetime.now(UTC):%Y-%m-%d}, benchmarks/design_sequence.py {arguments}",
        f"complete: {design.complete}; paper's prior, seven parameters and the complex M0 unknown",
        *(
            f"{name}: from {row.lowest:.6g} to {row.highest:.6g}, limits {row.low:.6g} and {row.high:.6g}"
            for name, row in limits.iterrows()
        ),
        *(
            f"median sqrt(CRB) of {name} at |M0| = 1, sigma = 1: {row.after:.4g}"
            for name, row in design.bounds.iterrows()
        ),
    ]


def report(label, sequence, reference, options):
    """Print the comparison of a sequence with a reference."""
    print(f"\n{label}: power {sequence.rf_power:.5g} rad^2/s^2, largest amplitude {sequence.rf_amplitude.max():.5g} "
          f"rad/s, largest step of the flip angle {np.abs(np.diff(sequence.flip_angle)).max():.3f} rad")  # fmt: skip
    for region, theta in judges(options.n_judges).items():
        errors = hybrid_state_error(MTHybridStateModel(sequence), theta[:1000])
        print(f"{region}: error of the hybrid state, median {np.median(errors):.2%}, geometric mean "
              f"{np.exp(np.log(errors).mean()):.2%}")  # fmt: skip
        if reference is None:
            continue
        for model in (MTHybridStateModel, MTBlochModel):
            table = compare_bounds(model(sequence), model(reference), theta, TARGETS)
            print(f"{region}, {model.__name__}: ratio of sqrt(CRB) to the reference's")
            print(table.to_string(float_format=lambda value: f"{value:.4f}"))


def draw(path, sequence, reference):
    """Figure of a train, above a reference."""
    display = None
    if reference is not None:
        display = SequenceDisplay.from_sequence(reference, name="reference", color="0.6")
    axes = None if display is None else display.axes_
    SequenceDisplay.from_sequence(sequence, axes=axes, name="design", color="C0").figure_.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", help="CSV file to write")
    parser.add_argument("--figure", help="PNG file to write")
    parser.add_argument("--reference", help="CSV file of a pulse train with the same times")
    parser.add_argument("--evaluate", help="CSV file: compare this pulse train instead of designing one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n-starts", type=int, default=40)
    parser.add_argument("--n-hops", type=int, default=60)
    parser.add_argument("--max-iter", type=int, default=150)
    parser.add_argument("--refine-iter", type=int, default=1000)
    parser.add_argument("--n-tissues", type=int, default=128)
    parser.add_argument("--n-knots", type=int, default=480)
    parser.add_argument("--cost", default="log")
    parser.add_argument("--largest-flip-angle", type=float, default=np.pi, help="rad")
    parser.add_argument("--rf-amplitude", type=float, default=6280.0, help="rad/s")
    parser.add_argument("--rf-power", type=float, default=2.8e5, help="rad^2/s^2")
    parser.add_argument("--shortest-pulse", type=float, default=0.1e-3, help="s")
    parser.add_argument("--longest-pulse", type=float, default=0.5e-3, help="s")
    parser.add_argument("--hybrid-state-error", type=float, default=0.1, help="0: no limit")
    parser.add_argument("--checkpoint", help="file in which the progress is kept")
    parser.add_argument("--time-budget", type=float, help="seconds")
    parser.add_argument("--n-judges", type=int, default=4000, help="tissues of the comparison")
    options = parser.parse_args()
    times = {"repetition_time": REPETITION_TIME, "inversion_duration": INVERSION_DURATION}
    reference = PulseSequence.from_csv(options.reference, **times) if options.reference else None
    if reference is not None:
        report("reference", reference, None, options)
    if options.evaluate:
        sequence = PulseSequence.from_csv(options.evaluate, **times)
        report(options.evaluate, sequence, reference, options)
        if options.figure:
            draw(options.figure, sequence, reference)
        return
    limits = SequenceConstraints(
        flip_angle=(0.0, options.largest_flip_angle),
        rf_amplitude=options.rf_amplitude,
        pulse_duration=(options.shortest_pulse, options.longest_pulse),
        rf_power=options.rf_power,
        hybrid_state_error=options.hybrid_state_error or None,
    )
    template = PulseSequence(np.full(N_PULSES, 0.3), np.full(N_PULSES, 3e-4), **times)
    begin = time.perf_counter()
    design = optimize_sequence(
        MTHybridStateModel(template),
        paper_prior(REPETITION_TIME),
        TARGETS,
        constraints=limits,
        cost=options.cost,
        n_tissues=options.n_tissues,
        n_knots=options.n_knots,
        n_starts=options.n_starts,
        n_hops=options.n_hops,
        max_iter=options.max_iter,
        refine_iter=options.refine_iter,
        time_budget=options.time_budget,
        checkpoint=options.checkpoint,
        random_state=options.seed,
    )
    seconds = time.perf_counter() - begin
    pd.set_option("display.width", 200)
    kinds = design.stages.groupby(design.stages.index.str.split().str[0], sort=False)["objective"]
    print(f"designed in {seconds:.0f} s (complete: {design.complete}); cost {design.cost:.4f}; objective by stage:")
    print(kinds.agg(["count", "min", "median", "max"]).to_string(float_format=lambda value: f"{value:.4f}"))
    print(design.limits.to_string())
    sequence = rounded(design.sequence)
    if options.output:
        sequence.to_csv(options.output, how_it_was_made(design, options))
    if options.figure:
        draw(options.figure, sequence, reference)
    report("design", sequence, reference, options)


if __name__ == "__main__":
    main()
