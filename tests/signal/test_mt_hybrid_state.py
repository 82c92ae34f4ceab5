import copy
import pickle
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation
from sklearn.base import clone

from crbestim import MTHybridStateModel, PulseSequence, cramer_rao_bound
from crbestim.signal._saturation import LINESHAPES

NAMES = ("m0s", "T1", "T2f", "Rx", "T2s", "B0", "B1")
TR = 3.5e-3
BAND = np.pi / TR
TISSUE = {"m0s": 0.15, "T1": 1.6, "T2f": 0.08, "Rx": 40.0, "T2s": 1e-5, "B0": 200.0, "B1": 0.9}


def tissue(**changes):
    return np.array([[{**TISSUE, **changes}[name] for name in NAMES]])


def column(name):
    return NAMES.index(name)


# --- Jacobian -------------------------------------------------------------------------------------


def demanding_theta(draw_theta):
    """Random voxels, most of them with one parameter moved to where derivatives are difficult."""
    theta = draw_theta(280, seed=1)
    rng = np.random.default_rng(2)
    extremes = np.split(np.arange(240), 24)
    for rows, b1 in zip(extremes[:6], (0.05, 0.3, 0.5, 1.5, 1.7, 2.9), strict=True):
        theta[rows, column("B1")] = b1
    for rows, centre, side in zip(
        extremes[6:14], np.repeat([1, -1, 2, -2], 2) * BAND, np.tile([-1, 1], 4), strict=True
    ):
        theta[rows, column("B0")] = centre + side * BAND * 10 ** rng.uniform(-3, -1, len(rows))
    for rows, m0s in zip(extremes[14:18], (1e-6, 1e-4, 1e-2, 0.9), strict=True):
        theta[rows, column("m0s")] = m0s
    for rows, gap in zip(extremes[18:20], (1e-3, 1e-2), strict=True):
        theta[rows, column("T2f")] = (1 - gap) * theta[rows, column("T1")]
    theta[extremes[20], column("Rx")] = 1e-2
    theta[extremes[21], column("Rx")] = 900.0
    theta[extremes[22], column("T2f")] = 2e-3
    theta[extremes[23], column("T1")], theta[extremes[23], column("T2f")] = 25.0, 20.0
    return theta


def length_scale(theta, name):
    """Over how much of a parameter the signal changes, or how far its range goes; steps are fractions of it."""
    value = theta[:, column(name)]
    gap = theta[:, column("T1")] - theta[:, column("T2f")]
    if name == "m0s":
        return np.minimum(value, 1 - value)
    if name in ("T1", "T2f"):
        return np.minimum(value, gap)
    if name == "B0":  # to the next stop band, where the signal changes sign
        return np.minimum(np.abs(np.mod(value, 2 * BAND) - BAND), 0.1 * BAND)
    if name == "B1":
        return np.minimum(value, 3 - value)
    return np.minimum(value, 100.0) if name == "Rx" else value


@pytest.mark.parametrize("name", NAMES)
def test_jacobian_agrees_with_central_differences_in_every_voxel(model, draw_theta, name):
    """Five-point differences at three steps: the truncation error falls with h^4, the rounding error grows as 1/h.

    A voxel agrees if one of the steps does; a wrong derivative agrees at none. The allowance 1e-13 |s| / h is the
    rounding error of signals that carry some hundred units in the last place after 2,000 steps.
    """
    theta = demanding_theta(draw_theta)
    assert len(theta) >= 200
    derivative = model.jacobian(theta)[:, :, column(name)]
    norm = np.linalg.norm(derivative, axis=1)
    size = np.linalg.norm(model.signal(theta), axis=1)

    def shifted(steps):
        moved = theta.copy()
        moved[:, column(name)] += steps
        return model.signal(moved)

    agreement = np.full(len(theta), np.inf)
    for fraction in (1e-2, 3e-3, 1e-3):
        h = fraction * length_scale(theta, name)
        difference = 8 * (shifted(h) - shifted(-h)) - (shifted(2 * h) - shifted(-2 * h))
        error = np.linalg.norm(difference / (12 * h[:, None]) - derivative, axis=1)
        agreement = np.minimum(agreement, error / (1e-7 * norm + 1e-13 * size / h))
    assert (norm > 0).all()
    assert (agreement < 1).all(), f"voxels {np.flatnonzero(agreement >= 1)}: {theta[agreement >= 1]}"


