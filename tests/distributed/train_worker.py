"""Trains the tiny model on made-up batches; run by test_sharding.py with torchrun, one process per rank.

Usage: train_worker.py STRATEGY OUT, where STRATEGY is ddp or fsdp2. Rank 0 writes the losses as JSON, and a checkpoint.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lightning
import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where the modules lie that tests share

import tinytrain
from affectgpt.types import Batch
from tinytrain import place

STEPS = 4
SAMPLES_A_STEP = 4
CONFIG = {
    "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
    "llm": {"name": "tiny", "args": {"lora": {"rank": 4, "dropout": 0.0}, "trainable": False}},
    "style": "brief",
    "media": {"num_frames": 2, "num_segments": 2, "frame_height": 32, "frame_width": 32},
    "optim": tinytrain.OPTIM,
}


def make_batch(indices: list[int]) -> Batch:
    """Samples made of their number; answers of one length, so that a mean over ranks is the mean over samples."""
    frames, audio = [], []
    for index in indices:
        generator = torch.Generator().manual_seed(index)
        frames.append(torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8, generator=generator))
        audio.append(torch.randn(2, 16_000, generator=generator))
    return Batch(
        keys=tuple(map(str, indices)),
        media={"frame": torch.stack(frames), "audio": torch.stack(audio)},
        keep={name: torch.ones(len(indices), 2, dtype=torch.bool) for name in ("frame", "audio")},
        subtitles=("hello",) * len(indices),
        questions=("How?",) * len(indices),
        answers=tuple(f"label {index:02d}" for index in indices),
    )


class Losses(lightning.Callback):
    """Collects the loss of every step, over all ranks."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.values.append(float(trainer.callback_metrics["train/loss"]))


def main(strategy_name: str, out: str) -> None:
    rank, world = place()

    def make(step: int) -> Batch:
        """Rank r of n takes every n-th sample of each step."""
        first = step * SAMPLES_A_STEP
        return make_batch(list(range(first + rank, first + SAMPLES_A_STEP, world)))

    losses = Losses()
    trainer = tinytrain.train(CONFIG, range(STEPS), make, [losses], sharded=strategy_name == "fsdp2")
    model = trainer.lightning_module
    trainer.save_checkpoint(Path(out, f"{strategy_name}.ckpt"))
    sharded = sum(type(p).__name__ == "DTensor" or hasattr(p, "placements") for p in model.parameters())
    if rank == 0:
        record = {"losses": losses.values, "sharded": sharded, "texts": []}
        Path(out, f"{strategy_name}.json").write_text(json.dumps(record))
    model.eval()
    texts = model.generate(make_batch([0, 1]), 4)
    if rank == 0:
        record["texts"] = texts
        Path(out, f"{strategy_name}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main(*sys.argv[1:])
