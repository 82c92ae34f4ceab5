from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from finite_differences import disagreement
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation
from tissues import BAND, NAMES, TISSUE, TR, demanding_theta, tissue

from crbestim import MTHybridStateModel, PulseSequence, cramer_rao_bound
from crbestim.signal._generalized_bloch import generalized_bloch_table
from crbestim.signal._saturation import LINESHAPES

OPTIONS = [
    {"saturation": saturation, "separate_T1": separate_t1}
    for saturation in ("graham", "generalized-bloch")
    for separate_t1 in (False, True)
]


def option_names(value):
    """Name of a test with these options."""
    return "-".join([value["saturation"], *["T1s"] * value["separate_T1"]]) if isinstance(value, dict) else None


def column(name):
    return (*NAMES, "T1s").index(name)


@pytest.fixture(scope="module", params=OPTIONS, ids=option_names)
def variant(request):
    """The model with the built-in sequence, with one choice of options after the other."""
    return MTHybridStateModel(**request.param)


# --- Jacobian -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lineshape", "stride"), [("super-lorentzian", 1), ("lorentzian", 5), ("gaussian", 5)])
@pytest.mark.parametrize(
    ("options", "name"),
    [(options, name) for options in OPTIONS for name in (*NAMES, *["T1s"] * options["separate_T1"])],
    ids=option_names,
)
def test_jacobian_agrees_with_central_differences_in_every_voxel(lineshape, stride, options, name):
    model = MTHybridStateModel(lineshape=lineshape, **options)
    theta = demanding_theta(model.parameter_names)[::stride]
    assert len(theta) >= 300 // stride
    failed = disagreement(model, theta, name) >= 1
    assert not failed.any(), theta[failed]


ENDS = [
    ("m0s", 0.0, 1, 0.05),
    ("Rx", 0.0, 1, 10.0),
    ("T2f", TISSUE["T1"], -1, 0.1),
    ("B1", 3.0, -1, 0.05),
    ("T2s", 1e-6, 1, 1e-6),
    ("T2s", 1e-4, -1, 1e-5),
    ("T1s", 30.0, -1, 1.0),
]


@pytest.mark.parametrize(
    ("variant", "name", "value", "inwards", "scale"),
    [(options, *end) for options in OPTIONS for end in ENDS if end[0] != "T1s" or options["separate_T1"]],
    ids=option_names,
    indirect=["variant"],
)
@pytest.mark.parametrize("m0s", [0.0, 0.15])
def test_jacobian_at_the_ends_of_the_range(variant, name, value, inwards, scale, m0s):
    """One-sided differences of fourth order, from two steps."""
    theta = tissue(variant.parameter_names, **{"m0s": m0s, name: value})
    derivative = variant.jacobian(theta)[0, :, column(name)]
    weights = np.array([-25, 48, -36, 16, -3]) / 12
    errors = []
    for fraction in (1e-2, 1e-3):
        h = inwards * fraction * scale
        moved = np.repeat(theta, 5, axis=0)
        moved[:, column(name)] += h * np.arange(5)
        errors.append(np.linalg.norm(weights @ variant.signal(moved) / h - derivative))
    floor = 1e-12 * np.linalg.norm(variant.signal(theta)) / scale
    assert min(errors) < 1e-6 * np.linalg.norm(derivative) + 100 * floor


@pytest.mark.parametrize(
    ("name", "vanishing"), [("m0s", ("Rx", "T2s", "T1s")), ("Rx", ("T2s", "T1s")), ("B0", ("B0",))]
)
def test_derivatives_that_vanish_identically(variant, name, vanishing):
    names = variant.parameter_names
    jacobian = variant.jacobian(tissue(names, **{name: 0.0}))[0]
    size = np.linalg.norm(jacobian, axis=0) * np.abs(tissue(names)[0])
    for other in names:
        if other in vanishing:
            assert size[column(other)] < 1e-12
        else:
            assert size[column(other)] > 1e-3


# --- the signal against the differential equations ------------------------------------------------


