"""Where results go: nothing is written elsewhere, and nothing that exists is lost without being asked for."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from readers import BASIS, IMAGES, SIGNALS, THETA, TRAIN, TRAINING

from crbestim import (
    CRBWeightedRegressor,
    Parameter,
    Pipeline,
    SVDCompressor,
    load_pretrained,
    save_estimator,
    save_pretrained,
)
from crbestim._array_log import ArrayLog
from crbestim._files import write_whole
from crbestim.cli import main
from crbestim.io import (
    ParameterMap,
    Volume,
    VolumeEstimates,
    open_volume,
    save_basis,
    save_estimates,
    save_volume,
    write_report,
)

VALUES = np.random.default_rng(0).random((3, 4, 2))
LIKE = Volume.from_array(IMAGES)
COMPRESSOR = SVDCompressor(basis=BASIS).fit(SIGNALS)
HOSTILE_NAMES = ["../T1", "/tmp/T1", "a/b", "..\\T1", "T1\n", "T1\0", "\x1b[2JT1", "../../../../../../etc/passwd"]


def estimates(name="T1", symbol="T_1", unit="s"):
    entry = ParameterMap(Parameter(name, symbol, unit, (0.0, 30.0)), VALUES, VALUES / 10)
    return VolumeEstimates([entry], np.zeros(VALUES.shape, np.int16), {1: "<script>alert(1)</script>"})


@pytest.fixture(scope="module")
def pipeline():
    """A trained pipeline whose target may have any name."""

    def named(name):
        steps = [SVDCompressor(3), CRBWeightedRegressor(**TRAINING)]
        return Pipeline(steps).fit(SIGNALS, pd.DataFrame({name: THETA["T2"]}), crb=np.ones((60, 1)))

    return named


def everything(folder):
    return {path.relative_to(folder) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_of_parameters_do_not_lead_elsewhere(tmp_path, name):
    (tmp_path / "maps").mkdir()
    with pytest.raises(
        ValueError, match="estimates: the name of a parameter must be a part of a file's name"
    ) as found:
        save_estimates(tmp_path / "maps", estimates(name), LIKE, report="title")
    assert repr(name) in str(found.value)
    with pytest.raises(ValueError, match="^prefix must be a part of a file's name"):
        save_estimates(tmp_path / "maps", estimates(), LIKE, prefix=name)
    assert everything(tmp_path) == {Path("maps")}


@pytest.mark.parametrize("name", ["../T1", "a/b", "..\\T1", "T1\n"])
def test_names_in_a_network_file_do_not_lead_elsewhere(tmp_path, monkeypatch, capsys, pipeline, name):
    monkeypatch.chdir(tmp_path)
    save_pretrained(pipeline(name), "network.safetensors")
    assert load_pretrained("network.safetensors").target_names_ == [name]
    nib.save(nib.Nifti1Image(IMAGES, np.eye(4)), "coefficients.nii")
    before = everything(tmp_path)
    code = main(["predict", "coefficients.nii", "--model", "network.safetensors", "--out", "a/b/maps", "--quiet"])
    assert code == 1
    assert "name of a parameter must be a part of a file's name" in capsys.readouterr().err
    assert everything(tmp_path) == before


def test_prefix_of_the_command_line_does_not_lead_elsewhere(tmp_path, capsys):
    for prefix in ("../", "a/b", "a\\b", "/"):
        with pytest.raises(SystemExit) as stop:
            main(["predict", "a.nii", "--model", "x", "--out", str(tmp_path / "maps"), "--prefix", prefix])
        assert stop.value.code == 2
        assert "must be a part of a file's name" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_report_of_hostile_names_has_neither_script_nor_reference(tmp_path):
    hostile = '"><script>alert(1)</script><img src=http://x/ onerror=alert(1)>'
    for symbol in (hostile, r"a$ \input{/etc/passwd} $", "{" * 2000):
        maps = [ParameterMap(Parameter(hostile, symbol, hostile, (0.0, 1.0)), VALUES, VALUES)]
        write_report(
            tmp_path / "report.html", maps, quality=np.ones(VALUES.shape, int), quality_labels={1: hostile},
            title=hostile, details={hostile: hostile, "table": {hostile: hostile}}, overwrite=True,
        )  # fmt: skip
        page = (tmp_path / "report.html").read_text()
        assert not re.search(r"<script|<img (?!src=\"data:image/png;base64,)|http://x/ onerror[^&]*>", page)
        assert "&lt;script&gt;" in page


def test_card_of_a_network_does_not_steer_the_terminal(tmp_path, capsys, pipeline):
    path = tmp_path / "network.safetensors"
    save_pretrained(pipeline("T\x1b[2J2"), path, card="# Card\x1b[2J\x07\x9b1m\r")
    assert main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "# Card\N{REPLACEMENT CHARACTER}[2J" in out
    assert not set(out) & set("\x1b\x07\x9b\r")


WRITERS = {
    "file": (".txt", lambda path, **_: write_whole(path, lambda file: file.write(b"new"))),
    "network": (".safetensors", None),
    "estimator": (".skops", lambda path, **options: save_estimator(COMPRESSOR, path, **options)),
    "basis": (".npy", lambda path, **options: save_basis(path, BASIS, **options)),
    "basis of BART": (".cfl", lambda path, **options: save_basis(path, BASIS, **options)),
    "volume": (".nii", lambda path, **options: save_volume(path, VALUES, **options)),
    "report": (".html", lambda path, **options: write_report(path, estimates().maps, **options)),
    "pulse train": (".csv", lambda path, **_: TRAIN.to_csv(path)),
}
ALWAYS_REPLACES = {"file", "pulse train"}


@pytest.fixture(params=WRITERS)
def writer(request, pipeline):
    suffix, write = WRITERS[request.param]
    if write is None:
        trained = pipeline("T2")
        write = lambda path, **options: save_pretrained(trained, path, **options)  # noqa: E731
    return request.param, suffix, write


@pytest.fixture
def folders(tmp_path):
    """A directory for results, and another one that nothing may reach."""
    for name in ("results", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere/mine").write_text("mine")
    return tmp_path / "results", tmp_path / "elsewhere"


def test_file_that_exists_is_replaced_only_if_asked_for(folders, writer):
    name, suffix, write = writer
    path = folders[0] / f"it{suffix}"
    path.write_text("old")
    if name not in ALWAYS_REPLACES:
        with pytest.raises(FileExistsError, match=f"it{suffix} exists"):
            write(path)
        assert path.read_text() == "old"
    write(path, overwrite=True)
    assert path.read_bytes() != b"old"


@pytest.mark.parametrize("target", ["mine", "new"])
def test_link_is_a_file_that_exists_and_what_it_points_to_stays(folders, writer, target):
    """Also one that points to nowhere: through it a file would be made elsewhere."""
    name, suffix, write = writer
    results, elsewhere = folders
    path = results / f"it{suffix}"
    path.symlink_to(elsewhere / target)
    if name not in ALWAYS_REPLACES:
        with pytest.raises(FileExistsError, match=f"it{suffix} exists"):
            write(path)
        assert path.is_symlink()
    write(path, overwrite=True)
    assert not path.is_symlink()
    assert path.stat().st_size > 0
    assert everything(elsewhere) == {Path("mine")}
    assert (elsewhere / "mine").read_text() == "mine"


def test_unfinished_file_of_another_is_not_written_through(folders, writer):
    _, suffix, write = writer
    results, elsewhere = folders
    path = results / f"it{suffix}"
    Path(f"{path}.partial").symlink_to(elsewhere / "mine")
    write(path)
    assert path.stat().st_size > 0
    assert (elsewhere / "mine").read_text() == "mine"
    assert not list(results.glob("*.partial"))


def test_directory_is_told(folders, writer):
    _, suffix, write = writer
    path = folders[0] / f"it{suffix}"
    path.mkdir()
    (path / "mine").write_text("mine")
    with pytest.raises(OSError, match=f"it{suffix}"):
        write(path, overwrite=True)
    assert (path / "mine").read_text() == "mine"
    assert {found.name for found in folders[0].iterdir()} == {path.name}


def test_directory_of_results_may_be_a_link(folders):
    results, elsewhere = folders
    (results / "maps").symlink_to(elsewhere)
    save_estimates(results / "maps", estimates(), LIKE)
    assert open_volume(elsewhere / "T1map.nii.gz").shape == (3, 4, 2)


def outputs(folder):
    """Commands that write one file each, and that file."""
    TRAIN.to_csv(folder / "train.csv")
    (folder / "mono.py").write_text(
        "from crbestim import MonoExponentialModel as M\nmodel = M([0.02, 0.04, 0.1, 0.3])\n"
    )
    (folder / "prior.toml").write_text("T2 = [0.05, 0.15]\n")
    mono = ["--signal-model", "mono.py:model", "--prior", "prior.toml", "--quiet"]
    train = ["--components", "3", "--samples", "200", "--epochs", "1", "--loss", "crb"]
    return {
        "net.safetensors": ["train", *mono, *train],
        "data.npz": ["simulate", *mono, "--samples", "9"],
    }


@pytest.mark.parametrize("name", ["net.safetensors", "data.npz"])
def test_commands_keep_links_and_directories(tmp_path, monkeypatch, capsys, folders, name):
    monkeypatch.chdir(tmp_path)
    command = outputs(tmp_path)[name]
    _, elsewhere = folders
    (tmp_path / name).symlink_to(elsewhere / "new")
    assert main([*command, "--out", name]) == 1
    assert f"{name} exists; --overwrite replaces it" in capsys.readouterr().err
    assert main([*command, "--out", name, "--overwrite"]) == 0
    assert not (tmp_path / name).is_symlink()
    assert everything(elsewhere) == {Path("mine")}
    folder = f"folder.{name.partition('.')[2]}"
    (tmp_path / folder).mkdir()
    assert main([*command, "--out", folder, "--overwrite"]) == 1
    assert f"{folder} is a directory" in capsys.readouterr().err


def test_only_finished_parts_are_removed_after_success(tmp_path, monkeypatch, pipeline):
    monkeypatch.chdir(tmp_path)
    save_pretrained(pipeline("T2"), "network.safetensors")
    nib.save(nib.Nifti1Image(IMAGES, np.eye(4)), "coefficients.nii")
    (tmp_path / "parts").mkdir()
    command = ["predict", "coefficients.nii", "--model", "network.safetensors", "--quiet", "--no-report"]

    class StopError(Exception):
        pass

    def mine(self, part, **arrays):
        (self.path / "mine.txt").write_text("mine")
        write(self, part, **arrays)

    write = ArrayLog.write
    monkeypatch.setattr(ArrayLog, "write", mine)
    assert main([*command, "--out", "maps", "--checkpoint", "parts"]) == 0
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["mine.txt"]
    (tmp_path / "parts/mine.txt").unlink()
    monkeypatch.setattr(ArrayLog, "write", write)
    assert main([*command, "--out", "again", "--checkpoint", "parts"]) == 0
    assert not (tmp_path / "parts").exists()


def test_directory_of_parts_with_other_files_is_refused(tmp_path, monkeypatch, capsys, pipeline):
    monkeypatch.chdir(tmp_path)
    save_pretrained(pipeline("T2"), "network.safetensors")
    nib.save(nib.Nifti1Image(IMAGES, np.eye(4)), "coefficients.nii")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/mine").write_text("mine")
    command = ["predict", "coefficients.nii", "--model", "network.safetensors", "--quiet", "--no-report"]
    assert main([*command, "--out", "maps", "--checkpoint", "parts"]) == 1
    assert "parts holds other files" in capsys.readouterr().err
    assert (tmp_path / "parts/mine").read_text() == "mine"
