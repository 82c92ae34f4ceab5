import numpy as np
import pytest
import torch

from crbestim import crb_loss
from crbestim.nn import BiasReducedLoss, CRBLoss, Criterion, MSELoss, RelativeLoss


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    theta, estimate = rng.normal(size=(2, 6, 3)).astype(np.float32)
    crb = rng.uniform(0.1, 2, (6, 3)).astype(np.float32)
    crb[1, 2] = np.inf
    crb[4] = np.inf
    return estimate, theta, crb


def value(loss, error, theta, crb):
    return loss(*(torch.tensor(np.asarray(values, dtype=np.float32)) for values in (error, theta, crb))).item()


def test_crb_loss_equals_the_metric_and_leaves_out_infinite_bounds(batch):
    estimate, theta, crb = batch
    loss = value(CRBLoss(), estimate - theta, theta, crb)
    assert loss == pytest.approx(crb_loss(theta, estimate, crb), rel=1e-5)
    terms = [
        (estimate[i, j] - theta[i, j]) ** 2 / crb[i, j] for i in range(6) for j in range(3) if np.isfinite(crb[i, j])
    ]
    assert len(terms) == 14
    assert loss == pytest.approx(np.mean(terms), rel=1e-5)


@pytest.mark.parametrize("loss", [CRBLoss(), BiasReducedLoss()])
def test_there_is_no_gradient_where_the_bound_is_infinite(batch, loss):
    estimate, theta, crb = (torch.tensor(values) for values in batch)
    if isinstance(loss, BiasReducedLoss):
        estimate = torch.stack([estimate, 2 * estimate, -3 * estimate])
    estimate.requires_grad_()
    loss(estimate - theta, theta, crb).backward()
    gradient = estimate.grad.abs().reshape(-1, 6, 3).sum(0).numpy()
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient == 0, np.isinf(batch[2]))


def test_mse_loss_is_in_the_targets_units():
    error = [[0.1, 20.0], [-0.3, 0.0]]
    expected = (0.01 + 400 + 0.09 + 0) / 4
    assert value(MSELoss(), error, np.ones((2, 2)), np.ones((2, 2))) == pytest.approx(expected, rel=1e-6)


def test_relative_loss_by_hand():
    error, theta = [[0.1, -20.0], [-0.3, 0.0]], [[0.5, 100.0], [-1.0, 3.0]]
    expected = (0.2 + 0.2 + 0.3 + 0) / 4
    assert value(RelativeLoss(), error, theta, np.ones((2, 2))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # One target; errors of two fingerprints in three realizations: (1, 2, 6) and (-1, 0, 1), bounds 2 and 4.
        # Means 3 and 0, sample variances 7 and 1, over the bounds 3.5 and 0.25.
        ({"variance_weight": 1.0, "unbiased": False}, (9 / 2 + 2.5 + 0 + 0) / 2),
        ({"variance_weight": 0.1, "unbiased": False}, (9 / 2 + 0.25 + 0 + 0) / 2),
        ({"variance_weight": 1.0, "unbiased": False, "variance_limit": 0.2}, (9 / 2 + 3.3 + 0 + 0.05) / 2),
        ({}, ((9 - 7 / 3) / 2 + 0.125 + (0 - 1 / 3) / 4) / 2),
    ],
)
def test_bias_reduced_loss_by_hand(settings, expected):
    error = np.array([[[1], [-1]], [[2], [0]], [[6], [1]]])
    loss = value(BiasReducedLoss(**settings), error, np.zeros((2, 1)), [[2.0], [4.0]])
    assert loss == pytest.approx(expected, rel=1e-6)


def test_bias_reduced_loss_is_an_unbiased_estimate_of_the_squared_bias():
    rng = np.random.default_rng(1)
    error = 0.3 + rng.normal(size=(4, 200_000, 1))
    crb = np.ones((200_000, 1))
    loss = value(BiasReducedLoss(4, variance_weight=0), error, crb, crb)
    assert loss == pytest.approx(0.09, abs=5 * np.sqrt(2 / 12 + 4 * 0.09 / 4) / np.sqrt(200_000))
    overstated = value(BiasReducedLoss(4, variance_weight=0, unbiased=False), error, crb, crb)
    assert overstated == pytest.approx(0.09 + 1 / 4, abs=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_realizations": 1}, "n_realizations must be at least 2"),
        ({"variance_weight": -1.0}, "variance_weight must be positive"),
        ({"variance_limit": 0.0}, "variance_limit must be positive"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        BiasReducedLoss(**settings)


class Sum:
    """Loss that tells what it was given."""

    def __call__(self, error, theta, crb):
        self.given = error, theta, crb
        return error.sum()


def test_criterion_hands_losses_the_targets_own_units():
    first, refinement = Sum(), Sum()
    mean, scale = torch.tensor([1.0, 200.0]), torch.tensor([0.1, 50.0])
    criterion = Criterion(first, refinement, mean, scale, noise_std=0.5)
    theta, crb = torch.tensor([[1.0, -1.0], [0.0, 2.0]]), torch.ones(2, 2)
    estimate = torch.tensor([[2.0, -1.0], [0.0, 1.0]])
    assert criterion((estimate, None), (theta, crb)) == pytest.approx(0.1 - 50)
    torch.testing.assert_close(first.given[1], torch.tensor([[1.1, 150.0], [1.0, 300.0]]))
    criterion((torch.cat([estimate, theta]), None), (theta, crb))
    error = refinement.given[0]
    assert error.shape == (2, 2, 2)
    torch.testing.assert_close(error[0], torch.tensor([[0.1, 0.0], [0.0, -50.0]]))
    assert not error[1].any()


def test_criterion_trains_the_bound_without_changing_the_losss_value():
    scale = torch.tensor([0.1, 50.0])
    criterion = Criterion(MSELoss(), None, torch.zeros(2), scale, noise_std=0.5)
    theta, crb = torch.zeros(3, 2), torch.tensor([[0.01, 1.0], [0.04, torch.inf], [0.0025, 9.0]])
    log_std = torch.zeros(3, 2, requires_grad=True)
    loss = criterion((theta, log_std), (theta, crb))
    assert loss.item() == 0
    loss.backward()
    truth = np.log(np.sqrt(crb.numpy()) / (scale.numpy() * 0.5))
    expected = np.where(np.isinf(truth), 0, -2 * truth / 5)
    np.testing.assert_allclose(log_std.grad.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_no_scalar_is_named():
    criterion = Criterion(lambda error, theta, crb: error, None, torch.zeros(1), torch.ones(1), 1.0)
    with pytest.raises(TypeError, match=r"loss must return a scalar Tensor; got a Tensor of shape \(2, 1\)"):
        criterion((torch.zeros(2, 1), None), (torch.zeros(2, 1), torch.ones(2, 1)))
