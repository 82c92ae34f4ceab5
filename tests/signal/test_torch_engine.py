from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from tissues import BAND, NAMES, TR, tissue
from torch.func import grad, jacfwd, jacrev, vmap

from crbestim import BlochHybridStateModel, MTHybridStateModel, PulseSequence, paper_prior
from crbestim.signal._generalized_bloch import generalized_bloch_table
from crbestim.signal._saturation import LINESHAPES, saturation_table
from crbestim.signal._torch_engine import _saturation, hybrid_state_signal

SATURATIONS = ("graham", "generalized-bloch")


def engine(model):
    """The torch engine with a model's sequence and table; the controls, as tensors, can be given."""
    sequence = model.sequence

    def signal(theta, flip_angle=None, pulse_duration=None):
        return hybrid_state_signal(
            theta,
            torch.tensor(sequence.flip_angle) if flip_angle is None else flip_angle,
            torch.tensor(sequence.pulse_duration) if pulse_duration is None else pulse_duration,
            sequence.repetition_time,
            sequence.inversion_duration,
            model._table,
        )

    return signal


def shift_jacobian(signal, theta, *controls):
    """Jacobians of all voxels, (n, T, P), by forward differentiation."""
    return jacfwd(lambda shift: signal(theta + shift, *controls))(theta.new_zeros(theta.shape[1]))


def controls(model):
    return torch.tensor(model.sequence.flip_angle), torch.tensor(model.sequence.pulse_duration)


@pytest.fixture(scope="module")
def draw_prior():
    """A function that draws n voxels of the paper's prior as single-precision numbers."""

    def draw(n, seed):
        theta = paper_prior(TR).sample(n, random_state=seed)[list(NAMES)].to_numpy().astype(np.float32).astype(float)
        theta[:, 2] = np.minimum(theta[:, 2], theta[:, 1])
        return theta

    return draw


@pytest.fixture(scope="module")
def rough_sequence():
    """24 pulses that differ much; the shortest and the longest are in the middle."""
    rng = np.random.default_rng(3)
    duration = rng.uniform(1.5e-4, 4e-4, 24)
    duration[[9, 14]] = 1e-4, 5e-4
    return PulseSequence(rng.uniform(0.05, 1.5, 24), duration, TR, inversion_duration=4.5e-4)


# --- agreement with the compiled engine -----------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("lineshape", LINESHAPES)
@pytest.mark.parametrize("saturation", SATURATIONS)
def test_signal_agrees_with_the_compiled_engine(draw_prior, draw_theta, saturation, lineshape, dtype):
    model = MTHybridStateModel(lineshape=lineshape, saturation=saturation)
    theta = np.concatenate([draw_prior(250, seed=1), draw_theta(50).astype(np.float32)])
    expected = model.signal(theta)
    signal = engine(model)(torch.tensor(theta, dtype=dtype))
    assert signal.dtype == dtype
    assert signal.shape == (300, model.n_timepoints)
    error = np.linalg.norm(signal.double().numpy() - expected, axis=1)
    tolerance = 1e-12 if dtype == torch.float64 else 5e-5
    assert (error < tolerance * np.linalg.norm(expected, axis=1)).all()


@pytest.mark.parametrize("b0", [0.0, BAND, -BAND, (1 - 1e-7) * BAND, 2 * BAND, 7.5 * BAND])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_signal_agrees_at_and_near_stop_bands(model, b0, dtype):
    theta = np.float32(tissue(B0=b0)).astype(float) if dtype == torch.float32 else tissue(B0=b0)
    expected = model.signal(theta)
    error = np.linalg.norm(engine(model)(torch.tensor(theta, dtype=dtype)).double().numpy() - expected)
    assert error < (1e-9 if dtype == torch.float64 else 5e-5) * np.linalg.norm(expected)


@pytest.mark.parametrize("t2f", [1e-9, 1e-6, 1e-4, 1.6])
@pytest.mark.parametrize("rx", [0.0, 1000.0])
def test_signal_agrees_for_extreme_rates(short_model, t2f, rx):
    theta = np.concatenate([tissue(T2f=t2f, Rx=rx, m0s=m0s) for m0s in (0.0, 0.15, 0.95)])
    expected = short_model.signal(theta)
    error = np.linalg.norm(engine(short_model)(torch.tensor(theta)).numpy() - expected, axis=1)
    assert (error < 1e-9 * np.linalg.norm(expected, axis=1)).all()


