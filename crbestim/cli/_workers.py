"""Who computes the blocks of a volume: options, and what they mean in Python."""

from __future__ import annotations

import argparse
from typing import Any

from ..io._cluster import WORKER_TIMEOUT
from ._types import positive, processes


def add_worker_options(group: Any) -> None:
    """Add processes and cluster."""
    group.add_argument(
        "--jobs", type=processes, metavar="N", help="processes; -1: all cores (default: one, with threads)"
    )
    group.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a Dask cluster that does the work, such as tcp://host:8786"
    )
    group.add_argument(
        "--worker-timeout", type=positive, metavar="S",
        help="seconds after which a run gives up if the cluster has no worker; finished blocks are kept (default: "
        f"{WORKER_TIMEOUT:g})",
    )  # fmt: skip


def workers_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return them as arguments of `map_volume`."""
    if options.worker_timeout is not None and options.scheduler is None:
        raise ValueError("--worker-timeout has no use without --scheduler; leave it out.")
    return {
        "n_jobs": options.jobs,
        "scheduler": options.scheduler,
        "worker_timeout": options.worker_timeout or WORKER_TIMEOUT,
    }
