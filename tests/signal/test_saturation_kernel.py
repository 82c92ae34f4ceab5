"""The compiled look-up of saturation factors against that of the tables, and its derivatives."""

import numpy as np
import pytest
from numba import njit
from tissues import TR

from crbestim import PulseSequence
from crbestim.signal._generalized_bloch import generalized_bloch_table
from crbestim.signal._lanes import WIDTH, load, store_row
from crbestim.signal._saturation import LINESHAPES, saturation_table
from crbestim.signal._saturation_kernel import generalized_bloch, graham, pulse_rows, table_layout

# The strongest pulse at B1 = 3 lies on the last knot of a generalized Bloch table.
SEQUENCE = PulseSequence([0.0, 0.4, 1.1, 2.0, 3.5], [2e-4, 1e-4, 5e-4, 3e-4, 1e-4], TR, inversion_duration=4e-4)
DURATION = np.append(SEQUENCE.pulse_duration, SEQUENCE.inversion_duration)
FLIP_ANGLE = np.append(SEQUENCE.flip_angle, np.pi)
N_VOXELS = 100 * WIDTH


def compiled(look_up):
    @njit(error_model="numpy")
    def run(b1, t2s, pulses, grid, rows, out):
        log_t2s = np.log(t2s)
        for group in range(len(b1)):
            voxel = load(b1, (group,)), load(t2s, (group,)), load(log_t2s, (group,))
            for t in range(len(pulses)):
                store_row(out, (group, t), look_up(voxel[0], voxel[1], voxel[2], pulses[t], grid, rows))

    return run


RUN = {"graham": compiled(graham), "generalized-bloch": compiled(generalized_bloch)}


@pytest.fixture(scope="module", params=LINESHAPES)
def lineshape(request):
    return request.param


@pytest.fixture(scope="module", params=RUN)
def saturation(request):
    return request.param


@pytest.fixture(scope="module")
def table(lineshape, saturation):
    """The table that covers B1 up to 3 and T2s from 1 to 100 us."""
    x = float(DURATION.min() / 1e-4), float(DURATION.max() / 1e-6)
    return saturation_table(lineshape, *x) if saturation == "graham" else generalized_bloch_table(lineshape, *x, 10.5)


@pytest.fixture(scope="module")
def look_up(table, saturation):
    """A function of B1 and T2s, (n,), that returns a, da/dT2s and da/dB1 of every pulse, (3, n, pulses)."""

    grid, rows = table_layout(table)
    rows = np.vstack([rows, np.full((len(rows), 4), np.nan)])[: len(rows)]  # who reads beyond the end reads NaN

    def run(b1, t2s):
        out = np.empty((len(b1) // WIDTH, len(DURATION), 3, WIDTH))
        b1, t2s = (values.reshape(-1, WIDTH) for values in (b1, t2s))
        RUN[saturation](b1, t2s, pulse_rows(SEQUENCE), grid, rows, out)
        return out.transpose(2, 0, 3, 1).reshape(3, -1, len(DURATION))

    return run


@pytest.fixture(scope="module")
def voxels():
    """B1 and T2s all over the range; the first eight in its corners."""
    rng = np.random.default_rng(0)
    b1, t2s = rng.uniform(0, 3, N_VOXELS), np.exp(rng.uniform(np.log(1e-6), np.log(1e-4), N_VOXELS))
    b1[:8], t2s[:8] = np.tile([0.0, 3.0], 4), np.repeat([1e-6, 1e-4], 4)
    return b1, t2s


def test_pulse_rows_hold_the_train_and_the_inversion():
    rows = pulse_rows(SEQUENCE)
    np.testing.assert_array_equal(rows[:, 0], np.append(SEQUENCE.polar_angle, 0))
    np.testing.assert_array_equal(rows[:, 1:3], np.column_stack([FLIP_ANGLE, DURATION]))
    np.testing.assert_array_equal(rows[:, 3], np.log(DURATION))


def test_factor_is_that_of_the_table(table, look_up, voxels):
    b1, t2s = voxels
    expected = table.factor(b1[:, None] * FLIP_ANGLE, DURATION / t2s[:, None])
    np.testing.assert_allclose(look_up(b1, t2s)[0], expected, rtol=0, atol=1e-13)


def test_derivatives_are_those_of_the_factor(look_up, voxels):
    """Five-point differences of small steps: the pieces are smooth, and their slopes join where a step crosses."""
    b1, t2s = (values[8:] for values in voxels)
    h = 1e-5
    _, by_t2s, by_b1 = look_up(b1, t2s)

    def difference(factor):
        return (8 * (factor(h) - factor(-h)) - (factor(2 * h) - factor(-2 * h))) / (12 * h)

    numeric = difference(lambda step: look_up(b1 + step, t2s)[0])
    np.testing.assert_allclose(by_b1, numeric, rtol=1e-7, atol=1e-8)
    numeric = difference(lambda step: look_up(b1, t2s * np.exp(step))[0])
    np.testing.assert_allclose(by_t2s * t2s[:, None], numeric, rtol=1e-7, atol=1e-8)
    assert np.abs(by_b1[:, 1:]).max(axis=0).min() > 1e-3
    assert np.abs(by_t2s[:, 1:] * t2s[:, None]).max(axis=0).min() > 1e-3


def test_no_pulse_does_nothing(look_up, voxels):
    """A flip angle of zero, and B1 = 0, where the derivative by B1 vanishes too."""
    b1, t2s = voxels
    factor, by_t2s, by_b1 = look_up(b1, t2s)
    for nothing in (factor[:, 0] - 1, by_t2s[:, 0] * t2s, by_b1[:, 0]):
        np.testing.assert_allclose(nothing, 0, atol=1e-12)
    factor, by_t2s, by_b1 = look_up(0 * b1, t2s)
    for nothing in (factor - 1, by_t2s * t2s[:, None], by_b1):
        np.testing.assert_allclose(nothing, 0, atol=1e-12)
