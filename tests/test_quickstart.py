"""The quickstart on a user's own sequence, as the README tells."""

import pandas as pd
from scripts import run_fast

SCRIPT = "plot_01_quickstart.py"


def test_own_sequence(short_sequence, tmp_path):
    path, output = tmp_path / "pattern.csv", tmp_path / "results"
    columns = {"flip_angle": short_sequence.flip_angle, "pulse_duration": short_sequence.pulse_duration}
    pd.DataFrame(columns).to_csv(path, index=False)
    times = ["--repetition-time", "3.5e-3", "--inversion-duration", "4e-4"]
    done = run_fast(SCRIPT, "--sequence", path, *times, "--output", output)
    assert done.returncode == 0, done.stderr
    for method in ("CRB network", "MSE network", "NLLS"):
        assert method in done.stdout
    assert sorted(file.name for file in output.iterdir()) == [
        "estimates.png",
        "quickstart.csv",
        "sequence.png",
        "training.png",
    ]
    table = pd.read_csv(output / "quickstart.csv")
    assert set(table["target"]) == {"m0s", "T1", "T2f"}
    judged = table[table["region"] == "all"]
    assert judged[["bias2_over_crb", "variance_over_crb", "crb_loss", "crb_loss_full"]].notna().all(axis=None)


def test_a_file_without_the_columns_ends_with_a_clear_message(tmp_path):
    path = tmp_path / "pattern.csv"
    path.write_text("angle,duration\n1,2\n")
    done = run_fast(SCRIPT, "--sequence", path)
    assert done.returncode != 0
    assert "must have the columns flip_angle (rad) and pulse_duration (s)" in done.stderr