def integrated_signal(sequence, values, saturated):
    """Signal of one voxel from numerical integration, the periodic state found by cycling.

    `saturated` gives the factor on z of a pulse of an actual flip angle and x = tau / T2s.
    """
    m0s, t1, t2f, rx, t2s, b0, b1, t1s = (values[name] for name in (*NAMES, "T1s"))
    r1, r1s, r2f, m0f = 1 / t1, 1 / t1s, 1 / t2f, 1 - m0s
    alpha, tau, tr = sequence.flip_angle, sequence.pulse_duration, sequence.repetition_time

    nominal = np.append(alpha[:-1] + alpha[1:], 2 * alpha[-1]) / 4
    v = np.arctan2(np.sin(b1 * nominal), np.cos(b1 * nominal) * np.cos(b0 * tr / 2))
    a = [saturated(b1 * flip, duration / t2s) for flip, duration in zip(alpha, tau, strict=True)]

    # The equations are linear: for each axis v, three starts give the affine map of half a repetition time.
    starts = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])[:, :, None]
    cos, sin = np.cos(v), np.sin(v)

    def right_hand_side(_, y):
        r, z = y.reshape(2, 3, len(v))
        dr = -(cos**2 * (r1 + rx * m0s) + sin**2 * r2f) * r + rx * m0f * cos * z + m0f * cos * r1
        dz = rx * m0s * cos * r - (r1s + rx * m0f) * z + m0s * r1s
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
    beta, gamma = np.mean(crushed, axis=0) @ axis_1, saturated(b1 * np.pi, sequence.inversion_duration / t2s)

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
        {"m0s": 0.45, "Rx": 110.0, "B0": -0.97 * BAND, "B1": 0.35, "T2s": 7e-6, "T1s": 3.0},
        {"T2f": 1.5, "T1": 1.5, "B0": 1.3 * BAND, "B1": 1.7, "T2s": 1.8e-5, "T1s": 0.02},
        {"T1": 0.4, "T2f": 0.006, "B1": 2.4, "Rx": 500.0, "T2s": 1e-6, "T1s": 1.1},
    ],
)
@pytest.mark.parametrize("saturation", ["graham", "generalized-bloch"])
@pytest.mark.parametrize("separate_t1", [False, True])
def test_signal_agrees_with_integration_of_the_equations(
    short_sequence, graham_integrals, lineshape, changes, saturation, separate_t1
):
    """Factors of the generalized Bloch model are from a table with another range than the model's."""
    table = generalized_bloch_table(lineshape, 1.0, 600.0, 3 * np.pi)

    def graham(flip, x):
        return np.exp(-((flip / x) ** 2) * graham_integrals(lineshape, float(x))[0])

    def generalized_bloch(flip, x):
        return table.factor(np.asarray(flip), np.asarray(x))

    model = MTHybridStateModel(short_sequence, lineshape, saturation, separate_t1)
    values = {**TISSUE, **changes}
    signal = model.signal(tissue(model.parameter_names, **values))[0]
    if not separate_t1:
        values["T1s"] = values["T1"]
    factor, tolerance = (graham, 1e-9) if saturation == "graham" else (generalized_bloch, 1e-6)
    expected = integrated_signal(short_sequence, values, factor)
    assert np.linalg.norm(signal - expected) < tolerance * np.linalg.norm(expected)
    assert np.linalg.norm(expected) > 1e-3


@pytest.mark.parametrize("saturation", ["graham", "generalized-bloch"])
def test_lineshapes_differ(short_sequence, saturation):
    signals = [
        MTHybridStateModel(short_sequence, lineshape, saturation).signal(tissue())[0] for lineshape in LINESHAPES
    ]
    for one, other in pairwise(signals):
        assert np.linalg.norm(one - other) > 1e-3 * np.linalg.norm(one)


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("saturation", ["graham", "generalized-bloch"])
def test_pools_of_equal_t1_are_those_of_the_common_one(saturation, draw_theta):
    """The derivative by the common T1 is the sum of those by the two."""
    common, separate = (MTHybridStateModel(saturation=saturation, separate_T1=separate) for separate in (False, True))
    theta = draw_theta(20)
    both = np.column_stack([theta, theta[:, column("T1")]])
    np.testing.assert_allclose(separate.signal(both), common.signal(theta), rtol=0, atol=1e-13)
    jacobian, expected = separate.jacobian(both), common.jacobian(theta)
    jacobian[:, :, column("T1")] += jacobian[:, :, column("T1s")]
    error = np.linalg.norm(jacobian[:, :, :7] - expected, axis=1)
    assert (error < 1e-11 * np.linalg.norm(expected, axis=1)).all()


