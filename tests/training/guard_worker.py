"""Trains a tiny model over batches some of which are not finite, on every rank that torchrun starts.

Usage: guard_worker.py OUT, where OUT is a folder. Rank 0 writes what came out as JSON; each rank its weights.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch.utils.data import DataLoader, Dataset

from affectgpt import AffectGPT
from affectgpt.errors import DataError
from affectgpt.training.finite import FiniteGuard
from affectgpt.types import Batch

CONFIG = {
    "streams": {"audio": "tiny-audio"},
    "llm": {"name": "tiny", "args": {"dim": 32, "lora": {"rank": 4, "dropout": 0.0}, "trainable": False}},
    "prefusion": "none",
    "style": "brief",
    "media": {"num_segments": 2, "segment_seconds": 0.25},
    "optim": {"lr": 3e-3, "warmup_steps": 0},
}


def make_batch(step: int, rank: int, broken: bool) -> Batch:
    generator = torch.Generator().manual_seed(100 * step + rank)
    audio = torch.randn(1, 2, 4000, generator=generator)
    if broken:
        audio[0, 0, 0] = float("nan")
    return Batch(
        keys=(f"step{step}-rank{rank}",),
        media={"audio": audio},
        keep={"audio": torch.ones(1, 2, dtype=torch.bool)},
        subtitles=("hello",),
        questions=("How?",),
        answers=(f"label {step}",),
    )


class Batches(Dataset[Batch]):
    def __init__(self, steps: list[int], broken: set[tuple[int, int]], rank: int) -> None:
        self.steps, self.broken, self.rank = steps, broken, rank

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, number: int) -> Batch:
        step = self.steps[number]
        return make_batch(step, self.rank, (step, self.rank) in self.broken)


def train(
    steps: list[int],
    broken: set[tuple[int, int]],
    guard: lightning.Callback,
    accumulate: int = 1,
    *,
    sharded: bool = False,
) -> AffectGPT:
    """Train from the same start; ``broken`` holds the (step, rank) pairs whose sound has a NaN."""
    lightning.seed_everything(7)
    model = AffectGPT.from_config(CONFIG)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    strategy = DDPStrategy(process_group_backend="gloo") if world > 1 else "auto"
    if sharded:
        strategy = ModelParallelStrategy(data_parallel_size=world, tensor_parallel_size=1, process_group_backend="gloo")
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=world,
        strategy=strategy,
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[guard],
    )
    trainer.fit(model, DataLoader(Batches(steps, broken, rank), batch_size=None))
    return model


def main(out: Path) -> None:
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    guard = FiniteGuard(max_skipped=1, folder=str(out))
    guarded = train([0, 1, 2], {(1, 1)}, guard).state_dict()
    without = train([0, 2], set(), FiniteGuard(folder=str(out))).state_dict()
    torch.save(guarded, out / f"weights{rank}.pt")
    shards = [
        train(steps, broken, FiniteGuard(folder=str(out / "sharded")), sharded=True).state_dict()
        for steps, broken in (([0, 1, 2], {(1, 1)}), ([0, 2], set()))
    ]
    sharded_names = [name for name, value in shards[0].items() if hasattr(value, "to_local")]
    same_sharded = len(sharded_names) > 10 and all(
        torch.equal(*(part[name].to_local() for part in shards)) for name in sharded_names
    )
    same = all(torch.equal(guarded[name], without[name]) for name in without)
    try:
        train([0, 1, 2], {(0, 0), (1, 1)}, FiniteGuard(max_skipped=1, folder=str(out)))
        message = "trained on"
    except DataError as error:
        message = str(error)
    record = {"same": same, "same_sharded": same_sharded, "num_skipped": guard.num_skipped, "message": message}
    (out / f"rank{rank}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
