"""What all hybrid-state models share: the symmetries in B0, what is told where, and the object."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import clone
from tissues import BAND, TISSUE, TR, tissue

from crbestim import PulseSequence


@pytest.fixture(scope="module")
def theta(hybrid_model, draw_theta):
    return draw_theta(20, names=hybrid_model.parameter_names)


def with_b0(model, theta, b0):
    moved = theta.copy()
    moved[:, model.parameter_names.index("B0")] = b0
    return moved


def b0_of(model, theta):
    return theta[:, model.parameter_names.index("B0")]


def told(model, known=()):
    """All parameters but the known ones."""
    return [name for name in model.parameter_names if name not in known]


def bound_at(model, known=(), **changes):
    """Bounds of one voxel, of all that is not known."""
    return model.crb(tissue(model.parameter_names, **changes), told(model, known), known=known)[0]


# --- symmetries -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "sign"),
    [
        (lambda b0: -b0, 1),
        (lambda b0: 2 * BAND - b0, -1),
        (lambda b0: b0 + 2 * BAND, -1),
        (lambda b0: b0 - 4 * BAND, 1),
    ],
)
def test_signal_at_images_of_b0(hybrid_model, theta, image, sign):
    """Even, and of the other sign in the next band."""
    signal = hybrid_model.signal(theta)
    moved = with_b0(hybrid_model, theta, image(b0_of(hybrid_model, theta)))
    np.testing.assert_allclose(hybrid_model.signal(moved), sign * signal, atol=1e-12, rtol=0)
    assert np.linalg.norm(signal, axis=1).min() > 1e-2


@pytest.mark.parametrize("image", [lambda b0: -b0, lambda b0: 2 * BAND - b0, lambda b0: b0 - 2 * BAND])
def test_bound_is_the_same_at_images_of_b0(hybrid_model, theta, image):
    names = hybrid_model.parameter_names
    moved = with_b0(hybrid_model, theta, image(b0_of(hybrid_model, theta)))
    np.testing.assert_allclose(hybrid_model.crb(moved, names), hybrid_model.crb(theta, names), rtol=1e-5)


def test_target_values_fold_b0_alone(hybrid_model):
    period, names = 2 * BAND, hybrid_model.parameter_names
    offsets = [0.0, 10.0, -10.0, period - 10.0, 10.0 - period, period + 10.0, 7 * period - 10.0, BAND, -BAND]
    theta = np.concatenate([tissue(names, B0=b0) for b0 in offsets])
    values = hybrid_model.target_values(theta, names)
    np.testing.assert_allclose(b0_of(hybrid_model, values), [0.0, *[10.0] * 6, BAND, BAND], atol=1e-9)
    np.testing.assert_array_equal(with_b0(hybrid_model, values, 0), with_b0(hybrid_model, theta, 0))


# --- the bound where parameters vanish ------------------------------------------------------------


@pytest.mark.parametrize("b0", [0.0, 2 * BAND, -4 * BAND])
@pytest.mark.parametrize("known", [(), ("B1",), ("T1",)])
def test_bound_is_continuous_where_b0_vanishes(hybrid_model, b0, known):
    """Its own bound falls with the square of the distance; those of the others are the limit."""
    at, near, far = (bound_at(hybrid_model, known, B0=b0 + distance) for distance in (0.0, 1e-2, 2e-2))
    others = np.array(told(hybrid_model, known)) != "B0"
    np.testing.assert_array_equal(np.isfinite(at), others)
    np.testing.assert_allclose(near[others], at[others], rtol=1e-2)
    np.testing.assert_allclose(near[~others], 4 * far[~others], rtol=1e-2)


def test_nothing_is_lost_at_b0_zero_if_it_is_known(hybrid_model):
    at, near = (bound_at(hybrid_model, ("B0",), B0=b0) for b0 in (0.0, 1e-2))
    np.testing.assert_allclose(near, at, rtol=1e-2)


@pytest.mark.parametrize("known", [(), ("B1",)])
def test_bound_is_continuous_where_the_limit_takes_over(hybrid_model, known):
    """Across the distance from B0 = 0 at which the bound is evaluated instead, and by one law on both sides."""
    inside, outside = (bound_at(hybrid_model, known, B0=b0 * 1e-3 * BAND) for b0 in (0.999, 1.001))
    np.testing.assert_allclose(inside, outside, rtol=1e-2)
    growth = [
        bound_at(hybrid_model, known, B0=b0) / bound_at(hybrid_model, known, B0=2 * b0)
        for b0 in (2e-4 * BAND, 2e-3 * BAND)
    ]
    np.testing.assert_allclose(*growth, rtol=1e-2)


@pytest.mark.parametrize("changes", [{"B0": BAND}, {"B0": -BAND}, {"B0": 3 * BAND}, {"B1": 0.0}])
@pytest.mark.parametrize("known", [(), ("B0",), ("B0", "B1"), ("T1",)])
def test_nothing_is_told_in_a_stop_band_or_without_rf(hybrid_model, changes, known):
    assert np.isposinf(bound_at(hybrid_model, known, **changes)).all()


def test_bound_grows_towards_stop_band(hybrid_model):
    """That of B0 itself grows at the band only: next to it, the signal depends steeply on B0."""
    bounds = [bound_at(hybrid_model, B0=(1 - distance) * BAND) for distance in (1e-3, 1e-4, 1e-5, 0)]
    others = [name != "B0" for name in hybrid_model.parameter_names]
    for further, closer in pairwise(bounds):
        assert (closer > further)[others].all()
    assert np.isinf(bounds[-1]).all()
    assert np.isfinite(bounds[:-1]).all()


# --- the object -----------------------------------------------------------------------------------


def test_is_immutable(short_hybrid_model, short_sequence):
    with pytest.raises(AttributeError, match="immutable"):
        short_hybrid_model.sequence = short_sequence
    with pytest.raises(AttributeError, match="immutable"):
        short_hybrid_model.note = "new"
    with pytest.raises(AttributeError, match="immutable"):
        del copy.copy(short_hybrid_model).sequence


def test_clone_is_the_model_itself(short_hybrid_model):
    assert clone(short_hybrid_model) is short_hybrid_model


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_the_same_model(short_hybrid_model, draw_theta, copied):
    other = copied(short_hybrid_model)
    assert repr(other) == repr(short_hybrid_model)
    assert other.parameters == short_hybrid_model.parameters
    assert other.sequence == short_hybrid_model.sequence
    theta = draw_theta(3, names=short_hybrid_model.parameter_names)
    np.testing.assert_array_equal(other.jacobian(theta), short_hybrid_model.jacobian(theta))


def test_repr_tells_all_options(hybrid_model, make_hybrid_model):
    text = repr(hybrid_model)
    assert text.startswith(f"{type(hybrid_model).__name__}(sequence=PulseSequence(1141 pulses")
    for name, value in getattr(make_hybrid_model, "keywords", {}).items():
        assert f"{name}={value!r}" in text


def test_default_sequence_is_the_built_in_one(hybrid_model):
    assert hybrid_model.sequence == PulseSequence.default()
    assert hybrid_model.n_timepoints == 1141


@pytest.mark.parametrize("sequence", [[0.1, 0.2], "default", PulseSequence])
def test_what_is_no_sequence_is_refused(make_hybrid_model, sequence):
    with pytest.raises(TypeError, match="sequence must be a PulseSequence; got (list|str|type)"):
        make_hybrid_model(sequence)


@pytest.mark.parametrize(
    ("n_pulses", "b0", "b1"), [(1, 0.0, 2.0), (2, 0.4 * BAND, 1.0), (5, 0.0, 1.0), (7, -1.3 * BAND, 0.7)]
)
def test_constant_flip_angles_have_a_known_signal(make_hybrid_model, n_pulses, b0, b1):
    """Without a semi-solid pool r relaxes with one rate on one axis, from what the inversion between crushers left."""
    sequence = PulseSequence(np.full(n_pulses, 0.8), np.full(n_pulses, 1e-4), TR, 5e-4)
    model = make_hybrid_model(sequence)
    theta = tissue(model.parameter_names, m0s=0.0, Rx=0.0, B0=b0, B1=b1)
    v = np.arctan2(np.sin(0.4 * b1), np.cos(0.4 * b1) * np.cos(b0 * TR / 2))
    rate = np.cos(v) ** 2 / TISSUE["T1"] + np.sin(v) ** 2 / TISSUE["T2"]
    limit = np.cos(v) / TISSUE["T1"] / rate
    decay = np.exp(-rate * TR * np.arange(1, n_pulses + 1))
    beta = np.cos(v) ** 2 * np.cos(np.pi * b1) - (np.sin(v) * np.sin(np.pi * b1 / 2)) ** 2
    start = beta * limit * (1 - decay[-1]) / (1 - beta * decay[-1])
    expected = np.sin(v) * (limit + (start - limit) * decay)
    np.testing.assert_allclose(model.signal(theta)[0], expected, rtol=1e-10)
    assert np.isfinite(model.jacobian(theta)).all()
