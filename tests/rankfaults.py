"""Callbacks that make one rank of a run fail, for runs of the command line in processes of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml

import resume_worker
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.errors import DataError


class RaiseAt(lightning.Callback):
    """Raises an error on one rank, before a batch is learnt.

    Args:
        batch: Number of the batch, from 1 on.
        rank: The rank.
    """

    def __init__(self, batch: int, rank: int) -> None:
        self.batch, self.rank, self.begun = batch, rank, 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.begun += 1
        if self.begun == self.batch and trainer.global_rank == self.rank:
            raise ValueError("this rank alone has a problem")


class NoDisk(lightning.Callback):
    """Lets the datamodule fail on one rank, as on a machine that lacks a disk.

    Args:
        rank: The rank.
    """

    def __init__(self, rank: int) -> None:
        setup = MERCaptionDataModule.setup

        def fails(data: MERCaptionDataModule, stage: str) -> None:
            if os.environ.get("RANK") == str(rank):
                raise DataError("no disk here")
            setup(data, stage)

        MERCaptionDataModule.setup = fails


class DrawOnce(lightning.Callback):
    """Writes down a random number that each rank draws before its first batch.

    Args:
        out: The folder.
    """

    def __init__(self, out: str) -> None:
        self.out = Path(out)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        (self.out / f"draw-{trainer.global_rank}").write_text(str(float(torch.rand(1))))


def ddp_config(out: Path, shards: Path, callbacks: list[dict[str, Any]], *, devices: int = 2, **trainer: Any) -> Path:
    """A configuration of a run on gloo ranks that are processes on this machine; returns the file."""
    backend = {"process_group_backend": "gloo"}
    config = {
        "trainer": {
            "max_epochs": 4, "accelerator": "cpu", "default_root_dir": str(out), "logger": False, "devices": devices,
            "strategy": {"class_path": "lightning.pytorch.strategies.DDPStrategy", "init_args": backend},
            "use_distributed_sampler": False, "callbacks": callbacks, **trainer,
        },
        "model": resume_worker.TINY,
        "data": {"name": "mercaption", "args": {"train": str(shards), "batch_size": 2, "num_workers": 0}},
    }  # fmt: skip
    (out / "config.yaml").write_text(yaml.safe_dump(config))
    return out / "config.yaml"