@pytest.mark.parametrize("n_pulses", [1, 2, 3, 4, 5, 7, 8])
def test_signal_agrees_for_trains_of_any_length(rough_sequence, draw_theta, n_pulses):
    sequence = replace(
        rough_sequence,
        flip_angle=rough_sequence.flip_angle[:n_pulses],
        pulse_duration=rough_sequence.pulse_duration[:n_pulses],
    )
    model, theta = MTHybridStateModel(sequence), draw_theta(20)
    expected = model.signal(theta)
    error = np.linalg.norm(engine(model)(torch.tensor(theta)).numpy() - expected, axis=1)
    assert (error < 1e-11 * np.linalg.norm(expected, axis=1)).all()


@pytest.mark.parametrize("saturation", SATURATIONS)
def test_separate_t1_agrees_with_the_compiled_engine(short_sequence, draw_theta, saturation):
    model = MTHybridStateModel(short_sequence, saturation=saturation, separate_T1=True)
    theta = np.column_stack([draw_theta(50), np.random.default_rng(1).uniform(0.2, 3.0, 50)])
    expected = model.signal(theta)
    error = np.linalg.norm(engine(model)(torch.tensor(theta)).numpy() - expected, axis=1)
    assert (error < 1e-11 * np.linalg.norm(expected, axis=1)).all()


def test_equal_t1_give_the_model_with_one_t1(short_model, draw_theta):
    theta = torch.tensor(draw_theta(20))
    signal = engine(short_model)
    torch.testing.assert_close(signal(torch.cat([theta, theta[:, 1:2]], dim=1)), signal(theta), rtol=1e-12, atol=1e-14)


def matrix_signal(sequence, theta, table):
    """Signal of one voxel from exponentials of the equations' matrices, acting on (r, z, 1)."""
    m0s, t1, t2f, rx, t2s, b0, b1, t1s = theta
    m0f = 1 - m0s
    nominal = np.append(sequence.flip_angle[:-1] + sequence.flip_angle[1:], 2 * sequence.flip_angle[-1]) / 4
    v = np.arctan2(np.sin(b1 * nominal), np.cos(b1 * nominal) * np.cos(b0 * TR / 2))
    relaxations = [
        expm(
            TR
            / 2
            * np.array(
                [
                    [
                        -(np.cos(v) ** 2) * (1 / t1 + rx * m0s) - np.sin(v) ** 2 / t2f,
                        rx * m0f * np.cos(v),
                        m0f * np.cos(v) / t1,
                    ],
                    [rx * m0s * np.cos(v), -1 / t1s - rx * m0f, m0s / t1s],
                    [0, 0, 0],
                ]
            )
        )
        for v in v
    ]
    a = table.factor(b1 * sequence.flip_angle, sequence.pulse_duration / t2s)
    gamma = float(table.factor(np.array(np.pi * b1), np.array(sequence.inversion_duration / t2s)))
    beta = (
        np.cos(v[0]) * np.cos(v[-1]) * np.cos(np.pi * b1) - np.sin(v[0]) * np.sin(v[-1]) * np.sin(np.pi * b1 / 2) ** 2
    )
    cycle = np.eye(3)
    until_echo = []
    for before, after, factor in zip([relaxations[0], *relaxations[:-1]], relaxations, a, strict=True):
        cycle = after @ np.diag([1, factor, 1]) @ before @ cycle
        until_echo.append(cycle)
    closed = np.diag([beta, gamma, 1]) @ cycle
    start = np.append(np.linalg.solve(np.eye(2) - closed[:2, :2], closed[:2, 2]), 1)
    return np.array([(m @ start)[0] for m in until_echo]) * np.sin(v)


@pytest.mark.parametrize("saturation", SATURATIONS)
def test_signal_agrees_with_matrix_exponentials(rough_sequence, draw_theta, saturation):
    model = MTHybridStateModel(rough_sequence, saturation=saturation)
    theta = np.column_stack([draw_theta(5), np.random.default_rng(1).uniform(0.2, 3.0, 5)])
    expected = [matrix_signal(rough_sequence, row, model._table) for row in theta]
    np.testing.assert_allclose(engine(model)(torch.tensor(theta)), expected, rtol=0, atol=1e-13)


