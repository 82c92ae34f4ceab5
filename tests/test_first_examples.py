"""The first examples of the gallery in a trial run, as a user runs them."""

import pytest
from scripts import run_fast

FILES = {
    "plot_00_first_minute.py": ["first_minute.png"],
    "plot_02_own_model.py": ["own_bound.png", "own_maps.png"],
}


@pytest.mark.parametrize("script", FILES)
def test_figures_and_what_is_told(script, tmp_path):
    done = run_fast(script, "--output", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (tmp_path / "results").iterdir()) == FILES[script]
    assert "T1" in done.stdout
