"""Trains a tiny model over batches some of which are not finite, on every rank that torchrun starts.

Usage: guard_worker.py OUT, where OUT is a folder. Rank 0 writes what came out as JSON; each rank its weights.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lightning
import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where the modules lie that tests share

import tinytrain
from affectgpt import AffectGPT
from affectgpt.errors import DataError
from affectgpt.training.finite import FiniteGuard
from affectgpt.types import Batch
from tinytrain import place

CONFIG = {
    "streams": {"audio": "tiny-audio"},
    "llm": tinytrain.LLM,
    "prefusion": "none",
    "style": "brief",
    "media": {"num_segments": 2, "segment_seconds": 0.25},
    "optim": tinytrain.OPTIM,
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


def train(
    steps: list[int],
    broken: set[tuple[int, int]] = frozenset(),
    *callbacks: lightning.Callback,
    accumulate: int = 1,
    sharded: bool = False,
) -> AffectGPT:
    """Train from the same start; ``broken`` holds the (step, rank) pairs whose sound has a NaN."""
    rank, _ = place()

    def make(step: int) -> Batch:
        return make_batch(step, rank, (step, rank) in broken)

    trainer = tinytrain.train(CONFIG, steps, make, callbacks, sharded=sharded, accumulate_grad_batches=accumulate)
    return trainer.lightning_module


def main(out: Path) -> None:
    rank, _ = place()
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
