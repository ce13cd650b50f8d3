"""Runs the demo: make a corpus, pack it, train, answer, score, report."""

from __future__ import annotations

import json
import platform
import random
import resource
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import Callback

from affectgpt.datamodules.mercaption import MERCaptionDataModule
from affectgpt.demo.corpus import make_corpus
from affectgpt.demo.page import write_report
from affectgpt.demo.pretrain import pretrain_encoders
from affectgpt.errors import ConfigError
from affectgpt.files import write_lines, write_whole
from affectgpt.llm.smollm2_package import is_unpacked, packed_weights
from affectgpt.manifests.manifest import read_manifest
from affectgpt.metrics import EmotionHitRate, EmotionWheel, EmotionWheelScore
from affectgpt.metrics.functional import Interval, bootstrap_difference, bootstrap_interval, wheel_f1_summands
from affectgpt.model import AffectGPT
from affectgpt.model.answer import answer_batch
from affectgpt.pages.plotting import missing
from affectgpt.registry import Spec
from affectgpt.shards.packing import pack
from affectgpt.training.plain_trainer import plain_trainer
from affectgpt.types import Batch, Prediction

CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "full": (),
    "text": ("frame", "audio"),
    "face+text": ("audio",),
    "audio+text": ("frame",),
    "no-prefusion": ("multi",),
}
"""The inputs that each condition hides from the trained model."""

Labels = Sequence[Sequence[str]]


@dataclass(frozen=True)
class DemoSize:
    """The size of the demo: clips and training steps.

    Attributes:
        num_train: Clips to train on.
        num_test: Clips held out.
        pretraining_steps: Training steps of the encoders alone.
        steps: Training steps of the whole model with frozen encoders.
    """

    num_train: int = 320
    num_test: int = 80
    pretraining_steps: int = 320
    steps: int = 200


class Stages:
    """The progress of the demo; this class does nothing, and callers override it to show progress."""

    def start(self, name: str, total: int) -> None:
        """A stage begins."""

    def advance(self, done: int) -> None:
        """``done`` more units of the stage are finished."""


def run_demo(
    out: str | Path,
    size: DemoSize | None = None,
    config: Mapping[str, Any] | None = None,
    seed: int = 42,
    stages: Stages | None = None,
) -> dict[str, Any]:
    """Run the whole pipeline and write ``report.json`` and ``report.html``.

    The corpus is synthetic (see ``affectgpt.demo.corpus``): the scores show that every step of the pipeline works and
    that the model combines its inputs, and say nothing about real people.

    Args:
        out: Folder for all output; an earlier demo in it is replaced.
        size: Number of clips and of training steps.
        config: ``model`` and ``data`` settings; those of ``demo.yaml`` by default.
        seed: Seed of corpus, order, weights and dropout.
        stages: Called on progress.

    Returns:
        The report, as written to ``report.json``.
    """
    start = time.perf_counter()
    size, stages, out = size or DemoSize(), stages or Stages(), Path(out)
    settings = config or yaml.safe_load(resources.files("affectgpt.demo").joinpath("demo.yaml").read_text())
    _check_packages(settings["model"].get("llm", ""))
    _clear(out)
    lightning.seed_everything(seed, verbose=False)

    stages.start("drawing clips", size.num_train + size.num_test)
    corpus = make_corpus(out / "corpus", size.num_train, size.num_test, seed, progress=lambda n, _: stages.advance(n))
    stages.start("packing shards", size.num_train + size.num_test)
    for split, before in (("train", 0), ("test", size.num_train)):
        pack(
            corpus / f"{split}.jsonl",
            out / "shards" / split,
            provenance={"source": "affectgpt.demo.corpus", "licence": "Apache-2.0"},
            progress=lambda n, _, before=before: stages.advance(before + n),  # type: ignore[misc]
        )
    model, history, train = _train(out, size, settings, seed, stages)
    batches = held_out_batches(out / "shards" / "test", model)
    wheel = EmotionWheel.builtin()
    gold = [labels for batch in batches for labels in batch.labels]
    answers: dict[str, list[Prediction]] = {}
    stages.start("answering", len(CONDITIONS) * len(batches))
    for i, (name, hide) in enumerate(CONDITIONS.items()):
        answers[name] = []
        for j, batch in enumerate(batches):
            answers[name] += answer_batch(model, batch, hide=hide)
            stages.advance(i * len(batches) + j + 1)
    report = {
        "scores": {name: _score([a.labels for a in found], gold, wheel) for name, found in answers.items()},
        **_intervals({name: [a.labels for a in found] for name, found in answers.items()}, gold, wheel),
        "chance": _chance(gold, wheel, seed),
        "wheel": wheel.name,
        "train": train,
        "seed": seed,
        "synthetic": True,
        "total_seconds": round(time.perf_counter() - start, 1),
        "peak_rss_mb": _peak_rss_mb(),
        "versions": _versions(),
    }
    lines = (json.dumps({"condition": name, **a.to_json()}) for name, found in answers.items() for a in found)
    write_lines(out / "predictions.jsonl", lines)
    write_whole(out / "report.json", json.dumps(report, indent=2) + "\n")
    write_report(report, history, _examples(batches, answers), out)
    return report


