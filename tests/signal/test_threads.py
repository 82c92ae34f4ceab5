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


def test_number_of_threads_does_not_change_the_result(short_model, draw_theta, monkeypatch):
    theta = draw_theta(7)
    results = []
    for n_threads in (1, 3, 20):
        monkeypatch.setattr(_threads, "n_threads", lambda n=n_threads: n)
        results.append(short_model.jacobian(theta))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
