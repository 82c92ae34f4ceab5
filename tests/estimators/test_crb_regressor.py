import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from crbestim import CRBWeightedRegressor, NoiseModel, bias_variance
from crbestim._validation import stack_complex
from crbestim.estimators import _callbacks
from crbestim.estimators._batches import FingerprintBatches
from crbestim.estimators._recipes import RECIPES, OneCycle, Stages, StepDecay
from crbestim.nn import BiasReducedLoss, FingerprintNetwork, ResidualNetwork


@pytest.fixture(scope="module")
def data():
    """Damped oscillations, compressed by hand to 4 coefficients; two parameters with made-up bounds."""
    rng = np.random.default_rng(0)
    theta = np.c_[rng.uniform(1, 3, 600), rng.uniform(0.01, 0.05, 600)]
    t = np.arange(4)
    X = np.exp(-t / theta[:, :1] + 20j * t * theta[:, 1:])
    crb = 20 * theta**2
    return stack_complex(X), theta, crb


def regressor(loss="crb", **kwargs):
    defaults = {"max_epochs": 4, "batch_size": 128, "verbose": 0, "random_state": 0}
    return CRBWeightedRegressor(loss, **(defaults | kwargs))


class NetworkWithDropout(FingerprintNetwork):
    """Draws random numbers in every step of a training."""

    def __init__(self, n_inputs, n_outputs, n_covariates):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(n_inputs, 16), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(16, n_outputs)
        )

    def forward(self, x, covariates=None):
        return self.layers(torch.nn.functional.normalize(x))


@pytest.mark.parametrize(
    ("loss", "network"),
    [("crb", "residual"), ("mse", "residual"), ("relative", "residual"), ("crb", "paper"), ("mse", "paper")],
)
def test_training_lowers_the_loss(data, loss, network):
    X, y, crb = data
    fitted = regressor(loss, network=network, max_epochs=12, learning_rate=2e-3).fit(X, y, crb=crb)
    history = fitted.history_
    assert list(history.columns) == ["loss", "train_loss", "valid_loss", "learning_rate", "seconds"]
    assert set(history["loss"]) == {loss}
    assert list(history.index) == list(range(1, 13))
    assert history["valid_loss"].iloc[-1] < 0.9 * history["valid_loss"].iloc[0]
    assert fitted.predict(X).shape == y.shape


def test_estimates_become_better_than_the_mean(data):
    X, y, crb = data
    quiet = NoiseModel.at_snr(1e3)
    fitted = regressor(noise=quiet, max_epochs=40).fit(X, y, crb=crb)
    error = ((fitted.predict(X) - y) ** 2).mean(axis=0)
    assert (error < 0.05 * y.var(axis=0)).all()


def test_prediction_does_not_depend_on_amplitude_and_phase(data):
    X, y, crb = data
    fitted = regressor().fit(X, y, crb=crb)
    complex_data = X[:, :4] + 1j * X[:, 4:]
    scaled = stack_complex(5 * np.exp(0.7j) * complex_data)
    np.testing.assert_allclose(fitted.predict(scaled), fitted.predict(X), rtol=1e-3)


@pytest.mark.parametrize("network", ["residual", NetworkWithDropout])
def test_the_same_seed_gives_the_same_network(data, network):
    X, y, crb = data
    first, second = (regressor(network=network).fit(X, y, crb=crb).predict(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, regressor(network=network, random_state=1).fit(X, y, crb=crb).predict(X))


def test_dropout_differs_between_the_epochs(data):
    drawn = []

    class Recording(NetworkWithDropout):
        def forward(self, x, covariates=None):
            if self.training:
                drawn.append(self.layers[2](torch.ones(16)))
            return super().forward(x, covariates)

    X, y, crb = data
    regressor(network=Recording, max_epochs=2).fit(X, y, crb=crb)
    assert len({tuple(mask.tolist()) for mask in drawn}) > len(drawn) / 2


@pytest.mark.parametrize("network", ["residual", NetworkWithDropout])
def test_training_leaves_the_global_random_state_alone(data, network):
    X, y, crb = data
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    regressor(network=network, max_epochs=1).fit(X, y, crb=crb)
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])  # noqa: NPY002


