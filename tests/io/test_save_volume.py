import errno
import os

import nibabel as nib
import numpy as np
import pytest

from crbestim.io import open_volume, save_volume

SUFFIXES = [".nii", ".nii.gz", ".cfl"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shape", [(5, 4, 6), (5, 4, 6, 3), (5, 4, 1, 3), (1, 4, 1)])
@pytest.mark.parametrize("dtype", [np.complex64, np.float32, np.float64, np.uint8, np.int16, np.int64])
def test_round_trip(tmp_path, draw_images, suffix, shape, dtype):
    values = draw_images(shape, dtype)
    save_volume(tmp_path / f"image{suffix}", values)
    read = open_volume(tmp_path / f"image{suffix}").read()
    expected = values.astype(np.complex64) if suffix == ".cfl" else values
    np.testing.assert_array_equal(read, expected.reshape(*shape[:3], -1))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_order_of_memory_is_written(tmp_path, draw_images, suffix):
    values = draw_images()
    for other in (np.asfortranarray(values), values[::-1, :, ::2], values.astype(">c8")):
        save_volume(tmp_path / f"image{suffix}", other, overwrite=True)
        np.testing.assert_array_equal(open_volume(tmp_path / f"image{suffix}").read(), other)


def test_place_of_any_volume_is_taken(tmp_path, draw_images, in_memory, affine):
    save_volume(tmp_path / "image.nii", draw_images(), like=in_memory(draw_images(), affine))
    np.testing.assert_allclose(nib.load(tmp_path / "image.nii").affine, affine, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.ones((5, 4)), r"values must be numbers of shape .*; got float64 \(5, 4\)"),
        (np.ones((5, 4, 6, 1, 3)), "values must be numbers of shape"),
        (np.full((5, 4, 6), "a"), "values must hold numbers"),
        (np.ones((5, 4, 5)), r"values must have the \(5, 4, 6\) voxels of memory; got \(5, 4, 5\)"),
    ],
)
def test_other_arrays_are_refused(tmp_path, draw_images, in_memory, values, match):
    with pytest.raises((ValueError, TypeError), match=match):
        save_volume(tmp_path / "image.nii", values, like=in_memory(draw_images()))
    assert list(tmp_path.iterdir()) == []


def test_what_nifti_cannot_hold_is_told(tmp_path):
    with pytest.raises(ValueError, match="a NIfTI file cannot hold"):
        save_volume(tmp_path / "image.nii", np.ones((1, 40000, 1), np.float32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["image.zarr", "image.hdr", "image.mat", "image"])
def test_other_suffix_is_refused(tmp_path, draw_images, name):
    with pytest.raises(ValueError, match=f"path must end in one of .nii.gz, .nii, .cfl; got .*{name}"):
        save_volume(tmp_path / name, draw_images())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_existing_file_is_kept_unless_told_otherwise(tmp_path, draw_images, files_of, suffix):
    path = tmp_path / f"image{suffix}"
    save_volume(path, draw_images())
    before = files_of(tmp_path)
    with pytest.raises(FileExistsError, match=f"image{suffix}"):
        save_volume(path, draw_images(seed=1))
    assert files_of(tmp_path) == before
    save_volume(path, draw_images(seed=1), overwrite=True)
    np.testing.assert_array_equal(open_volume(path).read(), draw_images(seed=1))
    assert files_of(tmp_path).keys() == before.keys()


def test_header_of_bart_alone_is_not_replaced(tmp_path, draw_images, files_of):
    (tmp_path / "image.hdr").write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(FileExistsError, match="image.hdr"):
        save_volume(tmp_path / "image.cfl", draw_images())
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_disk_leaves_the_old_file(tmp_path, draw_images, files_of, suffix, monkeypatch):
    path = tmp_path / f"image{suffix}"
    save_volume(path, draw_images())
    before = files_of(tmp_path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_volume(path, draw_images(seed=1), overwrite=True)
    with pytest.raises(OSError, match="No space left"):
        save_volume(tmp_path / f"new{suffix}", draw_images(seed=1))
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_place_that_cannot_be_written_is_told(tmp_path, draw_images, suffix):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(FileNotFoundError, match="The directory of .*absent.image"):
        save_volume(tmp_path / "absent" / f"image{suffix}", draw_images())
    with pytest.raises(OSError, match="file.image"):
        save_volume(tmp_path / "file" / f"image{suffix}", draw_images())
    with pytest.raises(IsADirectoryError, match=f"folder{suffix} is a directory"):
        save_volume(tmp_path / f"folder{suffix}", draw_images(), overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", f"folder{suffix}"]


@pytest.mark.skipif(os.geteuid() == 0, reason="all directories are open to root")
def test_directory_without_permission_is_told(tmp_path, draw_images):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="image.nii"):
            save_volume(tmp_path / "image.nii", draw_images())
    finally:
        tmp_path.chmod(0o700)
