"""Trains on shards until it is done or kills itself; run by the tests in processes of its own.

Usage: resume_worker.py SETTINGS, a JSON file: model (reader | affectgpt), shards, out, ckpt, num_workers, batch_size,
max_epochs, kill_at (batch of this process, or null). Every rank appends one line to
OUT/seen-RANK.jsonl for each batch that it learns from: epoch, batch in the epoch, step, keys, questions.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy

from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.training.whole_file import WholeFileIO

MEDIA = {"num_frames": 1, "frame_height": 32, "frame_width": 32, "num_segments": 1, "segment_seconds": 0.1}
TINY = {
    "streams": {"frame": {"encoder": {"name": "tiny-vision"}}, "audio": {"encoder": {"name": "tiny-audio"}}},
    "llm": {"name": "tiny", "args": {"lora": {"rank": 4, "dropout": 0.0}, "trainable": False}},
    "optim": {"lr": 3e-3, "warmup_steps": 0},
    "style": "brief",
    "media": MEDIA,
}


class Reader(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.layer(batch.media["frame"].float().mean((1, 2, 3, 4))[:, None] / 255).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        assert self.trainer.estimated_stepping_batches > 0  # sets Lightning's loaders up before the state is restored
        return torch.optim.SGD(self.parameters(), 0.01)


class SeenLog(Callback):
    """Writes down what is learnt, and kills this process, or its whole group, at a batch and again while it saves."""

    def __init__(
        self,
        out: Path,
        kill_at: int | None,
        kill_with: int = signal.SIGKILL,
        kill_rank: int | None = None,
        group: bool = False,
        kill_on_save: bool = False,
    ) -> None:
        self.out, self.kill_at, self.kill_with, self.kill_rank = out, kill_at, kill_with, kill_rank
        self.group, self.kill_on_save = group, kill_on_save
        self.batches = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        line = [trainer.current_epoch, batch_idx, trainer.global_step, batch.keys, batch.questions]
        with (self.out / f"seen-{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.batches += 1
        if self.batches == self.kill_at and self.kill_rank in (None, trainer.global_rank):
            self._kill()

    def on_save_checkpoint(self, trainer, pl_module, checkpoint) -> None:
        if self.kill_on_save and self.batches >= self.kill_at:
            self._kill()

    def teardown(self, trainer, pl_module, stage) -> None:
        if self.kill_on_save and self.batches >= self.kill_at:
            self._kill()

    def _kill(self) -> None:
        (os.killpg if self.group else os.kill)(os.getpgrp() if self.group else os.getpid(), self.kill_with)


def main(settings: str) -> None:
    options = json.loads(Path(settings).read_text())
    out = Path(options["out"])
    world = options["world"]
    lightning.seed_everything(7)
    torch.set_num_threads(1)
    if options["model"] == "affectgpt":
        from affectgpt import AffectGPT

        model: lightning.LightningModule = AffectGPT.from_config(TINY)
    else:
        model = Reader()
    data = MERCaptionDataModule(
        train=options["shards"],
        batch_size=options["batch_size"],
        num_workers=options["num_workers"],
        style=TINY["style"] if options["model"] == "affectgpt" else "official",
        bad_sample_budget=options.get("budget", 0.001),
        media=MEDIA,
        **options.get("data", {}),
    )
    saver = ModelCheckpoint(
        out, filename="step{step}", every_n_train_steps=2, save_top_k=-1, save_last=True, save_on_exception=True
    )
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=world,
        strategy=DDPStrategy(process_group_backend="gloo") if world > 1 else "auto",
        use_distributed_sampler=False,
        max_epochs=options["max_epochs"],
        callbacks=[SeenLog(out, options["kill_at"]), saver],
        plugins=[WholeFileIO()],
        default_root_dir=out,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data, ckpt_path=options["ckpt"])
    if trainer.is_global_zero:
        torch.save(model.state_dict(), out / "final.pt")


if __name__ == "__main__":
    main(sys.argv[1])