class Recorder:
    """Stands in for a dataset."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X["x"])


def _inputs(X):
    return {"x": X.astype(np.float32), "covariates": np.empty((len(X), 0), dtype=np.float32)}


def batches(data, training, first_epoch=0, noise=NoiseModel(), stages=Stages(OneCycle, 10)):
    X, y, crb = data
    dataset = Recorder(_inputs(X), (y.astype(np.float32), crb))
    return FingerprintBatches(dataset, 128, noise, (0, 0), training, stages, first_epoch)


def test_noise_and_order_are_fresh_in_every_training_epoch_and_fixed_in_validation(data):
    loader = batches(data, training=True)
    first, second = ([x["x"] for x, _ in loader] for _ in range(2))
    assert len(first) == 5
    assert not torch.equal(first[0], second[0])
    again = [x["x"] for x, _ in batches(data, training=True, first_epoch=1)]
    assert all(torch.equal(a, b) for a, b in zip(second, again, strict=True))
    fixed = batches(data, training=False)
    passes = [torch.cat([x["x"] for x, _ in fixed]) for _ in range(2)]
    assert torch.equal(*passes)


def test_the_bound_follows_the_amplitude_in_every_batch(data):
    X, y, crb = data
    noise = NoiseModel(noise_std=1e-6, m0_range=(0.1, 1.0))
    for x, (theta, bound) in batches(data, training=True, noise=noise):
        row = [int(np.argmin(np.abs(y.astype(np.float32)[:, 0] - value))) for value in theta[:, 0].numpy()]
        magnitude = np.linalg.norm(x["x"].numpy(), axis=1) / np.linalg.norm(X[row], axis=1)
        assert magnitude.min() > 0.099
        assert magnitude.max() < 1.001
        np.testing.assert_allclose(bound.numpy(), crb[row] * (1e-6 / magnitude[:, None]) ** 2, rtol=1e-3)


def test_every_sample_is_seen_once_an_epoch(data):
    seen = np.concatenate([theta[:, 0].numpy() for _, (theta, _) in batches(data, training=True)])
    np.testing.assert_array_equal(np.sort(seen), np.sort(data[1][:, 0].astype(np.float32)))


def test_schedules():
    step = StepDecay(400)
    assert [step(epoch) for epoch in (0, 39, 40, 80, 399)] == [1, 1, 0.5, 0.25, 0.5**9]
    cycle = OneCycle(100)
    factors = np.array([cycle(epoch) for epoch in range(100)])
    assert factors.max() == pytest.approx(1, abs=0.06)
    assert factors.argmax() == 10
    assert factors[0] < 0.06
    assert factors[-1] < 1e-3


def test_paper_recipe():
    recipe = RECIPES["paper"]
    assert recipe.optimizer is torch.optim.Adam
    assert (recipe.learning_rate, recipe.batch_size, recipe.max_epochs) == (0.01, 512, 400)
    assert recipe.max_norm is None


def test_the_paper_training_is_used(data):
    X, y, crb = data
    fitted = regressor(network="paper", training="paper", max_epochs=42, batch_size=600).fit(X, y, crb=crb)
    rates = fitted.history_["learning_rate"]
    assert (rates.iloc[:40] == 0.01).all()
    assert (rates.iloc[40:] == 0.005).all()
    assert type(fitted.net_.optimizer_) is torch.optim.Adam


def test_one_target_and_names(data):
    X, y, crb = data
    single = regressor(max_epochs=1).fit(X, y[:, 0], crb=crb[:, 0])
    assert single.predict(X).shape == (600,)
    assert single.target_names_ is None
    frame = pd.DataFrame(y, columns=["T2", "f"])
    assert regressor(max_epochs=1).fit(X, frame, crb=crb).target_names_ == ["T2", "f"]


def test_without_noise_data_are_used_as_they_are(data):
    X, y, crb = data
    fitted = regressor(noise=None, max_epochs=60, validation_fraction=0).fit(X, y, crb=crb)
    assert "valid_loss" not in fitted.history_
    assert (((fitted.predict(X) - y) ** 2).mean(axis=0) < 0.02 * y.var(axis=0)).all()


def test_infinite_bounds_do_not_affect_the_training(data):
    X, y, crb = data
    crb = crb.copy()
    crb[:300, 1] = np.inf
    first = regressor(max_epochs=2).fit(X, y, crb=crb)
    assert np.isfinite(first.history_["train_loss"]).all()


# Losses over several realizations, and losses of one's own


def test_batches_hold_realizations_that_share_the_amplitude(data):
    X, y, _ = data
    stages = Stages(OneCycle, 2, 3, 10)
    assert [stages.n_realizations(epoch) for epoch in range(stages.total)] == [1, 1, 10, 10, 10]
    loader = batches(data, training=True, noise=NoiseModel(1e-6), stages=stages)
    sizes = []
    for _ in range(3):
        for x, (theta, bound) in loader:
            n = len(theta)
            sizes.append(len(x["x"]))
            assert len(x["x"]) == n * (10 if loader.epoch == 3 else 1) <= 128
            assert len(x["covariates"]) == len(x["x"])
            assert len(bound) == n
    magnitude = np.linalg.norm(x["x"].numpy().reshape(10, n, -1), axis=2)
    np.testing.assert_allclose(magnitude, np.tile(magnitude[0], (10, 1)), rtol=1e-4)
    phases = x["x"].numpy().reshape(10, n, -1)[:, :, 0]
    assert (np.std(phases, axis=0) > 0).all()
    rows = [int(np.argmin(np.abs(y.astype(np.float32)[:, 0] - value))) for value in theta[:, 0].numpy()]
    np.testing.assert_allclose(
        bound, data[2][rows] * (1e-6 * np.linalg.norm(X[rows], axis=1) / magnitude[0])[:, None] ** 2, rtol=1e-3
    )


def test_noise_of_the_second_stage_is_fresh_in_training_and_fixed_in_validation(data):
    stages = Stages(OneCycle, 1, 3, 4)
    for training, equal in ((True, False), (False, True)):
        loader = batches(data, training, first_epoch=1, stages=stages)
        first, second = (torch.cat([x["x"] for x, _ in loader]) for _ in range(2))
        assert len(first) == 4 * 600
        assert torch.equal(first, second) is equal


def test_bias_reduction_follows_the_crb_loss_and_lowers_the_bias(data):
    X, y, crb = data
    settings = {"max_epochs": 40, "noise": NoiseModel(0.05, (0.5, 1.0))}
    plain = regressor(**settings).fit(X, y, crb=crb)
    reduced = regressor(BiasReducedLoss(4, 0.05), **settings, refinement_epochs=10).fit(X, y, crb=crb)
    assert list(reduced.history_["loss"]) == ["crb"] * 40 + ["BiasReducedLoss"] * 10
    pd.testing.assert_series_equal(reduced.history_["train_loss"].iloc[:40], plain.history_["train_loss"])
    tables = [
        bias_variance(fitted, X, y, crb, 15, 50, random_state=0, progress=False, real=False)
        for fitted in (plain, reduced)
    ]
    bias, reduced_bias = (table["bias2_over_crb"].mean() for table in tables)
    assert reduced_bias < 0.7 * bias
    default = regressor("bias-reduced", max_epochs=11).fit(X, y, crb=crb)
    assert list(default.history_["loss"]) == ["crb"] * 11 + ["bias-reduced"] * 2


def test_a_previous_training_stands_in_for_the_first_stage(data):
    X, y, crb = data
    fitted = regressor(warm_start=True, max_epochs=30).fit(X, y, crb=crb)
    before = fitted.predict(X)
    fitted.set_params(loss="bias-reduced", refinement_epochs=1, learning_rate=1e-6).fit(X, y, crb=crb)
    assert list(fitted.history_["loss"]) == ["bias-reduced"]
    np.testing.assert_allclose(fitted.predict(X), before, rtol=0.02)


def fourth_power(error, theta, crb):
    """A loss of one's own."""
    return (error**4 / crb**2).mean()


