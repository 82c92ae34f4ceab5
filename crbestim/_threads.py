"""Blocks of independent work in threads of our own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from numba import config


def n_threads() -> int:
    """Return the number of threads that NUMBA_NUM_THREADS and OMP_NUM_THREADS allow, all cores by default."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(config.NUMBA_NUM_THREADS, int(limit) if limit.isdigit() and int(limit) > 0 else sys.maxsize)


def run_blocks(run: Callable[[slice], None], n: int, size: int, least: int = 1) -> None:
    """Call `run`, code that releases the GIL, with slices of at most `size` that cover range(n).

    Every thread gets one at least, but none smaller than `least`, which would not be worth a thread. The threads are
    not OpenMP's: those would change torch's number of threads and forbid a fork.
    """
    size = max(least, min(size, -(-n // n_threads())))
    blocks = [slice(first, min(first + size, n)) for first in range(0, n, size)]
    threads = min(n_threads(), len(blocks))
    if threads <= 1:
        for block in blocks:
            run(block)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, blocks))
