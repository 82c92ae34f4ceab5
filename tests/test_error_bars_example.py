"""Coverage and flags with the network that ships, as a user runs them."""

import pandas as pd
from scripts import run_fast


def test_files_and_tables(tmp_path):
    done = run_fast("plot_03_error_bars.py", "--output", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    files = sorted(file.name for file in (tmp_path / "results").iterdir())
    assert files == ["coverage.csv", "coverage.png", "flags.csv", "flags.png"]
    flags = pd.read_csv(tmp_path / "results" / "flags.csv").set_index("signals")["flagged"]
    assert flags["good"] < 0.1 < flags["artefact of 10 %"]
