import shutil
import subprocess

import numpy as np
import pytest

from crbestim.io import open_volume, save_basis, save_volume
from crbestim.io._bart import read_cfl

needs_bart = pytest.mark.skipif(shutil.which("bart") is None, reason="the program bart is not installed")


@pytest.mark.parametrize("shape", [(5, 4, 6, 3), (5, 4, 6), (5, 4, 1, 3), (1, 1, 1, 2), (5, 1, 6)])
def test_round_trip(tmp_path, draw_images, shape):
    values = draw_images(shape)
    save_volume(tmp_path / "image.cfl", values)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.cfl", "image.hdr"]
    for suffix in (".cfl", ".hdr"):
        volume = open_volume(tmp_path / f"image{suffix}")
        assert (volume.shape, volume.n_channels, volume.dtype) == (shape[:3], (*shape, 1)[3], np.complex64)
        assert volume.affine is None
        np.testing.assert_array_equal(volume.read(), values.reshape(*shape[:3], -1))
        block = (slice(0, 1), slice(0, 1), slice(0, 1))
        np.testing.assert_array_equal(volume.read(block), values.reshape(*shape[:3], -1)[block])


def test_numbers_are_in_columns_and_coefficients_in_dimension_6(tmp_path, draw_images):
    values = draw_images()
    save_volume(tmp_path / "image.cfl", values)
    dims = (tmp_path / "image.hdr").read_text().splitlines()[1].split()
    assert dims == ["5", "4", "6", "1", "1", "1", "3", "1", "1", "1", "1", "1", "1", "1", "1", "1"]
    np.testing.assert_array_equal(np.fromfile(tmp_path / "image.cfl", np.complex64), values.ravel(order="F"))


@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.uint8])
def test_any_number_is_written_as_single_precision(tmp_path, draw_images, dtype):
    values = draw_images((5, 4, 6), dtype)
    save_volume(tmp_path / "image.cfl", values)
    np.testing.assert_array_equal(open_volume(tmp_path / "image.cfl").read()[..., 0], values.astype(np.complex64))


HEADERS = {
    "no dimensions": "# Command\nfft\n",
    "nothing": "",
    "no numbers": "# Dimensions\n",
    "words": "# Dimensions\nfive four\n",
    "a zero": "# Dimensions\n5 4 0 1\n",
    "negative": "# Dimensions\n-5 -4 6 3\n",
    "too many": "# Dimensions\n" + "1 " * 100,
    "overflow": f"# Dimensions\n{2**32} {2**32}\n",
    "binary": bytes(range(256)).decode("latin-1"),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_damaged_header_is_told(tmp_path, draw_images, header):
    save_volume(tmp_path / "image.cfl", draw_images())
    (tmp_path / "image.hdr").write_text(header)
    if "overflow" in header or str(2**32) in header:
        (tmp_path / "image.cfl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"image\.(hdr|cfl) (is|must)"):
        open_volume(tmp_path / "image.cfl")


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b""])
def test_wrong_size_is_told(tmp_path, draw_images, change):
    save_volume(tmp_path / "image.cfl", draw_images())
    path = tmp_path / "image.cfl"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"image.cfl must have 2880 bytes for the dimensions .* it has \d+"):
        open_volume(path)


@pytest.mark.parametrize("missing", ["image.cfl", "image.hdr"])
def test_missing_half_is_told(tmp_path, draw_images, missing):
    save_volume(tmp_path / "image.cfl", draw_images())
    (tmp_path / missing).unlink()
    for name in ("image.cfl", "image.hdr"):
        with pytest.raises(FileNotFoundError, match=missing):
            open_volume(tmp_path / name)


def test_coils_beside_coefficients_are_refused(tmp_path):
    (tmp_path / "image.hdr").write_text("# Dimensions\n2 2 1 3 1 1 2\n")
    (tmp_path / "image.cfl").write_bytes(bytes(8 * 24))
    with pytest.raises(ValueError, match="image.cfl has shape .*: beside x, y and z"):
        open_volume(tmp_path / "image.cfl")


@needs_bart
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_bart_makes_our_signals_of_our_coefficients(tmp_path, draw_images, draw_basis, kind):
    basis, coefficients = draw_basis(9, 3, kind), draw_images()
    save_basis(tmp_path / "basis.cfl", basis)
    save_volume(tmp_path / "coefficients.cfl", coefficients)
    command = ["bart", "fmac", "-s", "64", "coefficients", "basis", "signal"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    assert read_cfl(tmp_path / "signal.cfl").shape[:7] == (5, 4, 6, 1, 1, 9, 1)
    signal = open_volume(tmp_path / "signal.cfl").read()
    np.testing.assert_allclose(signal, coefficients @ basis.conj().T, atol=1e-5)


@needs_bart
def test_file_of_bart_is_read(tmp_path):
    subprocess.run(["bart", "phantom", "-x", "8", "image"], cwd=tmp_path, check=True, timeout=60)
    volume = open_volume(tmp_path / "image.cfl")
    assert (volume.shape, volume.n_channels) == ((8, 8, 1), 1)
    assert np.abs(volume.read()).max() > 0
