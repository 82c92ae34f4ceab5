import numpy as np
import pandas as pd
import pytest
from finite_differences import disagreement
from tissues import BAND, NAMES, SINGLE_POOL, TISSUE, TR, demanding_theta, tissue

from crbestim import BlochHybridStateModel, PulseSequence

METHODS = ("signal", "jacobian", "crb", "target_values")


@pytest.fixture(scope="module")
def single():
    """The model with the built-in sequence."""
    return BlochHybridStateModel()


def single_tissue(**changes):
    return tissue(SINGLE_POOL, **changes)


@pytest.mark.parametrize("name", SINGLE_POOL)
def test_jacobian_agrees_with_central_differences_in_every_voxel(single, name):
    theta = demanding_theta(SINGLE_POOL)
    failed = disagreement(single, theta, name) >= 1
    assert not failed.any(), theta[failed]


def test_is_the_two_pool_model_without_a_semi_solid_pool(single, model):
    """Signal and the four derivatives, over all of the voxels that are difficult; T2s plays no role."""
    theta = demanding_theta(SINGLE_POOL)
    without = theta.rename(columns={"T2": "T2f"}).assign(m0s=0.0, Rx=0.0, T2s=1e-5)[list(NAMES)]
    np.testing.assert_allclose(single.signal(theta), model.signal(without), rtol=0, atol=1e-12)
    jacobian = single.jacobian(theta)
    expected = model.jacobian(without)[:, :, [NAMES.index(name) for name in ("T1", "T2f", "B0", "B1")]]
    error = np.linalg.norm(jacobian - expected, axis=1)
    assert (error < 1e-10 * np.linalg.norm(expected, axis=1)).all()


def test_pulse_durations_play_no_role(single, draw_theta):
    sequence = single.sequence
    other = PulseSequence(sequence.flip_angle, np.full(1141, 1e-4), TR, 1e-3)
    theta = draw_theta(3, names=SINGLE_POOL)
    np.testing.assert_array_equal(BlochHybridStateModel(other).jacobian(theta), single.jacobian(theta))


@pytest.mark.parametrize(("b0", "t2"), [(0.0, 0.08), (200.0, TISSUE["T1"]), (0.0, TISSUE["T1"])])
def test_derivatives_that_vanish_identically(single, b0, t2):
    """That by B0 at B0 = 0; nothing vanishes where T1 = T2."""
    jacobian = single.jacobian(single_tissue(B0=b0, T2=t2))[0]
    np.testing.assert_array_equal(np.linalg.norm(jacobian, axis=0) > 1e-9, [True, True, b0 != 0, True])


def test_shapes_types_and_names(single):
    theta = np.repeat(single_tissue(), 3, axis=0)
    assert single.parameter_names == SINGLE_POOL
    assert single.default_targets == ("T1", "T2")
    assert single.signal(theta).shape == (3, 1141)
    assert single.jacobian(theta).shape == (3, 1141, 4)
    assert single.signal(theta).dtype == single.jacobian(theta).dtype == np.complex128
    assert single.crb(theta).shape == (3, 2)
    frame = pd.DataFrame(theta, columns=list(SINGLE_POOL))
    np.testing.assert_array_equal(single.signal(frame[["B1", "T2", "T1", "B0"]]), single.signal(theta))


def test_default_targets_are_told_well(single):
    """At SNR_max = 50 far better than they spread, and better still if the field is known."""
    std = np.sqrt(single.crb(single_tissue())) / 50
    assert (std < [0.1, 0.03]).all()
    assert (single.crb(single_tissue(), known=("B0", "B1")) < single.crb(single_tissue())).all()


def test_bound_is_never_nan_and_always_positive(single):
    """On a grid of all the points where something vanishes, and next to them."""
    grid = np.meshgrid(
        [1e-3, 1.6, 30.0],
        [1e-6, 1e-3],
        [0.0, 1e-300, -1e-9, 300.0, BAND, np.nextafter(BAND, 0), -1.001 * BAND, 2 * BAND, 1e9],
        [0.0, 1e-300, 1e-9, 1.0, 2.0, 3.0],
    )
    bound = single.crb(np.stack([axis.ravel() for axis in grid], axis=1), SINGLE_POOL)
    assert not np.isnan(bound).any()
    assert (bound > 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"T1": 0.0}, r"theta: T1 must lie in \(0, 30\] s; got 0 in row 1"),
        ({"T1": 1600.0}, r"theta: T1 must lie in \(0, 30\] s.*row 1.*SI units"),
        ({"T2": 0.0}, r"theta: T2 must lie in \(0, 30\] s"),
        ({"B1": -0.1}, r"theta: B1 must lie in \[0, 3\]"),
        ({"B1": 3.01}, r"theta: B1 must lie in \[0, 3\]"),
        ({"B0": np.nan}, r"theta contains NaN.*B0"),
        ({"T2": 1.7}, r"theta: T2 must not exceed T1; got T2 = 1\.7, T1 = 1\.6 in row 1"),
    ],
)
def test_unphysical_values_are_refused(single, method, changes, message):
    theta = np.concatenate([single_tissue(T2=TISSUE["T1"]), single_tissue(**changes)])
    with pytest.raises(ValueError, match=message):
        getattr(single, method)(theta)


@pytest.mark.parametrize("changes", [{"T1": 30.0, "T2": 30.0}, {"B1": 3.0}, {"B1": 0.0}, {"T1": 1e-9, "T2": 1e-9}])
def test_ends_of_the_range_are_accepted(single, changes):
    theta = single_tissue(**changes)
    assert np.isfinite(single.signal(theta)).all()
    assert np.isfinite(single.jacobian(theta)).all()


def test_two_pool_theta_is_refused(single):
    with pytest.raises(ValueError, match="theta must have 4 columns; got 7"):
        single.signal(tissue())