@pytest.mark.parametrize(
    ("name", "value", "inwards", "scale"),
    [
        ("m0s", 0.0, 1, 0.05),
        ("Rx", 0.0, 1, 10.0),
        ("T2f", TISSUE["T1"], -1, 0.1),
        ("B1", 3.0, -1, 0.05),
        ("T2s", 1e-6, 1, 1e-6),
        ("T2s", 1e-4, -1, 1e-5),
    ],
)
@pytest.mark.parametrize("m0s", [0.0, 0.15])
def test_jacobian_at_the_ends_of_the_range(model, name, value, inwards, scale, m0s):
    """One-sided differences of fourth order, from two steps as above."""
    theta = tissue(**{"m0s": m0s, name: value})
    derivative = model.jacobian(theta)[0, :, column(name)]
    weights = np.array([-25, 48, -36, 16, -3]) / 12
    errors = []
    for fraction in (1e-2, 1e-3):
        h = inwards * fraction * scale
        moved = np.repeat(theta, 5, axis=0)
        moved[:, column(name)] += h * np.arange(5)
        errors.append(np.linalg.norm(weights @ model.signal(moved) / h - derivative))
    floor = 1e-12 * np.linalg.norm(model.signal(theta)) / scale
    assert min(errors) < 1e-6 * np.linalg.norm(derivative) + 100 * floor


@pytest.mark.parametrize(("name", "vanishing"), [("m0s", ("Rx", "T2s")), ("Rx", ("T2s",)), ("B0", ("B0",))])
def test_derivatives_that_vanish_identically(model, name, vanishing):
    jacobian = model.jacobian(tissue(**{name: 0.0}))[0]
    size = np.linalg.norm(jacobian, axis=0) * np.abs(tissue()[0])
    for other in NAMES:
        if other in vanishing:
            assert size[column(other)] < 1e-12
        else:
            assert size[column(other)] > 1e-3


# --- the signal against the differential equations ------------------------------------------------


def integrated_signal(sequence, theta, lineshape, graham_integrals):
    """Signal of one voxel from numerical integration, the periodic state found by cycling."""
    m0s, t1, t2f, rx, t2s, b0, b1 = theta
    r1, r2f, m0f = 1 / t1, 1 / t2f, 1 - m0s
    alpha, tau, tr = sequence.flip_angle, sequence.pulse_duration, sequence.repetition_time

    nominal = np.append(alpha[:-1] + alpha[1:], 2 * alpha[-1]) / 4
    v = np.arctan2(np.sin(b1 * nominal), np.cos(b1 * nominal) * np.cos(b0 * tr / 2))

    def saturated(flip, duration):
        f, _ = graham_integrals(lineshape, float(duration / t2s))
        return np.exp(-((b1 * flip / duration * t2s) ** 2) * f)

    a = [saturated(flip, duration) for flip, duration in zip(alpha, tau, strict=True)]

    # The equations are linear: for each axis v, three starts give the affine map of half a repetition time.
    starts = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])[:, :, None]
    cos, sin = np.cos(v), np.sin(v)

    def right_hand_side(_, y):
        r, z = y.reshape(2, 3, len(v))
        dr = -(cos**2 * (r1 + rx * m0s) + sin**2 * r2f) * r + rx * m0f * cos * z + m0f * cos * r1
        dz = rx * m0s * cos * r - (r1 + rx * m0f) * z + m0s * r1
        return np.concatenate([dr.ravel(), dz.ravel()])

    y0 = np.broadcast_to(starts, (2, 3, len(v))).ravel()
    solution = solve_ivp(right_hand_side, (0, tr / 2), y0, method="DOP853", rtol=1e-12, atol=1e-15)
    ends = solution.y[:, -1].reshape(2, 3, len(v))
    offset, by_r, by_z = ends[:, 0], ends[:, 1] - ends[:, 0], ends[:, 2] - ends[:, 0]

    # Inversion about y with crushers before and after it: the mean over the phase that the crushers leave.
    axis_1, axis_t = ([np.sin(angle), 0, np.cos(angle)] for angle in (v[0], v[-1]))
    pulse = Rotation.from_euler("y", np.pi * b1)
    crushed = [
        (crusher * pulse * crusher).apply(axis_t)
        for crusher in Rotation.from_euler("z", np.arange(8)[:, None] * np.pi / 4)
    ]
    beta, gamma = np.mean(crushed, axis=0) @ axis_1, saturated(np.pi, sequence.inversion_duration)

    start = np.array([0.0, 0.0])
    for _ in range(2000):
        y, signal = start, []
        for t in range(len(v)):
            before = max(t - 1, 0)
            y = offset[:, before] + by_r[:, before] * y[0] + by_z[:, before] * y[1]
            y = y * [1, a[t]]
            y = offset[:, t] + by_r[:, t] * y[0] + by_z[:, t] * y[1]
            signal.append(y[0] * np.sin(v[t]))
        closed = y * [beta, gamma]
        if np.abs(closed - start).max() < 1e-15:
            return np.array(signal)
        start = closed
    raise AssertionError("no periodic state")


