"""Training of a network by skorch."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from skorch.dataset import ValidSplit
from torch.optim.lr_scheduler import LambdaLR

from .._validation import FloatArray
from ..nn import Criterion, EstimatorNetwork, FingerprintNetwork, ResidualNetwork
from ..noise import NoiseModel
from ._batches import FingerprintBatches
from ._callbacks import EpochSeed, NonFiniteLossError, seed_torch
from ._recipes import Recipe, Stages

_CALIBRATION_ROWS = 65536
_BOUND_WIDTH = 64


def build_networks(
    build: Callable[[int, int, int], FingerprintNetwork],
    shape: tuple[int, int, int],
    learns_bound: bool,
    X: NDArray,
    theta: NDArray,
    zero: FloatArray,
    noise: NoiseModel | None,
    seed: int,
) -> EstimatorNetwork:
    """Make networks of a shape (inputs, outputs, covariates) with random weights.

    They are adapted to clean data X and standardised parameters theta, which are zero at `zero`.
    """
    with torch.random.fork_rng(devices=[]):
        seed_torch(seed, "cpu")
        estimate = build(*shape)
        if not isinstance(estimate, FingerprintNetwork):
            raise TypeError(f"network must make a FingerprintNetwork; got {type(estimate).__name__}.")
        bound = ResidualNetwork(*shape, width=_BOUND_WIDTH, n_blocks=1, linear_range=inf) if learns_bound else None
    rows = X[:_CALIBRATION_ROWS]
    noisy = rows if noise is None else noise.add_to(rows, np.random.default_rng(seed))
    examples = (noisy, theta[:_CALIBRATION_ROWS], zero.astype(np.float32))
    for network in (estimate, bound):
        if network is not None:
            network.calibrate(*(torch.from_numpy(array) for array in examples))
    return EstimatorNetwork(estimate, bound)


def build_training(
    module: EstimatorNetwork,
    criterion: Criterion,
    recipe: Recipe,
    stages: Stages,
    *,
    noise: NoiseModel | None,
    validation_fraction: float,
    seed: int,
    device: str,
    callbacks: list[tuple[str, Callback]],
) -> NeuralNet:
    """Return an initialised skorch net."""
    clipping = [] if recipe.max_norm is None else [("clip", GradientNormClipping(recipe.max_norm))]
    schedule = LRScheduler(LambdaLR, lr_lambda=stages, event_name="learning_rate")
    common = {"noise": noise, "batch_size": recipe.batch_size, "stages": stages}
    training, validation = {"training": True, "seed": (seed, 0)}, {"training": False, "seed": (seed, 1)}
    net = NeuralNet(
        module,
        criterion,
        optimizer=recipe.optimizer,
        optimizer__fused=True,
        lr=recipe.learning_rate,
        max_epochs=stages.total,
        train_split=ValidSplit(validation_fraction, random_state=seed) if validation_fraction else None,
        iterator_train=FingerprintBatches,
        iterator_valid=FingerprintBatches,
        **{f"iterator_train__{name}": value for name, value in (common | training).items()},
        **{f"iterator_valid__{name}": value for name, value in (common | validation).items()},
        callbacks=[*clipping, ("schedule", schedule), ("epoch_seed", EpochSeed(seed)), *callbacks],
        callbacks__print_log=None,
        verbose=0,
        device=device,
    )
    return net.initialize()


def run_training(net: NeuralNet, X: dict[str, NDArray], theta: NDArray, bound: FloatArray) -> None:
    """Train for the epochs that are left; the net ends with weights of a whole epoch, whatever happens.

    What the network draws itself, as dropout does, leaves torch's global generators as they were.

    Raises
    ------
    NonFiniteLossError
        If a loss or weight became NaN or infinite.
    KeyboardInterrupt
        If the training was interrupted.
    """
    callbacks: dict[str, Any] = dict(net.callbacks_)
    safeguard, early_stop, total = callbacks["safeguard"], callbacks["early_stop"], net.max_epochs
    done = len(net.history)
    net.iterator_train__first_epoch = net.iterator_valid__first_epoch = done
    try:
        if done < total and not early_stop.reached(net):
            devices = range(torch.cuda.device_count()) if torch.device(net.device).type == "cuda" else ()
            with torch.random.fork_rng(devices=devices):
                net.partial_fit(X, (theta, bound), epochs=total - done)
    except NonFiniteLossError:
        if net.history:
            net.history.pop()
        raise
    finally:
        if "progress" in callbacks:
            callbacks["progress"].close()
        safeguard.restore(net)
    partial = bool(net.history) and "train_loss" not in net.history[-1]
    if partial:
        net.history.pop()
    if partial or (len(net.history) < total and not early_stop.reached(net)):
        raise KeyboardInterrupt(
            f"Training was interrupted after {len(net.history)} of {total} epochs; the estimator holds the weights so "
            "far."
        )
