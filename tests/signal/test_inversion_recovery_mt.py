import copy
import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import expm
from sklearn.base import clone

from crbestim import InversionRecoveryModel, InversionRecoveryMTModel, cramer_rao_bound

NAMES = ("m0s", "R1", "Rx", "T2s", "efficiency")
THETA = np.array(
    [
        [0.15, 0.8, 40.0, 10e-6, 0.95],
        [0.05, 1.4, 90.0, 13e-6, 1.0],
        [0.4, 0.3, 5.0, 8e-6, 0.8],
        [0.02, 2.5, 300.0, 60e-6, 0.0],
    ]
)
DURATIONS, TIMES = np.meshgrid([25e-6, 0.1e-3, 0.4e-3, 1e-3], np.geomspace(2e-3, 4.0, 10), indexing="ij")
T2F = 0.06


def model(durations=DURATIONS, times=TIMES, **options):
    return InversionRecoveryMTModel(np.ravel(times), np.ravel(durations), **({"T2f": T2F} | options))


@cache
def green(lineshape, x, n_steps):
    """G(x s) on a grid of s; the super-Lorentzian by plain quadrature over its orientations."""
    u = x * np.linspace(0, 1, n_steps + 1)
    if lineshape == "lorentzian":
        return np.exp(-u)
    if lineshape == "gaussian":
        return np.exp(-(u**2) / 2)
    nodes, weights = np.polynomial.legendre.leggauss(800)
    width = np.abs(3 * (nodes / 2 + 0.5) ** 2 - 1) / 2
    return np.exp(-(np.multiply.outer(u, width) ** 2) / 2) @ weights / 2


def stepped_factor(lineshape, x, n_steps=1600):
    r"""z(1) of :math:`\dot z = -\pi^2 \int_0^s G(x (s - s')) z(s') ds'`, z(0) = 1: trapezoids, extrapolated."""

    def march(stride):
        g, h = green(lineshape, x, n_steps)[::stride], stride / n_steps
        z, force = np.ones(len(g)), 0.0
        for i in range(1, len(g)):
            past = h * (g[i] / 2 + g[i - 1 : 0 : -1] @ z[1:i])
            z[i] = (z[i - 1] - np.pi**2 * h / 2 * (force + past)) / (1 + (np.pi * h) ** 2 / 4 * g[0])
            force = past + h / 2 * g[0] * z[i]
        return z[-1]

    coarse, medium, fine = march(4), march(2), march(1)
    first, second = medium + (medium - coarse) / 3, fine + (fine - medium) / 3
    return second + (second - first) / 15


def recovered(time, duration, a, theta):
    """Free pool a time after the pulse, by the matrix exponential of (z^f, z^s, 1)."""
    m0s, r1, rx, _, efficiency = theta
    m0f = 1 - m0s
    generator = np.array(
        [
            [-r1 - rx * m0s, rx * m0f, r1 * m0f],
            [rx * m0s, -r1 - rx * m0f, r1 * m0s],
            [0.0, 0.0, 0.0],
        ]
    )
    after_pulse = [-efficiency * np.exp(-duration / (2 * T2F)) * m0f, a * m0s, 1.0]
    return (expm(generator * time) @ after_pulse)[0]


def expected_signal(factor):
    return [
        [
            recovered(time, duration, factor(duration / theta[3]), theta)
            for time, duration in zip(TIMES.ravel(), DURATIONS.ravel(), strict=True)
        ]
        for theta in THETA
    ]