@pytest.mark.parametrize("lineshape", LINESHAPES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"m0s": 0.0, "B0": 0.0, "B1": 1.0},
        {"m0s": 0.45, "Rx": 110.0, "B0": -0.97 * BAND, "B1": 0.35, "T2s": 7e-6},
        {"T2f": 1.5, "T1": 1.5, "B0": 1.3 * BAND, "B1": 1.7, "T2s": 1.8e-5},
        {"T1": 0.4, "T2f": 0.006, "B1": 2.4, "Rx": 500.0, "T2s": 1e-6},
    ],
)
def test_signal_agrees_with_integration_of_the_equations(short_sequence, graham_integrals, lineshape, changes):
    theta = tissue(**changes)
    signal = MTHybridStateModel(short_sequence, lineshape).signal(theta)[0]
    expected = integrated_signal(short_sequence, theta[0], lineshape, graham_integrals)
    assert np.linalg.norm(signal - expected) < 1e-9 * np.linalg.norm(expected)
    assert np.linalg.norm(expected) > 1e-3


def test_lineshapes_differ(short_sequence):
    signals = [MTHybridStateModel(short_sequence, lineshape).signal(tissue())[0] for lineshape in LINESHAPES]
    for one, other in pairwise(signals):
        assert np.linalg.norm(one - other) > 1e-3 * np.linalg.norm(one)


def test_single_pool_on_a_fixed_axis_has_a_known_signal():
    """Without a semi-solid pool and on a fixed axis r relaxes with one rate; at B1 = 2 the inversion turns by 2 pi."""
    sequence = PulseSequence(np.full(5, 0.6), np.full(5, 1e-4), TR, 5e-4)
    theta = tissue(m0s=0.0, B0=0.0, B1=2.0)
    v = 2 * 0.3
    rate = np.cos(v) ** 2 / TISSUE["T1"] + np.sin(v) ** 2 / TISSUE["T2f"]
    limit = np.cos(v) / TISSUE["T1"] / rate
    decay = np.exp(-rate * TR * np.arange(1, 6))
    beta = np.cos(v) ** 2  # the crushers leave the longitudinal part
    start = beta * limit * (1 - decay[-1]) / (1 - beta * decay[-1])
    expected = np.sin(v) * (limit + (start - limit) * decay)
    np.testing.assert_allclose(MTHybridStateModel(sequence).signal(theta)[0].real, expected, rtol=1e-12)


# --- symmetries -----------------------------------------------------------------------------------


def mirrored(theta, b0):
    moved = theta.copy()
    moved[:, column("B0")] = b0
    return moved


def test_signal_is_even_in_b0(model, draw_theta):
    theta = draw_theta(20)
    signal = model.signal(theta)
    np.testing.assert_allclose(model.signal(mirrored(theta, -theta[:, 5])), signal, atol=1e-14, rtol=0)
    assert np.linalg.norm(signal, axis=1).min() > 1e-2


