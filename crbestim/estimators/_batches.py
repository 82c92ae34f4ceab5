"""Batches of training data with fresh amplitudes and noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..noise import NoiseModel


class FingerprintBatches:
    """Batches ({x, covariates}, (theta, crb)) with M0 and noise drawn in each; stands in for a torch DataLoader.

    Everything drawn in an epoch depends on the seed and the epoch's number alone, so that a resumed training sees
    what an uninterrupted one would have seen.

    Parameters
    ----------
    dataset : skorch Dataset or torch Subset of one
        Holds X = {"x": clean data, "covariates": ...} and y = (theta, crb).
    batch_size : int
        Size of a batch; the last one may be smaller.
    noise : NoiseModel or None
        None: X and crb are taken as they are.
    seed : sequence of int
        Seed.
    training : bool
        Whether to shuffle, and to draw anew in each epoch. Otherwise every pass is the same.
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
        self.epoch = first_epoch

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], tuple[Tensor, Tensor]]]:
        rng = np.random.default_rng([*self.seed, self.epoch])
        order = rng.permutation(len(self.x)) if self.training else np.arange(len(self.x))
        self.epoch += self.training
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            x, crb = self.x[batch], self.crb[batch]
            if self.noise is not None:
                x, crb = self.noise.augment(x, crb, rng)
            yield (
                {"x": torch.from_numpy(x), "covariates": torch.from_numpy(self.covariates[batch])},
                (torch.from_numpy(self.theta[batch]), torch.from_numpy(crb.astype(x.dtype))),
            )