@pytest.mark.parametrize("lineshape", ["super-lorentzian", "lorentzian", "gaussian"])
def test_signal_with_the_saturation_of_graham(lineshape, graham_integrals):
    expected = expected_signal(lambda x: np.exp(-((np.pi / x) ** 2) * graham_integrals(lineshape, x)[0]))
    signal = model(lineshape=lineshape, saturation="graham").signal(THETA)
    np.testing.assert_allclose(signal, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("lineshape", ["super-lorentzian", "lorentzian", "gaussian"])
def test_signal_with_the_generalized_bloch_equation(lineshape):
    factor = cache(lambda x: stepped_factor(lineshape, x))
    np.testing.assert_allclose(model(lineshape=lineshape).signal(THETA), expected_signal(factor), rtol=0, atol=2e-7)


@pytest.mark.parametrize("saturation", ["graham", "generalized-bloch"])
def test_derivatives_in_every_voxel(saturation):
    """Of T2s over its whole range, too: the pieces of the table join with their slopes."""
    rng = np.random.default_rng(0)
    low, high = np.array([[0.005, 0.2, 1.0, 1.1e-6, 0.1], [0.9, 5.0, 900.0, 9e-5, 0.99]])
    theta = low * (high / low) ** rng.random((40, 5))
    chosen = model(saturation=saturation)
    jacobian = chosen.jacobian(theta)
    for column in range(5):
        step = 1e-3 * theta[:, column : column + 1]
        shift = step * np.eye(5)[column]
        ends = [chosen.signal(theta + i * shift) for i in (-2, -1, 1, 2)]
        difference = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * step)
        error = np.linalg.norm(difference - jacobian[:, :, column], axis=1)
        tolerance = 2e-5 if NAMES[column] == "T2s" else 1e-8  # a difference of T2s crosses knots
        assert (error < tolerance * np.linalg.norm(jacobian[:, :, column], axis=1) + 1e-13 / step[:, 0]).all()


def test_without_a_semi_solid_pool_it_is_the_inversion_recovery_of_one():
    """q = eta exp(-tau / 2 T2f) is the efficiency of one pool; 1/T1^4 turns the bound of T1 into that of R1."""
    times = np.geomspace(0.01, 4.0, 12)
    theta = np.array([[0.0, 0.9, 30.0, 1e-5, 0.95], [0.0, 2.0, 0.0, 1e-5, 0.3]])
    two_pools, one_pool = model(np.full(12, 1e-3), times), InversionRecoveryModel(times)
    t1, q = 1 / theta[:, 1], theta[:, 4] * np.exp(-1e-3 / (2 * T2F))
    np.testing.assert_allclose(two_pools.signal(theta), one_pool.signal(np.column_stack([t1, q])), rtol=0, atol=1e-14)
    bound = two_pools.crb(theta, ("R1", "efficiency"), known=("m0s", "Rx", "T2s"))
    single = one_pool.crb(np.column_stack([t1, q]))
    expected = single / np.column_stack([t1**4, np.full(2, np.exp(-1e-3 / T2F))])
    np.testing.assert_allclose(bound, expected, rtol=2e-3)  # at m0s = 1e-4


def test_a_pulse_too_short_for_either_pool_moves_both_alike():
    """z^f and z^s are inverted alike: nothing to exchange."""
    short = model(np.full(5, 1e-9), np.geomspace(0.01, 3.0, 5))
    theta = np.array([[0.3, 1.0, 50.0, 1e-4, 1.0]])
    expected = 0.7 * (1 - 2 * np.exp(-np.geomspace(0.01, 3.0, 5)))
    np.testing.assert_allclose(short.signal(theta)[0], expected, rtol=0, atol=2e-5)


def test_fast_exchange_leaves_one_pool():
    """Both pools follow their mean, after a time of some 1 / Rx."""
    theta = np.array([[0.2, 1.0, 1000.0, 1e-5, 0.9]])
    a = stepped_factor("super-lorentzian", 10.0)
    times = np.array([0.05, 0.3, 1.0, 3.0])
    mean = 1 + (0.2 * a - 0.8 * 0.9 * np.exp(-1e-4 / (2 * T2F)) - 1) * np.exp(-times)
    np.testing.assert_allclose(model(np.full(4, 1e-4), times).signal(theta)[0], 0.8 * mean, rtol=0, atol=1e-6)


def test_real_data_keep_their_sign():
    real, plain = model(data="real"), model()
    np.testing.assert_array_equal(real.signal(THETA), plain.signal(THETA))
    assert real.signal(THETA).dtype == np.float64
    assert real.signal(THETA).min() < 0
    targets = ("R1", "efficiency")
    np.testing.assert_allclose(real.crb(THETA, targets), plain.crb(THETA, targets), rtol=1e-6)