# --- saturation -----------------------------------------------------------------------------------

TABLES = (
    saturation_table("super-lorentzian", 2.0, 500.0),
    generalized_bloch_table("super-lorentzian", 2.0, 500.0, 8.0),
)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("table", TABLES, ids=SATURATIONS)
def test_saturation_is_that_of_the_table(table, dtype):
    rng = np.random.default_rng(0)
    flip_angle = np.concatenate([rng.uniform(-8, 8, 2000), [0.0, 8.0, -8.0, 1e-3, 8.0]])
    x = np.concatenate([np.exp(rng.uniform(np.log(2.0), np.log(500.0), 2000)), [2.0, 2.0, 500.0, 500.0, 500.0]])
    change = _saturation(table, torch.tensor(flip_angle, dtype=dtype), torch.log(torch.tensor(x, dtype=dtype)))
    expected = table.factor(flip_angle, x) - 1
    tolerance = {"rtol": 1e-9, "atol": 2e-16} if dtype == torch.float64 else {"rtol": 2e-5, "atol": 1e-6}
    np.testing.assert_allclose(change, expected, **tolerance)


@pytest.mark.parametrize("saturation", SATURATIONS)
@pytest.mark.parametrize(
    ("name", "index", "value"),
    [("pulse_duration", 3, 5e-7), ("pulse_duration", -1, 5e-2), ("pulse_duration", 0, -1e-4), ("T2s", 4, 1e-8)],
)
def test_pulse_outside_the_table_is_refused(short_sequence, saturation, name, index, value):
    model = MTHybridStateModel(short_sequence, saturation=saturation)
    theta, (flip_angle, pulse_duration) = torch.tensor(np.concatenate([tissue(), tissue()])), controls(model)
    (theta[1] if name == "T2s" else pulse_duration)[index] = value
    signal = engine(model)
    for call in (signal, vmap(lambda row, *control: signal(row[None], *control)[0], in_dims=(0, None, None))):
        with pytest.raises(
            ValueError, match=r"log\(pulse_duration / T2s\) must lie in \[.*\], the range of the model's"
        ):
            call(theta, flip_angle, pulse_duration)


def test_flip_angle_outside_the_table_is_refused(short_sequence):
    model = MTHybridStateModel(short_sequence, saturation="generalized-bloch")
    flip_angle, _ = controls(model)
    flip_angle[7] = 11.0
    with pytest.raises(ValueError, match=r"B1 flip_angle must lie in .*; got values from .* to 9\.9"):
        engine(model)(torch.tensor(tissue()), flip_angle)


@pytest.mark.parametrize("duration", np.linspace(1e-4, 5e-4, 20))
def test_ends_of_the_table_are_inside_in_single_precision(duration):
    model = MTHybridStateModel(PulseSequence([0.3], [duration], TR, duration), "lorentzian")
    theta = np.concatenate([tissue(T2s=t2s, B1=b1) for t2s in (1e-6, 1e-4) for b1 in (0.0, 3.0)])
    signal = engine(model)(torch.tensor(theta, dtype=torch.float32))
    np.testing.assert_allclose(signal, model.signal(theta).real, rtol=0, atol=1e-5)


@pytest.mark.parametrize("table", TABLES, ids=SATURATIONS)
def test_second_derivative_of_the_saturation_without_a_pulse(table):
    log_x = torch.tensor(2.5, dtype=torch.float64)
    curvature = grad(grad(lambda flip_angle: _saturation(table, flip_angle, log_x)))(torch.zeros_like(log_x))
    expected = 2 * (table.factor(np.array(1e-3), np.exp(2.5)) - 1) / 1e-3**2
    assert curvature.item() == pytest.approx(expected, rel=1e-4)


# --- batches --------------------------------------------------------------------------------------


def test_pulses_of_each_voxel_give_what_separate_calls_give(short_model, draw_theta):
    theta = torch.tensor(draw_theta(5))
    signal = engine(short_model)
    factors = torch.linspace(0.8, 1.0, 5, dtype=torch.float64)[:, None]
    each = [factors * control for control in (controls(short_model)[0], controls(short_model)[1].clamp(min=2e-4))]
    separate = torch.cat([signal(*(part[i : i + 1] for part in (theta, *each))) for i in range(5)])
    torch.testing.assert_close(signal(theta, *each), separate, rtol=1e-12, atol=1e-14)
    mixed = torch.cat([signal(theta[i : i + 1], each[0][i]) for i in range(5)])
    torch.testing.assert_close(signal(theta, each[0]), mixed, rtol=1e-12, atol=1e-14)


