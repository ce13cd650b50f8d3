"""Says which batch did not fit into memory, and which settings to lower."""

from __future__ import annotations

from typing import Any

import lightning
import torch

from affectgpt.errors import reason_of
from affectgpt.types import Batch


class MemoryNotes(lightning.Callback):
    """Notes the shape of the batch at hand, for the message of a run that ran out of memory."""

    def __init__(self) -> None:
        self.shape = "no batch"
        self.stage = "training"
        self.keys: tuple[str, ...] = ()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note a batch that is learnt."""
        self._note("training", batch)

    def on_validation_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note a batch that is answered."""
        self._note("validation", batch)

    def explain(self, error: BaseException) -> str:
        """The message for a person."""
        lower = (
            "data.args.batch_size (and raise trainer.accumulate_grad_batches by as much: the loss stays the same), "
            "model.max_tokens, or the number of frames; or give model.llm.args.gradient_checkpointing, "
            "model.llm.args.dtype bfloat16, or trainer.strategy fsdp2"
        )
        if self.stage == "validation":
            lower = "data.args.val_batch_size or model.max_new_tokens"
        return (
            f"{self.stage} ran out of memory ({reason_of(error)}) with a batch of {self.shape}; lower {lower}. "
            "affectgpt fit --dry-run estimates what a setting takes"
        )

    def _note(self, stage: str, batch: Any) -> None:
        self.stage = stage
        if isinstance(batch, Batch):
            inputs = {**batch.media, **{name: found.hidden for name, found in batch.features.items()}}
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items())
            longest = max((len(answer) for answer in batch.answers or ()), default=0)
            self.shape = f"{len(batch)} samples ({shapes}; the longest answer has {longest} characters)"


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error is that of a device, or of the host, whose memory is full."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
