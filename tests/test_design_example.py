"""The design of a short train, as a user runs it."""

from scripts import run_fast

from crbestim import PulseSequence


def test_files_and_table(tmp_path):
    done = run_fast("plot_06_sequence_design.py", "--output", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert "geometric mean" in done.stdout
    files = sorted(file.name for file in (tmp_path / "results").iterdir())
    assert files == ["bounds.png", "path.png", "sequence.csv", "sequence.png"]
    sequence = PulseSequence.from_csv(
        tmp_path / "results" / "sequence.csv", repetition_time=3.5e-3, inversion_duration=0.5e-3
    )
    assert sequence.n_pulses == 300