# --- the bound where parameters vanish ------------------------------------------------------------


def bound_at(chosen, targets, known=(), **changes):
    row = dict(zip(NAMES, THETA[0], strict=True)) | changes
    return chosen.crb([[row[name] for name in NAMES]], targets, known=known)[0]


def told(known):
    return [name for name in NAMES if name not in known]


SINGULAR_POINTS = [
    ({"m0s": 0.0}, (), ("Rx", "T2s")),
    ({"m0s": 0.0}, ("efficiency",), ("Rx", "T2s")),
    ({"m0s": 0.0}, ("m0s",), ("Rx", "T2s")),
    ({"m0s": 0.0}, ("Rx", "T2s"), ()),
    ({"Rx": 0.0}, (), ("m0s", "Rx", "T2s")),
    ({"Rx": 0.0}, ("R1",), ("m0s", "Rx", "T2s")),
    ({"Rx": 0.0}, ("T2s",), ("m0s", "Rx")),
    ({"Rx": 0.0}, ("Rx",), ("m0s", "T2s")),
    ({"Rx": 0.0}, ("m0s",), ("T2s",)),
    ({"Rx": 0.0}, ("m0s", "T2s"), ()),
    ({"m0s": 0.0, "Rx": 0.0}, (), ("m0s", "Rx", "T2s")),
    ({"m0s": 0.0, "Rx": 0.0}, ("m0s", "T2s"), ("Rx",)),
    ({"m0s": 0.0, "Rx": 0.0}, ("Rx",), ("m0s", "T2s")),
]
NEARBY = {"m0s": 1e-7, "Rx": 1e-5}


@pytest.mark.parametrize("saturation", ["graham", "generalized-bloch"])
@pytest.mark.parametrize(("point", "known", "blind"), SINGULAR_POINTS)
def test_bound_is_continuous_where_a_parameter_vanishes(saturation, point, known, blind):
    targets, chosen = told(known), model(saturation=saturation)
    at, near, far = (
        bound_at(chosen, targets, known, **{name: value + step * NEARBY[name] for name, value in point.items()})
        for step in (0, 1, 2)
    )
    is_told = ~np.isin(targets, blind)
    np.testing.assert_array_equal(np.isinf(at), ~is_told)
    np.testing.assert_allclose(near[is_told], at[is_told], rtol=1e-2)
    assert np.isfinite(near).all()
    assert (near[~is_told] > 3.9 * far[~is_told]).all()


def plain_bound(chosen, known, **changes):
    """Of what is not known and M0, from the Jacobian as it is."""
    row = dict(zip(NAMES, THETA[0], strict=True)) | changes
    theta = [[row[name] for name in NAMES]]
    columns = chosen.jacobian(theta)[:, :, [NAMES.index(name) for name in told(known)]]
    signal = chosen.signal(theta)[:, :, None]
    return cramer_rao_bound(np.concatenate([columns, signal, 1j * signal], axis=2))[0, :-2]


@pytest.mark.parametrize(("name", "limit"), [("m0s", 1e-4), ("Rx", 1e-2)])
@pytest.mark.parametrize("known", [(), ("m0s",), ("Rx",), ("R1",), ("T2s",), ("efficiency", "T2s")])
def test_bound_is_continuous_where_the_limit_takes_over(name, limit, known):
    bounds = [bound_at(model(), told(known), known, **{name: value * limit}) for value in (0.999, 1.001)]
    np.testing.assert_allclose(*bounds, rtol=2e-2)
    expected = plain_bound(model(), known, **{name: 2 * limit})
    np.testing.assert_allclose(bound_at(model(), told(known), known, **{name: 2 * limit}), expected, rtol=1e-6)


PROTOCOLS = {"one duration": [0.5e-3], "two durations": [0.1e-3, 1e-3], "three durations": [25e-6, 0.2e-3, 1e-3]}