def test_signal_changes_sign_between_bands(model, draw_theta):
    theta = draw_theta(20)
    np.testing.assert_allclose(
        model.signal(mirrored(theta, 2 * BAND - theta[:, 5])), -model.signal(theta), atol=1e-12, rtol=0
    )


def test_signal_is_periodic_in_b0_up_to_its_sign(model, draw_theta):
    theta = draw_theta(20)
    signal = model.signal(theta)
    np.testing.assert_allclose(model.signal(mirrored(theta, theta[:, 5] + 2 * BAND)), -signal, atol=1e-12, rtol=0)
    np.testing.assert_allclose(model.signal(mirrored(theta, theta[:, 5] + 4 * BAND)), signal, atol=1e-12, rtol=0)


@pytest.mark.parametrize("image", [lambda b0: -b0, lambda b0: 2 * BAND - b0, lambda b0: b0 - 2 * BAND])
def test_bound_is_the_same_at_images_of_b0(model, draw_theta, image):
    theta = draw_theta(20)
    bound = model.crb(theta, targets=NAMES)
    np.testing.assert_allclose(model.crb(mirrored(theta, image(theta[:, 5])), targets=NAMES), bound, rtol=1e-5)


def test_target_values_fold_b0_alone(model):
    period = 2 * BAND
    offsets = [0.0, 10.0, -10.0, period - 10.0, 10.0 - period, period + 10.0, 7 * period - 10.0, BAND, -BAND]
    theta = np.concatenate([tissue(B0=b0) for b0 in offsets])
    values = model.target_values(theta, NAMES)
    np.testing.assert_allclose(values[:, 5], [0.0, *[10.0] * 6, BAND, BAND], atol=1e-9)
    np.testing.assert_array_equal(values[:, [0, 1, 2, 3, 4, 6]], theta[:, [0, 1, 2, 3, 4, 6]])
    np.testing.assert_array_equal(theta[:, 5], offsets)


def test_target_values_select_and_order(model, draw_theta):
    theta = draw_theta(5)
    np.testing.assert_array_equal(model.target_values(theta), theta[:, :3])
    np.testing.assert_array_equal(model.target_values(theta, ("T2f", "m0s")), theta[:, [2, 0]])
    np.testing.assert_array_equal(model.target_values(theta, "B1"), theta[:, [6]])


# --- the bound where parameters vanish ------------------------------------------------------------

# Which parameters cannot be told at the point itself, given what is known.
SINGULAR_POINTS = [
    ({"B0": 0.0}, (), ("B0",)),
    ({"B0": 2 * BAND}, (), ("B0",)),
    ({"B0": 0.0}, ("B1",), ("B0",)),
    ({"B0": 0.0}, ("B0",), ()),
    ({"m0s": 0.0}, (), ("Rx", "T2s")),
    ({"m0s": 0.0}, ("B0", "B1"), ("Rx", "T2s")),
    ({"m0s": 0.0}, ("Rx", "T2s"), ()),
    ({"m0s": 0.0, "B0": 0.0}, (), ("Rx", "T2s", "B0")),
    # To first order in Rx the signal depends on the product Rx m0s: neither factor is told.
    ({"Rx": 0.0}, (), ("m0s", "Rx", "T2s")),
    ({"Rx": 0.0}, ("Rx",), ("m0s", "T2s")),
    ({"Rx": 0.0}, ("m0s",), ("T2s",)),
]
NEARBY = {"B0": 1e-2, "m0s": 1e-7, "Rx": 1e-5}


