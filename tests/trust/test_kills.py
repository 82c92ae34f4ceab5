"""Commands that are killed at the worst moments: when a complete file is about to get its name.

`benchmarks/kill_and_resume.py` kills them at random ones. Kills of a design, of a fit and of the workers of a cluster
are with the tests of these.
"""

import os

import nibabel as nib
import numpy as np
import pytest
from killed import die_at_move, expect_killed, start

from crbestim import PulseSequence
from crbestim.cli import main
from crbestim.pretrained._format import read_file

# Files are moved to their names in this order: what tells whose the parts are, the parts, after all of them the list
# of results, and the results.
SIMULATE = ["simulate", "--samples", "5000", "--sequence", "../pulses.csv", "--out", "data.npz"]  # 3 parts
TRAIN = [
    "train", "--samples", "4000", "--epochs", "2", "--loss", "crb", "--components", "10", "--sequence",
    "../pulses.csv", "--out", "network.safetensors",
]  # fmt: skip
PREDICT = [
    "predict", "../coefficients.nii.gz", "--model", "mt-hybrid-state", "--noise-std", "0.02", "--block-voxels", "30",
    "--out", "maps",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Where the commands work, with what they read beside it."""
    whole = PulseSequence.default()
    short = PulseSequence(whole.flip_angle[::16], whole.pulse_duration[::16], 3.5e-3, 0.5e-3)
    short.to_csv(tmp_path / "pulses.csv")
    values = np.random.default_rng(0).standard_normal((6, 5, 4, 26)).astype(np.float32).view(np.complex64)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "coefficients.nii.gz")
    (tmp_path / "killed").mkdir()
    return tmp_path / "killed"


def run_in(folder, arguments):
    os.chdir(folder)
    return main([*arguments, "--quiet"])


def content(path):
    """What must be the same in two runs: all but the seconds of the epochs."""
    if path.suffix != ".safetensors":
        return path.read_bytes()
    header, arrays = read_file(path)
    del header["regressor"]["history"]["seconds"]
    return header, {name: array.tobytes() for name, array in arrays.items()}


def contents(folder):
    return {str(path.relative_to(folder)): content(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "moves", "n_results"),
    [
        (SIMULATE, (3, 4), 0),  # the second part, and the result
        (TRAIN, (3, 3), 0),  # the second part, and the second epoch
        (PREDICT, (3, 8), 3),  # the second block, and the fourth of the maps
    ],
    ids=["simulate", "train", "predict"],
)
def test_a_killed_command_goes_on_to_the_same_files(folder, monkeypatch, arguments, moves, n_results):
    monkeypatch.chdir(folder)
    reference = folder.with_name("reference")
    reference.mkdir()
    assert run_in(reference, arguments) == 0
    expected = contents(reference)
    for n in moves:
        expect_killed(start(die_at_move, n, run_in, folder, arguments))
        found = contents(folder)
        results = {name: found[name] for name in found.keys() & expected}
        assert results == {name: expected[name] for name in results}
    assert len(results) == n_results < len(found)
    assert run_in(folder, arguments) == 0
    assert contents(folder) == expected
