import numpy as np
import pytest
from report_pages import T1, written

from crbestim.io import ParameterMap
from crbestim.io._report._slices import Slice, View


@pytest.mark.parametrize(
    ("n_slices", "shown"),
    [
        (1, "slices z = 0"),
        (3, "slices z = 0; z = 1; z = 2"),
        (7, "slices z = 0; z = 1; z = 2; z = 4; z = 5; z = 6"),
        (40, "slices z = 5; z = 15; z = 25; z = 35; y = 2; x = 2"),
    ],
)
def test_slices_are_spread_over_the_volume(path, n_slices, shown):
    page = written(path, [ParameterMap(T1, np.ones((4, 5, n_slices)))])
    assert page.images[0]["alt"] == f"Maps of the estimates of T1: {shown}"
    assert "directions in the body are not known" in page.text


def test_slices_are_those_with_estimates(path):
    values = np.full((6, 6, 30), np.nan)
    values[:, :, [11, 19]] = 1
    values[0, 0, 20] = np.inf
    assert "slices z = 11; z = 19; y = 3; x = 3" in written(path, [ParameterMap(T1, values)]).images[0]["alt"]


def test_planes_are_named_where_the_axes_are_known(path):
    page = written(path, [ParameterMap(T1, np.ones((4, 5, 8)))], axis_codes=("P", "S", "R"))
    assert (
        "sagittal, z = 1; sagittal, z = 3; sagittal, z = 5; sagittal, z = 7; axial, y = 2; coronal, x = 2"
        in (page.images[0]["alt"])
    )
    assert "letters at the edges are directions in the body" in page.text


def test_letters_stand_at_the_edges():
    view = View.of(np.ones((4, 4, 9), bool), None, ("L", "A", "I"))
    assert view.edges(Slice(2, 0)) == ("R", "L", "P", "A")
    assert view.edges(Slice(1, 0)) == ("R", "L", "S", "I")
    assert view.edges(Slice(0, 0)) == ("P", "A", "S", "I")