@pytest.mark.parametrize(("point", "known", "blind"), SINGULAR_POINTS)
def test_bound_is_continuous_where_a_parameter_vanishes(model, point, known, blind):
    targets = [name for name in NAMES if name not in known]
    at, near, far = (
        model.crb(tissue(**{name: value + step * NEARBY[name] for name, value in point.items()}), targets, known=known)
        for step in (0, 1, 2)
    )
    told = ~np.isin(targets, blind)
    np.testing.assert_array_equal(np.isinf(at[0]), ~told)
    np.testing.assert_allclose(near[:, told], at[:, told], rtol=1e-2)
    assert np.isfinite(near).all()
    # What is blind at the point falls with the square of the distance, or faster.
    assert (near[:, ~told] > 3.9 * far[:, ~told]).all()


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [("B0", 0.999e-3, 1.001e-3), ("m0s", 0.999e-4, 1.001e-4), ("Rx", 0.999e-2, 1.001e-2)],
)
@pytest.mark.parametrize("known", [(), ("m0s",), ("Rx",), ("B0", "B1")])
def test_bound_is_continuous_where_the_limit_takes_over(model, name, inside, outside, known):
    """Across the distance from the vanishing point at which the bound is evaluated instead."""
    unit = BAND if name == "B0" else 1.0
    targets = [other for other in NAMES if other not in known]
    bounds = [model.crb(tissue(**{name: value * unit}), targets, known=known)[0] for value in (inside, outside)]
    np.testing.assert_allclose(*bounds, rtol=2e-2)


def plain_bound(model, theta):
    """Of all parameters and M0, from the Jacobian as it is at theta."""
    signal = model.signal(theta)[..., None]
    return cramer_rao_bound(np.concatenate([model.jacobian(theta), signal, 1j * signal], axis=2))[:, :7]


@pytest.mark.parametrize(
    ("name", "near", "blind"), [("B0", 5e-4 * BAND, ["B0"]), ("m0s", 5e-5, ["Rx", "T2s"]), ("Rx", 1.0, [])]
)
def test_limit_is_that_of_the_plain_bound(model, name, near, blind):
    """Closer than this to a vanishing point, the bound of what is still told does not change any more."""
    told = [column(other) for other in NAMES if other not in blind]
    at = model.crb(tissue(**{name: 0.0 if blind else near}), NAMES)
    np.testing.assert_allclose(at[:, told], plain_bound(model, tissue(**{name: near}))[:, told], rtol=2e-3)


@pytest.mark.parametrize(("name", "far"), [("B0", 2e-3 * BAND), ("m0s", 2e-4), ("Rx", 2e-2)])
@pytest.mark.parametrize("known", [(), ("m0s",), ("Rx",)])
def test_bound_grows_by_one_law_near_and_at_the_limit(model, name, far, known):
    """Twice as close to the vanishing point, each bound grows as much inside of that distance as outside."""
    targets = [other for other in NAMES if other not in known]
    growth = []
    for distance in (far, 0.1 * far):
        closer, further = model.crb(
            np.concatenate([tissue(**{name: distance}), tissue(**{name: 2 * distance})]), targets, known=known
        )
        growth.append(closer / further)
    np.testing.assert_allclose(*growth, rtol=5e-2)


@pytest.mark.parametrize("b0", [BAND, -BAND, 3 * BAND])
@pytest.mark.parametrize("known", [(), ("B0",), ("B0", "B1"), ("m0s", "Rx", "T2s")])
def test_nothing_is_told_in_a_stop_band(model, b0, known):
    targets = [name for name in NAMES if name not in known]
    assert np.isposinf(model.crb(tissue(B0=b0), targets, known=known)).all()


def test_nothing_is_told_without_rf(model):
    assert np.isposinf(model.crb(tissue(B1=0.0), NAMES)).all()


def test_bound_grows_towards_stop_band(model):
    bounds = [model.crb(tissue(B0=(1 - distance) * BAND), NAMES)[0] for distance in (1e-3, 1e-4, 1e-5, 0)]
    for further, closer in pairwise(bounds):
        assert (closer > further).all()


def test_bound_is_never_nan_and_always_positive(model):
    """On a grid of all the points where something vanishes, and next to them."""
    grid = np.meshgrid(
        [0.0, 1e-300, 1e-9, 0.1, 1 - 1e-12],
        [1.6, 30.0],
        [1e-3, 1.6],
        [0.0, 1e-300, 1e-9, 40.0, 1000.0],
        [1e-6, 1e-4],
        [0.0, 1e-300, -1e-9, BAND, np.nextafter(BAND, 0), -1.001 * BAND, 2 * BAND, 1e9],
        [0.0, 1e-300, 1e-9, 1.0, 2.0, 3.0],
    )
    theta = np.stack([axis.ravel() for axis in grid], axis=1)
    bound = model.crb(theta[np.random.default_rng(0).permutation(len(theta))[:400]], NAMES)
    assert not np.isnan(bound).any()
    assert (bound > 0).all()


