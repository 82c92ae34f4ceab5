import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxel_functions import Recorded, moments, refuse, runs_of

from crbestim.io import map_volume, open_volume, save_volume

SHAPE = (5, 4, 6)


@pytest.fixture(scope="module")
def images(draw_images):
    """Coefficients with some empty voxels."""
    values = draw_images()
    values[0] = 0
    values[2, 2, 2] = 0
    return values


@pytest.fixture(scope="module")
def volume(images, in_memory):
    """The coefficients as a volume."""
    return in_memory(images)


@pytest.fixture(scope="module")
def block_map():
    """For each slice its number."""
    return np.broadcast_to(np.arange(SHAPE[2]), SHAPE)


def run(apply, volume, **options):
    return map_volume(apply, volume, verbose=0, **options)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in found:
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(found[name], expected[name])


def test_each_voxel_gets_its_own_result(images, volume):
    found = run(moments, volume, voxel_maps={"B": np.arange(120.0).reshape(SHAPE)})
    inside = images.any(axis=-1)
    expected = moments(images[inside], B=np.arange(120.0).reshape(SHAPE)[inside])
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        assert found[name].shape == SHAPE + values.shape[1:]
        np.testing.assert_array_equal(found[name][inside], values)
    assert np.isnan(found["norm"][~inside]).all()
    assert np.isnan(found["pair"][~inside]).all()
    assert (found["count"][~inside] == 0).all()


@given(most_voxels=st.integers(1, 130), seed=st.integers(0, 99))
def test_result_does_not_depend_on_the_blocks(images, volume, most_voxels, seed):
    mask = np.random.default_rng(seed).random(SHAPE) < 0.3
    mask[1, 1, 1] = True
    assert_same(run(moments, volume, mask=mask, most_voxels=most_voxels), run(moments, volume, mask=mask))


def test_processes_give_the_same(volume):
    options = {"most_voxels": 20, "voxel_maps": {"B": np.arange(120.0).reshape(SHAPE)}}
    assert_same(run(moments, volume, n_jobs=2, **options), run(moments, volume, **options))


def test_mask_may_hold_empty_voxels(images, volume):
    mask = np.zeros(SHAPE, bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    found = run(moments, volume, mask=mask)
    np.testing.assert_array_equal(np.isfinite(found["norm"]), mask)
    assert found["norm"][0, 0, 0] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1j * np.nan, -1j * np.inf])
@pytest.mark.parametrize("most_voxels", [5, 20, 1000])
def test_voxel_that_is_not_finite_is_told(images, in_memory, tmp_path, bad, most_voxels):
    images = images.copy()
    images[1, 1, 1, 0] = images[3, 3, 4, 2] = images[4, 3, 5, 1] = bad
    volume = in_memory(images)
    options = {"most_voxels": most_voxels, "checkpoint": tmp_path / "log"}
    with pytest.raises(ValueError, match=r"memory: 3 voxels hold NaN .* first at \(1, 1, 1\)\. Give a mask"):
        run(moments, volume, **options)
    mask = np.ones(SHAPE, bool)
    mask[1, 1, 1] = False
    with pytest.raises(ValueError, match=r"memory: 2 voxels of the mask hold NaN .* first at \(3, 3, 4\)"):
        run(moments, volume, mask=mask, **options)
    assert list(tmp_path.iterdir()) == []
    mask[3, 3, 4] = mask[4, 3, 5] = False
    found = run(moments, volume, mask=mask, **options)
    np.testing.assert_array_equal(np.isfinite(found["norm"]), mask)


def test_map_that_is_not_finite_is_told_within_the_mask_alone(volume, tmp_path):
    noise, mask = np.ones(SHAPE), np.ones(SHAPE, bool)
    noise[3, 2, 1] = np.nan
    with pytest.raises(ValueError, match="noise_std must be finite in all voxels"):
        run(moments, volume, voxel_maps={"noise_std": noise}, checkpoint=tmp_path / "log")
    assert list(tmp_path.iterdir()) == []
    mask[3, 2, 1] = False
    found = run(moments, volume, mask=mask, voxel_maps={"noise_std": noise})
    np.testing.assert_array_equal(found["twice_noise_std"][mask], 2)