def test_a_loss_of_ones_own(data):
    X, y, crb = data
    fitted = regressor(fourth_power, max_epochs=12, learning_rate=2e-3).fit(X, y, crb=crb)
    assert set(fitted.history_["loss"]) == {"fourth_power"}
    assert fitted.history_["valid_loss"].iloc[-1] < 0.5 * fitted.history_["valid_loss"].iloc[0]
    assert clone(fitted).loss is not None
    with pytest.raises(ValueError, match="crb must be given for loss"):
        regressor(fourth_power).fit(X, y)
    with pytest.raises(TypeError, match="loss must return a scalar Tensor"):
        regressor(lambda error, theta, crb: error).fit(X, y, crb=crb)


def test_a_network_of_ones_own(data):
    X, y, crb = data
    fitted = regressor(network=partial(ResidualNetwork, width=16, n_blocks=1)).fit(X, y, crb=crb)
    assert fitted.module_.estimate.first.out_features == 16
    np.testing.assert_array_equal(clone(fitted).fit(X, y, crb=crb).predict(X), fitted.predict(X))
    with pytest.raises(TypeError, match="network must make a FingerprintNetwork; got Linear"):
        regressor(network=lambda n_inputs, n_outputs, n_covariates: torch.nn.Linear(n_inputs, n_outputs)).fit(
            X, y, crb=crb
        )


