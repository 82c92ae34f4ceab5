"""Maps by a network, as a user makes them."""

import json

import nibabel as nib
import numpy as np
import pytest

from crbestim import estimate_noise_std
from crbestim.io import QualityFlag


def load(path):
    return np.asarray(nib.load(path).dataobj)


def predict(head, *options):
    return ["predict", head / "coefficients.nii.gz", "--model", "mt-hybrid-state", "--quiet", *options]


def test_maps_are_those_of_the_network(run, head, network, tmp_path):
    code, out, err = run(
        *predict(head, "--mask", head / "mask.nii.gz", "--background", head / "background.nii.gz", "--out", "maps")
    )
    assert (code, err) == (0, "")
    assert "48 voxels" in out
    coefficients, mask = load(head / "coefficients.nii.gz"), load(head / "mask.nii.gz") != 0
    noise_std = estimate_noise_std(coefficients[~mask])
    estimate, std = network.predict_coefficients(coefficients[mask], return_std=True, noise_std=noise_std)
    for i, name in enumerate(network.target_names_):
        values = load(tmp_path / f"maps/{name}map.nii.gz")
        np.testing.assert_allclose(values[mask], estimate[:, i], rtol=1e-6)
        assert np.isnan(values[~mask]).all()
        np.testing.assert_allclose(load(tmp_path / f"maps/desc-std_{name}map.nii.gz")[mask], std[:, i], rtol=1e-5)
    assert set(np.unique(load(tmp_path / "maps/quality.nii.gz"))) <= {
        bits + outside for bits in range(0, 128, 16) for outside in (0, 1)
    }
    about = json.loads((tmp_path / "maps/T1map.json").read_text())
    assert about["Units"] == "s"
    assert about["NoiseStd"] == pytest.approx(noise_std)
    page = (tmp_path / "maps/report.html").read_text()
    assert "crbestim predict" in page
    assert "48 with estimates" in page
    assert not list((tmp_path / "maps").glob(".*"))


def test_geometry_is_kept(run, head, tmp_path):
    assert run(*predict(head, "--out", "maps"))[0] == 0
    image = nib.load(tmp_path / "maps/T2fmap.nii.gz")
    np.testing.assert_array_equal(image.affine, np.diag([2.0, 2.0, 3.0, 1.0]))
    assert b"T2f [s]" in image.header["descrip"].item()


def test_without_noise_there_are_no_error_bars(run, head, tmp_path):
    assert run(*predict(head, "--out", "maps"))[0] == 0
    names = {path.name for path in (tmp_path / "maps").iterdir()}
    assert "T1map.nii.gz" in names
    assert not any("std" in name for name in names)


def test_no_report(run, head, tmp_path):
    assert run(*predict(head, "--out", "maps", "--no-report"))[0] == 0
    assert not list((tmp_path / "maps").glob("*.html"))


