"""Batches of training data with fresh amplitudes and noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..noise import NoiseModel
from ._recipes import Stages


class FingerprintBatches:
    """Batches ({x, covariates}, (theta, crb)) with M0 and noise drawn in each; stands in for a torch DataLoader.

    Everything drawn in an epoch depends on the seed and the epoch's number alone, so that a resumed training sees
    what an uninterrupted one would have seen.

    Parameters
    ----------
    dataset : skorch Dataset or torch Subset of one
        Holds X = {"x": clean data, "covariates": ...} and y = (theta, crb).
    batch_size : int
        Most rows of x in a batch, whatever the number of realizations (but at least one fingerprint).
    noise : NoiseModel or None
        None: X and crb are taken as they are.
    seed : sequence of int
        Seed.
    training : bool
        Whether to shuffle, and to draw anew in each epoch. Otherwise every pass of a stage is the same.
    stages : Stages
        Tells how many noise realizations of each fingerprint, x of shape (N n, m), an epoch needs.
    first_epoch : int, default=0
        Number of the first epoch.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        noise: NoiseModel | None,
        seed: tuple[int, ...],
        training: bool,
        stages: Stages,
        first_epoch: int = 0,
    ) -> None:
        rows: Any = slice(None)
        if isinstance(dataset, torch.utils.data.Subset):
            dataset, rows = dataset.dataset, np.asarray(dataset.indices)
        theta, crb = dataset.y
        self.x, self.covariates = dataset.X["x"][rows], dataset.X["covariates"][rows]
        self.theta, self.crb = theta[rows], crb[rows]
        self.batch_size = batch_size
        self.noise = noise
        self.seed = seed
        self.training = training
        self.stages = stages
        self.epoch = first_epoch

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], tuple[Tensor, Tensor]]]:
        n_realizations = self.stages.n_realizations(self.epoch)
        rng = np.random.default_rng([*self.seed, self.epoch if self.training else 0])
        order = rng.permutation(len(self.x)) if self.training else np.arange(len(self.x))
        self.epoch += 1
        step = max(1, self.batch_size // n_realizations)
        for start in range(0, len(order), step):
            batch = order[start : start + step]
            x, crb, covariates = self.x[batch], self.crb[batch], self.covariates[batch]
            if self.noise is not None:
                x, crb = self.noise.augment(x, crb, rng, n_realizations=n_realizations)
                covariates = np.tile(covariates, (n_realizations, 1))
            with np.errstate(over="ignore"):  # a bound beyond single precision tells nothing, as an infinite one
                crb = crb.astype(x.dtype)
            yield (
                {"x": torch.from_numpy(x), "covariates": torch.from_numpy(covariates)},
                (torch.from_numpy(self.theta[batch]), torch.from_numpy(crb)),
            )
