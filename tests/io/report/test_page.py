import html
import re

import matplotlib
import numpy as np
import pytest
from report_pages import M0S, SHAPE, T1, decoded, make_map, written

from crbestim import Parameter
from crbestim.io import ParameterMap, write_report


def test_page_stands_alone_and_its_images_decode(path):
    page = written(path, [make_map(), make_map(M0S)], quality=np.ones(SHAPE, int), title="Head")
    assert page.source.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert page.open == []
    assert not re.search(r"https?://|<script|<link|@import|url\(", page.source)
    assert len(page.images) == 9  # flags; maps and histograms of two parameters and of their std
    for image in page.images:
        picture = decoded(image)
        assert picture.size == (int(image["width"]), int(image["height"]))
        assert picture.width == 1040
        assert 200 < picture.height < 1000
        assert image["alt"]


def test_texts_are_escaped(path):
    bad = "<b>&\"'$x</b>"
    page = written(
        path,
        [make_map(Parameter(f"n{bad}", "T_1", "s", (0.0, 30.0)), std=False)],
        quality=np.ones(SHAPE, int),
        quality_labels={1: f"label {bad}"},
        title=f"title {bad}",
        details={f"key {bad}": f"value {bad}", f"heading {bad}": {"command": f"fit --in {bad}\nline"}},
    )
    assert "b" not in page.names
    assert bad not in page.source
    for text in ("n", "label ", "title ", "key ", "value ", "heading ", "fit --in "):
        assert text + bad in page.text
        assert text + html.escape(bad) in page.source


def test_bytes_of_a_file_name_that_are_no_text_are_shown_as_numbers(path):
    assert r"a\udcff.nii" in written(path, [make_map()], details={"file": "a\udcff.nii"}).text


def test_numbers_of_a_known_map(path):
    values = np.full((101, 2, 1), np.nan)
    values[:, 0, 0] = np.linspace(1, 2, 101)
    std = np.where(np.isnan(values), np.nan, 0.5)
    std[0] = np.inf
    page = written(path, [ParameterMap(T1, values, std)], voxel_size=(1, 2.5, 3))
    assert "101 × 2 × 1 voxels of 1 × 2.5 × 3 mm³; 101 with estimates" in page.text
    assert "T1 s 101 1.01 1.25 1.50 1.75 1.99 0.500" in page.text
    assert "1 estimates have no finite standard deviation." in page.text
    assert "T1 [s]" in page.text


def test_window_is_rounded_outward_and_tells_what_is_outside(path):
    # Of 1000 values, 1 is far below and 2 are far above; the percentiles are 1.013 and 1.993.
    values = np.linspace(1.003, 2.002, 1000)
    values[0], values[-2:] = -50.0, 90.0
    std = np.linspace(0.0, 0.999, 1000)
    page = written(path, [ParameterMap(T1, values.reshape(10, 10, 10), std.reshape(10, 10, 10))])
    assert "Window 1 to 2 s: 1st to 99th percentile" in page.text
    assert "Histogram of 1,000 estimates; 1 below and 2 above the window." in page.text
    assert "Window 0 to 1 s: zero to the 99th percentile" in page.text
    assert "Histogram of 1,000 standard deviations; 0 below and 0 above the window." in page.text


@pytest.mark.parametrize(
    ("values", "window"),
    [
        ([3.0, 3.0], "2.7 to 3.3 s"),
        ([0.0, 0.0], "−1 to 1 s"),
        ([1.0, 1.00001], "1 to 1.00001 s"),
        ([-1213.0, 1490.0], "−1200 to 1600 s"),
        ([1.02e-5, 1.98e-5], "1 × 10−5 to 2 × 10−5 s"),
    ],
)
def test_window_of_values(path, values, window):
    page = written(path, [ParameterMap(T1, np.reshape(values, (2, 1, 1)))])
    assert f"Window {window}: 1st" in page.text


def test_integers_are_drawn_like_floats(path):
    assert (
        "T1 s 2 1.02 1.50 2.00 2.50 2.98 –"
        in written(path, [ParameterMap(T1, np.array([1, 3]).reshape(2, 1, 1))]).text
    )


def test_counts_of_flags_are_those_of_the_voxels_with_estimates(path):
    values = np.ones((5, 2, 1))
    values[4, 1] = np.nan
    quality = np.array([[0, 0], [1, 1], [1 | 4, 2], [8, 0], [0, 7]], np.uint8)[..., None]
    labels = {1: "far", np.int64(2): "vague", 4: "wrong", 16: "never"}
    page = written(path, [ParameterMap(T1, values)], quality=quality, quality_labels=labels)
    table = page.text[page.text.index("no objection") : page.text.index("Shares")]
    assert table.split("%")[:-1] == [
        "no objection 4 44.44 ",
        " far 3 33.33 ",
        " vague 1 11.11 ",
        " wrong 1 11.11 ",
        " flag 8 1 11.11 ",
        " never 0 0.00 ",
        " more than one of these 1 11.11 ",
    ]
    assert "Shares of the 9 voxels with estimates." in page.text
    assert "1 voxels with a flag have no estimate" in page.text


