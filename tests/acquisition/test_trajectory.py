import numpy as np
import pytest

from crbestim.acquisition import koosh_ball_trajectory, radial_weights


def test_spokes_run_through_the_centre_within_pi():
    k = koosh_ball_trajectory(n_echoes=5, n_cycles=3, n_samples=8)
    assert k.shape == (5, 3, 8, 3)
    assert k.dtype == np.float32
    np.testing.assert_array_equal(k[:, :, 4], 0)
    np.testing.assert_allclose(np.linalg.norm(k[:, :, 0], axis=-1), np.pi, rtol=1e-6)
    np.testing.assert_allclose(k[:, :, 2], -k[:, :, 6], atol=1e-6)


def test_increments_run_on_from_cycle_to_cycle():
    long, short = koosh_ball_trajectory(12, 1, 4), koosh_ball_trajectory(4, 3, 4)
    np.testing.assert_allclose(short.swapaxes(0, 1).reshape(12, 4, 3), long[:, 0], atol=1e-6)


def test_directions_cover_the_sphere_evenly():
    tips = koosh_ball_trajectory(500, 8, 2)[:, :, 0].reshape(-1, 3) / np.pi
    second_moments = tips.T @ tips / len(tips)
    np.testing.assert_allclose(second_moments, np.eye(3) / 3, atol=2e-3)
    one_echo = koosh_ball_trajectory(500, 400, 2)[123, :, 0] / np.pi
    np.testing.assert_allclose(one_echo.T @ one_echo / len(one_echo), np.eye(3) / 3, atol=2e-2)


def test_weights_times_density_of_the_samples_is_constant():
    trajectory = koosh_ball_trajectory(500, 8, 32)
    weights, radius = radial_weights(trajectory).ravel(), np.linalg.norm(trajectory, axis=-1).ravel() / np.pi
    for inner, outer in ((0.2, 0.4), (0.6, 0.8)):
        shell = (radius > inner) & (radius < outer)
        volume = 4 / 3 * np.pi * (outer**3 - inner**3)
        assert weights[shell].sum() / volume == pytest.approx(weights.sum() / (4 / 3 * np.pi), rel=0.1)


@pytest.mark.parametrize("arguments", [(0, 1, 8), (1, 0, 8), (1, 1, 1), (1.5, 1, 8)])
def test_bad_numbers_are_refused(arguments):
    with pytest.raises((TypeError, ValueError), match="n_echoes|n_cycles|n_samples"):
        koosh_ball_trajectory(*arguments)
