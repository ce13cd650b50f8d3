"""Trains the tiny model on made-up batches, on every rank that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch.utils.data import DataLoader, Dataset

from affectgpt import AffectGPT
from affectgpt.types import Batch

LLM = {"name": "tiny", "args": {"dim": 32, "lora": {"rank": 4, "dropout": 0.0}, "trainable": False}}
OPTIM = {"lr": 3e-3, "warmup_steps": 0}


def place() -> tuple[int, int]:
    """Rank and number of ranks, as torchrun or a launcher of Lightning says."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


class Batches(Dataset[Batch]):
    """One batch for each step."""

    def __init__(self, steps: Sequence[int], make: Callable[[int], Batch]) -> None:
        self.steps, self.make = steps, make

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, number: int) -> Batch:
        return self.make(self.steps[number])


def train(
    config: dict[str, Any],
    steps: Sequence[int],
    make: Callable[[int], Batch],
    callbacks: Sequence[lightning.Callback] = (),
    *,
    sharded: bool = False,
    **options: Any,
) -> lightning.Trainer:
    """Train from the same start, on as many ranks as there are; the model is ``trainer.lightning_module``.

    Args:
        config: Of the model.
        steps: Numbers of the batches.
        make: The batch of a step.
        callbacks: Of the trainer.
        sharded: Whether to use FSDP2 in place of DDP.
        options: Of the trainer.
    """
    lightning.seed_everything(7)
    torch.set_num_threads(1)
    _, world = place()
    strategy: Any = "auto"
    if sharded:
        strategy = ModelParallelStrategy(
            data_parallel_size=world,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            process_group_backend="gloo",
        )
    elif world > 1 or torch.distributed.is_torchelastic_launched():
        strategy = DDPStrategy(process_group_backend="gloo")
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=world,
        strategy=strategy,
        max_epochs=1,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=any(isinstance(one, lightning.pytorch.callbacks.Checkpoint) for one in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(AffectGPT.from_config(config), DataLoader(Batches(steps, make), batch_size=None))
    return trainer