def test_share_that_rounds_to_zero_is_not_called_zero(path):
    quality = np.zeros((300, 100, 1), int)
    quality[0, 0] = 1
    page = written(path, [ParameterMap(T1, np.ones(quality.shape))], quality=quality)
    assert "flag 1 1 < 0.01 %" in page.text


def test_slice_is_drawn_with_x_to_the_right_and_y_upward_in_the_flags_colours(path):
    quality = np.array([[1, 2], [4, 3]])[..., None]  # (x, y): 2 and 3 above, 1 and 4 below
    page = written(path, [ParameterMap(T1, np.ones((2, 2, 1)))], quality=quality)
    colors = re.findall(r'class="swatch" style="background:(#\w{6})"', page.source)
    none, first, second, third, several = (tuple(bytes.fromhex(color[1:])) for color in colors)
    picture = np.asarray(page.picture("quality flags"))
    rows, columns = np.nonzero((picture == first).all(axis=-1) | (picture == several).all(axis=-1))
    middle_row, middle_column = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
    quarter = (rows.max() - rows.min()) // 4
    corners = {
        (up, right): tuple(picture[middle_row - up * quarter, middle_column + right * quarter])
        for up in (-1, 1)
        for right in (-1, 1)
    }
    assert corners == {(-1, -1): first, (1, -1): second, (-1, 1): third, (1, 1): several}
    assert len({none, first, second, third, several}) == 5


def test_voxel_size_gives_the_shape_of_the_picture(path):
    flat, tall = (
        written(path, [make_map(shape=(8, 8, 1))], voxel_size=size, overwrite=True).picture("Maps of the estimates")
        for size in ((2, 1, 1), (1, 1, 9))
    )
    assert flat.height < 0.7 * tall.height


@pytest.mark.parametrize(
    ("name", "symbol", "markup"),
    [
        ("T2f", "T_2^f", "T<sub>2</sub><sup>f</sup>"),
        ("T2f", r"T_{2}^{f}", "T<sub>2</sub><sup>f</sup>"),
        ("B1", r"B_1 / B_1^\mathrm{nominal}", "B1"),
        ("efficiency", r"\eta", "efficiency"),
        ("T2star", "T_2^*", "T2star"),
    ],
)
def test_names_have_indices_where_the_symbol_is_the_name(path, name, symbol, markup):
    page = written(path, [make_map(Parameter(name, symbol, "s", (0.0, 30.0)), (4, 4, 1), std=False)])
    assert f'<h2>{markup} <span class="unit">[s]</span></h2>' in page.source


def test_volume_without_estimates_makes_a_page_that_says_so(path):
    empty = ParameterMap(T1, np.full(SHAPE, np.nan), np.ones(SHAPE))
    page = written(path, [empty], quality=np.ones(SHAPE, int), details={"command": "fit.py"})
    assert "There are no estimates: no voxel has a finite value." in page.text
    assert "command fit.py" in page.text
    assert page.images == []
    page = written(path, [empty, make_map(M0S, std=False)], overwrite=True)
    assert "There are no estimates of T1." in page.text
    assert "T1 s 0 – – – – – –" in page.text
    assert len(page.images) == 2


def test_infinite_values_are_told_apart_from_estimates(path):
    values = np.ones((4, 4, 1))
    values[0, 0], values[1, 1] = np.inf, -np.inf
    page = written(path, [ParameterMap(T1, values, np.full((4, 4, 1), np.inf))])
    assert "2 voxels have infinite values, which are no estimates." in page.text
    assert "T1 s 14 1.00 1.00 1.00 1.00 1.00 ∞" in page.text
    assert len(page.images) == 2


def test_std_without_an_estimate_is_not_drawn(path):
    entry = make_map(shape=(8, 8, 1))
    page = written(path, [entry])
    filled = ParameterMap(entry.parameter, entry.values, np.nan_to_num(entry.std, nan=0.05))
    other = written(path, [filled], overwrite=True)
    assert other.picture("Maps of the standard").tobytes() == page.picture("Maps of the standard").tobytes()


def test_settings_of_matplotlib_neither_matter_nor_change(path):
    page = written(path, [make_map(shape=(8, 8, 1))])
    with matplotlib.style.context("dark_background"):
        backend, settings = matplotlib.get_backend(), matplotlib.rcParams.copy()
        dark = written(path, [make_map(shape=(8, 8, 1))], overwrite=True)
        assert (matplotlib.get_backend(), matplotlib.rcParams) == (backend, settings)
    assert dark.source == page.source


def test_file_is_replaced_only_if_asked_for(path):
    path.write_text("old")
    with pytest.raises(FileExistsError, match=r"report.html exists; pass overwrite=True"):
        write_report(path, [make_map()])
    assert path.read_text() == "old"
    write_report(str(path), [make_map()], overwrite=True)
    assert "Parameter maps" in path.read_text(encoding="utf-8")
    assert list(path.parent.iterdir()) == [path]


def test_failure_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    path.write_text("old")
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(path, [make_map(shape=(4, 4, 1))], overwrite=True)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_missing_directory_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="directory of .*nowhere"):
        write_report(tmp_path / "nowhere" / "report.html", [make_map(shape=(4, 4, 1))])
