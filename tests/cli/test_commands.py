"""The other commands: from a pulse train to a network and its maps, with the files in between."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from crbestim import MTHybridStateModel, PulseSequence, load_pretrained, paper_prior
from crbestim.io import QualityFlag, load_basis

MONO = """
import numpy as np
from crbestim import MonoExponentialModel

model = MonoExponentialModel(np.linspace(0.005, 0.3, 12), data="magnitude")
"""


def short_sequence():
    whole = PulseSequence.default()
    return PulseSequence(whole.flip_angle[::16], whole.pulse_duration[::16], 3.5e-3, 0.5e-3)


def load(path):
    return np.asarray(nib.load(path).dataobj)


@pytest.fixture
def pulses(run, tmp_path):
    short_sequence().to_csv(tmp_path / "pulses.csv")
    return "pulses.csv"


@pytest.fixture
def mono(run, tmp_path):
    (tmp_path / "mono.py").write_text(MONO)
    (tmp_path / "prior.toml").write_text("T2 = [0.02, 0.2]\n")
    return ["--signal-model", "mono.py:model", "--prior", "prior.toml"]


def test_from_a_pulse_train_to_maps(run, pulses, tmp_path):
    train = ["train", "--sequence", pulses, "--samples", 300, "--epochs", 2, "--components", 10, "--quiet"]
    code, out, err = run(*train, "--out", "net.safetensors")
    assert code == 0, err
    network = load_pretrained("net.safetensors", sequence=short_sequence())
    assert network[0].basis_.shape == (72, 10)
    assert "`crbestim train --sequence pulses.csv" in network.card_
    assert not list(tmp_path.glob("*.checkpoint"))
    code, _, err = run(*train, "--out", "net.safetensors")
    assert code == 1
    assert "--overwrite" in err

    code, _, err = run("info", "net.safetensors", "--save-basis", "basis.cfl", "--save-sequence", "again.csv")
    assert code == 0, err
    np.testing.assert_allclose(load_basis("basis.cfl"), network[0].basis_, atol=1e-6)
    assert PulseSequence.from_csv("again.csv") == short_sequence()

    tissue = paper_prior().sample(24, random_state=3)
    maps = []
    for name in tissue:
        nib.save(nib.Nifti1Image(tissue[name].to_numpy(np.float32).reshape(4, 3, 2), np.eye(4)), f"{name}.nii.gz")
        maps += ["--map", f"{name}={name}.nii.gz"]
    simulate = ["simulate", *maps, "--sequence", pulses, "--basis", "basis.cfl", "--quiet"]
    code, _, err = run(*simulate, "--out", "clean.nii.gz")
    assert code == 0, err
    rows = tissue.to_numpy().astype(np.float32).astype(float)
    expected = MTHybridStateModel(short_sequence()).signal(rows) @ network[0].basis_
    np.testing.assert_allclose(load("clean.nii.gz").reshape(24, 10), expected, atol=1e-5)
    assert run(*simulate, "--snr", 100, "--out", "noisy.nii.gz")[0] == 0
    error = load("noisy.nii.gz").reshape(24, 10)
    phase = np.exp(1j * np.angle((error * expected.conj()).sum(axis=1)))
    assert 0.005 < np.std((error - phase[:, None] * expected).real) < 0.015

    code, _, err = run(
        "predict", "noisy.nii.gz", "--model", "net.safetensors", "--noise-std", 0.01, "--out", "maps", "--quiet"
    )
    assert code == 0, err
    assert np.isfinite(load("maps/noisy_T1map.nii.gz")).all()
    code, out, err = run(
        "evaluate", "--model", "net.safetensors", "--samples", 50, "--realizations", 4, "--snr", 20, 50, "--out",
        "table.csv", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    table = pd.read_csv("table.csv")
    assert set(table["snr"]) == {20, 50}
    assert "T2f" in out


def test_fit_finds_the_decay(run, mono, tmp_path):
    times = np.linspace(0.005, 0.3, 12)
    truth = np.linspace(0.03, 0.15, 24).reshape(4, 3, 2)
    rng = np.random.default_rng(0)
    signal = np.exp(-times / truth[..., None]) + 0.001 * rng.standard_normal((4, 3, 2, 12))
    nib.save(nib.Nifti1Image(signal.astype(np.float32), np.eye(4)), "echoes.nii.gz")
    code, _, err = run("fit", "echoes.nii.gz", *mono, "--out", "fits", "--quiet")
    assert code == 0, err
    found, std = load("fits/echoes_T2map.nii.gz"), load("fits/echoes_desc-std_T2map.nii.gz")
    assert (np.abs(found - truth) < 5 * std).all()
    np.testing.assert_allclose(load("fits/echoes_M0map.nii.gz"), 1, atol=0.01)
    assert not load("fits/echoes_quality.nii.gz").any()
    assert {"echoes_noisemap.nii.gz", "echoes_T2map.json"} <= {path.name for path in (tmp_path / "fits").iterdir()}


def test_fit_with_a_network_as_start(run, head, tmp_path):
    mask = np.zeros((6, 5, 4), dtype=np.uint8)
    mask[2, 2, :2] = 1
    nib.save(nib.Nifti1Image(mask, np.diag([2.0, 2.0, 3.0, 1.0])), "two.nii.gz")
    code, _, err = run(
        "fit", head / "coefficients.nii.gz", "--model", "mt-hybrid-state", "--init", "--starts", 2, "--mask",
        "two.nii.gz", "--out", "fits", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    assert np.isfinite(load("fits/T1map.nii.gz")).sum() == 2
    assert set(np.unique(load("fits/quality.nii.gz"))) <= {0, int(QualityFlag.AT_BOUND)}


def test_simulated_samples(run, mono):
    code, _, err = run("simulate", *mono, "--samples", 20, "--out", "data.npz", "--quiet", "--seed", 3)
    assert code == 0, err
    with np.load("data.npz") as data:
        assert data["X"].shape == (20, 12)
        assert data["crb"].shape == data["y"].shape == (20, 1)
        np.testing.assert_allclose(data["X"], np.exp(-np.linspace(0.005, 0.3, 12) / data["theta"]), rtol=1e-6)
    assert run("simulate", *mono, "--samples", 20, "--out", "data.npz")[0] == 1


@pytest.mark.filterwarnings("ignore:hybrid_state_error")  # after so short a search
def test_design(run, pulses):
    code, out, err = run(
        "design", "--sequence", pulses, "--targets", "T1", "--known", "m0s", "Rx", "T2s", "B0", "B1", "--tissues", 4,
        "--starts", 1, "--hops", 0, "--iterations", 3, "--refinement", 3, "--out", "designed.csv", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    assert PulseSequence.from_csv("designed.csv").n_pulses == 72
    assert "T1" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["simulate", "--out", "a.npz"], "either --samples"),
        (["simulate", "--samples", "3", "--out", "a.nii"], "must end in .npz"),
        (["simulate", "--map", "T1=T1.nii", "--out", "a.npz"], "must end in .nii.gz or .nii or .cfl"),
        (["simulate", "--map", "T1=T1.nii", "--out", "a.nii"], "must give each of"),
        (["simulate", "--map", "T1=T1.nii", "--out", "none/a.nii"], "directory of none/a.nii"),
        (["simulate", "--map", "T1=T1.nii", "--prior", "bad.toml", "--out", "a.nii"], "--prior has no use with --map"),
        (["simulate", "--samples", "3", "--snr", "50", "--out", "a.npz"], "--snr has no use with --samples"),
        (
            ["simulate", "--samples", "3", "--worker-timeout", "5", "--out", "a.npz"],
            "--worker-timeout has no use with --samples",
        ),
        (
            ["simulate", "--map", "T1=T1.nii", "--worker-timeout", "5", "--out", "a.nii"],
            "--worker-timeout has no use without --scheduler",
        ),
        (["simulate", "--samples", "3", "--signal-model", "none.py:model", "--out", "a.npz"], "no file none.py"),
        (["simulate", "--samples", "3", "--signal-model", "epg", "--out", "a.npz"], "must be one of"),
        (["simulate", "--samples", "3", "--prior", "bad.toml", "--out", "a.npz"], "T1 cannot be used"),
        (["train", "--out", "none/net.safetensors"], "directory of none/net.safetensors"),
        (["train", "--snr", "50", "10", "--out", "net.safetensors"], "--snr must be a range"),
        (["train", "--basis", "b.npy", "--compression", "svd", "--out", "n.safetensors"], "leave out --compression"),
        (["fit", "a.nii", "--init", "--out", "maps"], "--init needs --model"),
        (
            ["fit", "a.nii", "--model", "mt-hybrid-state", "--signal-model", "mt-bloch", "--out", "maps"],
            "--model brings its own signal-model",
        ),
        (["info", "--save-basis", "basis.cfl"], "need a network"),
        (
            ["info", "mt-hybrid-state", "--save-basis", "a.cfl", "--save-sequence", "none/b.csv"],
            "directory of none/b.csv",
        ),
        (["evaluate", "--model", "mt-hybrid-state", "--out", "none/a.csv"], "directory of none/a.csv"),
        (["evaluate", "--model", "none.safetensors"], "no file none.safetensors"),
    ],
)
def test_errors(run, tmp_path, arguments, complaint):
    (tmp_path / "bad.toml").write_text("T1 = [3, 1]\n")
    code, _, err = run(*arguments)
    assert code == 1
    assert complaint in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


JOBS = ["predict", "a.nii", "--model", "x", "--out", "maps", "--jobs", "0"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["design", "--out", "pulses.txt"],
        ["train", "--out", "net.pt"],
        ["reconstruct"],
        ["predict"],
        ["simulate", "--samples", "-1"],
        ["train", "--snr", "0", "1"],
        JOBS,
    ],
)
def test_wrong_usage(run, arguments):
    code, _, err = run(*arguments)
    assert code == 2
    assert "usage" in err


@pytest.mark.parametrize("what", [[], ["mt-hybrid-state"]])
def test_info(run, what):
    code, out, _ = run("info", *what)
    assert code == 0
    assert "crbestim" in out
    if what:
        assert "1141 pulses" in out
        assert "T2f" in out


def test_as_a_process(head):
    result = subprocess.run(
        [sys.executable, "-m", "crbestim.cli", "info", head / "mask.nii.gz"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "6 x 5 x 4 voxels" in result.stdout
    assert "2 x 2 x 3 mm" in result.stdout


OWN = """
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from crbestim import Parameter, SignalModel
from my_times import TIMES


