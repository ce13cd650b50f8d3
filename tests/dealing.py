"""Trains one tiny model on the same samples, dealt out to ranks and micro-batches in many ways, and notes what came."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.distributed.tensor import DTensor

import tinytrain
from affectgpt.training.tensor_parallel import TensorParallelStrategy
from affectgpt.types import Batch
from tinytrain import place

SAMPLES_A_STEP = 8
CONFIG = {
    "streams": {"frame": {"encoder": "tiny-vision", "trainable": True}, "audio": "tiny-audio"},
    "llm": tinytrain.LLM,
    "style": "brief",
    "media": {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.1, "frame_height": 32, "frame_width": 32},
    "optim": tinytrain.OPTIM,
}


def make_batch(indices: Sequence[int]) -> Batch:
    """Samples made of their number: answers of 1 to 60 bytes; some lack sound, some lack pictures."""
    media: dict[str, list[torch.Tensor]] = {"frame": [], "audio": []}
    keep: dict[str, list[torch.Tensor]] = {"frame": [], "audio": []}
    for index in indices:
        generator = torch.Generator().manual_seed(index)
        media["frame"].append(torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8, generator=generator))
        media["audio"].append(torch.randn(2, 1600, generator=generator))
        keep["frame"].append(torch.full((2,), index % 5 != 1))
        keep["audio"].append(torch.full((2,), index % 3 != 0))
    there = [name for name in media if torch.stack(keep[name]).any()]  # as the collate leaves out what nobody has
    return Batch(
        keys=tuple(map(str, indices)),
        media={name: torch.stack(media[name]) for name in there},
        keep={name: torch.stack(keep[name]) for name in there},
        subtitles=tuple("hello" * (index % 3) for index in indices),
        questions=("How?",) * len(indices),
        answers=tuple("".join(random.Random(index).choices("abcdefgh", k=1 + index * 37 % 60)) for index in indices),
    )


class Notes(lightning.Callback):
    """Collects the loss of every step, and the gradients of the first and of the last, before they are clipped."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.losses: list[float] = []
        self.gradients: dict[str, torch.Tensor] = {}

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        if trainer.global_step not in (0, self.last):
            return
        for name, parameter in pl_module.named_parameters():
            if parameter.requires_grad:
                grad = parameter.grad
                full = grad.full_tensor() if isinstance(grad, DTensor) else grad
                self.gradients[f"{trainer.global_step}:{name}"] = full.clone()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step > len(self.losses):
            self.losses.append(float(trainer.callback_metrics["train/loss"]))


def run(config: Mapping[str, Any], steps: int, accumulate: int = 1, tensor: int = 1, **options: Any) -> dict[str, Any]:
    """Train, and tell what came; a step has the same samples in whatever way they are dealt out.

    With ``tensor`` above 1 so many ranks hold the language model together, and read the same.
    """
    rank, world = (number // tensor for number in place())
    if tensor > 1:
        options["strategy"] = TensorParallelStrategy(tensor, process_group_backend="gloo")
    size = SAMPLES_A_STEP // (world * accumulate)

    def make(number: int) -> Batch:
        """Of a step's samples, those of this rank's micro-batch."""
        step, micro = divmod(number, accumulate)
        first = step * SAMPLES_A_STEP + (micro * world + rank) * size
        return make_batch(range(first, first + size))

    notes = Notes(steps - 1)
    trainer = tinytrain.train(
        dict(config), range(steps * accumulate), make, [notes], accumulate_grad_batches=accumulate, **options
    )
    sharded = sum(isinstance(p, DTensor) for p in trainer.lightning_module.parameters())
    return {"losses": notes.losses, "gradients": notes.gradients, "sharded": sharded}


def work(cases: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Run cases one after the other on every rank; rank 0 writes what came."""
    found = {name: run(**case) for name, case in cases.items()}
    if place()[0] == 0:
        torch.save(found, out)


def furthest(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> tuple[float, str]:
    """The largest difference of two sets of gradients, as a share of the norm, and where it is."""
    assert one.keys() == other.keys()
    shares = {
        name: float((one[name].double() - other[name].double()).norm() / one[name].double().norm().clamp(min=1e-12))
        for name in one
    }
    name = max(shares, key=shares.__getitem__)
    return shares[name], name
