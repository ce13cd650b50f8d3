"""Keeps the states of the random generators in checkpoints, so that a resumed run draws the same numbers."""

from __future__ import annotations

import hashlib
import logging
import random
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from affectgpt.errors import CheckpointError, reason_of
from affectgpt.training.step_loss import DataRanks

log = logging.getLogger(__name__)


class RandomStates(lightning.Callback):
    """Stores the generators of Python, NumPy and torch (CPU and this rank's GPU), for every rank, and restores them.

    Ranks that hold one model together (tensor parallelism) draw alike, and are stored once.

    With dropout, a resumed run then ends with the weights of one that was never stopped. What is drawn between batches
    takes no part, because a resumed run draws it at another time or not at all: the iterator over a loader takes a
    number when it begins, so the first batch of an epoch finds the states as they were when the epoch began; and a
    validation leaves them as it found them.

    Ranks that learn from different data draw differently: a run begins with the same seed on all, and masks of dropout
    that are the same on hundreds of ranks would not average out.

    Args:
        seed: The seed of the run. If the checkpoint was written with another seed, the generators start from this one.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._pending: dict[str, Any] | None = None
        self._epoch_start: dict[str, Any] | None = None
        self._after_batch: dict[str, Any] | None = None
        self._alone = False
        self._peers = 1

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Find the ranks that draw alike."""
        self._peers = DataRanks.of(pl_module).peers

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin with draws of this rank's own, unless a checkpoint has its states."""
        ranks = DataRanks.of(pl_module)
        rank = torch.distributed.get_rank(ranks.group) if ranks.number > 1 else 0
        if self._pending is None and rank:
            seed = int.from_bytes(hashlib.sha256(f"{self.seed}/{rank}".encode()).digest()[:4])
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note the states, before the epoch's iterator draws."""
        self._epoch_start = draw_states() if self._pending is None else self._pending

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before the first batch of an epoch, and the first one after a resume, put the states back."""
        states = self._epoch_start if self._pending is None else self._pending
        if states is not None:
            _put_back(states)
        self._pending = self._epoch_start = None

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the states to restore after a validation."""
        self._after_batch = draw_states()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Undo the draws of the validation."""
        if self._after_batch is not None and not trainer.sanity_checking:
            set_states(self._after_batch)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Write later checkpoints without the states of other ranks, which may no longer answer after an error."""
        self._alone = not isinstance(exception, SIGTERMException)

    def state_dict(self) -> dict[str, Any]:
        """The states of every rank, as plain values; every rank must call this."""
        ranks: list[Any] = [draw_states()]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            world = torch.distributed.get_world_size()
            if world > 1 and not self._alone:
                ranks = [None] * world
                torch.distributed.all_gather_object(ranks, draw_states())
        return {"seed": self.seed, "ranks": ranks[:: self._peers]}

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
            world = torch.distributed.get_world_size() // self._peers
            rank = torch.distributed.get_rank() // self._peers
        if state_dict["seed"] != self.seed:
            log.warning("the checkpoint was written with another seed: random draws, such as dropout, start anew")
        elif len(ranks) != world:
            log.warning(
                "the checkpoint has the random generators of %d ranks, but this run has %d of them: random draws, such "
                "as dropout, start anew",
                *(len(ranks), world),
            )
        else:
            self._pending = ranks[rank]


def _put_back(states: dict[str, Any]) -> None:
    try:
        set_states(states)
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
    """Restore states that ``draw_states`` returned."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    inner = states["numpy"]["state"]
    np.random.set_state({**states["numpy"], "state": {**inner, "key": inner["key"].numpy().astype(np.uint32)}})
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())
