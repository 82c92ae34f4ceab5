import numpy as np
import pandas as pd
import pytest

from crbestim import MTHybridStateModel, make_grid, paper_prior


def test_two_axes_vary_and_the_others_stay_at_the_means():
    prior = paper_prior()
    m0s, t1 = np.linspace(0.02, 0.3, 3), np.linspace(0.5, 3, 4)
    theta = make_grid({"m0s": m0s, "T1": t1}, prior)
    assert isinstance(theta, pd.DataFrame)
    assert list(theta.columns) == list(prior.names)
    np.testing.assert_array_equal(theta["m0s"].to_numpy().reshape(3, 4), np.tile(m0s[:, None], 4))
    np.testing.assert_array_equal(theta["T1"].to_numpy().reshape(3, 4), np.tile(t1, (3, 1)))
    for name in ("T2f", "Rx", "T2s", "B0", "B1"):
        assert set(theta[name]) == {prior.mean()[name]}
    assert np.isfinite(MTHybridStateModel().crb(theta)).all()


@pytest.mark.parametrize(
    ("axes", "error", "message"),
    [
        ({}, TypeError, "axes must be a mapping"),
        ([1, 2], TypeError, "axes must be a mapping"),
        ({"T3": [1.0]}, ValueError, r"axes names \['T3'\], which are not parameters"),
        ({"T1": [[1.0]]}, ValueError, r"axes\['T1'\] must be real values of shape \(n,\)"),
        ({"T1": []}, ValueError, r"axes\['T1'\] must be real values of shape \(n,\)"),
        ({"T1": [1.0, np.nan]}, ValueError, r"axes\['T1'\] contains NaN"),
    ],
)
def test_bad_axes_are_named(axes, error, message):
    with pytest.raises(error, match=message):
        make_grid(axes, paper_prior())


def test_a_prior_must_be_one():
    with pytest.raises(TypeError, match="prior must be a Prior; got str"):
        make_grid({"T1": [1.0]}, "paper")