@pytest.mark.parametrize(("name", "far"), [("m0s", 2e-4), ("Rx", 2e-2)])
@pytest.mark.parametrize(
    ("protocol", "known"),
    [
        ("one duration", ("T2s", "R1")),
        ("two durations", ("T2s",)),
        ("three durations", ()),
        ("three durations", ("m0s",)),
        ("three durations", ("Rx",)),
        ("three durations", ("T2s", "efficiency")),
    ],
)
def test_bound_grows_by_one_law_near_and_at_the_limit(name, far, protocol, known):
    """Twice as close to the vanishing point, each bound grows as much inside of that distance as outside."""
    durations, times = np.meshgrid(PROTOCOLS[protocol], np.geomspace(4e-3, 4.0, 12), indexing="ij")
    chosen = model(durations, times)
    growth = [
        bound_at(chosen, told(known), known, **{name: distance})
        / bound_at(chosen, told(known), known, **{name: 2 * distance})
        for distance in (far, 0.1 * far)
    ]
    np.testing.assert_allclose(*growth, rtol=0.15)  # laws differ by factors of four


@pytest.mark.parametrize(
    ("protocol", "known"),
    [("one duration", ("T2s",)), ("one duration", ("T2s", "m0s")), ("two durations", ()), ("two durations", ("m0s",))],
)
def test_too_few_durations_tell_nothing_of_exchange_that_stops(protocol, known):
    durations, times = np.meshgrid(PROTOCOLS[protocol], np.geomspace(4e-3, 4.0, 12), indexing="ij")
    chosen = model(durations, times)
    pools = [name for name in ("m0s", "R1", "Rx", "T2s") if name not in known]
    assert np.isfinite(bound_at(chosen, pools, known, Rx=0.02)).all()
    assert np.isposinf(bound_at(chosen, pools, known, Rx=0.005)).all()
    assert np.isfinite(bound_at(chosen, ("efficiency",), known, Rx=0.0)).all()
    assert np.isfinite(bound_at(chosen, ("R1",), (*known, "Rx"), Rx=0.0)).all()


def test_one_duration_does_not_tell_relaxation_from_exchange_that_stops():
    """To first order in Rx, exchange adds to the signal as a change of R1 does, t exp(-R1 t): nor is R1 told then."""
    single = model(np.full(12, 0.5e-3), np.geomspace(4e-3, 4.0, 12))
    near, far = (bound_at(single, ("R1",), ("T2s",), Rx=rx)[0] for rx in (0.1, 0.2))
    assert near > 12 * far
    assert np.isposinf(bound_at(single, ("R1",), ("T2s",), Rx=0.0)[0])


def test_one_duration_does_not_tell_the_semi_solid_t2():
    single = model(np.full(12, 0.5e-3), np.geomspace(4e-3, 4.0, 12))
    assert np.isposinf(bound_at(single, ("T2s",))).all()
    assert np.isfinite(bound_at(single, told(("T2s",)), ("T2s",))).all()


@pytest.mark.parametrize("efficiency", [0.0, 1.0])
def test_the_ends_of_the_efficiency_are_regular(efficiency):
    assert np.isfinite(bound_at(model(), NAMES, efficiency=efficiency)).all()


@pytest.mark.parametrize("t2s", [1e-6, 1e-4])
@pytest.mark.parametrize("saturation", ["graham", "generalized-bloch"])
def test_the_ends_of_t2s_are_in_the_table(t2s, saturation):
    chosen = model(saturation=saturation)
    row = THETA[:1].copy()
    row[0, 3] = t2s
    inside = row * [1, 1, 1, 1 + 1e-6 * np.sign(1e-5 - t2s), 1]
    np.testing.assert_allclose(chosen.jacobian(row), chosen.jacobian(inside), rtol=1e-3, atol=1e-6 / t2s)
    assert np.isfinite(chosen.crb(row)).all()


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series])
def test_any_sequence_makes_the_same_model(kind):
    times, durations = (0.01, 0.5, 2.0), (1e-4, 1e-3, 1e-4)
    made = InversionRecoveryMTModel(kind(times), kind(durations), T2f=np.float64(0.1))
    same = InversionRecoveryMTModel(times, durations, 0.1)
    assert made == same
    assert hash(made) == hash(same)
    assert made.pulse_durations == durations
    assert type(made.T2f) is float