def test_vmap_over_voxels_gives_the_batch(short_model, draw_theta):
    theta = torch.tensor(draw_theta(5))
    signal = engine(short_model)
    torch.testing.assert_close(vmap(lambda row: signal(row[None])[0])(theta), signal(theta), rtol=1e-12, atol=1e-14)


# --- derivatives by tissue parameters -------------------------------------------------------------


@pytest.mark.parametrize("saturation", SATURATIONS)
@pytest.mark.parametrize("separate_t1", [False, True])
def test_forward_jacobian_agrees_in_every_voxel(draw_theta, saturation, separate_t1):
    model = MTHybridStateModel(saturation=saturation, separate_T1=separate_t1)
    theta = draw_theta(40, seed=4)
    if separate_t1:
        theta = np.column_stack([theta, 0.7 * theta[:, 1]])
    expected = model.jacobian(theta)
    error = np.linalg.norm(shift_jacobian(engine(model), torch.tensor(theta)).numpy() - expected, axis=1)
    assert (error < 1e-9 * np.linalg.norm(expected, axis=1)).all()


def test_reverse_gradient_agrees_in_every_voxel(model, draw_theta):
    theta = draw_theta(60, seed=5)
    weights = np.random.default_rng(0).standard_normal((60, model.n_timepoints))
    leaf = torch.tensor(theta, requires_grad=True)
    (torch.tensor(weights) * engine(model)(leaf)).sum().backward()
    jacobian = model.jacobian(theta).real
    expected = np.einsum("nt,ntp->np", weights, jacobian)
    size = np.linalg.norm(jacobian, axis=1) * np.linalg.norm(weights, axis=1)[:, None]
    assert (np.abs(leaf.grad.numpy() - expected) < 1e-10 * size).all()


@pytest.mark.parametrize("transform", [jacfwd, jacrev])
def test_jacobian_of_each_voxel_under_vmap(short_model, draw_theta, transform):
    theta = draw_theta(6)
    signal = engine(short_model)
    jacobian = vmap(transform(lambda row: signal(row[None])[0]))(torch.tensor(theta)).numpy()
    expected = short_model.jacobian(theta).real
    assert (np.linalg.norm(jacobian - expected, axis=1) < 1e-9 * np.linalg.norm(expected, axis=1)).all()