def _check_packages(llm: Any) -> None:
    """Name what is missing before the work begins, not after minutes of it.

    Raises:
        ConfigError: If the report cannot be drawn.
        CheckpointError: If SmolLM2 is asked for and its package is missing.
    """
    for module, package in (("matplotlib", "matplotlib"), ("PIL", "Pillow")):
        if find_spec(module) is None:
            raise missing(package, "demo")
    if Spec.of(llm).name == "smollm2-135m-instruct" and not is_unpacked():
        packed_weights()


class _History(Callback):
    """Records the loss of every step."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance = advance
        self.rows: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.rows.append({"step": trainer.global_step, "loss": float(trainer.callback_metrics["train/loss"])})
        self.advance(trainer.global_step)


def _train(
    out: Path, size: DemoSize, settings: Mapping[str, Any], seed: int, stages: Stages
) -> tuple[AffectGPT, list[dict[str, float]], dict[str, Any]]:
    """Train the encoders, then the model; save it, and return the model loaded from the checkpoint."""
    stages.start("loading the model", 1)
    options = dict(settings["model"])
    options["optim"] = {**options.get("optim", {}), "total_steps": size.steps}
    model = AffectGPT.from_config(options)
    data = MERCaptionDataModule(
        train=str(out / "shards" / "train"),
        media=model.media.to_json(),
        style=model.style.name,
        seed=seed,
        **settings["data"],
    )
    start = time.perf_counter()
    label_sets = [record.labels for record in read_manifest(out / "corpus" / "train.jsonl")]
    trainer, before = _trainer(size.pretraining_steps, "training encoders", stages)
    pretrain_encoders(model, label_sets, trainer, data)
    trainer, after = _trainer(size.steps, "training the model", stages)
    trainer.fit(model, data)
    seconds = time.perf_counter() - start
    trainer.save_checkpoint(out / "model.ckpt")
    facts = {
        "seconds": round(seconds, 1),
        "steps": size.steps,
        "final_loss": _last(after.rows),
        "pretraining_steps": size.pretraining_steps,
        "pretraining_final_loss": _last(before.rows),
    }
    return AffectGPT.from_checkpoint(out / "model.ckpt").to(trainer.strategy.root_device), after.rows, facts


def _trainer(steps: int, name: str, stages: Stages) -> tuple[lightning.Trainer, _History]:
    """A trainer of a stage that begins now, and what records its losses."""
    stages.start(name, steps)
    history = _History(stages.advance)
    return plain_trainer(steps, callbacks=[history]), history


def _last(rows: Sequence[Mapping[str, float]], most: int = 10) -> float:
    """The mean loss of the last steps."""
    last = [row["loss"] for row in rows[-most:]]
    return round(sum(last) / len(last), 4)


def held_out_batches(shards: Path, model: AffectGPT) -> list[Batch]:
    """The clips of a shard folder with the question about labels, on the model's device."""
    data = MERCaptionDataModule(
        test=str(shards),
        media=model.media.to_json(),
        style=model.style.name,
        val_batch_size=40,
        num_workers=0,
        task="labels",
    )
    data.setup("test")
    return [batch.to(model.device) for batch in data.test_dataloader()]