# --- the bound of the model in general ------------------------------------------------------------


def test_knowing_parameters_never_increases_the_bound(model, draw_theta):
    theta = np.concatenate([draw_theta(20), tissue(B0=0.0), tissue(m0s=0.0), tissue(B1=0.3)])
    targets = ("m0s", "T1", "T2f", "Rx", "T2s")
    unknown = model.crb(theta, targets)
    field = model.crb(theta, targets, known=("B0", "B1"))
    more = model.crb(theta, targets[:3], known=("B0", "B1", "Rx", "T2s"))
    assert (field <= unknown * (1 + 1e-9)).all()
    assert (more <= field[:, :3] * (1 + 1e-9)).all()
    assert (field[:20] < 0.99 * unknown[:20]).any(axis=1).all()


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_compression_never_lowers_the_bound(model, draw_theta, kind):
    theta = draw_theta(20)
    rng = np.random.default_rng(0)
    signals = model.signal(draw_theta(100, seed=3)).real
    svd = np.linalg.svd(signals, full_matrices=False)[2][:13].T
    noise = rng.standard_normal((model.n_timepoints, 12))
    basis = np.linalg.qr(
        np.hstack([svd, noise + 1j * rng.standard_normal(noise.shape) if kind == "complex" else noise])
    )[0]
    full = model.crb(theta, NAMES)
    assert (model.crb(theta, NAMES, basis=basis) >= full * (1 - 1e-7)).all()
    assert (model.crb(theta, NAMES, basis=svd) > 1.001 * full).any(axis=1).all()
    assert (model.crb(theta, NAMES, basis=svd) >= model.crb(theta, NAMES, basis=basis) * (1 - 1e-7)).all()


def test_lossless_compression_keeps_the_bound(short_model, draw_theta):
    theta = draw_theta(5)
    rng = np.random.default_rng(0)
    shape = (short_model.n_timepoints, short_model.n_timepoints)
    basis = np.linalg.qr(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))[0]
    np.testing.assert_allclose(short_model.crb(theta, basis=basis), short_model.crb(theta), rtol=1e-5)


def test_too_short_a_basis_tells_nothing(short_model, draw_theta):
    basis = np.eye(short_model.n_timepoints, 4)
    assert np.isposinf(short_model.crb(draw_theta(5), basis=basis)).all()


@pytest.mark.parametrize("targets", ["T2f", ("T1",), ("B1", "m0s"), ("T2f", "T1", "m0s"), NAMES[::-1]])
@pytest.mark.parametrize("known", [(), ("B0",)])
def test_targets_select_from_all(model, draw_theta, targets, known):
    theta = draw_theta(5)
    if known and "B0" in targets:
        targets = tuple(name for name in targets if name != "B0")
    everything = [name for name in NAMES if name not in known]
    chosen = [targets] if isinstance(targets, str) else list(targets)
    expected = pd.DataFrame(model.crb(theta, everything, known=known), columns=everything)[chosen]
    np.testing.assert_allclose(model.crb(theta, targets, known=known), expected, rtol=1e-12)


def test_default_targets(model, draw_theta):
    theta = draw_theta(3)
    np.testing.assert_array_equal(model.crb(theta), model.crb(theta, ("m0s", "T1", "T2f")))


def test_a_voxel_has_the_same_result_in_any_company(model, draw_theta):
    theta = draw_theta(150)  # more than a chunk
    for function in (model.signal, partial(model.crb, targets=NAMES)):
        alone = np.concatenate([function(row[None]) for row in theta[::10]])
        np.testing.assert_allclose(function(theta)[::10], alone, rtol=1e-9, atol=1e-14)