def test_single_precision_jacobian(model, draw_prior):
    theta = draw_prior(50, seed=6)
    jacobian = shift_jacobian(engine(model), torch.tensor(theta, dtype=torch.float32)).numpy()
    expected = model.jacobian(theta).real
    error = np.linalg.norm(jacobian - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert (error < 1e-2).all()
    assert np.median(error) < 1e-5


# --- derivatives by the pulses --------------------------------------------------------------------


def perturbed(model, control, t, step):
    values = getattr(model.sequence, control).copy()
    values[t] += step
    sequence = replace(model.sequence, **{control: values})
    return MTHybridStateModel(sequence, saturation=model.saturation)


def differences(function, model, control, t, step):
    """Derivative of function(model) by one control: central differences with an error of fourth order."""
    near, far = (
        function(perturbed(model, control, t, i * step)) - function(perturbed(model, control, t, -i * step))
        for i in (1, 2)
    )
    return (8 * near - far) / (12 * step)


@pytest.mark.parametrize("saturation", SATURATIONS)
@pytest.mark.parametrize(("control", "step"), [("flip_angle", 2e-3), ("pulse_duration", 1e-6)])
def test_derivatives_by_every_pulse_in_every_voxel(rough_sequence, draw_theta, saturation, control, step):
    model, theta = MTHybridStateModel(rough_sequence, saturation=saturation), draw_theta(8)
    signal = partial(engine(model), torch.tensor(theta))
    values = dict(zip(("flip_angle", "pulse_duration"), controls(model), strict=True))
    forward = jacfwd(lambda x: signal(**{**values, control: x}))(values[control]).numpy()
    reverse = jacrev(lambda x: signal(**{**values, control: x}))(values[control]).numpy()
    np.testing.assert_allclose(reverse, forward, rtol=0, atol=1e-10 * np.abs(forward).max())
    inner = np.delete(np.arange(24), [9, 14]) if control == "pulse_duration" else np.arange(24)
    for t in inner:
        expected = differences(lambda model: model.signal(theta).real, model, control, t, step)
        error = np.linalg.norm(forward[:, :, t] - expected, axis=1)
        assert (error < 1e-6 * np.linalg.norm(expected, axis=1)).all()


KNOWN = ("Rx", "T2s", "B0", "B1")


def t1_bound(jacobian, signal):
    """CRB of T1 of each voxel, with m0s, T2f and M0 unknown."""
    columns = torch.cat([jacobian[:, :, :3], signal[:, :, None]], dim=2)
    size = columns.norm(dim=1)
    unit = columns / size[:, None]
    return torch.linalg.inv(unit.mT @ unit)[:, 1, 1] / size[:, 1] ** 2


@pytest.mark.parametrize("saturation", SATURATIONS)
def test_gradient_of_a_bound_by_every_pulse(rough_sequence, draw_theta, saturation):
    """Reverse over forward differentiation, as sequence design takes it."""
    model, theta = MTHybridStateModel(rough_sequence, saturation=saturation), draw_theta(6, seed=7)
    tensor, signal = torch.tensor(theta), engine(model)
    leaves = [control.requires_grad_() for control in controls(model)]
    bound = t1_bound(shift_jacobian(signal, tensor, *leaves), signal(tensor, *leaves))
    np.testing.assert_allclose(bound.detach(), model.crb(theta, "T1", known=KNOWN)[:, 0], rtol=1e-6)
    gradients = torch.autograd.grad(bound.log().sum(), leaves)
    for control, gradient, step in zip(("flip_angle", "pulse_duration"), gradients, (2e-4, 2e-7), strict=True):
        for t in (0, 1, 7, 11, 22, 23):
            expected = differences(lambda m: np.log(m.crb(theta, "T1", known=KNOWN)).sum(), model, control, t, step)
            assert gradient[t].item() == pytest.approx(expected, rel=1e-4, abs=1e-5 * gradient.abs().max().item())


@pytest.mark.parametrize("saturation", SATURATIONS)
def test_second_derivatives(rough_sequence, saturation):
    model = MTHybridStateModel(rough_sequence, saturation=saturation)
    signal = engine(model)
    theta = torch.tensor(np.concatenate([tissue(), tissue(B0=-1000.0, B1=1.3, m0s=0.4)]))
    flip_angle, pulse_duration = (control[:4] for control in controls(model))

    def scaled(by_theta, by_flip, by_duration):
        return signal(theta * by_theta, flip_angle * by_flip, pulse_duration * by_duration)

    ones = (torch.ones_like(x, requires_grad=True) for x in (theta, flip_angle, pulse_duration))
    assert torch.autograd.gradgradcheck(scaled, tuple(ones), atol=1e-5, rtol=1e-4)


# --- where derivatives are difficult --------------------------------------------------------------

# On resonance and without a semi-solid pool the two rates are equal on one axis: Rx = sin^2 v (1/T2f - 1/T1).
EQUAL_RATES = {"m0s": 0.0, "B0": 0.0, "B1": 1.0, "Rx": np.sin(0.3) ** 2 * (1 / 0.08 - 1 / 1.6)}
NO_AXIS = {"B1": 0.0, "B0": BAND}
POINTS = [
    {},
    {"B0": 0.0},
    {"B0": BAND},
    {"m0s": 0.0},
    {"Rx": 0.0},
    {"m0s": 0.0, "Rx": 0.0, "B0": 0.0},
    {"B1": 0.0},
    NO_AXIS,
    {"T2f": 1.6},
    {"T2f": 1e-9},
    {"T2f": 1e-5, "Rx": 1000.0},
    EQUAL_RATES,
]


@pytest.mark.parametrize("flip_angle", [[0.6] * 5, [0.0] * 5, [0.0, 0.6, 0.0, 0.0, 1.2], [2 * np.pi] * 5], ids=str)
@pytest.mark.parametrize("saturation", SATURATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_derivatives_are_always_finite(flip_angle, saturation, dtype):
    model = MTHybridStateModel(PulseSequence(flip_angle, np.full(5, 1e-4), TR, 5e-4), saturation=saturation)
    # Second derivatives where there is no axis exceed the range of single precision.
    points = [point for point in POINTS if dtype == torch.float64 or point != NO_AXIS]
    theta = torch.tensor(np.concatenate([tissue(**point) for point in points]), dtype=dtype, requires_grad=True)
    leaves = (theta, *(control.requires_grad_() for control in controls(model)))
    signal = engine(model)
    assert signal(*leaves).isfinite().all()
    for value in (signal(*leaves).square().sum(), shift_jacobian(signal, *leaves).square().sum()):
        for gradient in torch.autograd.grad(value, leaves):
            assert gradient.isfinite().all()


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_jacobian_agrees_where_it_is_difficult(point):
    model = MTHybridStateModel(PulseSequence(np.full(5, 0.6), np.full(5, 1e-4), TR, 5e-4))
    theta = tissue(**point)
    expected = model.jacobian(theta)[0].real
    jacobian = shift_jacobian(engine(model), torch.tensor(theta))[0].numpy()
    size = np.linalg.norm(expected, axis=0)
    floor = 1e-12 * np.linalg.norm(model.signal(theta)) / np.maximum(np.abs(theta[0]), 1e-3)
    assert (np.linalg.norm(jacobian - expected, axis=0) <= 1e-9 * size + floor).all()


@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-6, 1e-4, 1e-2, 0.1, 0.9, 1.0 - 1e-12, 1.0 + 1e-12, 1.1, 1.7])
def test_derivatives_join_where_the_two_rates_meet(gap):
    """Half a step long, the difference of the rates is 2 q: the series of sinh(q)/q ends where the gap is 1."""
    model = MTHybridStateModel(PulseSequence(np.full(5, 0.6), np.full(5, 1e-4), TR, 5e-4))
    theta = tissue(**{**EQUAL_RATES, "Rx": EQUAL_RATES["Rx"] + gap / (TR / 2)})
    seen = [0, 1, 2, 6]  # the others vanish
    jacobian = shift_jacobian(engine(model), torch.tensor(theta))[0].numpy()[:, seen]
    expected = model.jacobian(theta)[0].real[:, seen]
    assert (np.linalg.norm(jacobian - expected, axis=0) < 1e-10 * np.linalg.norm(expected, axis=0)).all()


