import numpy as np
import pytest
import torch

from crbestim import crb_loss
from crbestim.nn import CRBLoss, MSELoss


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    theta, prediction = rng.normal(size=(2, 6, 3)).astype(np.float32)
    crb = rng.uniform(0.1, 2, (6, 3)).astype(np.float32)
    crb[1, 2] = np.inf
    crb[4] = np.inf
    return prediction, theta, crb


def test_crb_loss_equals_the_metric_and_leaves_out_infinite_bounds(batch):
    prediction, theta, crb = batch
    loss = CRBLoss()(torch.tensor(prediction), (torch.tensor(theta), torch.tensor(crb)))
    assert loss.item() == pytest.approx(crb_loss(theta, prediction, crb), rel=1e-5)
    terms = [
        (prediction[i, j] - theta[i, j]) ** 2 / crb[i, j] for i in range(6) for j in range(3) if np.isfinite(crb[i, j])
    ]
    assert len(terms) == 14
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_crb_loss_has_no_gradient_where_the_bound_is_infinite(batch):
    prediction, theta, crb = batch
    prediction = torch.tensor(prediction, requires_grad=True)
    CRBLoss()(prediction, (torch.tensor(theta), torch.tensor(crb))).backward()
    gradient = prediction.grad.numpy()
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient == 0, np.isinf(crb))


def test_mse_loss_is_in_the_targets_units(batch):
    prediction, theta, crb = batch
    scale = np.array([0.1, 2.0, 30.0], dtype=np.float32)
    loss = MSELoss(torch.tensor(scale))(torch.tensor(prediction), (torch.tensor(theta), torch.tensor(crb)))
    expected = np.mean((prediction * scale - theta * scale) ** 2)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
