"""Design the built-in pulse train, write it as a table, and compare it with another one on tissues not seen before.

    python benchmarks/design_sequence.py --output crbestim/signal/builtin_sequence.csv --reference pattern.csv

The number of pulses, the times and the limits are those of the pattern published by the paper's authors. Compared are
sqrt(CRB) of the targets, with all nine real parameters unknown, ours over the reference's in each voxel, over the
paper's prior and over its part in the middle of the pass band, |B0| TR <= pi / 2.
"""

import argparse
import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from crbestim import MTBlochModel, MTHybridStateModel, PulseSequence, __version__, paper_prior
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


def written(design, options, seconds):
    """The table as text, after comments that tell how it was made."""
    sequence = design.sequence
    lines = [
        f"crbestim {__version__}, {datetime.now(UTC):%Y-%m-%d}: python benchmarks/design_sequence.py "
        f"--seed {options.seed} --n-starts {options.n_starts} --n-hops {options.n_hops} --max-iter {options.max_iter} "
        f"--refine-iter {options.refine_iter} --n-tissues {options.n_tissues} --n-knots {options.n_knots} "
        f"--cost {options.cost}",
        f"{design.history['seconds'].iloc[-1]:.0f} s; tissues of the paper's prior, all nine parameters unknown; "
        f"targets {', '.join(TARGETS)}",
        f"repetition time {REPETITION_TIME:g} s, inversion pulse {INVERSION_DURATION:g} s",
        *(
            f"{name}: {row.lowest:.6g} to {row.highest:.6g}, limits {row.low:g} to {row.high:g}"
            for name, row in design.limits.iterrows()
        ),
        *(
            f"median sqrt(CRB) of {name} at |M0| = 1, sigma = 1: {row.after:.4g}"
            for name, row in design.bounds.iterrows()
        ),
        "flip_angle [rad], pulse_duration [s]",
    ]
    rows = (f"{a:.7f},{d:.7e}" for a, d in zip(sequence.flip_angle, sequence.pulse_duration, strict=True))
    return "\n".join([*(f"# {line}" for line in lines), "flip_angle,pulse_duration", *rows]) + "\n"


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", help="CSV file to write")
    parser.add_argument("--reference", help="CSV file of a pulse train with the same times")
    parser.add_argument("--evaluate", help="CSV file: compare this pulse train instead of designing one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n-starts", type=int, default=40)
    parser.add_argument("--n-hops", type=int, default=100)
    parser.add_argument("--max-iter", type=int, default=150)
    parser.add_argument("--refine-iter", type=int, default=1000)
    parser.add_argument("--n-tissues", type=int, default=192)
    parser.add_argument("--n-knots", type=int, default=480)
    parser.add_argument("--cost", default="log")
    parser.add_argument("--hybrid-state-error", type=float, default=0.1)
    parser.add_argument("--checkpoint", help="file in which the progress is kept")
    parser.add_argument("--time-budget", type=float, help="seconds")
    parser.add_argument("--n-judges", type=int, default=4000, help="tissues of the comparison")
    options = parser.parse_args()
    times = {"repetition_time": REPETITION_TIME, "inversion_duration": INVERSION_DURATION}
    reference = PulseSequence.from_csv(options.reference, **times) if options.reference else None
    if reference is not None:
        report("reference", reference, None, options)
    if options.evaluate:
        report(options.evaluate, PulseSequence.from_csv(options.evaluate, **times), reference, options)
        return
    template = PulseSequence(np.full(N_PULSES, 0.3), np.full(N_PULSES, 3e-4), **times)
    begin = time.perf_counter()
    design = optimize_sequence(
        MTHybridStateModel(template),
        paper_prior(REPETITION_TIME),
        TARGETS,
        constraints=SequenceConstraints(rf_amplitude=6280.0, hybrid_state_error=options.hybrid_state_error),
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
    if options.output:
        with open(options.output, "w", encoding="ascii") as file:
            file.write(written(design, options, seconds))
    report("design", design.sequence, reference, options)


if __name__ == "__main__":
    main()