def _score(preds: Labels, gold: Labels, wheel: EmotionWheel) -> dict[str, Any]:
    """Wheel score, and hit rate of the first true label, as plain numbers."""
    score, hits = EmotionWheelScore(wheel, zero_division=0.0), EmotionHitRate(wheel)
    score.update(preds, gold)
    hits.update(preds, [labels[0] for labels in gold])
    values = {name: round(float(score.compute()[name]), 4) for name in ("f1", "precision", "recall")}
    return {**values, "hit_rate": round(float(hits.compute()["hit_rate"]), 4), "samples": len(gold)}


def _intervals(answers: Mapping[str, Labels], gold: Labels, wheel: EmotionWheel) -> dict[str, Any]:
    """95 % intervals of each wheel F1, and of the loss of each condition against all inputs on the same resamples."""
    rows = {name: wheel_f1_summands(preds, gold, wheel, zero_division=0.0) for name, preds in answers.items()}
    intervals = {name: _ends(bootstrap_interval(one)) for name, one in rows.items()}
    lost = {
        name: _ends(bootstrap_difference(rows["full"], one).difference) for name, one in rows.items() if name != "full"
    }
    return {"f1_intervals": intervals, "f1_lost": lost}


def _ends(found: Interval) -> list[float]:
    return [round(found.low, 4), round(found.high, 4)]


def _chance(gold: Labels, wheel: EmotionWheel, seed: int, repeats: int = 20) -> dict[str, Any]:
    """The mean score of random answers: the true label sets in random order."""
    rng = random.Random(seed)
    scores = [_score(rng.sample(list(gold), len(gold)), gold, wheel) for _ in range(repeats)]
    return {name: round(sum(s[name] for s in scores) / repeats, 4) for name in ("f1", "hit_rate")}


def _examples(
    batches: Sequence[Batch], answers: Mapping[str, Sequence[Prediction]], most: int = 8
) -> list[dict[str, Any]]:
    """A few clips with different true labels, with their answers."""
    examples: list[dict[str, Any]] = []
    seen: set[tuple[str, ...]] = set()
    position = 0
    for batch in batches:
        for i, labels in enumerate(batch.labels):
            if labels not in seen and len(examples) < most:
                seen.add(labels)
                found = {name: list(given[position].labels) for name, given in answers.items()}
                examples.append(
                    {
                        "key": batch.keys[i],
                        "frames": batch.media["frame"][i].cpu().numpy(),
                        "subtitle": batch.subtitles[i],
                        "labels": list(labels),
                        "answers": found,
                    }
                )
            position += 1
    return examples


def _clear(out: Path) -> None:
    """Remove the files of an earlier demo; other files are refused."""
    ours = {
        "corpus",
        "shards",
        "model.ckpt",
        "predictions.jsonl",
        "report.json",
        "report.html",
        "loss.png",
        "modalities.png",
    }
    if out.exists() and any(path.name not in ours and not path.name.startswith(".") for path in out.iterdir()):
        raise ConfigError(f"{out} holds files that no demo wrote; give an empty folder with --out")
    for name in ours:
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)


def _peak_rss_mb() -> int:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(own / (2**20 if platform.system() == "Darwin" else 2**10))


def _versions() -> dict[str, str]:
    names = ("affectgpt", "torch", "lightning", "transformers", "peft", "torchmetrics", "av")
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return {**{name: metadata.version(name) for name in names}, "python": platform.python_version(), "device": device}
