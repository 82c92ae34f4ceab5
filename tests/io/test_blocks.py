import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crbestim.io._blocks import split

SHAPES = st.tuples(*[st.integers(1, 6)] * 3)


@given(data=st.data(), shape=SHAPES, most_voxels=st.integers(1, 250))
def test_blocks_cover_each_voxel_of_the_mask_once(data, shape, most_voxels):
    mask = data.draw(arrays(bool, shape))
    count = np.zeros(shape, int)
    for block in split(shape, mask, most_voxels):
        assert mask[block].any()
        assert mask[block].size <= max(most_voxels, shape[0])
        count[block] += 1
    assert count.max(initial=0) <= 1
    assert (count[mask] == 1).all()


@pytest.mark.parametrize(
    ("most_voxels", "n_blocks"),
    [(1, 20), (5, 20), (9, 20), (10, 10), (19, 10), (20, 5), (39, 5), (40, 3), (99, 2), (100, 1), (10**6, 1)],
)
def test_blocks_are_as_large_as_they_may_be(most_voxels, n_blocks):
    assert len(split((5, 4, 5), np.ones((5, 4, 5), bool), most_voxels)) == n_blocks


def test_nothing_is_left_of_an_empty_mask():
    assert split((2, 3, 4), np.zeros((2, 3, 4), bool), 5) == []
