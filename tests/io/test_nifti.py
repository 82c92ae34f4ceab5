import gzip
import struct
import warnings

import nibabel as nib
import numpy as np
import pytest

from crbestim.io import open_volume, save_volume

KINDS = {"NIfTI-1": (nib.Nifti1Image, nib.Nifti1Header), "NIfTI-2": (nib.Nifti2Image, nib.Nifti2Header)}
DTYPES = [np.complex64, np.complex128, np.float32, np.float64, np.int16, np.uint8]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("endianness", "<>")
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_file_of_nibabel_is_read(tmp_path, draw_images, save_nifti, affine, suffix, kind, endianness, dtype):
    image, header = KINDS[kind]
    header = header(endianness=endianness)
    header.set_data_dtype(dtype)
    values = draw_images(dtype=dtype)
    path = save_nifti(tmp_path / f"image{suffix}", values, header=header, kind=image)
    begin = (gzip.decompress if suffix.endswith("gz") else bytes)(path.read_bytes())[:4]
    assert begin == struct.pack(f"{endianness}i", 348 if kind == "NIfTI-1" else 540)
    volume = open_volume(path)
    assert (volume.shape, volume.n_channels) == (values.shape[:3], values.shape[3])
    np.testing.assert_allclose(volume.affine, affine, atol=1e-6)
    read = volume.read()
    assert read.dtype == volume.dtype == (np.float32 if np.dtype(dtype).kind in "iu" else dtype)
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_integers_are_scaled(tmp_path, draw_images, suffix):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((5, 4, 3))
    values = draw_images((5, 4, 3), np.int16)
    header.set_slope_inter(0.25, -3)
    header["magic"], header["vox_offset"] = b"n+1", 352
    data = header.binaryblock + bytes(4) + values.tobytes(order="F")
    path = tmp_path / f"image{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.read()[..., 0], 0.25 * values - 3)
    assert volume.read().dtype == volume.dtype == np.float32


