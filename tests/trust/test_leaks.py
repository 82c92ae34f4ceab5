"""Repeated work does not hold on to memory."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
REPEATED = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
from pathlib import Path
from models import CASES
from crbestim import CRBWeightedRegressor, NLLSEstimator, Pipeline, SVDCompressor, make_fingerprints

case = CASES["mono-exponential"]


def once(seed):
    data = make_fingerprints(case.model, n_samples=400, prior=case.prior, random_state=seed, progress=False)
    network = CRBWeightedRegressor(max_epochs=1, refinement_epochs=1, random_state=seed, verbose=0)
    Pipeline([SVDCompressor(3), network]).fit(data.X, data.y, crb=data.crb).predict(data.X)
    NLLSEstimator(case.model, prior=case.prior, random_state=seed, verbose=0).fit().predict(data.X)


def held():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


for seed in range({warm}):
    once(seed)
before = held()
for seed in range({repeats}):
    once(seed)
print(held() - before)
"""
WARM, REPEATS = 8, 24
MOST = 12.0  # MiB, half a MiB a repetition


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_fit_and_predict_again_and_again():
    script = REPEATED.format(tests=str(TESTS), warm=WARM, repeats=REPEATS)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < MOST
