"""Keeps the states of the random generators in checkpoints: a resumed run draws what one run would have drawn."""

from __future__ import annotations

import logging
import random
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from affectgpt.errors import CheckpointError, reason_of

log = logging.getLogger(__name__)


class RandomStates(lightning.Callback):
    """Stores the generators of Python, NumPy and torch (CPU and this rank's GPU), of every rank, and restores them.

    With dropout, a resumed run then ends with the weights of one that was never stopped. Two things between batches
    draw from the same generators: an iterator over a loader takes one number when it begins, and so does that of a
    validation. So the states are put back before the first iterator of an epoch, or before the first batch in the
    middle of one; and a validation leaves them as it found them, because it may or may not be run again after a
    checkpoint.

    Args:
        seed: The seed of the run. Where the checkpoint was written with another one, the draws begin anew from this
        one.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._pending: dict[str, Any] | None = None
        self._after_batch: dict[str, Any] | None = None
        self._alone = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Put the states back; resumed after the last batch of an epoch, Lightning calls no hook for the next one."""
        self._restore()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Put the states back, before the epoch's first iterator draws."""
        self._restore()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put the states back in the middle of an epoch, whose iterator had drawn before they were stored."""
        if batch_idx > 0:
            self._restore()
        self._pending = None

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the states that a validation must leave."""
        self._after_batch = draw_states()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take back what the validation drew."""
        if self._after_batch is not None and not trainer.sanity_checking:
            set_states(self._after_batch)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Other ranks may be elsewhere now: a checkpoint is written without their states."""
        self._alone = not isinstance(exception, SIGTERMException)

    def state_dict(self) -> dict[str, Any]:
        """The states of every rank, as plain values; every rank must call it."""
        ranks: list[Any] = [draw_states()]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            world = torch.distributed.get_world_size()
            if world > 1 and not self._alone:
                ranks = [None] * world
                torch.distributed.all_gather_object(ranks, draw_states())
        return {"seed": self.seed, "ranks": ranks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep this rank's states until training begins.

        Raises:
            CheckpointError: If they are something else.
        """
        ranks = state_dict.get("ranks") if isinstance(state_dict, dict) else None
        if not isinstance(ranks, list) or "seed" not in state_dict:
            raise CheckpointError(f"the checkpoint's states of random generators are {str(state_dict)[:200]!r}")
        world, rank = 1, 0
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
        if state_dict["seed"] != self.seed:
            log.warning("the seed is another one: random draws, such as dropout, begin anew")
        elif len(ranks) != world:
            log.warning(
                "the checkpoint has the random generators of %d ranks, and there are %d: random draws, such as "
                "dropout, begin anew",
                *(len(ranks), world),
            )
        else:
            self._pending = ranks[rank]

    def _restore(self) -> None:
        if self._pending is None:
            return
        try:
            set_states(self._pending)
        except Exception as error:  # whatever the generators make of states that are none
            raise CheckpointError(
                f"the checkpoint's states of random generators cannot be put back ({type(error).__name__}: "
                f"{reason_of(error)}); resume from another checkpoint"
            ) from error


def draw_states() -> dict[str, Any]:
    """The states of this process's generators, as values that a checkpoint may hold.

    Examples:
        >>> before = draw_states()
        >>> first = torch.rand(1)
        >>> set_states(before)
        >>> bool(torch.rand(1) == first)
        True
    """
    version, words, gauss = random.getstate()
    numpy_state: dict[str, Any] = dict(np.random.get_state(legacy=False))
    key, pos = numpy_state["state"]["key"], numpy_state["state"]["pos"]
    states: dict[str, Any] = {
        "python": [version, torch.tensor(words, dtype=torch.int64), gauss],
        "numpy": {**numpy_state, "state": {"key": torch.from_numpy(key.astype(np.int64)), "pos": int(pos)}},
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_states(states: dict[str, Any]) -> None:
    """Put states back that ``draw_states`` gave."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    inner = states["numpy"]["state"]
    np.random.set_state({**states["numpy"], "state": {**inner, "key": inner["key"].numpy().astype(np.uint32)}})
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())