def test_nothing_to_compute_is_told(volume, in_memory, images):
    with pytest.raises(ValueError, match="memory: there is no voxel to compute: all values are zero"):
        run(moments, in_memory(0 * images))
    with pytest.raises(ValueError, match="memory: there is no voxel to compute: the mask is empty"):
        run(moments, volume, mask=np.zeros(SHAPE, bool))


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 5), (5, 4, 6, 1), ()])
def test_maps_of_another_shape_are_told(volume, shape):
    with pytest.raises(ValueError, match=r"mask must have the shape of the volume, \(5, 4, 6\); got"):
        run(moments, volume, mask=np.ones(shape, bool))
    with pytest.raises(ValueError, match="B1 must have the shape of the volume"):
        run(moments, volume, voxel_maps={"B1": np.ones(shape)})


@pytest.mark.parametrize(("most_voxels", "error"), [(0, ValueError), (2.5, TypeError)])
def test_size_of_blocks_is_checked(volume, most_voxels, error):
    with pytest.raises(error, match="most_voxels must be"):
        run(moments, volume, most_voxels=most_voxels)


def one_row(rows):
    return {"x": rows[:1, 0].real}


def no_row(rows):
    return {}


def other_names(rows):
    return {f"x{len(rows)}": rows.real}


@pytest.mark.parametrize("apply", [one_row, no_row, other_names])
@pytest.mark.parametrize("logged", [True, False])
def test_result_that_does_not_fit_is_told(volume, tmp_path, apply, logged):
    with pytest.raises(ValueError, match="apply must return arrays of the same names, a row a voxel; got"):
        run(apply, volume, most_voxels=20, checkpoint=tmp_path / "log" if logged else None)


def recorded(directory, name, apply=moments):
    """Return the function that leaves files in a new directory, and the directory."""
    directory = directory / name
    directory.mkdir()
    return Recorded(apply, directory), directory


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_checkpoint_is_resumed(volume, tmp_path, block_map, n_jobs):
    options = {
        "most_voxels": 20,
        "voxel_maps": {"block": block_map},
        "checkpoint": tmp_path / "log",
        "settings": "a",
        "n_jobs": n_jobs,
    }
    apply, first = recorded(tmp_path, "first")
    expected = run(apply, volume, **options)
    assert sorted(block for block, _ in runs_of(first, "done")) == list(range(6))
    apply, second = recorded(tmp_path, "second")
    assert_same(run(apply, volume, **options), expected)
    assert runs_of(second) == []
    for block in (1, 4):
        (tmp_path / "log" / f"batch_{block:06d}.npz").unlink()
    assert_same(run(apply, volume, **options), expected)
    assert sorted(block for block, _ in runs_of(second, "done")) == [1, 4]


def test_checkpoint_of_something_else_is_refused(images, volume, in_memory, tmp_path, block_map, files_of):
    options = {"most_voxels": 20, "checkpoint": tmp_path / "log", "settings": "a", "voxel_maps": {"block": block_map}}
    run(moments, volume, **options)
    before = files_of(tmp_path)
    changed = images.copy()
    changed[1, 1, 1, 1] += 1e-6
    mask = images.any(axis=-1)
    mask[1, 1, 1] = False
    others = [
        (in_memory(changed), {}),
        (volume, {"settings": "b"}),
        (volume, {"most_voxels": 40}),
        (volume, {"mask": mask}),
        (volume, {"voxel_maps": {"block": block_map + 1}}),
        (volume, {"voxel_maps": {"other": block_map}}),
        (volume, {"voxel_maps": {}}),
    ]
    for other, change in others:
        with pytest.raises(ValueError, match="checkpoint: .*log belongs to a computation with other data or settings"):
            run(refuse, other, **options | change)
    assert files_of(tmp_path) == before


def of_other_length(content):
    return {name: values[:-1] for name, values in content.items()}


def without_one(content):
    return {name: values for name, values in content.items() if name != "norm"}


def of_other_width(content):
    return content | {"pair": content["pair"][:, :1]}


