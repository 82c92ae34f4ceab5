"""The figures of the paper in a trial run, as a user runs them."""

import pandas as pd
import pytest
from scripts import run_fast

FILES = {
    "plot_07_paper_convergence.py": ["convergence.csv", "convergence.png"],
    "plot_08_paper_maps.py": ["maps.csv", "maps_T1.png", "maps_T2f.png", "maps_m0s.png"],
    "plot_09_paper_histograms.py": ["histograms.csv", "histograms_bias.png", "histograms_std.png"],
    "plot_10_paper_loss_parts.py": ["loss_by_bound.csv", "loss_by_bound.png", "loss_by_snr.csv", "loss_by_snr.png"],
}


@pytest.mark.parametrize("script", FILES)
def test_files(script, tmp_path):
    done = run_fast(script, "--output", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (tmp_path / "results").iterdir()) == FILES[script]
    table = pd.read_csv(tmp_path / "results" / FILES[script][0])
    assert set(table["network"]) >= {"paper-crb", "paper-mse"}
    assert not table.drop(columns="published", errors="ignore").isna().any(axis=None)


def test_networks_are_trained_alone_too():
    done = run_fast("paper_experiment.py", "--networks", "crb")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "crb\n"
