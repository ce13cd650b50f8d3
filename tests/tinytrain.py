"""Trains the tiny model on made-up batches, on every rank that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, Dataset

from affectgpt import AffectGPT
from affectgpt.training.sharding import ShardedStrategy
from affectgpt.types import Batch
from quiettrainer import quiet_trainer

LLM = {"name": "tiny", "args": {"dim": 32, "lora": {"rank": 4, "dropout": 0.0}, "trainable": False}}
OPTIM = {"lr": 3e-3, "warmup_steps": 0}
SMALL: dict[str, Any] = {
    "streams": {
        "audio": {"encoder": {"name": "tiny-audio", "args": {"dim": 8, "num_mels": 8, "channels": 4}}},
        "frame": {"encoder": {"name": "tiny-vision", "args": {"size": 32, "dim": 8, "channels": 2}}},
    },
    "llm": {"name": "tiny", "args": {"dim": 16, "layers": 1, "heads": 2}},
    "style": "brief",
    "media": {"num_frames": 1, "frame_height": 16, "frame_width": 16, "num_segments": 1, "segment_seconds": 0.1},
    "max_new_tokens": 3,
    "max_tokens": 256,
    "optim": {"lr": 1e-3, "warmup_steps": 0},
}
"""Arguments of a whole model that is built and stepped in a moment, for runs of the command line."""


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
    offload: bool = False,
    strategy: Any = "auto",
    model: AffectGPT | None = None,
    ckpt_path: Path | None = None,
    **options: Any,
) -> lightning.Trainer:
    """Train from the same start, on as many ranks as there are; the model is ``trainer.lightning_module``.

    Args:
        config: Of the model.
        steps: Numbers of the batches.
        make: The batch of a step.
        callbacks: Of the trainer.
        sharded: Whether to use FSDP2 in place of DDP.
        offload: Whether it keeps the shares on the host.
        strategy: Another strategy; by default that which fits the number of ranks.
        model: A model that is built already; its configuration is not read then.
        ckpt_path: A checkpoint to go on from.
        options: Of the trainer.
    """
    lightning.seed_everything(7)
    torch.set_num_threads(1)
    _, world = place()
    if sharded:
        strategy = ShardedStrategy(offload, shards=False, process_group_backend="gloo")
    elif strategy != "auto":
        pass
    elif world > 1 or torch.distributed.is_torchelastic_launched():
        strategy = DDPStrategy(process_group_backend="gloo")
    trainer = quiet_trainer(
        devices=world,
        strategy=strategy,
        use_distributed_sampler=False,
        enable_checkpointing=any(isinstance(one, lightning.pytorch.callbacks.Checkpoint) for one in callbacks),
        callbacks=list(callbacks),
        **{"max_epochs": 1, **options},
    )
    model = AffectGPT.from_config(config) if model is None else model
    trainer.fit(model, DataLoader(Batches(steps, make), batch_size=None), ckpt_path=ckpt_path)
    return trainer
