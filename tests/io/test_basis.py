import numpy as np
import pytest

from crbestim.io import load_basis, save_basis
from crbestim.io._bart import read_cfl


@pytest.mark.parametrize("suffix", [".cfl", ".npy"])
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("shape", [(9, 3), (9, 1), (3, 3)])
def test_round_trip(tmp_path, draw_basis, suffix, kind, shape):
    basis = draw_basis(*shape, kind)
    save_basis(tmp_path / f"basis{suffix}", basis)
    loaded = load_basis(tmp_path / f"basis{suffix}")
    assert loaded.dtype.kind == basis.dtype.kind
    expected = basis if suffix == ".npy" else basis.astype(np.complex64)
    np.testing.assert_array_equal(loaded, expected)


def test_header_of_bart_names_the_same_basis(tmp_path, draw_basis):
    basis = draw_basis(9, 3, "complex")
    save_basis(tmp_path / "basis.cfl", basis)
    array = read_cfl(tmp_path / "basis.cfl")
    assert array.shape == (1, 1, 1, 1, 1, 9, 3, *[1] * 9)
    np.testing.assert_array_equal(array.reshape(9, 3, order="F"), basis.conj().astype(np.complex64))


def test_existing_file_is_kept_unless_told_otherwise(tmp_path, draw_basis, files_of):
    path = tmp_path / "basis.cfl"
    save_basis(path, draw_basis(9, 3))
    before = files_of(tmp_path)
    with pytest.raises(FileExistsError, match="basis.cfl"):
        save_basis(path, draw_basis(9, 2))
    assert files_of(tmp_path) == before
    save_basis(path, draw_basis(9, 2), overwrite=True)
    assert load_basis(path).shape == (9, 2)


@pytest.mark.parametrize("suffix", [".cfl", ".npy"])
def test_only_orthonormal_columns_are_a_basis(tmp_path, draw_images, draw_basis, suffix):
    with pytest.raises(ValueError, match="basis must have orthonormal columns"):
        save_basis(tmp_path / f"basis{suffix}", 2 * draw_basis(9, 3))
    with pytest.raises(ValueError, match="basis contains NaN"):
        save_basis(tmp_path / f"basis{suffix}", np.full((9, 3), np.nan))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("path", "error"), [("basis.mat", ValueError), ("basis", ValueError), (3, TypeError)])
def test_other_paths_are_refused(draw_basis, path, error):
    for call in (load_basis, lambda path: save_basis(path, draw_basis(9, 3))):
        with pytest.raises(error, match="^path"):
            call(path)


@pytest.mark.parametrize("name", ["absent.npy", "absent.cfl", "absent/basis.npy", "absent/basis.cfl"])
def test_absent_file_or_directory_is_told(tmp_path, draw_basis, name):
    with pytest.raises(FileNotFoundError, match="absent"):
        load_basis(tmp_path / name)
    if "/" in name:
        with pytest.raises(FileNotFoundError, match="The directory of .*absent/basis"):
            save_basis(tmp_path / name, draw_basis(9, 3))


def shape_or_message(path):
    try:
        return load_basis(path).shape
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("place", range(0, 144, 5))
def test_damaged_array_is_told_or_no_basis(tmp_path, draw_basis, place):
    path = tmp_path / "basis.npy"
    save_basis(path, draw_basis(9, 3))
    data = bytearray(path.read_bytes())
    for bits in (0xFF, 0x55, 0x01):
        data[place] ^= bits
        path.write_bytes(data)
        found = shape_or_message(path)
        assert found == (9, 3) or "basis.npy" in found  # spaces of the header do not matter, nor the last bits


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"no array", b"\x93NUMPY\x01\x00"])
def test_what_is_no_array_is_told(tmp_path, content):
    (tmp_path / "basis.npy").write_bytes(content)
    with pytest.raises(ValueError, match="basis.npy is no array, or is damaged"):
        load_basis(tmp_path / "basis.npy")


def test_no_code_is_run(tmp_path):
    np.save(tmp_path / "basis.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="basis.npy is no array"):
        load_basis(tmp_path / "basis.npy")


def test_array_of_bart_that_is_no_basis_is_told(tmp_path):
    (tmp_path / "image.hdr").write_text("# Dimensions\n2 2\n")
    (tmp_path / "image.cfl").write_bytes(bytes(32))
    with pytest.raises(ValueError, match="image.cfl must have time along dimension 5"):
        load_basis(tmp_path / "image.cfl")
    (tmp_path / "image.hdr").write_text("# Dimensions\n1 1 1 1 1 2 2\n")
    with pytest.raises(ValueError, match="image.cfl: basis must have orthonormal columns"):
        load_basis(tmp_path / "image.cfl")