def test_bound_is_that_of_the_jacobian_with_m0(short_model, draw_theta):
    theta = draw_theta(5)
    jacobian, signal = short_model.jacobian(theta), short_model.signal(theta)
    full = np.concatenate([jacobian, signal[..., None], 1j * signal[..., None]], axis=2)
    full /= np.linalg.norm(full, axis=1, keepdims=True)
    fisher = np.real(np.swapaxes(full.conj(), 1, 2) @ full)
    variance = np.diagonal(np.linalg.inv(fisher), axis1=1, axis2=2)[:, :7]
    expected = variance / np.linalg.norm(jacobian, axis=1) ** 2
    np.testing.assert_allclose(short_model.crb(theta, NAMES), expected, rtol=1e-3)


# --- the object -----------------------------------------------------------------------------------


TYPICAL = {"m0s": 0.12, "T1": 1.6, "T2f": 0.1, "Rx": 44.0, "T2s": 1e-5, "B0": 0.3 * BAND, "B1": 1.0}
SPREAD = {"m0s": 0.08, "T1": 0.8, "T2f": 0.2, "Rx": 20.0, "T2s": 2e-6, "B0": BAND, "B1": 0.3}


@pytest.mark.parametrize("name", NAMES)
def test_signal_depends_usefully_on_every_parameter(model, name):
    """At SNR_max = 50 it is told better than by its natural spread if all others are known."""
    others = [other for other in NAMES if other != name]
    bound = model.crb(tissue(**TYPICAL), name, known=others)
    assert np.sqrt(bound[0, 0]) / 50 < SPREAD[name]


def test_built_in_sequence_encodes_the_default_targets(model):
    """At SNR_max = 50 they are told better than by their natural spread, with all others unknown."""
    bound = model.crb(tissue(**TYPICAL))
    assert (np.sqrt(bound[0]) / 50 < [SPREAD[name] for name in ("m0s", "T1", "T2f")]).all()


def test_shapes_and_types(short_model, draw_theta):
    theta = draw_theta(3)
    assert short_model.signal(theta).shape == (3, 60)
    assert short_model.signal(theta).dtype == np.complex128
    assert short_model.jacobian(theta).shape == (3, 60, 7)
    assert short_model.jacobian(theta).dtype == np.complex128
    assert short_model.crb(theta).shape == (3, 3)
    assert short_model.parameter_names == NAMES


def test_theta_may_be_a_list_or_single_precision(short_model):
    expected = short_model.signal(tissue())
    np.testing.assert_array_equal(short_model.signal(tissue().tolist()), expected)
    np.testing.assert_allclose(short_model.signal(tissue().astype(np.float32)), expected, rtol=1e-4)


def test_is_immutable(short_model, short_sequence):
    with pytest.raises(AttributeError, match="immutable"):
        short_model.sequence = short_sequence
    with pytest.raises(AttributeError, match="immutable"):
        short_model.note = "new"
    with pytest.raises(AttributeError, match="immutable"):
        del copy.copy(short_model).lineshape


def test_clone_is_the_model_itself(short_model):
    assert clone(short_model) is short_model


def test_pickle_round_trip(short_model, draw_theta):
    other = pickle.loads(pickle.dumps(short_model))
    assert other.sequence == short_model.sequence
    np.testing.assert_array_equal(other.signal(draw_theta(3)), short_model.signal(draw_theta(3)))


def test_default_sequence_is_the_built_in_one(model):
    assert model.sequence == PulseSequence.default()
    assert model.lineshape == "super-lorentzian"
    assert model.saturation == "graham"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sequence": [0.1, 0.2]}, TypeError, "sequence must be a PulseSequence"),
        ({"lineshape": "voigt"}, ValueError, "lineshape must be one of .*'voigt'"),
        ({"saturation": "none"}, ValueError, "saturation must be .*'none'"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        MTHybridStateModel(**arguments)


# --- what is no valid theta -----------------------------------------------------------------------

METHODS = ("signal", "jacobian", "crb", "target_values")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "value", "interval"),
    [
        ("m0s", -0.01, r"\[0, 1\)"),
        ("m0s", 1.0, r"\[0, 1\)"),
        ("T1", 0.0, r"\(0, 30\] s"),
        ("T1", 1600.0, r"\(0, 30\] s.*SI units"),
        ("T2f", 0.0, r"\(0, 30\] s"),
        ("Rx", -1.0, r"\[0, 1000\] 1/s"),
        ("Rx", 1001.0, r"\[0, 1000\] 1/s"),
        ("T2s", 10.0, r"\[1e-06, 0.0001\] s.*SI units"),
        ("T2s", 0.9e-6, r"\[1e-06, 0.0001\] s"),
        ("B1", -0.1, r"\[0, 3\]"),
        ("B1", 3.01, r"\[0, 3\]"),
    ],
)
def test_unphysical_values_are_refused(short_model, method, name, value, interval):
    theta = np.concatenate([tissue(), tissue(**{name: value})])
    with pytest.raises(ValueError, match=rf"theta: {name} must lie in {interval}.*row 1|theta: {name}.*row 1.*SI"):
        getattr(short_model, method)(theta)


