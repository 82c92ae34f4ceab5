import numpy as np
import pytest
from report_pages import M0S, T1

from crbestim.io import ParameterMap, write_report

ONES = np.ones((3, 3, 2))
GOOD = ParameterMap(T1, ONES)


@pytest.mark.parametrize(
    ("maps", "options", "error", "message"),
    [
        ([], {}, ValueError, "maps is empty; expected at least one"),
        (GOOD, {}, TypeError, "maps must be a sequence of ParameterMap; got ParameterMap"),
        (3, {}, TypeError, "maps must be a sequence of ParameterMap; got int"),
        ([GOOD, ONES], {}, TypeError, r"maps\[1\] must be a ParameterMap; got ndarray"),
        ([ParameterMap(T1, ONES + 1j)], {}, TypeError, r"maps\[0\] \(T1\): values must be real numbers; got complex"),
        ([ParameterMap(T1, ONES > 0)], {}, TypeError, "values must be real numbers; got bool"),
        ([ParameterMap(T1, ONES[0])], {}, ValueError, r"values must be 3-D .*; got shape \(3, 2\)"),
        ([ParameterMap(T1, ONES[:0])], {}, ValueError, "values must be 3-D .* not empty"),
        ([GOOD, ParameterMap(M0S, ONES[1:])], {}, ValueError, r"maps\[1\] \(m0s\): values must have the shape of the"),
        ([ParameterMap(T1, ONES, ONES[1:])], {}, ValueError, r"std must have the shape of values, \(3, 3, 2\); got"),
        ([ParameterMap(T1, ONES, ONES + 1j)], {}, TypeError, "std must be real numbers; got complex"),
        ([ParameterMap(T1, ONES, -ONES)], {}, ValueError, "std must not be negative; its least value is -1"),
        ([GOOD], {"quality": ONES}, TypeError, "quality must be integers, as bit flags; got float64"),
        ([GOOD], {"quality": np.ones((3, 3), int)}, ValueError, r"quality must have the shape .*; got \(3, 3\)"),
        ([GOOD], {"quality": np.full((3, 3, 2), -4)}, ValueError, "quality must not be negative.* -4"),
        ([GOOD], {"quality_labels": {1: "a"}}, ValueError, "quality_labels has no meaning without quality"),
        ([GOOD], {"quality": ONES.astype(int), "quality_labels": ["a"]}, TypeError, "quality_labels must map flags"),
        (
            [GOOD],
            {"quality": ONES.astype(int), "quality_labels": {1: 2}},
            TypeError,
            "quality_labels must .*; got 1: 2",
        ),
        ([GOOD], {"quality": ONES.astype(int), "quality_labels": {"1": "a"}}, TypeError, "map integers to texts"),
        ([GOOD], {"quality": ONES.astype(int), "quality_labels": {3: "a"}}, ValueError, "each flag must be one bit"),
        ([GOOD], {"quality": ONES.astype(int), "quality_labels": {0: "a"}}, ValueError, "each flag must be one bit"),
        (
            [GOOD],
            {"voxel_size": (1, 2)},
            ValueError,
            r"voxel_size must be three positive numbers, in mm; got \(1, 2\)",
        ),
        ([GOOD], {"voxel_size": (1, 2, 0)}, ValueError, "voxel_size must be three positive"),
        ([GOOD], {"voxel_size": (1, 2, np.nan)}, ValueError, "voxel_size must be three positive"),
        ([GOOD], {"voxel_size": "big"}, TypeError, "voxel_size must be three real numbers; got 'big'"),
        ([GOOD], {"axis_codes": "RAS"}, TypeError, "axis_codes must be a sequence of three letters"),
        ([GOOD], {"axis_codes": ("R", "A")}, ValueError, "axis_codes must have one letter of each"),
        ([GOOD], {"axis_codes": ("R", "L", "S")}, ValueError, "axis_codes must have one letter of each"),
        ([GOOD], {"title": None}, TypeError, "title must be a text; got NoneType"),
        ([GOOD], {"details": "fit.py"}, TypeError, "details must map texts to texts"),
        ([GOOD], {"details": {"n": 3}}, TypeError, r"details\['n'\] must be a text; got int"),
        ([GOOD], {"details": {3: "n"}}, TypeError, "details: every key must be a text; got int"),
        ([GOOD], {"details": {"a": {"n": 3}}}, TypeError, r"details\['a'\]\['n'\] must be a text; got int"),
        ([GOOD], {"details": {"a": {3: "n"}}}, TypeError, r"details\['a'\]: every key must be a text; got int"),
    ],
)
def test_bad_input_is_named(path, maps, options, error, message):
    with pytest.raises(error, match=message):
        write_report(path, maps, **options)
    assert not path.exists()


def test_path_must_be_a_path():
    with pytest.raises(TypeError, match="path must be a path; got int"):
        write_report(3, [GOOD])
