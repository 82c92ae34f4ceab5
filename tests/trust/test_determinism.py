"""The same seed gives the same bits; threads, chunks and jobs change no more than the user guide says.

The computations are those of benchmarks/reproducibility.py, which measures what is stated here.
"""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from reproducibility import CASES, COMPUTATIONS, RECOVERY, RECOVERY_PRIOR, difference, noisy_recovery, run_case

from crbestim import DictionaryMatcher

# Largest differences that are allowed, relative to the root mean square over the voxels; all others are none.
SINGLE_PRECISION = 1e-5
TOLERANCES = {
    ("other chunks", "predict of a network"): SINGLE_PRECISION,
    ("other chunks", "estimate_volume"): SINGLE_PRECISION,
    ("other chunks", "PosteriorMean"): 1e-2,  # other random numbers
    ("two jobs", "estimate_volume"): SINGLE_PRECISION,
    ("two threads", "CRBWeightedRegressor.fit"): 1e-2,  # rounding grows in every step
    ("two threads", "predict of a network"): SINGLE_PRECISION,
    ("two threads", "estimate_volume"): SINGLE_PRECISION,
    ("two threads", "optimize_sequence"): 1e-4,  # as does that of a search
}


@pytest.fixture(scope="module")
def reference():
    """The results of one thread in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield {name: compute() for name, compute in COMPUTATIONS.items()}
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_again_is_the_same_and_global_random_states_stay(reference, name):
    seed_everything(11)
    before = global_states()
    again = COMPUTATIONS[name]()
    assert global_states() == before
    assert difference(again, reference[name]) == 0


@pytest.mark.parametrize("case", [case for case in CASES if case != "first"])
def test_other_processes_chunks_jobs_and_threads(reference, case, tmp_path):
    found = run_case(case, tmp_path / "results.npz")
    assert set(found) == set(CASES[case][0])
    differences = {name: difference(values, reference[name]) for name, values in found.items()}
    too_large = {name: share for name, share in differences.items() if share > TOLERANCES.get((case, name), 0)}
    assert not too_large


@pytest.mark.parametrize("name", ["Prior.sample", "NLLSEstimator", "PosteriorMean"])
def test_another_seed_gives_something_else(reference, monkeypatch, name):
    monkeypatch.setitem(COMPUTATIONS[name].__globals__, "SEED", 4)
    assert difference(COMPUTATIONS[name](), reference[name]) > 0


def test_without_a_seed_estimators_follow_numpys_global_one_as_those_of_scikit_learn_do():
    matcher = DictionaryMatcher(RECOVERY, prior=RECOVERY_PRIOR, entries=200, verbose=0)
    X = noisy_recovery(20)
    found = []
    for seed in (0, 0, 1):
        np.random.seed(seed)  # noqa: NPY002
        found.append(clone(matcher).fit().predict(X))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def global_states():
    """The states of the generators that all libraries share."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return random.getstate(), (name, keys.tolist(), *rest), torch.get_rng_state().tolist()