def test_a_relative_loss_needs_parameters_that_are_not_zero(data):
    X, y, crb = data
    y = y.copy()
    y[7, 1] = 0
    with pytest.raises(ValueError, match="y must not be zero for loss='relative'; it is in row 7"):
        regressor("relative").fit(X, y, crb=crb)


# Error bars


def test_standard_deviations_follow_bound_amplitude_and_noise(data):
    X, y, crb = data
    fitted = regressor(max_epochs=60, noise=NoiseModel(0.02, (0.3, 1.0))).fit(X, y, crb=crb)
    noise = NoiseModel(0.02, (0.4, 0.4))
    noisy, bound = noise.augment(X, crb, np.random.default_rng(1))
    estimate, std = fitted.predict(noisy, return_std=True, noise_std=0.02)
    np.testing.assert_array_equal(estimate, fitted.predict(noisy))
    ratio = std / np.sqrt(bound)
    np.testing.assert_allclose(np.median(ratio, axis=0), 1, atol=0.05)
    assert (np.quantile(np.abs(np.log(ratio)), 0.9, axis=0) < 0.3).all()
    np.testing.assert_allclose(fitted.predict(3 * noisy, return_std=True, noise_std=0.06)[1], std, rtol=1e-3)
    each = np.linspace(0.01, 0.03, 600)
    np.testing.assert_allclose(
        fitted.predict(noisy, return_std=True, noise_std=each)[1], std * each[:, None] / 0.02, rtol=1e-6
    )


def test_standard_deviations_of_one_target_of_nothing_and_of_infinite_bounds(data):
    X, y, crb = data
    crb = np.where(np.arange(600)[:, None] % 3 == 0, np.inf, crb)
    fitted = regressor(max_epochs=2).fit(X, y[:, 0], crb=crb[:, 0])
    X = X.copy()
    X[4] = 0
    estimate, std = fitted.predict(X, return_std=True, noise_std=0.01)
    assert estimate.shape == std.shape == (600,)
    assert np.isnan(std[4])
    assert (np.delete(std, 4) > 0).all()


@pytest.mark.parametrize(
    ("noise_std", "message"),
    [
        (None, "noise_std must be given for return_std=True"),
        (0.0, "noise_std must be real, positive and finite"),
        (np.nan, "noise_std must be real, positive and finite"),
        (np.ones(3), r"noise_std must be a number, or have shape \(600,\)"),
    ],
)
def test_bad_noise_levels_are_named(data, noise_std, message):
    X, y, crb = data
    fitted = regressor(max_epochs=1).fit(X, y, crb=crb)
    with pytest.raises(ValueError, match=message):
        fitted.predict(X, return_std=True, noise_std=noise_std)


def test_error_bars_need_a_bound_and_noise_in_the_training(data):
    X, y, crb = data
    for fitted in (regressor("mse", max_epochs=1).fit(X, y), regressor(noise=None, max_epochs=1).fit(X, y, crb=crb)):
        with pytest.raises(ValueError, match="trained with noise and with crb"):
            fitted.predict(X, return_std=True, noise_std=0.01)


# Checkpoints, early stopping, interruption


class Kill(BaseException):
    """As if the process ended."""


