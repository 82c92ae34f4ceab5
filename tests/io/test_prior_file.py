"""Priors from TOML files."""

import numpy as np
import pytest

from crbestim import paper_prior
from crbestim.io import load_prior

PAPER = """
m0s = {mean = 0.12, std = 0.08, low = 0.0, high = 0.9999999999999999}
T1 = {mean = 1.6, std = 0.8, low = 0.1, high = 6}
T2f = {mean = 0.1, std = 0.2, low = 0.005, high = "T1"}
"""


def test_prior_of_the_paper(tmp_path):
    path = tmp_path / "prior.toml"
    path.write_text(PAPER)
    found = load_prior(path).sample(500, random_state=0)
    expected = paper_prior()
    names = ["m0s", "T1", "T2f"]
    assert list(found) == names
    expected = type(expected)({name: expected.distributions[name] for name in names}).sample(500, random_state=0)
    np.testing.assert_array_equal(found, expected)


def test_ranges_and_scipy_distributions(tmp_path):
    path = tmp_path / "prior.toml"
    path.write_text('T1 = [0.3, 4]\nR2 = {distribution = "gamma", a = 3, scale = 10}\n')
    sample = load_prior(path).sample(2**12, random_state=0, method="sobol")
    assert sample["T1"].between(0.3, 4).all()
    assert sample.mean().to_numpy() == pytest.approx([2.15, 30], rel=0.01)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no parameter"),
        ("T1 = [0.3,", "is no TOML file"),
        ("T1 = [4, 0.3]", "T1 cannot be used: the lower end must be below the upper one"),
        ("T1 = [1, 2, 3]", r"a list must be \[low, high\]; got \[1, 2, 3\]"),
        ("T1 = ['a', 2]", "an end of the range must be a finite number"),
        ("T1 = 3", r"must be \[low, high\] or a table"),
        ("T1 = {mean = 1}", "a table must have the entries"),
        ("T1 = {mean = 1, std = 0, low = 0, high = 2}", "std must be positive"),
        ("T1 = {mean = 1, std = 1, low = 0, high = 'T2'}", "none of those before it"),
        ("T1 = {distribution = 'poisson', mu = 3}", "no continuous distribution"),
        ("T1 = {distribution = 'gamma'}", "T1 cannot be used"),
        ("T1 = {distribution = 'gamma', a = -1}", "are not valid"),
    ],
)
def test_faults(tmp_path, text, complaint):
    path = tmp_path / "prior.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        load_prior(path)
