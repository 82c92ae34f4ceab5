import numpy as np
import pytest

from crbestim.io import Volume, open_volume, save_volume


def test_affine_comes_from_a_volume_of_the_same_voxels(tmp_path):
    save_volume(tmp_path / "map.nii.gz", np.ones((4, 3, 2)))
    placed, bare = open_volume(tmp_path / "map.nii.gz"), Volume.from_array(np.ones((4, 3, 2, 5)))
    np.testing.assert_array_equal(bare.at_place_of(placed).affine, placed.affine)
    with pytest.raises(ValueError, match=r"other must have the voxels of array, \(4, 3, 3\); got \(4, 3, 2\)"):
        Volume.from_array(np.ones((4, 3, 3, 5))).at_place_of(placed)


def test_only_arrays_of_four_axes_are_volumes():
    with pytest.raises(TypeError, match="values must be an ndarray; got list"):
        Volume.from_array([[[[1.0]]]])
    with pytest.raises(ValueError, match="values must have shape"):
        Volume.from_array(np.ones((4, 3, 2)))
