from dataclasses import replace

import numpy as np
import pytest
from designs import template, tissues

from crbestim import BlochHybridStateModel, MTBlochModel, MTHybridStateModel
from crbestim.design._cost import BoundCost

TARGETS = ("m0s", "T1", "T2f")
MODELS = {
    "two pools": MTHybridStateModel,
    "separate T1": lambda sequence: MTHybridStateModel(sequence, separate_T1=True),
    "rotating": MTBlochModel,
    "single pool": BlochHybridStateModel,
}


def population(model):
    theta = tissues()
    theta["T2"], theta["T1s"] = theta["T2f"], np.linspace(0.3, 1.0, len(theta))
    return theta[list(model.parameter_names)].to_numpy()


@pytest.mark.parametrize("known", [(), ("B1",), ("B0", "T2s")], ids=str)
def test_bounds_are_those_of_the_model(known):
    model = MTHybridStateModel(template())
    theta = population(model)
    cost = BoundCost("log", theta, model, TARGETS, known, np.ones(3))
    np.testing.assert_allclose(cost.bounds(model), model.crb(theta, TARGETS, known=known), rtol=1e-9)


@pytest.mark.parametrize("changes", [{"B0": 0.0}, {"m0s": 0.0}, {"Rx": 5e-3}], ids=str)
def test_bounds_at_singular_points_are_those_of_the_model(changes):
    model = MTHybridStateModel(template())
    theta = tissues().assign(**changes)[list(model.parameter_names)].to_numpy()
    cost = BoundCost("log", theta, model, ("T1", "T2f"), (), np.ones(2))
    np.testing.assert_allclose(cost.bounds(model), model.crb(theta, ("T1", "T2f")), rtol=1e-9)


def test_costs_are_what_the_documentation_says():
    model = MTHybridStateModel(template())
    theta, weights = population(model), np.array([1.0, 2.0, 3.0])
    bounds = model.crb(theta, TARGETS)
    log = BoundCost("log", theta, model, TARGETS, (), weights)
    assert log.value(log.bounds(model)) == pytest.approx((0.5 * np.log(bounds) @ weights / 6).mean())
    relative = BoundCost("relative", theta, model, TARGETS, (), weights)
    expected = 0.5 * np.log((bounds / theta[:, :3] ** 2 @ weights / 6).mean())
    assert relative.value(relative.bounds(model)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["log", "relative"])
@pytest.mark.parametrize("known", [(), ("B1",)], ids=["all unknown", "B1 known"])
@pytest.mark.parametrize("name", MODELS)
def test_gradient_agrees_with_differences(name, known, kind):
    model = MODELS[name](template())
    theta, targets = population(model), [t for t in (*TARGETS, "T2") if t in model.parameter_names]
    cost = BoundCost(kind, theta, model, targets, known, np.arange(1.0, 1 + len(targets)))
    value, *gradients = cost.value_and_gradient(model)
    assert value == cost.value(cost.bounds(model))
    rng = np.random.default_rng(0)
    sequence = model.sequence
    for control, gradient, step in (("flip_angle", gradients[0], 2e-5), ("pulse_duration", gradients[1], 5e-9)):
        for _ in range(3):
            direction = rng.normal(size=sequence.n_pulses)
            ends = [model.with_sequence(_changed(sequence, control, sign * step * direction)) for sign in (-1, 1)]
            low, high = (cost.value(cost.bounds(end)) for end in ends)
            expected = (high - low) / (2 * step)
            assert gradient @ direction == pytest.approx(expected, rel=1e-4, abs=1e-5 * np.linalg.norm(gradient))


def _changed(sequence, control, change):
    return replace(sequence, **{control: getattr(sequence, control) + change})


@pytest.mark.parametrize("name", ["two pools", "rotating"])
def test_gradient_with_weights_of_the_signal(name):
    model = MODELS[name](template())
    theta = population(model)
    cost = BoundCost("log", theta, model, TARGETS, (), np.ones(3))
    weights = np.random.default_rng(1).normal(size=(len(theta), model.n_timepoints))
    _, *without = cost.value_and_gradient(model)
    _, *together = cost.value_and_gradient(model, weights)
    for a, b, added in zip(without, together, model._pulse_gradient(theta, weights[:, :, None]), strict=True):
        np.testing.assert_allclose(b - a, added, rtol=0, atol=1e-6 * np.abs(b).max())


@pytest.mark.parametrize("kind", ["log", "relative"])
def test_chunks_do_not_matter(monkeypatch, kind):
    model = MTHybridStateModel(template())
    cost = BoundCost(kind, population(model), model, TARGETS, (), np.ones(3))
    whole = cost.value_and_gradient(model)
    monkeypatch.setattr("crbestim.signal._base._CHUNK_BYTES", 16 * 80 * 25 * 5)
    assert len(cost._chunks(model)) == 3
    for a, b in zip(whole, cost.value_and_gradient(model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * np.abs(a).max())


def test_a_parameter_without_effect_does_not_spoil_the_others():
    from crbestim.bounds import cramer_rao_bound, information_root

    jacobian = np.random.default_rng(0).normal(size=(3, 20, 4))
    jacobian[1, :, 2] = 0
    jacobian[2, :, 3] = jacobian[2, :, 0] + jacobian[2, :, 1]
    variance = (information_root(jacobian) ** 2).sum(axis=2)
    expected = cramer_rao_bound(jacobian)
    np.testing.assert_allclose(variance[0], expected[0])
    np.testing.assert_allclose(variance[1, [0, 1, 3]], expected[1, [0, 1, 3]])
    assert variance[1, 2] == 0
    assert (variance[2] == np.inf).all()
    jacobian[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="jacobian"):
        information_root(jacobian)


def test_relative_cost_needs_targets_that_are_not_zero():
    model = MTHybridStateModel(template())
    theta = tissues().assign(m0s=0.0)[list(model.parameter_names)].to_numpy()
    with pytest.raises(ValueError, match="targets that are not zero; m0s is, in tissue 0"):
        BoundCost("relative", theta, model, TARGETS, (), np.ones(3))
