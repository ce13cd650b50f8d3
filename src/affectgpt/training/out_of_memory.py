"""Says which batch did not fit into memory, and which settings to lower."""

from __future__ import annotations

from typing import Any

import lightning
import torch

from affectgpt.errors import reason_of
from affectgpt.types import Batch

_FULL = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
"""How the host, a device and its libraries say it where they raise no error of their own."""


class MemoryNotes(lightning.Callback):
    """Notes the shape of the batch at hand, for the message of a run that ran out of memory."""

    def __init__(self) -> None:
        self.shape: str | None = None
        self.stage = "training"
        self.budget: int | None = None

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note a batch that is learnt."""
        self._note("training", batch, trainer)

    def on_validation_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note a batch that is answered."""
        self._note("validation", batch, trainer)

    def explain(self, error: BaseException) -> str:
        """The message for a person."""
        estimate = "affectgpt fit --dry-run estimates what a setting takes"
        model = "model.llm.args.dtype bfloat16, or trainer.strategy fsdp2"
        if self.shape is None:
            return (
                f"the model does not fit into memory ({reason_of(error)}), before its first batch; give {model}, or "
                f"model.llm.args.quantize nf4. {estimate}"
            )
        if self.stage == "validation":
            lower = "data.args.val_batch_size or model.max_new_tokens"
        else:
            size = "data.args.batch_size" if self.budget is None else f"data.args.batch_tokens ({self.budget})"
            lower = (
                f"{size} (and raise trainer.accumulate_grad_batches by as much: the loss stays the same), "
                "model.max_tokens, or the number of frames; or give model.llm.args.gradient_checkpointing, " + model
            )
        return (
            f"{self.stage} ran out of memory ({reason_of(error)}) with a batch of {self.shape}; lower {lower}. "
            + estimate
        )

    def _note(self, stage: str, batch: Any, trainer: lightning.Trainer) -> None:
        self.stage, self.shape = stage, "unknown shape"
        self.budget = getattr(trainer.datamodule, "batch_tokens", None)  # type: ignore[attr-defined]
        if isinstance(batch, Batch):
            inputs = {**batch.media, **{name: found.hidden for name, found in batch.features.items()}}
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items())
            longest = max((len(answer) for answer in batch.answers or ()), default=0)
            self.shape = f"{len(batch)} samples ({shapes}; the longest answer has {longest} characters)"


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error is that of a device, or of the host, whose memory is full."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL)
    )
