"""Learns from rewards and preferences on every rank that a test started, with answers that follow from the clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.distributed.tensor import DTensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

import tinytrain
from affectgpt import AffectGPT
from affectgpt.model.objective import learn_by
from affectgpt.post_training import Dpo, Grpo
from affectgpt.post_training import grpo as grpo_module
from affectgpt.post_training.rollouts import Rollouts
from affectgpt.registry import REWARDS
from affectgpt.training.random_states import RandomStates
from affectgpt.training.rewards import RatedAnswers, Reward
from affectgpt.types import Batch, PreferencePair
from dealing import make_batch
from quiettrainer import quiet_trainer
from tinytrain import place

CLIPS, GROUP = 6, 3
CONFIG: dict[str, Any] = {
    "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
    "llm": {"name": "tiny", "args": {"dim": 32, "lora": {"rank": 4, "dropout": 0.2}, "trainable": False}},
    "style": "brief",
    "media": {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.1, "frame_height": 32, "frame_width": 32},
    "max_new_tokens": 6,
    "optim": tinytrain.OPTIM,
}


@REWARDS.register("vowels", overwrite=True)
class Vowels(Reward):
    """Share of the letters that are vowels, which a model without training can be rewarded for."""

    def __call__(self, answers: RatedAnswers) -> torch.Tensor:
        shares = [sum(c in "aeiou" for c in text.lower()) / max(1, len(text)) for text in answers.texts]
        return torch.tensor(shares, dtype=torch.float64)


def clips_of(indices: Sequence[int]) -> Batch:
    """Clips with a true label, and pairs of descriptions of which every third is undecided."""
    batch = make_batch(indices)
    pairs = tuple(PreferencePair("e" * (1 + i), "xyz" * (1 + i % 2), i % 3 != 1) for i in indices)
    questions = ("Reasons:",) * len(indices)
    return replace(batch, answers=None, labels=(("joyful",),) * len(indices), pairs=pairs, questions=questions)


def given_rollouts(model: Any, batch: Batch, sampling: Any, longest: int) -> Rollouts:
    """Answers that follow from the clip; those to a clip of an odd number all earn the same."""
    texts = ["aexoi"[j : 2 + j + int(key) % 2] for key in batch.keys for j in range(GROUP)]
    ids = [torch.tensor(one) for one in model.network.renderer.answer_ids(texts)]
    lengths = torch.tensor([len(one) for one in ids])
    padded = pad_sequence(ids, batch_first=True)
    keep = torch.arange(padded.shape[1]) < lengths[:, None]
    keys = tuple(key for key in batch.keys for _ in range(GROUP))
    n = len(keys)
    answers = RatedAnswers(
        keys, tuple(texts), tuple((t,) for t in texts), (("joyful",),) * n, tuple(lengths.tolist()), (True,) * n
    )
    return Rollouts(batch, padded, keep, answers)


class Noted(lightning.Callback):
    """Keeps the gradients of the first step, whole, and what was logged with it."""

    def __init__(self) -> None:
        self.gradients: dict[str, torch.Tensor] = {}
        self.figures: dict[str, float] = {}
        self.seen: tuple[int, int] = (0, 0)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if trainer.global_step == 0:
            self.gradients = {n: whole(p.grad) for n, p in pl_module.named_parameters() if p.grad is not None}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self.figures:
            self.figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
            self.seen = (pl_module.steps.seen.samples, pl_module.steps.seen.tokens)


def whole(value: torch.Tensor) -> torch.Tensor:
    """A tensor that ranks share, in one piece."""
    return (value.full_tensor() if isinstance(value, DTensor) else value).detach().clone()


def objective(kind: str, **options: Any) -> Any:
    """The objective of a case."""
    if kind == "dpo":
        return Dpo(pairs_per_pass=2, clip_norm=None, **options)
    more = {"group_size": GROUP, "answers_per_pass": GROUP, "clip_norm": None, "watch_steps": 1, "kl_weight": 0.1}
    return Grpo({"vowels": "vowels"}, **{**more, **options})


def train(
    kind: str, callbacks: Sequence[Any], batches: int = 1, *, given: bool = True, **options: Any
) -> dict[str, Any]:
    """Train, with all clips of a batch on one process or dealt out to ranks; tell the weights at the end."""
    rank, world = place()
    size = CLIPS // world
    lightning.seed_everything(5, verbose=False)
    model = AffectGPT.from_config(CONFIG)
    with torch.no_grad():  # adapters that do something, so that switching them off changes something
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    arguments = options.pop("arguments", {})
    learn_by(model, objective(kind, **arguments))
    write = grpo_module.write_rollouts
    grpo_module.write_rollouts = given_rollouts if given else write
    try:
        trainer = tinytrain.train(
            CONFIG,
            range(batches),
            lambda number: clips_of(range(number * CLIPS + rank * size, number * CLIPS + (rank + 1) * size)),
            callbacks,
            model=model,
            **options,
        )
    finally:
        grpo_module.write_rollouts = write
    module: Any = trainer.lightning_module
    shared = sum(isinstance(p, DTensor) for p in module.parameters())
    return {"weights": {n: whole(p) for n, p in module.named_parameters() if p.requires_grad}, "shared": shared}


class Save(lightning.Callback):
    """Writes a checkpoint after the first epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)


def work(cases: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Run cases one after the other on every rank; rank 0 writes what came."""
    found: dict[str, Any] = {}
    for name, case in cases.items():
        if "resume" in case:
            options = {key: value for key, value in case.items() if key != "resume"}
            path = out.with_name(f"{name}.ckpt")
            found[name] = [
                train(callbacks=[RandomStates(3), *more], given=False, max_epochs=3, ckpt_path=ckpt, **options)
                for more, ckpt in (([Save(path)], None), ([], path))
            ]
            continue
        noted = Noted()
        made = train(callbacks=[noted], **case)
        found[name] = {**made, "gradients": noted.gradients, "figures": noted.figures, "seen": noted.seen}
    if place()[0] == 0:
        torch.save(found, out)


def fit_grpo(arguments: Mapping[str, Any], batches: Sequence[Batch]) -> dict[str, float]:
    """Take a step for each batch in this process; tell what was logged with the first."""
    noted = Noted()
    torch.set_num_threads(1)
    lightning.seed_everything(5, verbose=False)
    model = AffectGPT.from_config(CONFIG)
    learn_by(model, Grpo(**arguments))
    trainer = quiet_trainer(callbacks=[noted], max_epochs=1)
    trainer.fit(model, DataLoader(list(batches), batch_size=None))
    return noted.figures