def test_t1s_is_the_last_parameter():
    model = MTHybridStateModel(separate_T1=True)
    assert model.parameter_names == (*NAMES, "T1s")
    assert MTHybridStateModel.parameters == model.parameters[:7] == MTHybridStateModel().parameters
    with pytest.raises(ValueError, match="theta must have 8 columns; got 7"):
        model.signal(tissue())


@pytest.mark.parametrize("t1s", [0.0, -1.0, 350.0])
def test_unphysical_t1s_is_refused(t1s):
    model = MTHybridStateModel(separate_T1=True)
    with pytest.raises(ValueError, match=r"theta: T1s must lie in \(0, 30\] s"):
        model.signal(tissue(model.parameter_names, T1s=t1s))


@pytest.mark.parametrize("lineshape", LINESHAPES)
def test_saturations_agree_for_weak_pulses_and_differ_for_strong_ones(short_sequence, lineshape):
    graham, generalized = (
        MTHybridStateModel(short_sequence, lineshape, saturation) for saturation in ("graham", "generalized-bloch")
    )
    theta = np.concatenate([tissue(B1=b1) for b1 in (0.1, 1.6)])
    signal = graham.signal(theta)
    weak, strong = np.linalg.norm(generalized.signal(theta) - signal, axis=1) / np.linalg.norm(signal, axis=1)
    assert weak < 3e-5
    assert strong > 5e-4


@pytest.mark.parametrize("lineshape", LINESHAPES)
def test_strong_short_pulses_turn_the_semi_solid_pool_over(lineshape):
    """The factor is negative; signal and bound are finite, and neither is that of Graham's rate."""
    flip_angle = 1.5 + 1.5 * np.sin(np.linspace(0, 7, 60))
    sequence = PulseSequence(flip_angle, np.full(60, 1e-5), TR, inversion_duration=1e-5)
    theta = tissue(B1=1.0, T2s=2e-5)
    (signal, bound), (graham_signal, graham_bound) = (
        (model.signal(theta), model.crb(theta, NAMES))
        for model in (MTHybridStateModel(sequence, lineshape, s) for s in ("generalized-bloch", "graham"))
    )
    assert generalized_bloch_table(lineshape, 0.1, 1.0, 3.0).factor(np.float64(3.0), np.float64(0.5)) < -0.7
    assert np.isfinite(bound).all()
    assert (bound > 0).all()
    assert np.linalg.norm(signal - graham_signal) > 5e-3 * np.linalg.norm(graham_signal)
    assert (np.abs(bound / graham_bound - 1) > 0.1).any()


def test_knowing_t1s_lowers_every_bound(draw_theta):
    """That of T1 most of all."""
    names = (*NAMES, "T1s")
    model = MTHybridStateModel(separate_T1=True)
    theta = draw_theta(20, names=names)
    unknown, known = model.crb(theta, NAMES), model.crb(theta, NAMES, known="T1s")
    assert (known <= unknown * (1 + 1e-9)).all()
    assert (known[:, 1] < 0.9 * unknown[:, 1]).all()


# --- the bound where parameters vanish ------------------------------------------------------------


def bound_at(model, targets, known=(), **changes):
    """Bounds of one voxel, (len(targets),)."""
    return model.crb(tissue(model.parameter_names, **changes), targets, known=known)[0]


