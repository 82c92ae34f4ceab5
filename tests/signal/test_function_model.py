import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.linalg import expm
from sklearn.base import clone

from crbestim import FunctionModel, NLLSEstimator, Parameter, Prior, make_fingerprints

ECHOES = torch.linspace(0.01, 0.32, 16, dtype=torch.float64)
T2 = Parameter("T2", "T_2", "s", (0.0, 10.0), closed="right")
B0 = Parameter("B0", "B_0", "rad/s", (-1e4, 1e4))
T1 = Parameter("T1", "T_1", "s", (0.0, np.inf), closed="neither")


def decay(T2):
    return torch.exp(-ECHOES / T2)


def dephasing(T2, B0):
    return torch.exp((1j * B0 - 1 / T2) * ECHOES)


def exchange(m, k):
    """Two pools: a matrix exponential, and a linear system for where they rest."""
    generator = torch.stack([torch.stack([-1 - k * m, k * (1 - m)]), torch.stack([k * m, -1 - k * (1 - m)])])
    rest = torch.linalg.solve(generator, -torch.stack([1 - m, m]))
    times = torch.linspace(0.05, 2, 9, dtype=torch.float64)
    steps = torch.linalg.matrix_exp(generator * times[:, None, None])
    return (steps @ (torch.stack([-1 + m, m]) - rest) + rest)[:, 0]


EXCHANGE = (Parameter("m", "m", "1", (0.0, 1.0)), Parameter("k", "k", "1/s", (0.0, 100.0)))


def test_signal_and_jacobian_in_closed_form():
    theta = np.array([[0.05, 30.0], [0.2, -200.0], [0.1, 0.0]])
    t = ECHOES.numpy()
    signal = np.exp((1j * theta[:, 1:] - 1 / theta[:, :1]) * t)
    model = FunctionModel(dephasing, (T2, B0))
    np.testing.assert_allclose(model.signal(theta), signal, rtol=1e-14)
    expected = np.stack([signal * t / theta[:, :1] ** 2, 1j * t * signal], axis=2)
    np.testing.assert_allclose(model.jacobian(theta), expected, rtol=1e-13)
    assert model.n_timepoints == 16
    assert FunctionModel(decay, [T2])._signal(theta[:, :1]).dtype == np.float64


def test_every_sample_of_a_batch_with_linear_algebra():
    """Batched solvers under nested transforms are where automatic derivatives went wrong for every second sample."""
    model = FunctionModel(exchange, EXCHANGE)
    rng = np.random.default_rng(0)
    theta = np.column_stack([rng.uniform(0.05, 0.9, 40), rng.uniform(0.5, 50.0, 40)])
    for (m, k), signal in zip(theta, model.signal(theta), strict=True):
        generator = np.array([[-1 - k * m, k * (1 - m)], [k * m, -1 - k * (1 - m)]])
        rest = np.linalg.solve(generator, -np.array([1 - m, m]))
        expected = [(expm(generator * t) @ (np.array([m - 1, m]) - rest) + rest)[0] for t in np.linspace(0.05, 2, 9)]
        np.testing.assert_allclose(signal, expected, atol=1e-13)
    jacobian = model.jacobian(theta)
    for column, step in enumerate((1e-4, 1e-3)):
        shift = step * np.eye(2)[column]
        ends = [model.signal(theta + i * shift) for i in (-2, -1, 1, 2)]
        difference = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)
        error = np.linalg.norm(difference - jacobian[:, :, column], axis=1)
        assert (error < 1e-7 * np.linalg.norm(jacobian[:, :, column], axis=1)).all()


def test_bound_data_and_fit():
    model = FunctionModel(dephasing, (T2, B0), default_targets=("T2",))
    prior = Prior({"T2": stats.uniform(0.05, 0.2), "B0": stats.uniform(-5.0, 10.0)})
    data = make_fingerprints(model, prior, n_samples=12, random_state=0, progress=False)
    assert data.target_names == ("T2",)
    T2s = data.theta["T2"].to_numpy()
    t, decays = ECHOES.numpy(), np.exp(-ECHOES.numpy() / T2s[:, None])
    # M0's amplitude is the one parameter that T2 is mixed up with.
    by_T2 = decays * t / T2s[:, None] ** 2
    rest = by_T2 - decays * ((by_T2 * decays).sum(1) / (decays**2).sum(1))[:, None]
    np.testing.assert_allclose(data.crb[:, 0], 1 / (rest**2).sum(1), rtol=1e-9)
    fit = NLLSEstimator(model, targets=("T2",), prior=prior, verbose=0, random_state=0).fit()
    np.testing.assert_allclose(fit.predict(data.X), data.y, rtol=1e-5)


def test_is_a_constant():
    model = FunctionModel(decay, (T2,))
    assert clone(model) is model
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.signal([[0.1]]), model.signal([[0.1]]))
    with pytest.raises(AttributeError):
        model.function = dephasing


def test_not_above_is_checked():
    model = FunctionModel(lambda T1, T2: ECHOES * (T2 / T1), (T1, T2), not_above={"T2": "T1"})
    with pytest.raises(ValueError, match="T2 must not exceed T1"):
        model.signal(pd.DataFrame({"T1": [0.1], "T2": [0.2]}))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((decay, T2), TypeError, "parameters must be a sequence of Parameter"),
        ((decay, (T1,)), TypeError, r"function must take the arguments \['T1'\]"),
        ((lambda T2: ECHOES * (1 if T2 > 1 else 2), (T2,)), ValueError, "use torch.where"),
        ((lambda T2: ECHOES * float(T2), (T2,)), ValueError, "use torch.where"),
        (("decay", (T2,)), TypeError, "function must be callable; got str"),
        ((decay, ("T2",)), TypeError, "parameters must hold Parameter objects; got str"),
        ((decay, ()), ValueError, "at least one entry"),
        ((decay, (T2, T2)), ValueError, "different names"),
        ((decay, (T2,), ("T1",)), ValueError, "default_targets"),
        ((decay, (T2,), (), {"T2": "T1"}), ValueError, "not_above"),
        ((lambda T2: 1.0, (T2,)), TypeError, "must return a torch tensor; got float"),
        ((lambda T2: T2, (T2,)), ValueError, r"shape \(T,\); got \(\)"),
        ((lambda T2: T2 * torch.ones(4), (T2,)), ValueError, "constants in double precision"),
        ((lambda T2: torch.log(-T2 * ECHOES), (T2,)), ValueError, "must return a finite signal; it is not at"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        FunctionModel(*arguments)
