import numpy as np
import pytest

from crbestim.io import open_volume, read_mask

zarr = pytest.importorskip("zarr")


def save(path, values, affine=None, **options):
    array = zarr.create_array(
        path, shape=values.shape, dtype=values.dtype, chunks=values.shape[:2] + (2,) * 2, **options
    )
    array[:] = values
    if affine is not None:
        array.attrs["affine"] = affine
    return path


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, np.float32, np.float64, np.int16, ">c8", ">f4"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_round_trip(tmp_path, draw_images, affine, dtype, zarr_format):
    values = draw_images(dtype=dtype)
    volume = open_volume(save(tmp_path / "image.zarr", values, affine.tolist(), zarr_format=zarr_format))
    assert (volume.shape, volume.n_channels) == ((5, 4, 6), 3)
    np.testing.assert_array_equal(volume.affine, affine)
    assert volume.read().dtype == volume.dtype
    assert volume.dtype.kind == ("f" if np.dtype(dtype).kind == "i" else np.dtype(dtype).kind)
    np.testing.assert_array_equal(volume.read(), values)
    block = (slice(1, 3), slice(0, 4), slice(3, 6))
    np.testing.assert_array_equal(volume.read(block), values[block])


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 6), (5, 4, 6, 1, 3)])
def test_axes(tmp_path, draw_images, shape):
    values = draw_images(shape)
    zarr.create_array(tmp_path / "image.zarr", data=values)
    volume = open_volume(tmp_path / "image.zarr")
    np.testing.assert_array_equal(volume.read(), values.reshape(*volume.shape, volume.n_channels))
    assert volume.affine is None


@pytest.mark.parametrize("affine", ["here", [[1, 0], [0, 1]], [1, [2, 3]], {"x": 1}, [["a"] * 4] * 4])
def test_bad_affine_is_told(tmp_path, draw_images, affine):
    path = save(tmp_path / "image.zarr", draw_images(), affine)
    with pytest.raises(ValueError, match="image.zarr: the attribute affine must"):
        open_volume(path)


def test_mask_of_truth_values(tmp_path, draw_images, in_memory):
    mask = draw_images((5, 4, 6), np.float32) > 0
    zarr.create_array(tmp_path / "mask.zarr", data=mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.zarr", in_memory(draw_images())), mask)


def test_what_is_no_array_is_told(tmp_path, draw_images):
    (tmp_path / "empty.zarr").mkdir()
    zarr.create_group(tmp_path / "group.zarr")
    (tmp_path / "file.zarr").write_bytes(b"no array")
    save(tmp_path / "damaged.zarr", draw_images())
    (tmp_path / "damaged.zarr" / "zarr.json").write_text("{")
    save(tmp_path / "incomplete.zarr", draw_images())
    (tmp_path / "incomplete.zarr" / "zarr.json").write_text("{}")
    for name in ("empty", "group", "file", "damaged", "incomplete"):
        with pytest.raises(ValueError, match=f"{name}.zarr is no Zarr array, or is damaged"):
            open_volume(tmp_path / f"{name}.zarr")


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_words_are_refused(tmp_path):
    zarr.create_array(tmp_path / "words.zarr", data=np.array(["a", "b"], dtype="U1"))
    with pytest.raises(ValueError, match="words.zarr must hold numbers"):
        open_volume(tmp_path / "words.zarr")


def test_damaged_chunk_is_told(tmp_path, draw_images):
    path = save(tmp_path / "image.zarr", draw_images())
    chunk = next((path / "c").rglob("1/0"))
    chunk.write_bytes(b"damage" + chunk.read_bytes()[6:])
    volume = open_volume(path)
    with pytest.raises(ValueError, match="image.zarr cannot be read"):
        volume.read()