@pytest.mark.parametrize(
    "change",
    [None, of_other_length, without_one, of_other_width, lambda content: {}, lambda content: {"x": np.ones(())}],
)
def test_damaged_part_is_refused(volume, tmp_path, change):
    options = {"most_voxels": 20, "checkpoint": tmp_path / "log"}
    run(moments, volume, **options)
    part = tmp_path / "log" / "batch_000003.npz"
    if change is None:
        part.write_bytes(part.read_bytes()[:-50])
    else:
        with np.load(part) as arrays:
            content = dict(arrays)
        np.savez(part, **change(content))
    with pytest.raises(ValueError, match=r"checkpoint: .*batch_000003.npz is damaged. Delete it"):
        run(refuse, volume, **options)
    part.unlink()
    assert_same(run(moments, volume, **options), run(moments, volume, most_voxels=20))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interrupted_run_is_continued(volume, tmp_path, block_map, error):
    options = {"most_voxels": 20, "voxel_maps": {"block": block_map}, "checkpoint": tmp_path / "log"}
    calls = []

    def interrupted(rows, block):
        calls.append(block[0])
        if len(calls) == 4:
            raise error("stop")
        return moments(rows)

    with pytest.raises(error, match="stop"):
        run(interrupted, volume, **options)
    names = [f"batch_{block:06d}.npz" for block in range(3)]
    assert sorted(path.name for path in (tmp_path / "log").glob("*.npz")) == names
    apply, second = recorded(tmp_path, "second")
    found = run(apply, volume, **options)
    assert sorted(block for block, _ in runs_of(second)) == [3, 4, 5]
    assert_same(found, run(moments, volume))


def test_no_room_for_the_checkpoint_is_told_and_mended(volume, tmp_path, monkeypatch, block_map):
    from crbestim import _array_log

    options = {"most_voxels": 20, "voxel_maps": {"block": block_map}, "checkpoint": tmp_path / "log"}
    save, saved = np.savez, []

    def full(file, **arrays):
        saved.append(1)
        if len(saved) > 2:
            file.write(b"half")
            raise OSError("No space left on device")
        save(file, **arrays)

    with monkeypatch.context() as patch:
        patch.setattr(_array_log.np, "savez", full)
        with pytest.raises(OSError, match="No space left"):
            run(Recorded(moments, tmp_path), volume, **options)
    kept = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert kept == ["batch_000000.npz", "batch_000001.npz", "run.lock", "volume.json"]
    apply, second = recorded(tmp_path, "second")
    run(apply, volume, **options)
    assert sorted(block for block, _ in runs_of(second)) == [2, 3, 4, 5]


def test_error_of_the_function_is_told(volume):
    with pytest.raises(ValueError, match="R must not be 16"):
        run(refuse, volume, most_voxels=20)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_file_that_is_cut_meanwhile_is_told(tmp_path, images, n_jobs):
    """Its last blocks are read when the first ones are finished."""
    many = np.concatenate([images] * 4, axis=2)
    path = tmp_path / "image.nii"
    save_volume(path, many)
    volume = open_volume(path)
    scanned = []
    read = volume._read

    def cut(block):
        scanned.append(block)
        if len(scanned) == 24 + 8:
            path.write_bytes(path.read_bytes()[:500])
        return read(block)

    object.__setattr__(volume, "_read", cut)
    with pytest.raises(ValueError, match="image.nii cannot be read"):
        run(moments, volume, most_voxels=20, n_jobs=n_jobs)


def test_volume_is_read_block_by_block(volume):
    sizes = []
    read = volume._read

    def sized(block):
        part = read(block)
        sizes.append(part.shape)
        return part

    object.__setattr__(volume, "_read", sized)
    try:
        run(moments, volume, most_voxels=20)
    finally:
        object.__setattr__(volume, "_read", read)
    assert set(sizes) == {(5, 4, 1, 3)}


def test_progress_is_shown_on_request(volume, capsys):
    map_volume(moments, volume, description="a test", verbose=1)
    assert "a test: 100%" in capsys.readouterr().err
    run(moments, volume)
    assert capsys.readouterr().err == ""