def kill_after(monkeypatch, epochs):
    write = _callbacks.TrainingCheckpoint.on_epoch_end

    def dying(self, net, **kwargs):
        write(self, net, **kwargs)
        if len(net.history) == epochs:
            raise Kill

    monkeypatch.setattr(_callbacks.TrainingCheckpoint, "on_epoch_end", dying)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_epochs": 6},
        {"max_epochs": 6, "patience": 6},
        {"max_epochs": 4, "loss": "bias-reduced", "refinement_epochs": 3},
        {"max_epochs": 2, "loss": "bias-reduced", "refinement_epochs": 3, "patience": 3},
        {"max_epochs": 5, "network": NetworkWithDropout},
    ],
)
def test_resumed_training_equals_uninterrupted_training(data, tmp_path, monkeypatch, settings):
    X, y, crb = data
    whole = regressor(**settings).fit(X, y, crb=crb)
    path = tmp_path / "state.pt"
    with monkeypatch.context() as patch, pytest.raises(Kill):
        kill_after(patch, 3)
        regressor(**settings, checkpoint=path).fit(X, y, crb=crb)
    resumed = regressor(**settings, checkpoint=path).fit(X, y, crb=crb)
    for values, expected in zip(
        *(fit.predict(X, return_std=True, noise_std=0.1) for fit in (resumed, whole)), strict=True
    ):
        np.testing.assert_array_equal(values, expected)
    columns = ["loss", "train_loss", "valid_loss", "learning_rate"]
    pd.testing.assert_frame_equal(resumed.history_[columns], whole.history_[columns])
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_checkpoint_is_not_trained_again(data, tmp_path, monkeypatch):
    X, y, crb = data
    path = tmp_path / "state.pt"
    first = regressor(checkpoint=path).fit(X, y, crb=crb)
    monkeypatch.setattr(FingerprintBatches, "__iter__", None)
    again = regressor(checkpoint=path).fit(X, y, crb=crb)
    np.testing.assert_array_equal(again.predict(X), first.predict(X))


def test_a_checkpoint_of_another_training_is_refused(data, tmp_path):
    X, y, crb = data
    path = tmp_path / "state.pt"
    regressor(max_epochs=1, checkpoint=path).fit(X, y, crb=crb)
    for other, bound in (
        (regressor(max_epochs=2, checkpoint=path), crb),
        (regressor(max_epochs=1, checkpoint=path), 2 * crb),
    ):
        with pytest.raises(ValueError, match="checkpoint: .* other data or settings"):
            other.fit(X, y, crb=bound)


def test_a_damaged_checkpoint_is_refused(data, tmp_path):
    X, y, crb = data
    path = tmp_path / "state.pt"
    regressor(max_epochs=1, checkpoint=path).fit(X, y, crb=crb)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="checkpoint: .* no readable training state"):
        regressor(max_epochs=1, checkpoint=path).fit(X, y, crb=crb)


def test_early_stopping_keeps_the_best_weights(data):
    X, y, crb = data
    fitted = regressor(max_epochs=200, patience=2, learning_rate=0.05, noise=NoiseModel(0.3)).fit(X, y, crb=crb)
    losses = fitted.history_["valid_loss"]
    best = int(losses.argmin())
    assert len(losses) == best + 3 < 200
    valid = fitted.net_.get_iterator(fitted.net_.get_split_datasets(*_standardised(fitted, X, y, crb))[1])
    fitted.net_.module_.eval()
    with torch.no_grad():
        values = [
            (len(x["x"]), fitted.net_.criterion_(fitted.net_.module_(**x), target).item()) for x, target in valid
        ]
    mean = sum(n * value for n, value in values) / sum(n for n, _ in values)
    assert mean == pytest.approx(losses.min(), rel=1e-4)


def _standardised(fitted, X, y, crb):
    theta = ((y - fitted.target_mean_) / fitted.target_scale_).astype(np.float32)
    return _inputs(X), (theta, crb)


def test_interruption_from_the_keyboard_keeps_whole_epochs_and_continues(data, monkeypatch):
    X, y, crb = data
    interrupted = regressor(max_epochs=5, warm_start=True)
    draw = FingerprintBatches.__iter__

    def interrupting(self):
        for i, batch in enumerate(draw(self)):
            if self.training and self.epoch == 3 and i == 2:
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="interrupted after 2 of 5 epochs"):
        patch.setattr(FingerprintBatches, "__iter__", interrupting)
        interrupted.fit(X, y, crb=crb)
    assert len(interrupted.history_) == 2
    before = interrupted.history_["valid_loss"].iloc[-1]
    interrupted.set_params(max_epochs=15).fit(X, y, crb=crb)
    assert interrupted.history_["valid_loss"].iloc[0] < 2 * before
    assert interrupted.history_["valid_loss"].iloc[-1] < before


