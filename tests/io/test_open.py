import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from crbestim.io import open_coefficients, open_volume, read_map, read_mask, save_volume

K = 3


@pytest.fixture
def like(tmp_path, save_nifti, draw_images):
    """Coefficient images with a place in space."""
    return open_volume(save_nifti(tmp_path / "coefficients.nii", draw_images()))


@pytest.mark.parametrize("suffix", [".nii", ".cfl", ".zarr"])
def test_one_block_is_read_and_not_all(tmp_path, draw_images, suffix):
    values = draw_images((48, 48, 100, 4))
    path = tmp_path / f"image{suffix}"
    if suffix == ".zarr":
        zarr = pytest.importorskip("zarr")
        zarr.create_array(path, data=values, chunks=(48, 48, 4, 4))
    else:
        save_volume(path, values)
    block = (slice(0, 48), slice(0, 48), slice(7, 9))
    open_volume(path).read(block)  # what is imported and kept
    tracemalloc.start()
    try:
        part = open_volume(path).read(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(part, values[block])
    assert peak < values.nbytes / 4  # a block is 1/50


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".cfl", ".hdr", ".zarr"])
def test_missing_file_is_told(tmp_path, suffix):
    with pytest.raises(FileNotFoundError, match=f"absent{suffix} does not exist"):
        open_volume(tmp_path / f"absent{suffix}")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_volume(tmp_path / "nowhere" / f"absent{suffix}")


@pytest.mark.parametrize("name", ["image.mat", "image", "image.nii.bz2", "image.NII", "nii"])
def test_other_suffix_is_told(tmp_path, name):
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(ValueError, match=f"{name} must end in one of .nii, .nii.gz, .cfl, .hdr, .zarr"):
        open_volume(tmp_path / name)


@pytest.mark.parametrize("path", [None, 3, ["image.nii"]])
def test_what_is_no_path_is_told(path):
    with pytest.raises(TypeError, match="path must be a path"):
        open_volume(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".cfl"])
def test_directory_is_told(tmp_path, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(IsADirectoryError, match="folder.* is a directory"):
        open_volume(tmp_path / f"folder{suffix}")


def test_what_a_volume_shows(like):
    assert repr(like).endswith("coefficients.nii, 5 x 4 x 6 voxels, 3 complex64 values each)")


def test_complex_coefficients(like, draw_images):
    np.testing.assert_array_equal(open_coefficients(like.path, K).read(), draw_images())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_stacked_coefficients(tmp_path, save_nifti, draw_images, dtype):
    values = draw_images((5, 4, 6, 2 * K), dtype)
    volume = open_coefficients(save_nifti(tmp_path / "stacked.nii", values), K)
    expected = values[..., :K] + 1j * values[..., K:]
    assert volume.n_channels == K
    assert volume.dtype == volume.read().dtype == (np.complex128 if dtype == np.float64 else np.complex64)
    np.testing.assert_array_equal(volume.read(), expected)
    block = (slice(0, 5), slice(2, 3), slice(1, 5))
    np.testing.assert_array_equal(volume.read(block), expected[block])


def test_real_and_imaginary_files(tmp_path, save_nifti, draw_images):
    real, imaginary = draw_images(dtype=np.float32), draw_images(dtype=np.float64, seed=1)
    path = save_nifti(tmp_path / "real.nii", real)
    volume = open_coefficients(path, K, imaginary=save_nifti(tmp_path / "imaginary.nii.gz", imaginary))
    assert volume.dtype == volume.read().dtype == np.complex128
    np.testing.assert_array_equal(volume.read(), real + 1j * imaginary)
    block = (slice(0, 5), slice(2, 3), slice(1, 5))
    np.testing.assert_array_equal(volume.read(block), (real + 1j * imaginary)[block])


def test_parts_are_joined_as_they_are(tmp_path, save_nifti, draw_images):
    real, imaginary = draw_images(dtype=np.float32), draw_images(dtype=np.float32, seed=1)
    imaginary[0, 0, 0] = np.inf
    stacked = save_nifti(tmp_path / "stacked.nii", np.concatenate([real, imaginary], axis=-1))
    paths = [save_nifti(tmp_path / f"{i}.nii", part) for i, part in enumerate((real, imaginary))]
    for volume in (open_coefficients(stacked, K), open_coefficients(paths[0], K, imaginary=paths[1])):
        np.testing.assert_array_equal(volume.read().real, real)
        np.testing.assert_array_equal(volume.read().imag, imaginary)


def test_conjugate(like, draw_images):
    np.testing.assert_array_equal(open_coefficients(like.path, K, conjugate=True).read(), draw_images().conj())


def test_real_valued(tmp_path, save_nifti, draw_images, like):
    values = draw_images(dtype=np.float32)
    path = save_nifti(tmp_path / "real.nii", values)
    volume = open_coefficients(path, K, real_valued=True, conjugate=True)
    assert volume.dtype == np.float32
    np.testing.assert_array_equal(volume.read(), values)
    with pytest.raises(ValueError, match="coefficients.nii must hold real coefficients; it has 3 images of complex64"):
        open_coefficients(like.path, K, real_valued=True)
    stacked = save_nifti(tmp_path / "stacked.nii", draw_images((5, 4, 6, 2 * K), np.float32))
    with pytest.raises(
        ValueError, match="stacked.nii must hold the 3 coefficients of the basis; it has 6 real images"
    ):
        open_coefficients(stacked, K, real_valued=True)


@pytest.mark.parametrize(("dtype", "kind"), [(np.complex64, "complex"), (np.float32, "real")])
@pytest.mark.parametrize("n", [1, 2, 4, 5, 7])
def test_wrong_number_of_coefficients_is_told(tmp_path, save_nifti, draw_images, dtype, kind, n):
    path = save_nifti(tmp_path / "image.nii", draw_images((5, 4, 6, n), dtype))
    with pytest.raises(ValueError, match=f"image.nii must hold the 3 coefficients .* it has {n} {kind} images"):
        open_coefficients(path, K)


def test_real_parts_alone_are_told(tmp_path, save_nifti, draw_images):
    path = save_nifti(tmp_path / "real.nii", draw_images(dtype=np.float32))
    with pytest.raises(ValueError, match="real.nii must hold complex .* imaginary parts may be in a file"):
        open_coefficients(path, K)


def test_imaginary_parts_that_do_not_fit_are_told(tmp_path, save_nifti, draw_images, like, affine):
    real = save_nifti(tmp_path / "real.nii", draw_images(dtype=np.float32))
    fewer = save_nifti(tmp_path / "fewer.nii", draw_images((5, 4, 6, 2), np.float32))
    smaller = save_nifti(tmp_path / "smaller.nii", draw_images((5, 4, 5, K), np.float32))
    shifted = affine.copy()
    shifted[0, 3] += 1
    elsewhere = save_nifti(tmp_path / "elsewhere.nii", draw_images(dtype=np.float32), affine=shifted)
    for path, match in [
        (fewer, "imaginary: .*fewer.nii has 2 images, .*real.nii has 3"),
        (smaller, "smaller.nii has .* voxels, but .*real.nii"),
        (elsewhere, "elsewhere.nii has another affine"),
        (like.path, "imaginary: .*coefficients.nii must both hold real numbers"),
    ]:
        with pytest.raises(ValueError, match=match):
            open_coefficients(real, K, imaginary=path)
    with pytest.raises(FileNotFoundError, match="absent.nii"):
        open_coefficients(real, K, imaginary=tmp_path / "absent.nii")


@pytest.mark.parametrize(("k", "error"), [(0, ValueError), ("3", TypeError), (2.5, TypeError)])
def test_number_of_coefficients_is_checked(like, k, error):
    with pytest.raises(error, match="n_coefficients must be"):
        open_coefficients(like.path, k)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, np.complex64])