@pytest.mark.parametrize(("name", "value"), [("m0s", 0.0), ("T1", 30.0), ("Rx", 1000.0), ("T2s", 1e-4), ("B1", 3.0)])
def test_ends_of_the_range_are_accepted(short_model, name, value):
    assert np.isfinite(short_model.signal(tissue(**{name: value}))).all()


@pytest.mark.parametrize("method", METHODS)
def test_t2f_above_t1_is_refused(short_model, method):
    theta = np.concatenate([tissue(T2f=TISSUE["T1"]), tissue(T2f=1.7)])
    with pytest.raises(ValueError, match=r"theta: T2f must not exceed T1; got T2f = 1\.7, T1 = 1\.6 in row 1"):
        getattr(short_model, method)(theta)


@pytest.mark.parametrize(("name", "value"), [("m0s", np.nan), ("T2f", np.inf), ("B0", np.nan), ("B0", -np.inf)])
def test_values_that_are_not_finite_are_refused_by_name(short_model, name, value):
    with pytest.raises(ValueError, match=rf"theta\b.*\b{name}\b"):
        short_model.signal(tissue(**{name: value}))


def frame(**changes):
    return pd.DataFrame(tissue(), columns=list(NAMES)).assign(**changes)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        (tissue()[:, :6], "theta must have 7 columns; got 6"),
        (np.hstack([tissue(), tissue()]), "theta must have 7 columns; got 14"),
        (tissue()[0], "theta must be 2-D"),
        (tissue()[None], "theta must be 2-D"),
        (np.empty((0, 7)), "theta is empty"),
        ([[0.1, 1.0], [0.1]], "theta"),
        (frame().drop(columns="T2s"), "theta must have the columns .*T2s"),
        (frame(PD=1.0), "theta must have the columns .*PD"),
        (frame().rename(columns={"T2f": "T2"}), "theta must have the columns .*T2f"),
        (pd.DataFrame(tissue()), "theta must have the columns"),
        (frame().rename(columns={"B1": "B0"}), "theta must have the columns .*B1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_theta_of_the_wrong_form_is_refused(short_model, theta, message):
    with pytest.raises(ValueError, match=message):
        short_model.signal(theta)


@pytest.mark.parametrize(
    "theta",
    [
        tissue() + 0j,
        tissue().astype(str),
        tissue().astype(object) + 1j,
        frame(T1="1.6 s"),
        frame(B1=1 + 0j),
        "T1",
        None,
    ],
    ids=["complex", "strings", "objects", "frame-string", "frame-complex", "string", "none"],
)
def test_theta_of_the_wrong_type_is_refused(short_model, theta):
    with pytest.raises((TypeError, ValueError) if theta is None else TypeError, match="theta"):
        short_model.signal(theta)


def test_columns_of_a_frame_come_in_any_order(short_model, draw_theta):
    theta = pd.DataFrame(draw_theta(5), columns=list(NAMES))
    shuffled = theta[["B1", "T2s", "m0s", "T2f", "B0", "Rx", "T1"]]
    for method in METHODS:
        function = getattr(short_model, method)
        np.testing.assert_array_equal(function(shuffled), function(theta.to_numpy()))


@pytest.mark.parametrize("t2f", [1e-9, 1e-6, 1e-5])
def test_signal_is_finite_for_vanishing_t2f(short_model, t2f):
    theta = tissue(T2f=t2f)
    assert np.isfinite(short_model.signal(theta)).all()
    assert np.isfinite(short_model.jacobian(theta)).all()