def test_a_loss_that_is_not_finite_stops_at_once_and_keeps_good_weights(data, monkeypatch):
    X, y, crb = data
    draw = FingerprintBatches.__iter__
    count = []

    def poisoned(self):
        for x, target in draw(self):
            if self.training:
                count.append(1)
            yield (x | {"x": x["x"] * np.nan} if self.training and self.epoch == 3 else x), target

    good = regressor(max_epochs=2, training="paper", learning_rate=1e-3).fit(X, y, crb=crb)
    bad = regressor(max_epochs=10, training="paper", learning_rate=1e-3)
    monkeypatch.setattr(FingerprintBatches, "__iter__", poisoned)
    with pytest.raises(ValueError, match="training loss became nan in epoch 3"):
        bad.fit(X, y, crb=crb)
    assert len(count) == 2 * 5 + 1
    np.testing.assert_array_equal(bad.predict(X), good.predict(X))
    assert len(bad.history_) == 2


def test_weights_spoilt_by_the_last_step_are_no_success(data):
    X, y, crb = data
    wild = {"validation_fraction": 0, "learning_rate": 1e38, "training": "paper", "batch_size": 600}
    with pytest.raises(ValueError, match="became (NaN or infinite|nan|inf) in epoch 1"):
        regressor(max_epochs=1, **wild).fit(X, y, crb=crb)
    spoilt = regressor(max_epochs=3, **wild)
    with pytest.raises(ValueError, match="training was stopped"):
        spoilt.fit(X, y, crb=crb)
    assert np.isfinite(spoilt.predict(X)).all()


@pytest.mark.parametrize("epoch", [1, 4])
def test_interruption_in_the_first_or_last_epoch_is_told(data, monkeypatch, epoch):
    X, y, crb = data
    draw = FingerprintBatches.__iter__

    def interrupting(self):
        for batch in draw(self):
            if self.training and self.epoch == epoch:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(FingerprintBatches, "__iter__", interrupting)
    fitted = regressor()
    with pytest.raises(KeyboardInterrupt, match=f"interrupted after {epoch - 1} of 4 epochs"):
        fitted.fit(X, y, crb=crb)
    assert len(fitted.history_) == epoch - 1
    assert not fitted.history_.isna().any(axis=None)
    assert np.isfinite(fitted.predict(X)).all()


def test_progress_is_shown_unless_silenced(data, capsys):
    X, y, crb = data
    regressor(max_epochs=2, verbose=1).fit(X, y, crb=crb)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "valid_loss" in shown
    regressor(max_epochs=2).fit(X, y, crb=crb)
    assert capsys.readouterr().err == ""


def test_a_fitted_regressor_can_be_pickled(data):
    X, y, crb = data
    fitted = regressor(verbose=1).fit(X, y, crb=crb)
    stored = pickle.dumps(fitted)
    np.testing.assert_array_equal(pickle.loads(stored).predict(X), fitted.predict(X))


def _with_nan(values):
    changed = np.array(values, dtype=float)
    changed[3, 0] = np.nan
    return changed


def test_columns_of_the_bound_must_be_those_of_y(data):
    X, y, crb = data
    frames = pd.DataFrame(y, columns=["a", "b"]), pd.DataFrame(crb, columns=["b", "a"])
    with pytest.raises(ValueError, match="crb must have the columns of y"):
        regressor().fit(X, frames[0], crb=frames[1])
    with pytest.raises(ValueError, match="crb must have the row index of y"):
        regressor().fit(X, frames[0], crb=frames[0].iloc[::-1])


def test_any_amplitude_gives_the_same_estimate_and_zero_gives_none(data):
    X, y, crb = data
    fitted = regressor().fit(X, y, crb=crb)
    for scale in (1e-30, 1e-12, 1e20, 1e30):
        np.testing.assert_allclose(fitted.predict(X * scale), fitted.predict(X), rtol=1e-3)
    X = X.copy()
    X[5] = 0
    estimate = fitted.predict(X)
    assert np.isnan(estimate[5]).all()
    assert np.isfinite(np.delete(estimate, 5, axis=0)).all()


