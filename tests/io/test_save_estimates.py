import errno
import json

import nibabel as nib
import numpy as np
import pytest

from crbestim.io import ParameterMap, VolumeEstimates, _save_volume, open_volume, save_estimates
from crbestim.io._save_estimates import names_of
from crbestim.signal import Parameter

T1 = Parameter("T1", "T_1", "s", (0, 30))
B1 = Parameter("B1", "B_1", "1", (0, 3))
LABELS = {1 << bit: f"flag {bit}" for bit in range(8)}
NAMES = ["T1map", "desc-std_T1map", "B1map", "quality"]


@pytest.fixture
def like(tmp_path_factory, save_nifti, draw_images):
    """Coefficient images in a directory of their own."""
    return open_volume(save_nifti(tmp_path_factory.mktemp("source") / "coefficients.nii", draw_images()))


@pytest.fixture
def estimates(draw_images):
    """Maps of two parameters, one with its standard deviation, half of them empty."""
    arrays = [draw_images((5, 4, 6), np.float64, seed=seed) for seed in range(3)]
    for array in arrays:
        array[:2] = np.nan
    maps = (ParameterMap(T1, arrays[0], arrays[1]), ParameterMap(B1, arrays[2]))
    return VolumeEstimates(maps, draw_images((5, 4, 6), np.uint8).astype(np.uint32), LABELS)


def arrays_of(estimates):
    first, second = estimates.maps
    return [first.values, first.std, second.values, estimates.quality]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".cfl"])
def test_files_of_all_maps(tmp_path, estimates, like, suffix, affine):
    paths = save_estimates(tmp_path, estimates, like, prefix="sub-01_", file_format=suffix)
    assert set(paths) == set(tmp_path.iterdir())
    halves = [suffix, ".json"] + ([".hdr"] if suffix == ".cfl" else [])
    assert {path.name for path in paths} == {f"sub-01_{name}{half}" for name in NAMES for half in halves}
    for name, values in zip(NAMES, arrays_of(estimates), strict=True):
        volume = open_volume(tmp_path / f"sub-01_{name}{suffix}")
        np.testing.assert_array_equal(volume.read()[..., 0], values.astype(np.float32))
        if suffix != ".cfl":
            np.testing.assert_allclose(volume.affine, affine, atol=1e-6)


def test_unit_stands_in_the_header(tmp_path, estimates, like):
    save_estimates(tmp_path, estimates, like)
    texts = [nib.load(tmp_path / f"{name}.nii.gz").header["descrip"].item().decode() for name in NAMES]
    assert texts[0].startswith("T1 [s] crbestim ")
    assert texts[1].startswith("standard deviation of T1 [s] crbestim ")
    assert texts[2].startswith("B1 [1] crbestim ")
    assert texts[3].startswith("bits of quality")
    types = [nib.load(tmp_path / f"{name}.nii.gz").get_data_dtype() for name in NAMES]
    assert types == [np.float32, np.float32, np.float32, np.uint32]


def test_json_files_tell_units_and_origin(tmp_path, estimates, like):
    save_estimates(tmp_path, estimates, like, details={"Network": "mine", "Noise": np.float64(2)})
    texts = [json.loads((tmp_path / f"{name}.json").read_text()) for name in NAMES]
    assert [text.get("Units") for text in texts] == ["s", "s", "arbitrary", None]
    assert texts[3]["Bits"] == {str(bit): text for bit, text in LABELS.items()}
    for text in texts:
        assert text["GeneratedBy"][0]["Name"] == "crbestim"
        assert text["Network"] == "mine"


def test_names_are_known_before(tmp_path, estimates, like):
    assert names_of((T1,), True) == NAMES[:2] + NAMES[3:]
    assert names_of((T1, B1), False) == ["T1map", "B1map", "quality"]


def test_other_formats_are_refused(tmp_path, estimates, like):
    with pytest.raises(ValueError, match="file_format must be one of"):
        save_estimates(tmp_path, estimates, like, file_format=".zarr")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["T1map.nii.gz", "quality.json"])
def test_nothing_is_changed_if_one_file_exists(tmp_path, estimates, like, files_of, name):
    (tmp_path / name).write_bytes(b"mine")
    before = files_of(tmp_path)
    with pytest.raises(FileExistsError, match=name):
        save_estimates(tmp_path, estimates, like)
    assert files_of(tmp_path) == before
    save_estimates(tmp_path, estimates, like, overwrite=True)
    assert files_of(tmp_path)[next(iter(before))] != b"mine"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("present", [True, False])
def test_failure_in_one_map_leaves_the_old_ones(tmp_path, estimates, like, files_of, monkeypatch, error, present):
    if present:
        save_estimates(tmp_path, estimates, like)
    (tmp_path / "other.txt").write_text("other")
    before = files_of(tmp_path)
    written = []
    write = _save_volume.write_nifti

    def full(file, values, *rest):
        written.append(values)
        if len(written) == 3:
            file.write(b"half a map")
            raise error
        write(file, values, *rest)

    monkeypatch.setattr(_save_volume, "write_nifti", full)
    changed = VolumeEstimates(estimates.maps[::-1], estimates.quality + 1, LABELS)
    with pytest.raises(type(error)):
        save_estimates(tmp_path, changed, like, overwrite=True)
    assert files_of(tmp_path) == before


def test_absent_directory_is_told(tmp_path, estimates, like):
    with pytest.raises(FileNotFoundError, match="The directory of .*absent"):
        save_estimates(tmp_path / "absent", estimates, like)
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(OSError, match=r"The directory of .*file.T1map"):
        save_estimates(tmp_path / "file", estimates, like)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