def test_noise_map(run, head, tmp_path):
    noise = np.full((6, 5, 4), 0.02, dtype=np.float32)
    noise[:, :, 2:] = 0.04
    nib.save(nib.Nifti1Image(noise, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "noise.nii.gz")
    for level, folder in (("noise.nii.gz", "a"), ("0.02", "b")):
        code, _, err = run(*predict(head, "--mask", head / "mask.nii.gz", "--noise-std", level, "--out", folder))
        assert code == 0, err
    ratio = load(tmp_path / "a/desc-std_T1map.nii.gz") / load(tmp_path / "b/desc-std_T1map.nii.gz")
    np.testing.assert_allclose(np.nanmedian(ratio, axis=(0, 1)), [1, 1, 2, 2], rtol=1e-5)


def test_check_model_flags_corrupted_voxels(run, head, tmp_path):
    coefficients = load(head / "coefficients.nii.gz")
    coefficients[2, 2, 1, 5] += 0.8
    nib.save(nib.Nifti1Image(coefficients, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "bad.nii.gz")
    code, _, err = run(
        "predict", "bad.nii.gz", "--model", "mt-hybrid-state", "--mask", head / "mask.nii.gz", "--noise-std", "0.02",
        "--check-model", "--out", "maps", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    flagged = (load(tmp_path / "maps/bad_quality.nii.gz") & QualityFlag.NOT_OF_MODEL) > 0
    assert flagged[2, 2, 1]
    assert flagged.sum() <= 3


def test_other_formats(run, head, tmp_path):
    code, _, err = run(*predict(head, "--out", "maps", "--format", ".cfl"))
    assert code == 0, err
    code, out, err = run("info", "maps/T1map.cfl")
    assert code == 0, err
    assert "6 x 5 x 4 voxels" in out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--mask", "nowhere.nii.gz"], "nowhere.nii.gz does not exist"),
        (["--mask", "small.nii.gz"], "small.nii.gz has"),
        (["--mask", "shifted.nii.gz"], "another affine"),
        (["--mask", "empty.nii.gz"], "the mask is empty"),
        (["--noise-std", "nowhere.nii.gz"], "nowhere.nii.gz does not exist"),
        (["--background", "empty.nii.gz"], "the mask is empty"),
        (["--sequence", "short.csv"], "sequence"),
        (["--basis", "other.npy"], "basis"),
        (["--covariate", "B1=mask.nii.gz"], "--covariate: there must be none"),
        (["--check-model"], "--check-model needs the noise level"),
        (["--imaginary", "small.nii.gz"], "small.nii.gz has"),
        (["--background", "mask.nii.gz", "--mask", "mask.nii.gz"], "120 of its voxels belong to the mask"),
        (["--like", "shifted.nii.gz"], "another affine"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(run, head, network, tmp_path, options, complaint):
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    shifted = affine.copy()
    shifted[0, 3] = 1.0
    ones = np.ones((6, 5, 4), dtype=np.uint8)
    nib.save(nib.Nifti1Image(ones[:5], affine), "small.nii.gz")
    nib.save(nib.Nifti1Image(ones, shifted), "shifted.nii.gz")
    nib.save(nib.Nifti1Image(0 * ones, affine), "empty.nii.gz")
    nib.save(nib.Nifti1Image(ones, affine), "mask.nii.gz")
    np.save("other.npy", np.eye(1141, 13))
    sequence = network.sequence_
    type(sequence)(sequence.flip_angle[:-1], sequence.pulse_duration[:-1], 3.5e-3, 0.5e-3).to_csv("short.csv")
    code, out, err = run(*predict(head, "--out", "deep/maps", *options))
    assert (code, out) == (1, "")
    assert err.startswith("crbestim predict: error: ")
    assert err.count("\n") == 1
    assert complaint in err
    assert not (tmp_path / "deep").exists()


def test_damaged_data(run, head, tmp_path):
    coefficients = load(head / "coefficients.nii.gz")
    coefficients[3, 2, 1, 4] = np.nan
    nib.save(nib.Nifti1Image(coefficients, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "nan.nii.gz")
    whole = (head / "coefficients.nii.gz").read_bytes()
    (tmp_path / "short.nii.gz").write_bytes(whole[: len(whole) // 2])
    for name, complaint in (("nan.nii.gz", "(3, 2, 1)"), ("short.nii.gz", "short.nii.gz")):
        code, _, err = run("predict", name, "--model", "mt-hybrid-state", "--out", "maps")
        assert code == 1
        assert complaint in err
        assert err.count("\n") == 1
        assert not (tmp_path / "maps").exists()


def test_nothing_is_overwritten_unasked(run, head, tmp_path):
    assert run(*predict(head, "--out", "maps"))[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "maps").iterdir()}
    code, _, err = run(*predict(head, "--out", "maps", "--mask", head / "mask.nii.gz"))
    assert code == 1
    assert "--overwrite" in err
    assert {path: path.read_bytes() for path in (tmp_path / "maps").iterdir()} == before
    assert run(*predict(head, "--out", "maps", "--mask", head / "mask.nii.gz", "--overwrite"))[0] == 0
    assert (tmp_path / "maps/T1map.nii.gz").read_bytes() != before[tmp_path / "maps/T1map.nii.gz"]


def test_interruption_keeps_what_is_done(run, head, tmp_path, monkeypatch):
    from crbestim.io._estimates import NetworkEstimates

    original, calls = NetworkEstimates.__call__, []

    def interrupted(self, *args, **kwargs):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(NetworkEstimates, "__call__", interrupted)
    options = ["--mask", head / "mask.nii.gz", "--block-voxels", "30"]
    code, _, err = run(*predict(head, "--out", "maps", *options))
    assert code == 130
    assert "same command" in err
    assert [path.name for path in (tmp_path / "maps").iterdir()] == [".crbestim-predict-maps"]
    assert run(*predict(head, "--out", "maps", *options))[0] == 0
    assert len(calls) == 5  # four blocks, of which one was begun twice
    monkeypatch.setattr(NetworkEstimates, "__call__", original)
    assert run(*predict(head, "--out", "again", *options))[0] == 0
    np.testing.assert_array_equal(load(tmp_path / "maps/T1map.nii.gz"), load(tmp_path / "again/T1map.nii.gz"))
    assert not (tmp_path / "maps/.crbestim-predict-maps").exists()


def test_full_disk(run, head, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 100, 0))
    code, _, err = run(*predict(head, "--out", "maps"))
    assert code == 1
    assert "has room for 0.0 MB" in err
    assert not (tmp_path / "maps").exists()


@pytest.fixture
def failing(monkeypatch):
    """Make the estimation of the n-th block call something first."""
    from crbestim.io._estimates import NetworkEstimates

    original, calls = NetworkEstimates.__call__, []

    def at(n, action):
        def apply(self, *args, **kwargs):
            calls.append(None)
            if len(calls) == n:
                action()
            return original(self, *args, **kwargs)

        monkeypatch.setattr(NetworkEstimates, "__call__", apply)
        return calls

    return at


def stop():
    raise OSError("the scheduler is gone")


def test_an_error_keeps_what_is_done(run, head, tmp_path, failing):
    calls = failing(3, stop)
    options = ["--mask", head / "mask.nii.gz", "--block-voxels", "30", "--out", "maps"]
    code, _, err = run(*predict(head, *options))
    assert code == 1
    assert "the scheduler is gone" in err
    assert "Finished parts are kept in maps/.crbestim-predict-maps" in err
    kept = sorted((tmp_path / "maps/.crbestim-predict-maps").glob("*.npz"))
    assert len(kept) == 2
    code, _, err = run(*predict(head, *options, "--noise-std", "0.02"))
    assert code == 1
    assert "other data or settings" in err
    assert sorted((tmp_path / "maps/.crbestim-predict-maps").glob("*.npz")) == kept
    assert run(*predict(head, *options))[0] == 0
    assert len(calls) == 5
    assert not list((tmp_path / "maps").glob(".*"))


def test_a_second_run_into_the_same_maps_is_refused(run, head, tmp_path, failing):
    options = ["--mask", head / "mask.nii.gz", "--block-voxels", "30", "--out", "maps"]
    second = []
    failing(3, lambda: second.append(run(*predict(head, *options))))
    assert run(*predict(head, *options))[0] == 0
    ((code, _, err),) = second
    assert code == 1
    assert "another run is at work there" in err
    assert (tmp_path / "maps/T1map.nii.gz").exists()


def test_runs_of_other_prefixes_do_not_meet(run, head, tmp_path, failing):
    other = []
    failing(2, lambda: other.append(run(*predict(head, "--out", "maps", "--prefix", "b_"))))
    assert run(*predict(head, "--block-voxels", "30", "--out", "maps", "--prefix", "a_"))[0] == 0
    assert [code for code, *_ in other] == [0]
    assert {"a_T1map.nii.gz", "b_T1map.nii.gz"} <= {path.name for path in (tmp_path / "maps").iterdir()}


@pytest.mark.parametrize(
    ("suffix", "old"),
    [(".nii.gz", "T1map.json"), (".cfl", "T1map.hdr"), (".nii", "report.html"), (".nii", "T1map.nii")],
)
def test_files_in_the_way_are_found_before_the_work(run, head, tmp_path, failing, suffix, old):
    calls = failing(1, stop)
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / old).write_text("old")
    code, _, err = run(*predict(head, "--out", "maps", "--format", suffix))
    assert code == 1
    assert f"maps/{old} exists; --overwrite replaces it." in err
    assert not calls
    assert [path.name for path in (tmp_path / "maps").iterdir()] == [old]


def test_out_that_is_a_file(run, head, tmp_path):
    (tmp_path / "maps").write_text("no directory")
    code, _, err = run(*predict(head, "--out", "maps/deep"))
    assert code == 1
    assert "maps is no directory" in err


@pytest.mark.parametrize("options", [["--prefix", "a/b"], ["--noise-std", "0,02"]])
def test_options_that_are_wrong_usage(run, head, options):
    code, _, err = run(*predict(head, "--out", "maps", *options))
    assert code == 2
    assert options[1] in err


def test_bart_takes_its_place_from_the_mask(run, head, tmp_path):
    from crbestim.io import save_volume

    save_volume("coefficients.cfl", load(head / "coefficients.nii.gz"))
    arguments = ["predict", "coefficients.cfl", "--model", "mt-hybrid-state", "--quiet"]
    for folder, place in (("a", ["--mask", head / "mask.nii.gz"]), ("b", ["--like", head / "coefficients.nii.gz"])):
        code, _, err = run(*arguments, *place, "--out", folder)
        assert code == 0, err
        affine = nib.load(tmp_path / folder / "T1map.nii.gz").affine
        np.testing.assert_array_equal(affine, np.diag([2.0, 2.0, 3.0, 1.0]))


def test_quality_is_told_and_doubtful_data_are_warned_of(run, head, tmp_path):
    code, out, err = run(*predict(head, "--mask", head / "mask.nii.gz", "--out", "maps"))
    assert (code, err) == (0, "")
    assert "an estimate outside of the central 99 %" in out
    about = json.loads((tmp_path / "maps/T1map.json").read_text())
    assert "NoiseStd" not in about
    assert about["Compared with the network's own"] == "nothing"
    code, _, err = run(*predict(head, "--mask", head / "background.nii.gz", "--out", "air"))
    assert code == 0
    assert "warning:" in err
    assert "outside of the training's prior" in err


def test_volume_without_estimates_tells_no_shares(run, head, tmp_path):
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4, 13), dtype=np.complex64), affine), "zeros.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((6, 5, 4), dtype=np.uint8), affine), "ones.nii.gz")
    arguments = ["zeros.nii.gz", "--model", "mt-hybrid-state", "--mask", "ones.nii.gz", "--no-report", "--quiet"]
    code, out, err = run("predict", *arguments, "--out", "maps")
    assert (code, err) == (0, "")
    assert "0 voxels in" in out
    assert "%" not in out
