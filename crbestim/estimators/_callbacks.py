"""What happens around the epochs of a training: progress, safe weights, early stop, checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import Tensor
from tqdm.auto import tqdm

from .._files import check_origin, write_whole
from .._numpy_files import refusing_damage, whole_archive

_CHECKPOINT_FORMAT = 2


class ProgressBar(Callback):
    """One bar for the whole training, with the losses beside it."""

    def __init__(self, total: int) -> None:
        self.total = total

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Open the bar."""
        self.bar_ = tqdm(total=self.total, initial=len(net.history), desc="training", unit="epoch")

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Advance the bar."""
        last = net.history[-1]
        losses = {name: f"{last[name]:.4g}" for name in ("train_loss", "valid_loss") if name in last}
        self.bar_.set_postfix(losses, refresh=False)
        self.bar_.update()

    def close(self) -> None:
        """Close the bar and forget it, since it cannot be pickled."""
        if hasattr(self, "bar_"):
            self.bar_.close()
            del self.bar_


class EpochSeed(Callback):
    """Seed what a network draws in an epoch, such as dropout, by the epoch's number.

    A resumed training then draws what an uninterrupted one would have drawn.

    Parameters
    ----------
    seed : int
        Seed of the training.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Seed torch's generators."""
        [seed] = np.random.SeedSequence([self.seed, len(net.history)]).generate_state(1)
        seed_torch(int(seed), net.device)


class NonFiniteLossError(ValueError):
    """The training loss became NaN or infinite."""


class Safeguard(Callback):
    """Keep the weights of the last epoch, or of the best one, and stop at a loss that is not finite.

    Parameters
    ----------
    keep_best : bool
        Keep the weights of the epoch with the lowest validation loss instead of the last one's.
    first_epoch : int, default=0
        Epoch from which on validation losses can be compared with each other.
    """

    def __init__(self, keep_best: bool, first_epoch: int = 0) -> None:
        self.keep_best = keep_best
        self.first_epoch = first_epoch

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Keep the initial weights until an epoch has ended."""
        if not hasattr(self, "weights_"):
            self.weights_ = _copy_weights(net)

    def on_batch_end(self, net: Any, training: bool, loss: Tensor, **kwargs: Any) -> None:
        """Raise at a loss that is not finite."""
        if not torch.isfinite(loss):
            kind = "training" if training else "validation"
            raise NonFiniteLossError(
                f"The {kind} loss became {loss.item()} in epoch {len(net.history)}; training was stopped. A smaller "
                "learning_rate may help; so may a look at the smallest entries of crb."
            )

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Keep weights; raise if the epoch's last step spoilt them."""
        net.history[-1]["batches"] = []  # their losses are summed up by now
        weights = _copy_weights(net)
        if not all(torch.isfinite(values).all() for values in weights.values()):
            raise NonFiniteLossError(
                f"The weights became NaN or infinite in epoch {len(net.history)}; training was stopped. A smaller "
                "learning_rate may help."
            )
        if not self.keep_best or _epochs_since_best(net, self.first_epoch) == 0:
            self.weights_ = weights

    def restore(self, net: Any) -> None:
        """Give the network the weights that were kept."""
        net.module_.load_state_dict(self.weights_)


class EarlyStop(Callback):
    """Stop after a number of epochs without a lower validation loss.

    Parameters
    ----------
    patience : int or None
        Number of epochs; None: never.
    first_epoch : int, default=0
        Epoch from which on validation losses can be compared with each other.
    """

    def __init__(self, patience: int | None, first_epoch: int = 0) -> None:
        self.patience = patience
        self.first_epoch = first_epoch

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Stop, in skorch's own way."""
        if self.reached(net):
            raise KeyboardInterrupt

    def reached(self, net: Any) -> bool:
        """Tell whether the training has come to its end."""
        return self.patience is not None and _epochs_since_best(net, self.first_epoch) >= self.patience


class TrainingCheckpoint(Callback):
    """Write the state of the training after every epoch, and read it back.

    Parameters
    ----------
    path : Path
        File. It is replaced as a whole: a kill leaves the old one or the new one.
    digest : str
        Identifies data and settings.
    safeguard : Safeguard
        Whose weights are part of the state.
    """

    def __init__(self, path: Path, digest: str, safeguard: Safeguard) -> None:
        self.path = path
        self.digest = digest
        self.safeguard = safeguard

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write the state."""
        state = {
            "format": _CHECKPOINT_FORMAT,
            "digest": self.digest,
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "kept": self.safeguard.weights_,
            "history": json.dumps(net.history.to_list()),
        }
        write_whole(self.path, lambda file: torch.save(state, file))

    def resume(self, net: Any) -> None:
        """Give an initialised net the state of the file, if there is one.

        Raises
        ------
        ValueError
            If the file is not readable, or belongs to other data or settings.
        """
        if not self.path.exists():
            return
        with refusing_damage(f"checkpoint: {self.path} is no readable training state"), open(self.path, "rb") as file:
            with whole_archive(file):
                file.seek(0)
                state = torch.load(file, weights_only=True)
            digest = state["digest"] if state["format"] == _CHECKPOINT_FORMAT else None
        check_origin(self.path, digest, self.digest, "a training")
        with refusing_damage(f"checkpoint: {self.path} is no readable training state"):
            net.module_.load_state_dict(state["module"])
            net.optimizer_.load_state_dict(state["optimizer"])
            self.safeguard.weights_ = state["kept"]
            net.history.clear()
            net.history.extend(json.loads(state["history"]))


def seed_torch(seed: int, device: str) -> None:
    """Seed the processor's generator and, for a CUDA device, those of CUDA; `torch.manual_seed` seeds them always."""
    torch.default_generator.manual_seed(seed)
    if torch.device(device).type == "cuda":
        torch.cuda.manual_seed_all(seed)


def _epochs_since_best(net: Any, first_epoch: int) -> int:
    losses = net.history[first_epoch:, "valid_loss"] if len(net.history) > first_epoch else []
    return len(losses) - 1 - int(np.argmin(losses)) if losses else 0


def _copy_weights(net: Any) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.module_.state_dict().items()}
