"""Simulation leaves other libraries' threads and forked processes alone."""

import subprocess
import sys

import numpy as np
import pytest

from crbestim import _threads

SCRIPT = """
import multiprocessing, torch
from crbestim import MTHybridStateModel, PulseSequence
model = MTHybridStateModel(PulseSequence([0.3, 0.6, 0.9], [3e-4] * 3, 3.5e-3, 5e-4))
theta = [[0.1, 1.0, 0.1, 40.0, 1e-5, 100.0, 1.0]] * 8
torch.set_num_threads(1)
model.signal(theta)
assert torch.get_num_threads() == 1
with multiprocessing.get_context("fork").Pool(1) as pool:
    pool.apply(model.signal, (theta,))
"""


def test_threads_of_torch_and_forks():
    subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], check=True, timeout=120)


@pytest.mark.parametrize(("limit", "expected"), [("1", 1), ("", None), ("nonsense", None)])
def test_openmp_limit_is_respected(monkeypatch, limit, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert _threads.n_threads() == (expected or _threads.config.NUMBA_NUM_THREADS)


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 1000])
@pytest.mark.parametrize("n_threads", [1, 3, 20])
def test_blocks_cover_everything_once(monkeypatch, n, n_threads):
    monkeypatch.setattr(_threads, "n_threads", lambda: n_threads)
    counts, blocks = np.zeros(n, dtype=int), []

    def run(block):
        counts[block] += 1
        blocks.append(block)

    _threads.run_blocks(run, n, 64)
    assert (counts == 1).all()
    assert len(blocks) >= min(n_threads, -(-n // 64))
    assert max(block.stop - block.start for block in blocks) <= 64


@pytest.mark.parametrize(("n", "expected"), [(10, [10]), (40, [32, 8]), (300, [64, 64, 64, 64, 44])])
def test_small_work_is_not_spread_over_threads(monkeypatch, n, expected):
    monkeypatch.setattr(_threads, "n_threads", lambda: 4)
    blocks = []
    _threads.run_blocks(lambda block: blocks.append((block.start, block.stop - block.start)), n, 64, least=32)
    assert [size for _, size in sorted(blocks)] == expected


@pytest.mark.parametrize("n_threads", [1, 3])
def test_errors_reach_the_caller(monkeypatch, n_threads):
    monkeypatch.setattr(_threads, "n_threads", lambda: n_threads)

    def run(block):
        if block.start >= 64:
            raise ValueError("second block")

    with pytest.raises(ValueError, match="second block"):
        _threads.run_blocks(run, 200, 64)