def test_models_differ_by_each_setting():
    settings = {}, {"T2f": 0.1}, {"lineshape": "gaussian"}, {"saturation": "graham"}, {"data": "real"}
    assert len({model(**options) for options in settings}) == 5


def test_is_a_constant():
    chosen = model(lineshape="gaussian", data="real")
    assert clone(chosen) is chosen
    for other in (pickle.loads(pickle.dumps(chosen)), copy.deepcopy(chosen)):
        assert other == chosen
        assert other.real_valued
        np.testing.assert_array_equal(other.signal(THETA), chosen.signal(THETA))
    for name in ("inversion_times", "pulse_durations", "T2f", "lineshape", "saturation", "data", "real_valued"):
        with pytest.raises(AttributeError):
            setattr(chosen, name, None)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"inversion_times": 0.1}, ValueError, "inversion_times must be one-dimensional"),
        ({"inversion_times": []}, ValueError, "inversion_times must be one-dimensional"),
        ({"inversion_times": [[0.1, 0.2]]}, ValueError, "inversion_times must be one-dimensional"),
        ({"inversion_times": [0.1, np.nan]}, ValueError, "inversion_times must be finite"),
        ({"inversion_times": [0.1, -0.1]}, ValueError, "inversion_times must be finite and from 0 to 100 s"),
        ({"inversion_times": [0.1j, 0.2]}, TypeError, "inversion_times must be real"),
        ({"inversion_times": ["a", "b"]}, TypeError, "inversion_times must hold numbers"),
        ({"inversion_times": [0.4e-3, 0.2]}, ValueError, "inversion_times .* below half its duration"),
        ({"pulse_durations": 1e-3}, ValueError, "pulse_durations must be one-dimensional"),
        ({"pulse_durations": [1e-3]}, ValueError, "pulse_durations must have one value for each of the 2 inversion"),
        ({"pulse_durations": [1e-3] * 3}, ValueError, "pulse_durations must have one value .*; got 3"),
        ({"pulse_durations": [1e-3, 0.0]}, ValueError, "pulse_durations must be finite and from 1e-09 to 100 s"),
        ({"pulse_durations": [1e-3, np.inf]}, ValueError, "pulse_durations must be finite"),
        ({"pulse_durations": [1e-3, 1e-3j]}, TypeError, "pulse_durations must be real"),
        ({"pulse_durations": ["1 ms", "2 ms"]}, TypeError, "pulse_durations must hold numbers"),
        ({"T2f": 0.0}, ValueError, "T2f must be positive"),
        ({"T2f": np.nan}, ValueError, "T2f must be positive and finite"),
        ({"T2f": "50 ms"}, TypeError, "T2f must be a number"),
        ({"T2f": [0.05]}, TypeError, "T2f must be a number"),
        ({"lineshape": "super"}, ValueError, "lineshape must be one of"),
        ({"saturation": "bloch"}, ValueError, "saturation must be one of"),
        ({"data": "magnitude"}, ValueError, "data must be one of"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    defaults = {"inversion_times": [0.1, 0.2], "pulse_durations": [1e-3, 1e-3]}
    with pytest.raises(error, match=message):
        InversionRecoveryMTModel(**(defaults | arguments))


@pytest.mark.parametrize(
    ("name", "value"),
    [("m0s", 1.0), ("m0s", -0.1), ("R1", 0.0), ("R1", 101.0), ("Rx", -1.0), ("T2s", 12.0), ("efficiency", 1.1)],
)
def test_unphysical_parameters_are_named(name, value):
    with pytest.raises(ValueError, match=f"theta: {name} must lie in"):
        bound_at(model(), ("R1",), **{name: value})