@pytest.mark.parametrize(
    ("shape", "spatial", "n_channels"),
    [
        ((5,), (5, 1, 1), 1),
        ((5, 4), (5, 4, 1), 1),
        ((5, 4, 3), (5, 4, 3), 1),
        ((5, 4, 3, 2), (5, 4, 3), 2),
        ((5, 4, 3, 1, 2), (5, 4, 3), 2),
        ((5, 1, 3, 1, 1, 2), (5, 1, 3), 2),
        ((5, 4, 1, 2), (5, 4, 1), 2),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_axes(tmp_path, draw_images, save_nifti, shape, spatial, n_channels, suffix):
    values = draw_images(shape)
    volume = open_volume(save_nifti(tmp_path / f"image{suffix}", values))
    assert (volume.shape, volume.n_channels) == (spatial, n_channels)
    whole = values.reshape(*spatial, n_channels)
    np.testing.assert_array_equal(volume.read(), whole)
    block = (slice(1, 4), slice(0, 1), slice(0, 1))
    np.testing.assert_array_equal(volume.read(block), whole[block])


def test_two_axes_beside_space_are_refused(tmp_path, draw_images, save_nifti):
    path = save_nifti(tmp_path / "image.nii", draw_images((5, 4, 3, 2, 2)))
    with pytest.raises(ValueError, match=r"image.nii has shape \(5, 4, 3, 2, 2\): beside x, y and z"):
        open_volume(path)


def test_colours_are_refused(tmp_path):
    values = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "image.nii")
    with pytest.raises(ValueError, match="image.nii must hold numbers"):
        open_volume(tmp_path / "image.nii")


def flipped(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0x55]) + data[len(data) // 2 + 1 :]


def with_negative_axis(data):
    return data[:42] + struct.pack("<h", -5) + data[44:]


DAMAGE = {
    "empty": (".nii", lambda data: b""),
    "truncated header": (".nii", lambda data: data[:200]),
    "header alone": (".nii", lambda data: data[:352]),
    "truncated": (".nii", lambda data: data[:-1]),
    "random header": (".nii", lambda data: np.random.default_rng(0).bytes(352) + data[352:]),
    "random header with magic": (
        ".nii",
        lambda data: data[:4] + np.random.default_rng(0).bytes(340) + data[344:],
    ),
    "text": (".nii", lambda data: b"T1 = 1 s\n" * 100),
    "negative axis": (".nii", with_negative_axis),
    "negative axis, compressed": (".nii.gz", lambda data: gzip.compress(with_negative_axis(data))),
    "empty, compressed": (".nii.gz", lambda data: b""),
    "compressed nothing": (".nii.gz", lambda data: gzip.compress(b"")),
    "compressed text": (".nii.gz", lambda data: gzip.compress(b"T1 = 1 s\n" * 100)),
    "not compressed": (".nii.gz", lambda data: data),
    "truncated stream": (".nii.gz", lambda data: gzip.compress(data)[:-20]),
    "truncated, compressed": (".nii.gz", lambda data: gzip.compress(data[:-1])),
    "flipped bits": (".nii.gz", lambda data: flipped(gzip.compress(data))),
    "flipped checksum": (".nii.gz", lambda data: gzip.compress(data)[:-8] + b"abcd" + gzip.compress(data)[-4:]),
}


@pytest.mark.parametrize(("suffix", "damage"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_file_is_told(tmp_path, draw_images, save_nifti, suffix, damage):
    good = save_nifti(tmp_path / "good.nii", draw_images()).read_bytes()
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(damage(good))
    with pytest.raises(ValueError, match="bad.nii"):
        open_volume(path)


def test_file_that_is_cut_after_it_was_opened_is_told(tmp_path, draw_images, save_nifti):
    path = save_nifti(tmp_path / "image.nii", draw_images())
    volume = open_volume(path)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ValueError, match=r"image.nii cannot be read"):
        volume.read((slice(0, 5), slice(0, 4), slice(3, 4)))


def test_expanded_file_is_closed_with_the_last_user(tmp_path, draw_images, save_nifti):
    path = save_nifti(tmp_path / "image.nii.gz", draw_images())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a file that is not closed would be told
        read = open_volume(path).read
        np.testing.assert_array_equal(read(), draw_images())
        del read


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("endianness", "<>")
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_map_keeps_the_geometry(tmp_path, draw_images, affine, kind, endianness, suffix):
    image, header = KINDS[kind]
    header = header(endianness=endianness)
    header.set_data_dtype(np.complex64)
    source = image(draw_images(), affine, header)
    scanner = affine.copy()
    scanner[:3, 3] += 5
    source.set_sform(affine, code=4)
    source.set_qform(scanner, code=1)
    source.header.set_xyzt_units("mm", "sec")
    source.header["cal_max"] = 7
    nib.save(source, tmp_path / "source.nii")
    values = draw_images((5, 4, 6), np.float32, seed=1)
    values[0, 0, 0] = np.nan
    path = tmp_path / f"map{suffix}"
    save_volume(path, values, like=open_volume(tmp_path / "source.nii"), description="T1 [s] by µ")
    saved = nib.load(path)
    assert type(saved) is image
    assert saved.header.endianness == endianness
    np.testing.assert_array_equal(np.asanyarray(saved.dataobj), values)
    assert saved.get_data_dtype().newbyteorder("=") == np.float32
    for form in ("get_sform", "get_qform"):
        expected, code = getattr(nib.load(tmp_path / "source.nii"), form)(coded=True)
        found, found_code = getattr(saved, form)(coded=True)
        assert found_code == code
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(saved.affine, affine, atol=1e-6)
    assert saved.header.get_xyzt_units() == ("mm", "sec")
    assert saved.header["descrip"].item() == b"T1 [s] by ?"
    assert saved.header["cal_max"] == 0


def test_map_of_scaled_integers_is_not_scaled(tmp_path, draw_images):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    values = draw_images((5, 4, 6), np.float32)
    nib.save(nib.Nifti1Image(values, np.eye(4), header), tmp_path / "source.nii")
    source = open_volume(tmp_path / "source.nii")
    assert nib.load(tmp_path / "source.nii").dataobj.slope != 1
    for found in (values, draw_images((5, 4, 6), np.uint8)):
        save_volume(tmp_path / "map.nii", found, like=source, overwrite=True)
        saved = nib.load(tmp_path / "map.nii")
        assert (saved.dataobj.slope, saved.dataobj.inter) == (1, 0)
        np.testing.assert_array_equal(np.asanyarray(saved.dataobj), found)


def test_map_without_a_place_has_cubes_of_one_millimetre(tmp_path, draw_images):
    save_volume(tmp_path / "map.nii", draw_images((5, 4, 6), np.float32))
    saved = nib.load(tmp_path / "map.nii")
    np.testing.assert_array_equal(saved.affine, np.eye(4))
    assert saved.header.get_xyzt_units()[0] == "mm"


def test_description_is_cut(tmp_path, draw_images):
    save_volume(tmp_path / "map.nii", draw_images((5, 4, 6), np.float32), description="x" * 200)
    assert nib.load(tmp_path / "map.nii").header["descrip"].item() == b"x" * 79


def test_same_map_makes_the_same_bytes(tmp_path, draw_images):
    for name in ("a.nii.gz", "b.nii.gz"):
        save_volume(tmp_path / name, draw_images())
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_extensions_do_not_shift_the_data(tmp_path, draw_images, affine):
    image = nib.Nifti1Image(draw_images(), affine)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"measured on Monday"))
    nib.save(image, tmp_path / "source.nii")
    source = open_volume(tmp_path / "source.nii")
    np.testing.assert_array_equal(source.read(), draw_images())
    values = draw_images((5, 4, 6), np.float32)
    save_volume(tmp_path / "map.nii.gz", values, like=source)
    np.testing.assert_array_equal(open_volume(tmp_path / "map.nii.gz").read()[..., 0], values)
