import numpy as np
import pytest

from crbestim import crb_efficiency_score, crb_loss


def test_loss_is_the_mean_of_squared_errors_over_the_bound():
    truth = np.array([[1.0, 2.0], [3.0, 4.0]])
    estimate = np.array([[1.5, 2.0], [3.0, 3.0]])
    crb = np.array([[0.25, 1.0], [2.0, 0.5]])
    assert crb_loss(truth, estimate, crb) == pytest.approx((1 + 0 + 0 + 2) / 4)
    assert crb_efficiency_score(truth, estimate, crb) == pytest.approx(4 / 3)


def test_infinite_bounds_leave_numerator_and_denominator():
    truth, estimate = np.zeros((2, 2)), np.array([[1.0, 100.0], [2.0, 3.0]])
    crb = np.array([[1.0, np.inf], [1.0, 1.0]])
    assert crb_loss(truth, estimate, crb) == pytest.approx((1 + 4 + 9) / 3)


def test_an_efficient_estimator_has_loss_one():
    rng = np.random.default_rng(0)
    crb = 10 ** rng.uniform(-8, 4, (20_000, 3))
    truth = rng.normal(size=crb.shape)
    estimate = truth + np.sqrt(crb) * rng.standard_normal(crb.shape)
    assert crb_loss(truth, estimate, crb) == pytest.approx(1, abs=4 * np.sqrt(2 / crb.size))


def test_exact_estimates_have_infinite_efficiency():
    assert crb_efficiency_score([1.0, 2.0], [1.0, 2.0], [1.0, 1.0]) == np.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_pred": [[1.0, 2.0]]}, "y_pred must have the shape"),
        ({"crb": [[1.0], [1.0]]}, "crb must have the shape"),
        ({"crb": [[1.0, np.nan], [1.0, 1.0]]}, "crb contains NaN"),
        ({"crb": [[1.0, 0.0], [1.0, 1.0]]}, "crb must be positive"),
        ({"crb": np.full((2, 2), np.inf)}, "crb is inf everywhere"),
        ({"y_true": [[1.0, np.inf], [1.0, 1.0]]}, "y_true contains NaN or infinity"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"y_true": np.ones((2, 2)), "y_pred": np.ones((2, 2)), "crb": np.ones((2, 2))} | change
    with pytest.raises(ValueError, match=message):
        crb_loss(**arguments)


def test_complex_bounds_are_refused():
    with pytest.raises(TypeError, match="crb must be real"):
        crb_loss([1.0], [1.0], [1j])
