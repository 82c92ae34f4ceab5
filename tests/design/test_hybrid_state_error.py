from dataclasses import replace

import numpy as np
import pytest
from designs import template, tissues

from crbestim import (
    BlochHybridStateModel,
    BlochMcConnellModel,
    MonoExponentialModel,
    MTBlochModel,
    MTHybridStateModel,
)
from crbestim.design import hybrid_state_error
from crbestim.design._hybrid_state_error import HybridStateError


def best_scaled_error(signal, reference):
    """By least squares, voxel by voxel."""
    errors = []
    for s, r in zip(signal, reference, strict=True):
        scale = np.linalg.lstsq(s[:, None].astype(complex), r, rcond=None)[0]
        errors.append(np.linalg.norm(s * scale - r) / np.linalg.norm(r))
    return np.array(errors)


@pytest.mark.parametrize("saturation", ["graham", "generalized-bloch"])
def test_error_is_that_of_the_best_scale(saturation):
    model, theta = MTHybridStateModel(template(), saturation=saturation), tissues()
    reference = MTBlochModel(template(), saturation=saturation).signal(theta)
    expected = best_scaled_error(model.signal(theta), reference)
    np.testing.assert_allclose(hybrid_state_error(model, theta), expected, rtol=1e-6)
    assert 0.01 < np.median(expected) < 0.9


def test_error_agrees_with_bloch_mcconnell():
    model, theta = MTHybridStateModel(template()), tissues()
    expected = best_scaled_error(model.signal(theta), BlochMcConnellModel(template()).signal(theta))
    np.testing.assert_allclose(hybrid_state_error(model, theta), expected, rtol=0.02, atol=2e-3)


def test_error_of_a_single_pool():
    theta = tissues().rename(columns={"T2f": "T2"})[["T1", "T2", "B0", "B1"]]
    two_pools = theta.rename(columns={"T2": "T2f"}).assign(m0s=0.0, Rx=0.0, T2s=1e-5)
    np.testing.assert_allclose(
        hybrid_state_error(BlochHybridStateModel(template()), theta),
        hybrid_state_error(MTHybridStateModel(template()), two_pools),
        rtol=1e-6,
    )


def test_no_signal_has_no_error():
    theta = tissues(3)
    theta.loc[1, "B1"] = 0.0
    assert np.isnan(hybrid_state_error(MTHybridStateModel(template()), theta)).tolist() == [False, True, False]


def test_gradient_of_the_mean_logarithm():
    model = MTHybridStateModel(template())
    theta = model.check_theta(tissues())
    error = HybridStateError(model, theta)
    assert np.exp(error.mean_log) == pytest.approx(np.exp(np.log(hybrid_state_error(model, theta)).mean()), rel=1e-3)
    hybrid = model._pulse_gradient(theta, error.signal_weights()[:, :, None])
    gradients = [a + b for a, b in zip(hybrid, error.gradient_of_reference(), strict=True)]
    rng = np.random.default_rng(0)
    for control, gradient, step in zip(("flip_angle", "pulse_duration"), gradients, (1e-4, 3e-8), strict=True):
        direction = rng.normal(size=80)
        values = {sign: getattr(template(), control) + sign * step * direction for sign in (-1, 1)}
        low, high = (
            HybridStateError(model.with_sequence(_with(control, values[sign])), theta).mean_log for sign in (-1, 1)
        )
        assert gradient @ direction == pytest.approx((high - low) / (2 * step), rel=1e-4)


def _with(control, values):
    return replace(template(), **{control: values})


def test_other_models_are_refused():
    with pytest.raises(TypeError, match="model must be one of the hybrid state; got MTBlochModel"):
        hybrid_state_error(MTBlochModel(template()), tissues())
    with pytest.raises(TypeError, match="MonoExponentialModel"):
        hybrid_state_error(MonoExponentialModel([0.01, 0.02]), [[0.1]])
    with pytest.raises(ValueError, match="model must have one T1"):
        hybrid_state_error(MTHybridStateModel(template(), separate_T1=True), tissues().assign(T1s=0.3))