# --- the models' own method -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "columns"),
    [
        (MTHybridStateModel, slice(0, 7)),
        (partial(MTHybridStateModel, saturation="generalized-bloch"), slice(0, 7)),
        (BlochHybridStateModel, [1, 2, 5, 6]),
    ],
)
def test_method_of_a_model(short_sequence, draw_theta, make, columns):
    model, theta = make(short_sequence), draw_theta(9)[:, columns]
    signal = model.torch_signal(torch.tensor(theta))
    np.testing.assert_allclose(signal.numpy(), model.signal(theta).real, rtol=0, atol=1e-12)
    assert model.torch_signal(torch.tensor(theta, dtype=torch.float32)).dtype == torch.float32


def test_method_takes_other_pulses(short_sequence, short_model, draw_theta):
    theta = draw_theta(3)
    other = PulseSequence(0.9 * short_sequence.flip_angle, short_sequence.pulse_duration * 1.3, TR, 5e-4)
    signal = short_model.torch_signal(
        torch.tensor(theta), torch.tensor(other.flip_angle.copy()), torch.tensor(other.pulse_duration.copy())
    )
    np.testing.assert_allclose(signal.numpy(), MTHybridStateModel(other).signal(theta).real, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("theta", "controls", "message"),
    [
        (torch.zeros(7), (), r"theta must have the shape \(n, 7\); got \(7,\)"),
        (torch.zeros(2, 6), (), r"theta must have the shape \(n, 7\); got \(2, 6\)"),
        (torch.ones(2, 7), (torch.ones(3, 60),), r"flip_angle must have the shape \(T,\) or \(n, T\); got \(3, 60\)"),
        (torch.ones(2, 7), (None, torch.tensor(1.0)), "pulse_duration must have the shape"),
        (torch.ones(2, 7), (torch.ones(50),), "must have the same length; got 50 and 60"),
    ],
)
def test_method_refuses_wrong_shapes(short_model, theta, controls, message):
    with pytest.raises(ValueError, match=message):
        short_model.torch_signal(theta, *controls)