def test_mask_is_where_values_are_not_zero(tmp_path, save_nifti, like, dtype):
    mask = np.zeros((5, 4, 6), bool)
    mask[1:3, 2, :5] = True
    path = save_nifti(tmp_path / "mask.nii.gz", (3 * mask).astype(dtype))
    read = read_mask(path, like)
    assert read.dtype == bool
    np.testing.assert_array_equal(read, mask)


def test_map_is_read(tmp_path, save_nifti, draw_images, like):
    values = draw_images((5, 4, 6), np.float32)
    np.testing.assert_array_equal(read_map(save_nifti(tmp_path / "map.nii", values), like), values)
    save_volume(tmp_path / "map.cfl", values)  # tells no place
    read = read_map(tmp_path / "map.cfl", like)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values)


BAD_MASKS = {
    "smaller": (np.ones((5, 4, 5)), r"mask.nii has \(5, 4, 5\) voxels, but .*coefficients.nii has \(5, 4, 6\)"),
    "empty": (np.zeros((5, 4, 6)), "mask.nii: the mask is empty"),
    "NaN": (np.full((5, 4, 6), np.nan), "mask.nii: the mask must be finite"),
    "infinite": (np.full((5, 4, 6), np.inf), "mask.nii: the mask must be finite"),
    "two": (np.ones((5, 4, 6, 2)), "mask.nii must hold one number a voxel; it has 2"),
    "complex": (np.full((5, 4, 6), 1j), "mask.nii must hold real numbers; it has imaginary parts"),
}


@pytest.mark.parametrize(("values", "match"), BAD_MASKS.values(), ids=BAD_MASKS)
def test_bad_mask_is_told(tmp_path, save_nifti, like, values, match, files_of):
    path = save_nifti(tmp_path / "mask.nii", values.astype(np.complex64 if values.dtype.kind == "c" else np.float32))
    before = files_of(tmp_path)
    with pytest.raises(ValueError, match=match):
        read_mask(path, like)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("axis", range(3))
def test_map_that_lies_elsewhere_is_told(tmp_path, save_nifti, draw_images, like, affine, axis):
    shifted = affine.copy()
    shifted[axis, 3] += 1
    path = save_nifti(tmp_path / "map.nii", draw_images((5, 4, 6), np.float32), affine=shifted)
    with pytest.raises(ValueError, match="map.nii has another affine than .*: their voxels lie up to 1 mm apart"):
        read_map(path, like)


def test_map_that_is_turned_is_told_by_its_far_corner(tmp_path, save_nifti, draw_images, like, affine):
    turned = affine.copy()
    turned[0, 0] += 0.01  # 0.04 mm at the fifth voxel
    path = save_nifti(tmp_path / "map.nii", draw_images((5, 4, 6), np.float32), affine=turned)
    with pytest.raises(ValueError, match="lie up to 0.04 mm apart"):
        read_map(path, like)


def test_rounding_of_an_affine_does_not_matter(tmp_path, save_nifti, draw_images, like, affine):
    path = save_nifti(tmp_path / "map.nii", draw_images((5, 4, 6), np.float32), affine=affine + 1e-5)
    assert read_map(path, like).shape == like.shape


def test_affine_of_nan_is_no_place(tmp_path, save_nifti, draw_images, like):
    path = save_nifti(tmp_path / "map.nii", draw_images((5, 4, 6), np.float32))
    data = bytearray(path.read_bytes())
    data[280:284] = np.float32(np.nan).tobytes()  # the first entry of the sform
    path.write_bytes(data)
    assert np.isnan(nib.load(path).affine[0, 0])
    with pytest.raises(ValueError, match="map.nii has another affine"):
        read_map(path, like)