@dataclass(frozen=True)
class Decay(SignalModel):
    times: tuple[float, ...] = field(default=TIMES)

    parameters = (Parameter("T2", "T_2", "s", (0, np.inf), closed="neither"),)
    real_valued = True

    @property
    def n_timepoints(self):
        return len(self.times)

    def _signal(self, theta):
        return np.exp(-np.array(self.times) / theta)

    def _jacobian(self, theta):
        return (np.array(self.times) / theta**2 * self._signal(theta))[..., None]


def decay(sequence):
    return Decay()
"""


def test_own_model_from_training_to_maps(run, tmp_path):
    (tmp_path / "own_decay.py").write_text(OWN)
    (tmp_path / "my_times.py").write_text("TIMES = tuple(0.02 * (1 + i) for i in range(12))")
    (tmp_path / "prior.toml").write_text("T2 = [0.02, 0.2]\n")
    own = ["--signal-model", "own_decay.py:decay"]
    code, out, err = run(
        "train", *own, "--prior", "prior.toml", "--components", 3, "--samples", 2000, "--epochs", 6, "--loss", "crb",
        "--out", "net.safetensors", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    assert "cannot tell the signal-model: give --signal-model to fit and evaluate" in out
    network = load_pretrained("net.safetensors")
    assert [parameter.unit for parameter in network.parameters_] == ["s"]
    times = 0.02 * np.arange(1, 13)
    truth = np.linspace(0.05, 0.15, 24).reshape(4, 3, 2)
    coefficients = np.exp(-times / truth[..., None]) @ network[0].basis_
    nib.save(nib.Nifti1Image(coefficients.astype(np.float32), np.eye(4)), "coefficients.nii.gz")
    predict = ["predict", "coefficients.nii.gz", "--model", "net.safetensors", "--out", "maps", "--quiet"]
    code, _, err = run(*predict)
    assert code == 0, err
    assert np.corrcoef(load("maps/T2map.nii.gz").ravel(), truth.ravel())[0, 1] > 0.9
    assert b"T2 [s]" in nib.load("maps/T2map.nii.gz").header["descrip"].item()

    fit = ["fit", "coefficients.nii.gz", "--model", "net.safetensors", "--out", "fits", "--quiet"]
    code, _, err = run(*fit)
    assert code == 1
    assert "give it by --signal-model" in err
    code, _, err = run(*fit, *own)
    assert code == 0, err
    np.testing.assert_allclose(load("fits/T2map.nii.gz"), truth, rtol=1e-3)
    nib.save(nib.Nifti1Image(truth, np.eye(4)), "T2.nii.gz")
    code, _, err = run("simulate", *own, "--map", "T2=T2.nii.gz", "--jobs", 2, "--out", "echoes.nii", "--quiet")
    assert code == 0, err
    np.testing.assert_allclose(load("echoes.nii"), np.exp(-times / truth[..., None]), rtol=1e-5)
    code, out, err = run(
        "evaluate", "--model", "net.safetensors", *own, "--samples", 30, "--realizations", 4, "--quiet"
    )
    assert code == 0, err
    assert "T2" in out
    code, _, err = run("evaluate", "--model", "net.safetensors", "--signal-model", "mt-hybrid-state")
    assert code == 1
    assert "has the parameters" in err


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("def model(sequence:\n", "SyntaxError"),
        ("import nowhere\n", "ModuleNotFoundError: No module named 'nowhere'"),
        ("x = 1\ny = [][3]\n", "IndexError: list index out of range"),
        ("def model(sequence):\n    return {}['a']\n", "KeyError: 'a'"),
        ("def model(sequence):\n    return 3\n", "must be a SignalModel; got int"),
    ],
)
def test_faults_in_a_model_file(run, tmp_path, code, complaint):
    (tmp_path / "own.py").write_text(code)
    returned, _, err = run("simulate", "--samples", 3, "--signal-model", "own.py:model", "--out", "a.npz")
    assert returned == 1
    assert complaint in err
    assert err.count("\n") == 1


def test_simulation_in_a_mask_goes_on_by_what_the_files_hold(run, mono, tmp_path, monkeypatch):
    from crbestim.cli import _simulate

    monkeypatch.setattr(_simulate, "_BLOCK", 8)
    nib.save(nib.Nifti1Image(np.linspace(0.03, 0.1, 24).reshape(4, 3, 2), np.eye(4)), "T2.nii.gz")
    mask = np.ones((4, 3, 2), np.uint8)
    mask[0] = 0
    nib.save(nib.Nifti1Image(mask, np.eye(4)), "mask.nii.gz")
    simulate = ["simulate", *mono[:2], "--map", "T2=T2.nii.gz", "--mask", "mask.nii.gz", "--out", "echoes.nii.gz"]
    original, calls = _simulate._Simulation.__call__, []

    def interrupted(self, theta):
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, theta)

    monkeypatch.setattr(_simulate._Simulation, "__call__", interrupted)
    assert run(*simulate, "--quiet")[0] == 130
    (tmp_path / "mono.py").write_text(MONO.replace("0.3", "0.2"))
    code, _, err = run(*simulate, "--quiet")
    assert code == 1
    assert "other data or settings" in err
    (tmp_path / "mono.py").write_text(MONO)
    n_blocks = len(calls)
    code, out, err = run(*simulate, "--quiet")
    assert code == 0, err
    assert "18 voxels" in out
    assert not load("echoes.nii.gz")[0].any()
    assert len(calls) - n_blocks == 3  # of four
    assert not list(tmp_path.glob(".*"))


def test_training_in_use(run, mono, tmp_path):
    from crbestim._files import only_run

    lock = only_run(tmp_path / "net.safetensors.lock")
    train = ["train", *mono, "--components", 4, "--samples", 100, "--epochs", 1, "--loss", "crb", "--quiet"]
    code, _, err = run(*train, "--out", "net.safetensors")
    assert code == 1
    assert "another run is at work there" in err
    lock.release()
    assert run(*train, "--out", "net.safetensors")[0] == 0
    assert not list(tmp_path.glob("*.lock"))


def test_simulated_noise_of_real_data_is_real(run, mono, tmp_path):
    truth = np.full((4, 3, 2), 0.1)
    nib.save(nib.Nifti1Image(truth, np.eye(4)), "T2.nii.gz")
    code, _, err = run("simulate", *mono[:2], "--map", "T2=T2.nii.gz", "--snr", 1000, "--out", "a.nii", "--quiet")
    assert code == 0, err
    signal = np.exp(-np.linspace(0.005, 0.3, 12) / 0.1)
    assert load("a.nii").dtype == np.float32
    assert load("a.nii").shape == (4, 3, 2, 12)
    noise = load("a.nii") - signal
    assert 0.8e-3 < noise.std() < 1.2e-3


def test_a_pulse_train_without_its_times(run, tmp_path):
    train = short_sequence()
    rows = np.column_stack([train.flip_angle, train.pulse_duration])
    np.savetxt("train.csv", rows, delimiter=",", header="flip_angle,pulse_duration", comments="")
    times = ["--repetition-time", 3.5e-3, "--inversion-duration", 5e-4]
    code, out, err = run("info", "train.csv", *times)
    assert code == 0, err
    assert "72 pulses, TR 3.5 ms" in out
    code, _, err = run("simulate", "--samples", 3, "--sequence", "train.csv", *times, "--out", "a.npz", "--quiet")
    assert code == 0, err
    assert np.load("a.npz")["X"].shape == (3, 72)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["info", "train.csv"], "--repetition-time is not noted in train.csv and must be given, in s"),
        (["info", "--repetition-time", 3.5e-3], "need a CSV file of a pulse train"),
        (
            ["predict", "a.nii", "--model", "mt-hybrid-state", "--out", "maps", "--inversion-duration", 1],
            "need --sequence",
        ),
        (["simulate", "--samples", 3, "--out", "a.npz", "--repetition-time", 3.5e-3], "need --sequence"),
        (["evaluate", "--model", "mt-hybrid-state", "--repetition-time", 3.5e-3], "leave out --sequence"),
    ],
)
def test_times_belong_to_a_pulse_train_without_them(run, tmp_path, arguments, complaint):
    (tmp_path / "train.csv").write_text("flip_angle,pulse_duration\n0.3,1e-4\n")
    code, _, err = run(*arguments)
    assert code == 1
    assert complaint in err
