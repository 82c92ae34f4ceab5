from dataclasses import replace

import numpy as np
import pytest
import torch
from tissues import TR
from torch.func import jacfwd

from crbestim import BlochHybridStateModel, MTBlochModel, MTHybridStateModel, PulseSequence, paper_prior

MODELS = {
    "two pools": MTHybridStateModel,
    "generalized Bloch": lambda sequence: MTHybridStateModel(sequence, saturation="generalized-bloch"),
    "separate T1": lambda sequence: MTHybridStateModel(sequence, separate_T1=True),
    "single pool": BlochHybridStateModel,
    "rotating": MTBlochModel,
    "rotating, generalized Bloch": lambda sequence: MTBlochModel(sequence, saturation="generalized-bloch"),
}


def train(n_pulses):
    """Pulses that differ much."""
    rng = np.random.default_rng(n_pulses)
    return PulseSequence(rng.uniform(0.05, 1.5, n_pulses), rng.uniform(1e-4, 5e-4, n_pulses), TR, 4.5e-4)


def tissues(model, n=6):
    """Tissues of the paper's prior, in the columns of a model."""
    theta = paper_prior(TR).sample(n, random_state=1).rename(columns=str)
    theta["T2"], theta["T1s"] = theta["T2f"], np.linspace(0.2, 1.0, n)
    return theta[list(model.parameter_names)].to_numpy()


def random_weights(model, theta, seed=0):
    """Weights under which signal and derivatives count alike."""
    signal, jacobian = model._signal_and_jacobian(theta)
    columns = np.concatenate([signal[:, :, None], jacobian], axis=2)
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=columns.shape)
    if columns.dtype.kind == "c":
        weights = weights + 1j * rng.normal(size=columns.shape)
    return weights / np.linalg.norm(columns, axis=1, keepdims=True)


def weighted_sum(model, theta, weights):
    signal, jacobian = model._signal_and_jacobian(theta)
    columns = np.concatenate([signal[:, :, None], jacobian], axis=2)[:, :, : weights.shape[2]]
    return np.vdot(weights, columns).real


def differences(model, theta, weights, control, step):
    """Central differences of the weighted sum by every pulse."""
    values, gradient = getattr(model.sequence, control), []
    for pulse in range(len(values)):
        sums = []
        for sign in (-1, 1):
            shifted = values.copy()
            shifted[pulse] += sign * step
            sums.append(
                weighted_sum(model.with_sequence(replace(model.sequence, **{control: shifted})), theta, weights)
            )
        gradient.append((sums[1] - sums[0]) / (2 * step))
    return np.array(gradient)


@pytest.mark.parametrize("signal_only", [False, True], ids=["jacobian", "signal"])
@pytest.mark.parametrize("n_pulses", [1, 2, 24])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_gradient_agrees_with_differences_in_every_pulse(make, n_pulses, signal_only):
    model = make(train(n_pulses))
    theta = tissues(model)
    weights = random_weights(model, theta)[:, :, : 1 if signal_only else None]
    by_flip, by_duration = model._pulse_gradient(theta, weights)
    for gradient, control, step in ((by_flip, "flip_angle", 1e-4), (by_duration, "pulse_duration", 2e-8)):
        expected = differences(model, theta, weights, control, step)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max() + 1e-9)


@pytest.mark.parametrize("make", [MODELS[name] for name in ("two pools", "separate T1", "single pool")])
def test_gradient_agrees_with_the_torch_engine(make):
    model = make(train(200))
    theta = tissues(model)
    weights = random_weights(model, theta, seed=1)
    point = torch.tensor(theta)
    pulses = [torch.tensor(values, requires_grad=True) for values in train_controls(model)]
    signal = model.torch_signal(point, *pulses)
    jacobian = jacfwd(lambda shift: model.torch_signal(point + shift, *pulses))(point.new_zeros(theta.shape[1]))
    total = (torch.cat([signal[:, :, None], jacobian], dim=2) * torch.tensor(weights)).sum()
    for gradient, expected in zip(
        model._pulse_gradient(theta, weights), torch.autograd.grad(total, pulses), strict=True
    ):
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6 * float(expected.abs().max()) + 1e-12)


def train_controls(model):
    return model.sequence.flip_angle.copy(), model.sequence.pulse_duration.copy()


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_gradient_where_pulses_are_left_out(make):
    flip_angle = train(24).flip_angle.copy()
    flip_angle[[0, 7, 8, 9, 23]] = 0
    model = make(replace(train(24), flip_angle=flip_angle))
    theta = tissues(model)
    weights = random_weights(model, theta)
    by_flip, by_duration = model._pulse_gradient(theta, weights)
    expected = forward_differences(model, theta, weights)
    np.testing.assert_allclose(by_flip, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert np.isfinite(by_duration).all()


def forward_differences(model, theta, weights):
    """Of second order, by every flip angle."""
    values, gradient, step = model.sequence.flip_angle, [], 1e-4
    for pulse in range(len(values)):
        sums = []
        for steps in (0, 1, 2):
            shifted = values.copy()
            shifted[pulse] += steps * step
            sums.append(weighted_sum(model.with_sequence(replace(model.sequence, flip_angle=shifted)), theta, weights))
        gradient.append((4 * sums[1] - 3 * sums[0] - sums[2]) / (2 * step))
    return np.array(gradient)


@pytest.mark.parametrize("make", [MODELS[name] for name in ("two pools", "rotating")])
def test_gradient_is_the_sum_over_voxels(make):
    model = make(train(24))
    theta = tissues(model, 11)
    weights = random_weights(model, theta)
    parts = [model._pulse_gradient(theta[i : i + 1], weights[i : i + 1]) for i in range(len(theta))]
    for whole, part in zip(model._pulse_gradient(theta, weights), np.sum(parts, axis=0), strict=True):
        np.testing.assert_allclose(whole, part, rtol=0, atol=1e-12 * np.abs(part).max())


def test_gradient_does_not_depend_on_the_number_of_threads(monkeypatch):
    model = MTHybridStateModel(train(24))
    theta = tissues(model, 40)
    weights = random_weights(model, theta)
    gradients = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        gradients.append(model._pulse_gradient(theta, weights))
    np.testing.assert_array_equal(*gradients)


def test_gradient_leaves_the_weights_alone():
    model = MTHybridStateModel(train(24))
    theta = tissues(model)
    weights = random_weights(model, theta)
    before = weights.copy()
    model._pulse_gradient(theta, weights)
    np.testing.assert_array_equal(weights, before)


def test_model_of_another_sequence_keeps_its_options():
    model = MTHybridStateModel(train(3), "gaussian", "generalized-bloch", separate_T1=True)
    other = model.with_sequence(train(5))
    assert type(other) is MTHybridStateModel
    assert (other.sequence, other.lineshape, other.saturation) == (train(5), "gaussian", "generalized-bloch")
    assert other.parameter_names == model.parameter_names


@pytest.mark.parametrize("sequence", [None, [0.1, 0.2]])
def test_another_sequence_must_be_one(sequence):
    with pytest.raises(TypeError, match="sequence must be a PulseSequence"):
        MTBlochModel(train(3)).with_sequence(sequence)