# Parameters at special values, what is known, and what is not told there; T1s goes as T2s, whose effect is as small.
SINGULAR_POINTS = [
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
def test_bound_is_continuous_where_a_parameter_vanishes(variant, point, known, blind):
    targets = [name for name in variant.parameter_names if name not in known]
    at, near, far = (
        bound_at(variant, targets, known, **{name: value + step * NEARBY[name] for name, value in point.items()})
        for step in (0, 1, 2)
    )
    told = ~np.isin(targets, (*blind, "T1s"))
    np.testing.assert_array_equal(np.isinf(at), ~told)
    np.testing.assert_allclose(near[told], at[told], rtol=1e-2)
    assert np.isfinite(near).all()
    # What is blind at the point falls with the square of the distance, or faster.
    assert (near[~told] > 3.9 * far[~told]).all()


@pytest.mark.parametrize(("name", "limit"), [("m0s", 1e-4), ("Rx", 1e-2)])
@pytest.mark.parametrize("known", [(), ("m0s",), ("Rx",), ("B0", "B1"), ("T1",)])
def test_bound_is_continuous_where_the_limit_takes_over(variant, name, limit, known):
    """Across the distance from the vanishing point at which the bound is evaluated instead."""
    targets = [other for other in variant.parameter_names if other not in known]
    bounds = [bound_at(variant, targets, known, **{name: value * limit}) for value in (0.999, 1.001)]
    np.testing.assert_allclose(*bounds, rtol=2e-2)


def plain_bound(model, theta):
    """Of all parameters and M0, from the Jacobian as it is at theta."""
    signal = model.signal(theta)[..., None]
    return cramer_rao_bound(np.concatenate([model.jacobian(theta), signal, 1j * signal], axis=2))[:, :-2]


@pytest.mark.parametrize(("name", "near", "blind"), [("m0s", 5e-5, ["Rx", "T2s", "T1s"]), ("Rx", 1.0, [])])
def test_limit_is_that_of_the_plain_bound(variant, name, near, blind):
    """Closer than this to a vanishing point, the bound of what is still told does not change any more."""
    names = variant.parameter_names
    told = ~np.isin(names, blind)
    at = bound_at(variant, names, **{name: 0.0 if blind else near})
    np.testing.assert_allclose(at[told], plain_bound(variant, tissue(names, **{name: near}))[0, told], rtol=2e-3)


@pytest.mark.parametrize(("name", "far"), [("m0s", 2e-4), ("Rx", 2e-2)])
@pytest.mark.parametrize("known", [(), ("m0s",), ("Rx",), ("T1",)])
def test_bound_grows_by_one_law_near_and_at_the_limit(variant, name, far, known):
    """Twice as close to the vanishing point, each bound grows as much inside of that distance as outside."""
    targets = [other for other in variant.parameter_names if other not in known]
    growth = [
        bound_at(variant, targets, known, **{name: distance})
        / bound_at(variant, targets, known, **{name: 2 * distance})
        for distance in (far, 0.1 * far)
    ]
    np.testing.assert_allclose(*growth, rtol=0.1)  # one law from another: by a factor of 4 at least


def test_bound_is_never_nan_and_always_positive(variant):
    """On a grid of all the points where something vanishes, and next to them."""
    grid = np.meshgrid(
        [0.0, 1e-300, 1e-9, 0.1, 1 - 1e-12],
        [1.6, 30.0],
        [1e-3, 1.6],
        [0.0, 1e-300, 1e-9, 40.0, 1000.0],
        [1e-6, 1e-4],
        [0.0, 1e-300, -1e-9, BAND, np.nextafter(BAND, 0), -1.001 * BAND, 2 * BAND, 1e9],
        [0.0, 1e-300, 1e-9, 1.0, 2.0, 3.0],
        [1e-3, 1.6],
    )
    names = variant.parameter_names
    theta = np.stack([axis.ravel() for axis in grid[: len(names)]], axis=1)
    bound = variant.crb(theta[np.random.default_rng(0).permutation(len(theta))[:400]], names)
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


@pytest.mark.parametrize("name", [name for name in NAMES if name != "T2s"])
def test_signal_depends_usefully_on_every_parameter(model, name):
    """At SNR_max = 50 it is told better than by its natural spread if all others are known. T2s is left out."""
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
    separate = MTHybridStateModel(short_model.sequence, separate_T1=True)
    assert separate.jacobian(draw_theta(3, names=(*NAMES, "T1s"))).shape == (3, 60, 8)


def test_theta_may_be_a_list_or_single_precision(short_model):
    expected = short_model.signal(tissue())
    np.testing.assert_array_equal(short_model.signal(tissue().tolist()), expected)
    np.testing.assert_allclose(short_model.signal(tissue().astype(np.float32)), expected, rtol=1e-4)


def test_default_options():
    model = MTHybridStateModel()
    assert (model.lineshape, model.saturation, model.separate_T1) == ("super-lorentzian", "graham", False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lineshape": "voigt"}, "lineshape must be one of .*'voigt'"),
        ({"saturation": "none"}, "saturation must be .*'none'"),
        ({"separate_T1": "T1s"}, "separate_T1 must be one of .*'T1s'"),
        ({"separate_T1": None}, "separate_T1 must be one of .*None"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
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
