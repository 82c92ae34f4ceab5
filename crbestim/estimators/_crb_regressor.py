"""Neural estimator trained with the CRB-weighted loss."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from .._files import check_checkpoint, digest_of
from .._validation import (
    FloatArray,
    check_count,
    check_crb,
    check_names,
    check_option,
    check_positive,
    check_same_columns,
    check_same_rows,
    check_targets,
    in_single_precision,
    is_complex,
    numeric_array,
)
from ..nn import NETWORKS, EstimatorNetwork, FingerprintNetwork
from ..noise import NoiseModel
from ._callbacks import EarlyStop, ProgressBar, Safeguard, TrainingCheckpoint
from ._covariates import Covariates
from ._network_training import build_networks, build_training, run_training
from ._recipes import RECIPES, Recipe
from ._seed import drawn_seed
from ._single_precision import scaled_to_single
from ._standardisation import mean_and_scale
from ._training_loss import TrainingLoss

_PREDICTION_ROWS = 4096  # so that the hidden layers stay in the cache


class CRBWeightedRegressor(RegressorMixin, BaseEstimator):
    r"""Fully connected residual network from stacked coefficients to parameters, trained with the CRB loss.

    In every training step fresh amplitudes M0 and fresh noise are drawn and the bound is rescaled with them, so
    `fit` takes CLEAN data and the bound at :math:`|M_0| = 1`, :math:`\sigma = 1`. The network's input is
    normalised to an l2-norm of 1. Training is composed on skorch.

    Real data, such as magnitudes, whose stacked imaginary parts are zero, are trained for as complex data with the
    same bound; neither M0's phase nor its sign is used.

    A second, small network learns the bound that belongs to the data beside the first, for error bars.

    Parameters
    ----------
    loss : {"crb", "mse", "relative", "bias-reduced"} or callable, default="crb"
        "crb": squared error over the bound (see `crbestim.crb_loss`); "mse": mean squared error in the targets'
        units; "relative": mean relative absolute error; "bias-reduced": squared bias over the bound, and variance
        where it exceeds the bound (`crbestim.nn.BiasReducedLoss`, of which an instance with other settings may be
        passed), in a second stage after one with "crb". A callable maps errors, parameters and bounds, tensors of
        shape (n, p) in the targets' units, to a scalar tensor. If it has an attribute `n_realizations`, errors have
        shape (n_realizations, n, p), and a stage with "crb" precedes it; without a `crb` in `fit`, set its attribute
        `needs_crb` to False.
    noise : NoiseModel or None, default=NoiseModel()
        Amplitudes and noise of the training. None: X and crb are used as they are.
    network : {"residual", "paper"} or callable, default="residual"
        `crbestim.nn.ResidualNetwork`, which is smaller and removes the phase of M0 first, or
        `crbestim.nn.PaperNetwork`, the 14 layers of the paper. A callable maps the numbers of inputs, outputs and
        covariates to a `crbestim.nn.FingerprintNetwork`, such as ``functools.partial(ResidualNetwork, width=128)``.
    training : {"one-cycle", "paper"}, default="one-cycle"
        "one-cycle": AdamW with a rising and falling learning rate (peak 0.002), gradients clipped to norm 1,
        100 epochs. "paper": Adam, learning rate 0.01 halved every 40 epochs, 400 epochs. Both use batches
        of 512.
    max_epochs, batch_size : int, optional
        Replace the recipe's.
    refinement_epochs : int, optional
        Epochs of the second stage, that of a loss over several noise realizations, which follows `max_epochs` with
        the CRB loss; by default a tenth of `max_epochs`, rounded up. Each takes about `n_realizations` times as long.
        Batches have no more rows than in the first stage. With `warm_start`, the weights of the previous `fit` stand
        in for the first stage.
    learning_rate : float, optional
        Replaces the recipe's.
    validation_fraction : float, default=0.1
        Share of the samples that is held out to measure the validation loss, with noise that is the same in
        every epoch. 0: none.
    patience : int, optional
        Stop after so many epochs without a lower validation loss, and keep the best weights. The loss of the
        "one-cycle" training falls most in its last epochs: a short patience ends it too early. Of a training with two
        stages it is the second that ends early.
    checkpoint : path-like, optional
        File to which the state of the training is written after every epoch. If it exists, `fit` with the same
        data and settings goes on from there, with the result of a training that was never interrupted. The
        directory must exist, and `random_state` be an int. One file serves one training: not the folds of a
        cross-validation.
    warm_start : bool, default=False
        Start from the weights of the previous call of `fit` (or of its part before an interruption).
    device : str, default="cpu"
        Torch device.
    verbose : int, default=1
        0: no progress bar.
    random_state : int, RandomState or None, default=None
        Seed of weights, hold-out, order and noise.

    Attributes
    ----------
    module_ : crbestim.nn.EstimatorNetwork
        The trained networks; `module_.estimate` is the torch module whose outputs are the standardised targets.
    net_ : skorch.NeuralNet
        What trained them.
    history_ : DataFrame
        One row an epoch: loss (its name), train_loss, valid_loss, learning_rate, seconds.
    target_names_ : list of str or None
        Columns of y, if it was a DataFrame.
    covariate_names_ : list of str or None
        Columns of the covariates, if they were a DataFrame.
    n_covariates_ : int
        Number of covariates.
    target_mean_, target_scale_ : ndarray of shape (p,)
        Mean and standard deviation of the training targets, by which the outputs are scaled.
    n_features_in_ : int
        Number of columns 2k.

    See Also
    --------
    SVDCompressor : Makes the coefficients that it takes.
    NLLSEstimator : Least squares, which needs no training.
    bias_variance : Tells bias from variance in units of the bound.
    save_pretrained : Writes a trained pipeline to a file.

    References
    ----------
    X. Zhang, Q. Duchemin, K. Liu et al., Cramér-Rao bound-informed training of neural networks for quantitative
    MRI, Magn. Reson. Med. 88, 2022.

    Examples
    --------
    >>> from functools import partial
    >>> from scipy import stats
    >>> from crbestim import CRBWeightedRegressor, MonoExponentialModel, Pipeline, Prior, SVDCompressor
    >>> from crbestim import make_fingerprints
    >>> from crbestim.nn import ResidualNetwork
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> prior = Prior({"T2": stats.uniform(0.03, 0.17)})
    >>> data = make_fingerprints(model, prior, n_samples=100, random_state=0, progress=False)
    >>> small = partial(ResidualNetwork, width=16)
    >>> regressor = CRBWeightedRegressor(network=small, max_epochs=2, verbose=0, random_state=0)  # too few, for a try
    >>> pipe = Pipeline([SVDCompressor(n_components=3), regressor]).fit(data.X, data.y, crb=data.crb)
    >>> estimate, std = pipe.predict(data.X, return_std=True, noise_std=0.01)
    >>> estimate.shape, std.shape
    ((100, 1), (100, 1))
    >>> regressor.history_["loss"].tolist()
    ['crb', 'crb']
    """

    __metadata_request__fit = {"crb": True, "covariates": True}  # noqa: RUF012 - read by scikit-learn
    __metadata_request__predict = {"covariates": True}  # noqa: RUF012
    n_features_in_: int
    _covariates: Covariates
    _history: pd.DataFrame

    def __init__(
        self,
        loss: Literal["crb", "mse", "relative", "bias-reduced"] | Callable[..., torch.Tensor] = "crb",
        *,
        noise: NoiseModel | None = NoiseModel(),  # noqa: B008 - frozen
        network: Literal["residual", "paper"] | Callable[[int, int, int], FingerprintNetwork] = "residual",
        training: Literal["one-cycle", "paper"] = "one-cycle",
        max_epochs: int | None = None,
        refinement_epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        validation_fraction: float = 0.1,
        patience: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        warm_start: bool = False,
        device: str = "cpu",
        verbose: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.loss = loss
        self.noise = noise
        self.network = network
        self.training = training
        self.max_epochs = max_epochs
        self.refinement_epochs = refinement_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.checkpoint = checkpoint
        self.warm_start = warm_start
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | pd.DataFrame,
        *,
        crb: ArrayLike | None = None,
        covariates: ArrayLike | pd.DataFrame | None = None,
    ) -> CRBWeightedRegressor:
        """Train the network.

        Parameters
        ----------
        X : array_like of shape (n, 2k)
            Clean stacked coefficients [Re | Im] at M0 = 1.
        y : array_like or DataFrame of shape (n, p) or (n,)
            Targets.
        crb : array_like of the shape of y
            Bound at |M0| = 1, sigma = 1, in squared units of y; needed for losses with the bound in them, and for the
            error bars of any. Entries with inf are left out of the loss.
        covariates : array_like or DataFrame of shape (n, c), optional
            Parameters that are known in each voxel, such as a measured B1: further inputs of the network, without
            noise unless they bring it. `crb` is then the bound with these parameters known.

        Returns
        -------
        CRBWeightedRegressor
            Itself.

        Raises
        ------
        ValueError
            For input that is not finite, or of shapes or values that do not fit; if crb is missing; or if the loss
            becomes NaN or infinite, in which case the estimator keeps the weights of the last whole epoch.
        KeyboardInterrupt
            After an interruption from the keyboard. The estimator is fitted all the same, with the weights of the last
            whole epoch (with `patience`, of the best one).
        """
        recipe = self._checked_recipe()
        target_names = [str(name) for name in y.columns] if isinstance(y, pd.DataFrame) else None
        check_names(target_names or [], target_names or [], "y")
        X, theta, bound = self._checked_data(X, y, crb)
        check_same_rows(y, covariates, "covariates")
        previous = getattr(self, "module_", None) if self.warm_start else None
        known = Covariates.of(covariates, len(X)) if previous is None else self._covariates
        extra = known.standardised(covariates, len(X))
        self.target_names_ = target_names
        self._covariates, self.covariate_names_, self.n_covariates_ = known, known.names, len(known.mean)
        seed = drawn_seed(self.random_state)
        if previous is None:
            self.target_mean_, self.target_scale_ = mean_and_scale(theta, "y")
        X = np.require(in_single_precision(X, "X"), requirements="W")
        theta = ((theta - self.target_mean_) / self.target_scale_).astype(np.float32)

        shape = (X.shape[1], theta.shape[1], self.n_covariates_)
        learns_bound = crb is not None and self.noise is not None
        zero = -self.target_mean_ / self.target_scale_
        build = self.network if callable(self.network) else NETWORKS[self.network]
        module = build_networks(build, shape, learns_bound, X, theta, zero, self.noise, seed)
        if previous is not None:
            self._take_weights(previous, module)
        loss = TrainingLoss.of(self.loss)
        stages = loss.stages(recipe, self.refinement_epochs, starts_anew=previous is None)
        noise_std = 1.0 if self.noise is None else self.noise.noise_std
        criterion = loss.criterion(self.target_mean_, self.target_scale_, noise_std)
        safeguard = Safeguard(self.patience is not None, stages.first_of_last)
        callbacks: list[Any] = [("safeguard", safeguard)]
        checkpoint = None
        if self.checkpoint is not None:
            digest = self._digest(seed, module, X, extra, theta, bound)
            checkpoint = TrainingCheckpoint(Path(self.checkpoint), digest, safeguard)
            callbacks.append(("checkpoint", checkpoint))
        if self.verbose:
            callbacks.append(("progress", ProgressBar(stages.total)))
        callbacks.append(("early_stop", EarlyStop(self.patience, stages.first_of_last)))
        net = build_training(
            module, criterion, recipe, stages, noise=self.noise, validation_fraction=self.validation_fraction,
            seed=seed, device=self.device, callbacks=callbacks,
        )  # fmt: skip
        if checkpoint is not None:
            checkpoint.resume(net)
        try:
            run_training(net, {"x": X, "covariates": extra}, theta, bound)
        finally:
            self.net_, self.module_ = net, net.module_
            self._training_loss, self._stages = loss, stages
        return self

    def predict(
        self,
        X: ArrayLike,
        *,
        covariates: ArrayLike | pd.DataFrame | None = None,
        return_std: bool = False,
        noise_std: ArrayLike | None = None,
    ) -> Any:
        r"""Estimate parameters.

        Parameters
        ----------
        X : array_like of shape (n, 2k)
            Stacked coefficients [Re | Im], with any amplitude and phase.
        covariates : array_like or DataFrame of shape (n, c)
            As in `fit`, if it was given any. They may be NaN for rows of zeros.
        return_std : bool, default=False
            Whether to return standard deviations, too.
        noise_std : float or array_like of shape (n,)
            Standard deviation of the noise in each real channel of X (`estimate_noise_std` finds it in the
            background); needed for `return_std`.

        Returns
        -------
        targets : ndarray of shape (n, p), or (n,) if y was 1-D
            NaN for a row of zeros, as in a masked background.
        std : ndarray of the shape of targets
            Only with `return_std`: the standard deviation of an efficient unbiased estimator for this tissue and
            this signal-to-noise ratio. With :math:`s(\theta)` the signal at :math:`M_0 = 1` and the bound at
            :math:`|M_0| = \sigma = 1`,

            .. math:: \mathrm{std} = \exp(g(x / \|x\|))\, \sigma / \|x\|, \quad
               g \approx \mathrm{E}[\log(\|s\| \sqrt{\mathrm{CRB}(\theta)})],

            where the network g has learnt the mean of the logarithm over the tissues of the training that look like x.

        Raises
        ------
        ValueError
            If X is not a finite real (n, 2k) array, covariates are missing or do not fit, or standard deviations are
            asked for and the noise is missing, or the bound or the noise was when the network was trained.
        """
        check_is_fitted(self)
        _refuse_complex(X)
        with np.errstate(over="ignore", invalid="ignore"):  # scikit-learn raises
            checked = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        values, power = scaled_to_single(checked)
        present = np.asarray(values.any(axis=1))
        extra = self._covariates.standardised(covariates, len(values), present)
        module = self.module_.eval()
        estimate = self._apply(module.estimate, values, extra) * self.target_scale_ + self.target_mean_
        if not np.isfinite(estimate[present]).all():
            raise ValueError("X or covariates are so large that the network's answer is not finite.")
        estimate[~present] = np.nan
        estimate = estimate[:, 0] if self._single_target else estimate
        if not return_std:
            return estimate
        if module.bound is None:
            raise ValueError("return_std=True needs a network that was trained with noise and with crb given to fit.")
        noise = np.ldexp(_checked_noise_std(noise_std, len(values)), power)
        std = np.exp(self._apply(module.log_std, values, extra)) * self.target_scale_ * noise[:, None]
        std[~present] = np.nan
        return estimate, std[:, 0] if self._single_target else std

    def _apply(self, network: Callable[..., torch.Tensor], *arrays: NDArray) -> FloatArray:
        """Apply a network to rows of its inputs, a few thousand at a time."""
        device = next(self.module_.parameters()).device
        result = np.empty((len(arrays[0]), len(self.target_mean_)))
        with torch.no_grad():
            for start in range(0, len(result), _PREDICTION_ROWS):
                rows = slice(start, start + _PREDICTION_ROWS)
                result[rows] = network(*(torch.from_numpy(array[rows]).to(device) for array in arrays)).cpu().numpy()
        return result

    @property
    def history_(self) -> pd.DataFrame:
        """Losses, learning rate and time of each epoch."""
        check_is_fitted(self)
        if "net_" not in vars(self):  # read from a file, not trained here
            return self._history.copy()
        columns = {
            "train_loss": "train_loss",
            "valid_loss": "valid_loss",
            "learning_rate": "learning_rate",
            "seconds": "dur",
        }
        loss = self._training_loss
        rows = [
            {"loss": loss.name_in_stage(self._stages.n_realizations(epoch))}
            | {name: row[key] for name, key in columns.items() if key in row}
            for epoch, row in enumerate(self.net_.history)
        ]
        return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="epoch"))

    def _checked_recipe(self) -> Recipe:
        check_option(self.training, "training", tuple(RECIPES))
        if not callable(self.network):
            check_option(self.network, "network", tuple(NETWORKS))
        if TrainingLoss.of(self.loss).n_realizations > 1 and self.noise is None:
            raise ValueError(f"noise must be a NoiseModel for loss={self.loss!r}, which needs several realizations.")
        if self.noise is not None and not isinstance(self.noise, NoiseModel):
            raise TypeError(f"noise must be a NoiseModel or None; got {type(self.noise).__name__}.")
        if not isinstance(self.validation_fraction, numbers.Real):
            raise TypeError(f"validation_fraction must be a number; got {type(self.validation_fraction).__name__}.")
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must lie in [0, 1); got {self.validation_fraction}.")
        if self.patience is not None:
            check_count(self.patience, "patience")
            if not self.validation_fraction:
                raise ValueError("patience needs a validation loss: validation_fraction must be positive.")
        if self.checkpoint is not None:
            check_checkpoint(self.checkpoint)
            if not isinstance(self.random_state, numbers.Integral) or self.warm_start:
                raise ValueError(
                    "checkpoint needs an int as random_state, by which the training is known again, and "
                    f"warm_start=False; got {self.random_state!r}, {self.warm_start}."
                )
        try:
            torch.device(self.device)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"device must name a torch device, such as 'cpu'; got {self.device!r}.") from error
        if self.refinement_epochs is not None:
            check_count(self.refinement_epochs, "refinement_epochs")
        preset = RECIPES[self.training]
        return Recipe(
            preset.optimizer,
            preset.schedule,
            preset.learning_rate
            if self.learning_rate is None
            else check_positive(self.learning_rate, "learning_rate"),
            preset.batch_size if self.batch_size is None else check_count(self.batch_size, "batch_size"),
            preset.max_epochs if self.max_epochs is None else check_count(self.max_epochs, "max_epochs"),
            preset.max_norm,
        )

    def _checked_data(
        self, X: ArrayLike, y: ArrayLike, crb: ArrayLike | None
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        _refuse_complex(X)
        if y is not None and is_complex(y, "y"):
            raise ValueError("Complex data not supported: y must be real.")
        check_same_columns(y, crb)
        fresh = not (self.warm_start and hasattr(self, "module_"))
        checked: tuple[NDArray, NDArray] = validate_data(self, X, y, reset=fresh, multi_output=True, y_numeric=True)
        X, y = checked
        if (self.noise is not None or self.network == "residual") and X.shape[1] % 2:
            raise ValueError(
                f"X must hold stacked real and imaginary parts [Re | Im], an even number of columns, for "
                f"noise={self.noise!r}, network={self.network!r}; got {X.shape[1]} columns."
            )
        if X.shape[1] < 2:
            raise ValueError("X has 1 feature(s); an input that is normalised to an l2-norm of 1 needs at least 2.")
        n_valid = int(np.ceil(self.validation_fraction * len(X)))
        if n_valid >= len(X):
            raise ValueError(
                f"validation_fraction={self.validation_fraction} leaves nothing to train on: X has {len(X)} sample(s)."
            )
        theta = check_targets(y, len(X))
        if not fresh and theta.shape[1] != len(self.target_mean_):
            raise ValueError(
                f"y must have {len(self.target_mean_)} columns, as in the previous fit; got {theta.shape}."
            )
        if self.loss == "relative" and not theta.all():
            row = int(np.argmin(theta.all(axis=1)))
            raise ValueError(f"y must not be zero for loss='relative'; it is in row {row}.")
        self._single_target = np.ndim(y) == 1
        if crb is None:
            if TrainingLoss.of(self.loss).needs_crb:
                raise ValueError(
                    f"crb must be given for loss={self.loss!r}: the Cramér-Rao bound of every entry of y, as "
                    "make_fingerprints and model.crb return it. In cross-validation pass params={'crb': crb}, with "
                    "sklearn.set_config(enable_metadata_routing=True)."
                )
            return X, theta, np.ones_like(theta)
        bound = check_crb(crb, theta.shape)
        if not np.isfinite(bound).any():
            raise ValueError("crb is inf everywhere: no entry is left to learn from.")
        return X, theta, bound

    def _take_weights(self, previous: EstimatorNetwork, module: EstimatorNetwork) -> None:
        """Start from the weights of the previous training; the bound is learnt anew if it had none."""
        if type(previous.estimate) is not type(module.estimate):
            raise ValueError(
                f"warm_start cannot go on from a {type(previous.estimate).__name__} with network={self.network!r}."
            )
        module.estimate.load_state_dict(previous.estimate.state_dict())
        if previous.bound is not None and module.bound is not None:
            module.bound.load_state_dict(previous.bound.state_dict())

    def _digest(self, seed: int, module: EstimatorNetwork, *arrays: NDArray) -> str:
        """Hash of settings and data; a network that is a function is known by what it builds."""
        ignored = ("checkpoint", "verbose", "device", "warm_start", "random_state")
        settings = {name: value for name, value in self.get_params().items() if name not in ignored}
        settings["loss"] = TrainingLoss.of(self.loss).identity
        if callable(self.network):
            settings["network"] = repr(module.estimate)
            arrays = (*arrays, *(weights.detach().numpy() for weights in module.estimate.parameters()))
        return digest_of(settings | {"seed": seed}, *arrays)

    def _takes_real_data(self, n_columns: int) -> bool:
        """Real arrays are stacked coefficients."""
        return False

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # a normalised input tells nothing about the scale of X
        return tags


def _checked_noise_std(noise_std: ArrayLike | None, n: int) -> FloatArray:
    """Return the noise of n rows, (n,)."""
    if noise_std is None:
        raise ValueError("noise_std must be given for return_std=True: the noise in each real channel of X.")
    if isinstance(noise_std, bool | np.bool_):
        raise TypeError("noise_std must be a number; got a boolean.")
    noise = numeric_array(noise_std, "noise_std")
    if noise.ndim > 1 or noise.size not in (1, n):
        raise ValueError(f"noise_std must be a number, or have shape ({n},), one a row; got {noise.shape}.")
    if noise.dtype.kind == "c" or not (np.isfinite(noise).all() and (noise > 0).all()):
        raise ValueError("noise_std must be real, positive and finite.")
    return np.broadcast_to(noise.astype(np.float64), n)


def _refuse_complex(X: ArrayLike) -> None:
    if is_complex(X):
        raise ValueError(
            "Complex data not supported: X must be real, stacked coefficients [Re | Im]. SVDCompressor makes them "
            "from complex signals; Pipeline.predict_coefficients takes complex coefficients."
        )
