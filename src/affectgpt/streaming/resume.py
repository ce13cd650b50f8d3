"""The resume logic: keeps a run's position in its epoch, so that a killed run continues where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.lightning_privates import batches_begun, batches_in, count_epoch_as_begun, epochs_in, move_batches
from affectgpt.streaming.bad_samples import BadSampleBudget
from affectgpt.streaming.epoch_plan import EpochPlan, Piece
from affectgpt.streaming.stream import ShardStream

log = logging.getLogger(__name__)

MEET_EVERY_BATCHES = 50
"""Number of batches after which ranks exchange their bad samples."""


@dataclass(frozen=True)
class Leg:
    """The section of an epoch that is read with one plan.

    Attributes:
        epoch: Number of the epoch.
        plan: The division of the rest of the epoch among ranks.
        offset: Number of batches that count as done before this section.
    """

    epoch: int
    plan: EpochPlan
    offset: int = 0


@dataclass(frozen=True)
class _Saved:
    """What ``Bookmark.state`` put into a checkpoint.

    Attributes:
        leg: What was being read.
        definition: What its order depends on.
        reserve_used: Samples that each rank had taken from its reserve.
        bad_samples: For ``BadSampleBudget.restore``.
    """

    leg: Leg
    definition: Mapping[str, Any]
    reserve_used: tuple[int, ...]
    bad_samples: Any

    @classmethod
    def of(cls, state: Any) -> _Saved:
        """Read it.

        Raises:
            CheckpointError: If something is missing or of another kind.
        """
        try:
            plan, definition, used = EpochPlan.from_json(state["plan"]), state["definition"], state["reserve_used"]
            epoch, offset, bad = state["epoch"], state["offset"], state["bad_samples"]
        except (KeyError, TypeError, ConfigError) as error:
            raise CheckpointError(f"the checkpoint's position in the data cannot be read ({error})") from error
        numbers = [epoch, offset, *(used if isinstance(used, list) else [None])]
        if (
            not isinstance(definition, Mapping)
            or any(type(number) is not int or number < 0 for number in numbers)
            or len(used) != plan.world_size
        ):
            raise CheckpointError(
                f"the checkpoint's position in the data is invalid: {str(state)[:200]}; another version wrote "
                "it, or the file was changed"
            )
        return cls(Leg(epoch, plan, offset), definition, tuple(used), bad)


class Bookmark(lightning.Callback):
    """Records what has been read, and finds the position again.

    Lightning counts the batches that were learnt and restores the count; prefetched batches do not count. Since the
    order of an epoch is a pure function, this count is the position. The checkpoint also records what a batch was: the
    number of ranks, the batch size, the window of lengths, and the rest of the epoch when this section began. With
    another number of ranks or another size, the unread samples are divided anew, and Lightning's count is set so that
    as many batches remain as the new plan has.

    Args:
        budget: Counts bad samples.
        val_budget: Counts those of the validations.
        stream: Gives the stream that is trained on.
        definition: Gives what the order depends on, as plain JSON.
    """

    def __init__(
        self,
        budget: BadSampleBudget,
        val_budget: BadSampleBudget,
        stream: Callable[[], ShardStream],
        definition: Callable[[], dict[str, Any]],
    ) -> None:
        self.budget = budget
        self.val_budget = val_budget
        self._stream = stream
        self._definition = definition
        self._trainer: lightning.Trainer | None = None
        self._saved: _Saved | None = None
        self._leg: Leg | None = None
        self._reserve_used = 0
        self._expected: tuple[tuple[int, int], ...] = ()
        self._alone = False

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Begin a run."""
        self._trainer = trainer
        self._saved = self._leg = None
        self._expected = ()
        self._reserve_used = 0
        self._alone = False
        folder = trainer.log_dir or trainer.default_root_dir  # log_dir is a collective: every rank must read it
        for budget in (self.budget, self.val_budget):
            budget.report = Path(folder) / budget.report_name if trainer.is_global_zero else None

    def begin(self, stream: ShardStream) -> None:
        """Set the position at which the stream's next iteration begins."""
        if self._trainer is None or not self._trainer.training:
            stream.set_epoch(0 if self._trainer is None else self._trainer.current_epoch, stream.whole)
            return
        epoch = self._trainer.current_epoch
        made = batches_begun(self._trainer)
        if self._expected and (epoch, made) not in self._expected:
            raise CheckpointError(
                f"the checkpoint stopped in epoch {self._expected[0][0]} after {self._expected[0][1]} batches, but "
                f"Lightning continues in epoch {epoch} after {made}; samples would be learnt twice, or never. Resume "
                "from another checkpoint"
            )
        self._expected = ()
        count_epoch_as_begun(self._trainer)
        if self._leg is None or self._leg.epoch != epoch:
            self._leg, self._reserve_used = Leg(epoch, stream.whole), 0
        stream.set_epoch(epoch, self._leg.plan, made - self._leg.offset, self._reserve_used)
        self._reserve_used = 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Exchange bad samples with the other ranks at intervals."""
        if (batch_idx + 1) % MEET_EVERY_BATCHES == 0:
            self._meet()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Exchange bad samples with the other ranks."""
        self._meet()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Count bad samples of the validation over all ranks."""
        if self.val_budget.allowed:
            self.val_budget.meet()
            self.val_budget.check()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Write later checkpoints without the other ranks, which may no longer answer after an error."""
        self._alone = not isinstance(exception, SIGTERMException)

    def _meet(self) -> None:
        if self.budget.allowed:
            self.budget.meet()
            self.budget.check()

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint, as plain JSON; every rank must call this."""
        if self._leg is None:
            return {}
        stream = self._stream()
        used, readers = [stream.reserve_used], stream.whole.world_size
        if self._alone or not self.budget.allowed:
            used *= readers
        elif _distributed():
            self.budget.meet()
            ranks = torch.distributed.get_world_size()
            gathered: list[int] = [0] * ranks
            torch.distributed.all_gather_object(gathered, used[0])
            used = gathered[:: ranks // readers]  # ranks that hold a model together read the same
        return {
            "definition": self._definition(),
            "epoch": self._leg.epoch,
            "offset": self._leg.offset,
            "plan": self._leg.plan.to_json(),
            "reserve_used": used,
            "bad_samples": self.budget.to_json(),
        }

    def restore(self, state: Any) -> None:
        """Take the result of ``state``; ``on_load_checkpoint`` uses it.

        Raises:
            CheckpointError: If it is something else.
        """
        self._saved = None if state == {} else _Saved.of(state)

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Find the position at which the checkpoint stopped.

        Raises:
            CheckpointError: If it stopped in the middle of an epoch, and the unread samples are unknown.
        """
        try:
            made, epochs = batches_in(checkpoint)["current"]["processed"], epochs_in(checkpoint)
            counts = (made, epochs["processed"], epochs["ready"])
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"the checkpoint does not say how far training had come ({error!r})") from error
        if any(type(count) is not int for count in counts):
            raise CheckpointError(f"the checkpoint's counts of batches and epochs are {counts}, expected whole numbers")
        if self._saved is None:
            if made and epochs["processed"] < epochs["ready"]:
                raise CheckpointError(
                    f"the checkpoint stopped in the middle of epoch {epochs['processed']}, after {made} batches, but "
                    "does not record the data: another datamodule or an older version wrote it; resume from a "
                    "checkpoint at the end of an epoch"
                )
            return
        leg = self._saved.leg
        read = made - leg.offset
        limit, total = trainer.limit_train_batches, leg.offset + leg.plan.steps
        unfinished = made < (min(limit, total) if isinstance(limit, int) else int(limit * total))
        if unfinished:
            self._compare(leg.epoch, read)
        whole = self._stream().whole
        self.budget.restore(self._saved.bad_samples)
        if _dealing(leg.plan) == _dealing(whole):
            self._leg, self._reserve_used = leg, self._saved.reserve_used[self._stream().rank]
            self._expected = ((leg.epoch, made),) if unfinished else ((leg.epoch, made), (leg.epoch + 1, 0))
            return
        if limit != 1.0:
            raise CheckpointError(
                f"the checkpoint was written on {leg.plan.world_size} ranks with batches of {leg.plan.batch_size}, "
                f"but this run has {whole.world_size} and {whole.batch_size}: with limit_train_batches={limit} the "
                "rest of its epoch is not defined; remove this limit, or use the same ranks and batches"
            )
        # Lightning ends the epoch when its count of batches reaches the steps of a whole epoch under the new plan
        # (whole.steps), but only plan.steps remain. So its count must start at the difference:
        #     read     = made - leg.offset             batches of the stored plan that each rank has read
        #     left     = leg.plan.rest(read, used)     unread positions: shares after read batches, and unused reserve
        #     offset   = whole.steps - plan.steps      count at which the new section begins
        # Samples taken from the reserve replaced bad ones, so the new plan holds back that many fewer.
        used = self._saved.reserve_used
        left = leg.plan.rest(read, used, self._unread(trainer, leg, read)) if unfinished else ()
        plan = replace(whole, pieces=left, held_back=max(leg.plan.held_back - sum(used), 0))
        self._leg = Leg(leg.epoch, plan, whole.steps - plan.steps)
        move_batches(checkpoint, self._leg.offset - made, is_last=plan.steps == 0)
        self._expected = ((leg.epoch, self._leg.offset), *(() if plan.steps else ((leg.epoch + 1, 0),)))
        log.info(
            "the checkpoint was written on %d ranks with batches of %d: the remaining %d samples of epoch %d are read "
            "in %d batches on each of %d ranks",
            *(leg.plan.world_size, leg.plan.batch_size, plan.samples, leg.epoch, plan.steps, whole.world_size),
        )

    def _unread(self, trainer: lightning.Trainer, leg: Leg, read: int) -> list[tuple[Piece, ...]]:
        """What each of the former ranks had left of its share; every rank must call this.

        Where batches are dealt out by length, the words of a begun window must be read, so each rank finds out about
        some of the former ones.
        """
        stream, plan = self._stream(), leg.plan
        ranks = range(plan.world_size)
        if not read % plan.window or not _distributed():
            return [stream.unread(leg.epoch, plan, rank, read) for rank in ranks]
        here, world = trainer.global_rank, trainer.world_size
        own = {rank: stream.unread(leg.epoch, plan, rank, read) for rank in ranks if rank % world == here}
        found: list[dict[int, tuple[Piece, ...]]] = [{} for _ in range(world)]
        torch.distributed.all_gather_object(found, own)
        return [found[rank % world][rank] for rank in ranks]

    def _compare(self, epoch: int, read: int) -> None:
        assert self._saved is not None
        theirs, ours = self._saved.definition, self._definition()
        differences = [
            f"{name}: {theirs.get(name)} then, {ours[name]} now" for name in ours if ours[name] != theirs.get(name)
        ]
        if differences:
            raise CheckpointError(
                f"the checkpoint stopped in the middle of epoch {epoch}, after {read} batches, and its data or their "
                f"order were different; {'; '.join(differences)}. Use the same data, or resume from a checkpoint at "
                "the end of an epoch"
            )


def _dealing(plan: EpochPlan) -> tuple[Any, ...]:
    """How a plan makes batches, whatever samples it has."""
    return plan.world_size, plan.batch_size, plan.whole_batches, plan.window


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