@pytest.mark.parametrize(
    ("arguments", "change", "message"),
    [
        ({}, {"crb": lambda crb: None}, "crb must be given for loss='crb'"),
        ({}, {"crb": _with_nan}, "crb contains NaN, first in row 3"),
        ({}, {"crb": lambda crb: -crb}, "crb must be positive"),
        ({}, {"crb": lambda crb: crb[:, :1]}, "crb must have the shape of y"),
        ({}, {"crb": lambda crb: crb * np.inf}, "crb is inf everywhere"),
        ({}, {"X": _with_nan}, "Input X contains NaN"),
        ({}, {"y": _with_nan}, "Input y contains NaN"),
        ({}, {"X": lambda X: X + 1j}, "X must be real, stacked"),
        ({}, {"X": lambda X: X[:, :7]}, "X must hold stacked real and imaginary parts"),
        ({"loss": "mae"}, {}, "loss must be one of"),
        ({"loss": "bias-reduced", "noise": None}, {}, "noise must be a NoiseModel for loss='bias-reduced'"),
        ({"refinement_epochs": 0}, {}, "refinement_epochs must be at least 1"),
        ({"network": "deep"}, {}, "network must be one of"),
        ({"training": "long"}, {}, "training must be one of"),
        ({"max_epochs": 0}, {}, "max_epochs must be at least 1"),
        ({"batch_size": -5}, {}, "batch_size must be at least 1"),
        ({"learning_rate": -1.0}, {}, "learning_rate must be positive"),
        ({"validation_fraction": 1.0}, {}, "validation_fraction must lie in"),
        ({"validation_fraction": 0.9999}, {}, "validation_fraction=0.9999 leaves nothing to train on"),
        ({"device": "abacus"}, {}, "device must name a torch device"),
        ({"patience": 2, "validation_fraction": 0.0}, {}, "patience needs a validation loss"),
        ({"checkpoint": "/no/such/directory/state.pt"}, {}, "checkpoint: the directory"),
        ({"checkpoint": "state.pt", "random_state": None}, {}, "checkpoint needs an int as random_state"),
        (
            {"checkpoint": "state.pt", "random_state": np.random.RandomState(0)},
            {},
            "checkpoint needs an int as random_state",
        ),
        ({"checkpoint": "state.pt", "warm_start": True}, {}, "checkpoint needs .* warm_start=False"),
    ],
)
def test_bad_input_is_named(data, arguments, change, message):
    inputs = dict(zip(("X", "y", "crb"), data, strict=True))
    for name, function in change.items():
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.simplefilter("ignore")
            inputs[name] = function(inputs[name])
    with pytest.raises(ValueError, match=message):
        regressor(**arguments).fit(inputs["X"], inputs["y"], crb=inputs["crb"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": 0.01}, "noise must be a NoiseModel or None"),
        ({"checkpoint": 3}, "checkpoint must be a path"),
        ({"validation_fraction": "a"}, "validation_fraction must be a number"),
    ],
)
def test_wrong_types_are_named(data, arguments, message):
    with pytest.raises(TypeError, match=message):
        regressor(**arguments).fit(data[0], data[1], crb=data[2])


def test_complex_targets_are_refused(data):
    with pytest.raises(ValueError, match="y must be real"):
        regressor().fit(data[0], data[1] + 0j, crb=data[2])


def test_prediction_checks_its_input(data):
    X, y, crb = data
    with pytest.raises(NotFittedError):
        regressor().predict(X)
    fitted = regressor(max_epochs=1).fit(X, y, crb=crb)
    with pytest.raises(ValueError, match="7 features"):
        fitted.predict(X[:, :7])
    with pytest.raises(ValueError, match="contains NaN"):
        fitted.predict(_with_nan(X))
    with pytest.raises(ValueError, match="Complex data not supported"):
        fitted.predict(X + 1j)


@pytest.mark.parametrize("columns", ["X", "y"])
def test_a_warm_start_without_a_training_of_its_own_refuses_other_data(data, columns):
    X, y, crb = data
    fitted = regressor(warm_start=True).fit(X, y, crb=crb)
    del fitted.net_  # as in one that was read from a file
    if columns == "X":
        with pytest.raises(ValueError, match="X has 6 features, but CRBWeightedRegressor is expecting 8"):
            fitted.fit(X[:, :6], y, crb=crb)
    else:
        with pytest.raises(ValueError, match="y must have 2 columns, as in the previous fit"):
            fitted.fit(X, y[:, :1], crb=crb[:, :1])


def test_a_network_given_as_a_function_is_known_by_what_it_builds(data, tmp_path):
    X, y, crb = data

    def network_of(width):
        return lambda *shape: ResidualNetwork(*shape, width=width)

    options = {"max_epochs": 1, "checkpoint": tmp_path / "state.pt"}
    regressor(network=network_of(16), **options).fit(X, y, crb=crb)
    regressor(network=network_of(16), **options).fit(X, y, crb=crb)
    with pytest.raises(ValueError, match="other data or settings"):
        regressor(network=network_of(32), **options).fit(X, y, crb=crb)
