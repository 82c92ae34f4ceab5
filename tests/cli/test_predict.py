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
        (["--covariate", "B1=mask.nii.gz"], "covariates must be maps of []"),
        (["--check-model"], "check_model needs noise_std"),
        (["--imaginary", "small.nii.gz"], "small.nii.gz has"),
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
    assert [path.name for path in (tmp_path / "maps").iterdir()] == [".crbestim-predict"]
    assert run(*predict(head, "--out", "maps", *options))[0] == 0
    assert len(calls) == 5  # four blocks, of which one was begun twice
    monkeypatch.setattr(NetworkEstimates, "__call__", original)
    assert run(*predict(head, "--out", "again", *options))[0] == 0
    np.testing.assert_array_equal(load(tmp_path / "maps/T1map.nii.gz"), load(tmp_path / "again/T1map.nii.gz"))
    assert not (tmp_path / "maps/.crbestim-predict").exists()


def test_full_disk(run, head, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 100, 0))
    code, _, err = run(*predict(head, "--out", "maps"))
    assert code == 1
    assert "has room for 0.0 MB" in err
    assert not (tmp_path / "maps").exists()
