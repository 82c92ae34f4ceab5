"""The example of measured data, on a file of its own."""

import numpy as np
import pandas as pd
from scripts import run_fast

from crbestim import InversionRecoveryMTModel

SCRIPT = "plot_05_bsa_inversion_recovery.py"


def test_the_model_that_made_the_data_is_told_from_the_other(tmp_path):
    pulses, times = np.meshgrid([25e-6, 0.1e-3, 0.6e-3], np.geomspace(4e-3, 4.0, 10), indexing="ij")
    model = InversionRecoveryMTModel(times.ravel(), pulses.ravel())
    rng = np.random.default_rng(0)
    signal = 500 * np.exp(0.3j) * model.signal([[0.1, 1.1, 60.0, 11e-6, 0.95]])[0]
    signal += rng.standard_normal(30) + 1j * rng.standard_normal(30)  # SNR 500
    columns = {
        "pulse_duration": pulses.ravel(), "inversion_time": times.ravel(),
        "signal_real": signal.real, "signal_imag": signal.imag,
    }  # fmt: skip
    path, output = tmp_path / "data.csv", tmp_path / "results"
    pd.DataFrame(columns).to_csv(path, index=False)
    done = run_fast(SCRIPT, "--data", path, "--output", output)
    assert done.returncode == 0, done.stderr
    assert "SIMULATED" not in done.stdout
    fit = pd.read_csv(output / "bsa_fit.csv", index_col=0)
    residual = fit.loc["relative residual"].str.rstrip("%").astype(float)
    assert residual["generalized Bloch"] < 0.3 < residual["Graham's rate"]
    m0s, error = map(float, fit.loc["m0s [1]", "generalized Bloch"].split(" ± "))
    assert abs(m0s - 0.1) < 4 * error
    assert {file.name for file in output.iterdir()} == {
        "bsa_fit.csv", "bsa_residual_by_pulse.csv", "bsa_network.csv", "bsa_efficiency.csv",
        "bsa_fit.png", "bsa_residual_by_pulse.png",
    }  # fmt: skip


def test_a_file_that_is_missing_ends_with_a_clear_message(tmp_path):
    done = run_fast(SCRIPT, "--data", tmp_path / "nothing.csv")
    assert done.returncode != 0
    assert "path must be a CSV file; there is no file" in done.stderr
