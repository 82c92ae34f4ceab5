"""a pulse train that minimises the Cramér-Rao bound

  crbestim design --targets m0s T1 T2f --time-budget 3600 --out pulses.csv

The progress is written down beside --out, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..design import SequenceConstraints, optimize_sequence
from ..signal._sequence_model import SequenceModel
from ._outputs import check_outputs
from ._signal_options import add_signal_options, model_maker_of, prior_of, sequence_of, signal_model_of
from ._types import count, file_ending_in, named_number, positive
from ._working_directory import state_beside


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--out", type=file_ending_in(".csv"), required=True, metavar="CSV", help="the pulse train")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    add_signal_options(parser)
    group = parser.add_argument_group("aim")
    group.add_argument("--targets", nargs="+", metavar="NAME", help="parameters that count (default: the model's own)")
    group.add_argument(
        "--weight", type=named_number, action="append", default=[], metavar="NAME=NUMBER",
        help="how much a target counts; may be repeated (default: all alike)",
    )  # fmt: skip
    group.add_argument("--known", nargs="+", default=[], metavar="NAME", help="parameters that are measured otherwise")
    group.add_argument("--cost", choices=("log", "relative"), default="log", help="(default: %(default)s)")
    group = parser.add_argument_group("limits")
    default = SequenceConstraints()
    group.add_argument(
        "--rf-amplitude", type=positive, default=default.rf_amplitude, metavar="RAD/S", help="(default: %(default).5g)"
    )
    group.add_argument(
        "--rf-power", type=positive, default=default.rf_power, metavar="RAD2/S2", help="(default: %(default).3g)"
    )
    group.add_argument(
        "--pulse-duration", type=positive, nargs=2, default=default.pulse_duration, metavar=("SHORT", "LONG"),
        help="in s (default: 0.0001 0.0005)",
    )  # fmt: skip
    group = parser.add_argument_group("search")
    group.add_argument("--time-budget", type=positive, metavar="S", help="seconds after which the best one is written")
    group.add_argument("--tissues", type=count, default=128, metavar="N", help="(default: %(default)s)")
    group.add_argument("--starts", type=count, default=8, metavar="N", help="(default: %(default)s)")
    group.add_argument("--hops", type=int, default=16, metavar="N", help="(default: %(default)s)")
    group.add_argument("--iterations", type=count, default=150, metavar="N", help="of each (default: %(default)s)")
    group.add_argument("--refinement", type=int, default=600, metavar="N", help="iterations (default: %(default)s)")
    group.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    """Run it."""
    check_outputs(options.overwrite, options.out)
    limits = SequenceConstraints(
        rf_amplitude=options.rf_amplitude, rf_power=options.rf_power, pulse_duration=tuple(options.pulse_duration)
    )
    model = signal_model_of(options)
    template: dict[str, Any] = {"model": model}
    if not isinstance(model, SequenceModel):
        template = {"model": model_maker_of(options), "sequence": sequence_of(options)}
    with state_beside(options.out) as state:
        design = optimize_sequence(
            **template, prior=prior_of(options), targets=options.targets, weights=dict(options.weight) or None,
            constraints=limits, known=options.known, cost=options.cost, n_tissues=options.tissues,
            n_starts=options.starts, n_hops=options.hops, max_iter=options.iterations, refine_iter=options.refinement,
            time_budget=options.time_budget, checkpoint=state, random_state=options.seed, progress=not options.quiet,
        )  # fmt: skip
        design.sequence.to_csv(options.out, f"designed by {options.command_line}")
        if design.complete:
            state.unlink(missing_ok=True)
    print(design.bounds.to_string(float_format="{:.4g}".format))
    print(design.limits.to_string(float_format="{:.4g}".format))
    print(f"{options.out}: {design}")
