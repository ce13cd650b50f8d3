"""Score a model by its seven views before and after training with missing views, on the synthetic corpus, in one run.

    python benchmarks/missing_views.py [--out runs/missing_views] [--config experiments/missing_views_synthetic.yaml]

A model is trained on whole clips, with the published pre-fusion. Then `affectgpt fit` goes on from it with the
configuration, which leaves modalities out. Both answer the same held-out clips by seven views: sound (A), picture (V),
words (T) and all that is made of them. Differences are after minus before on the same clips and bootstrap resamples.
What an interrupted run finished is found again in the folder; --result also writes the table to a file.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml

from affectgpt import AffectGPT
from affectgpt.cli.main import main as affectgpt
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.demo.corpus import make_corpus
from affectgpt.demo.pretrain import pretrain_encoders
from affectgpt.features import EncoderSet, encode
from affectgpt.files import write_whole
from affectgpt.manifests.manifest import read_manifest
from affectgpt.metrics import EmotionWheel
from affectgpt.metrics.functional import bootstrap_difference, bootstrap_interval, wheel_f1_summands
from affectgpt.model.answer import answer_batch
from affectgpt.pages.plotting import INK, PALE, SOFT, STRONG, new_figure, to_png
from affectgpt.shards.packing import pack
from affectgpt.training.plain_trainer import plain_trainer

VIEWS: Mapping[str, tuple[str, ...]] = {
    "A": ("frame", "subtitle"),
    "V": ("audio", "subtitle"),
    "T": ("frame", "audio"),
    "AV": ("subtitle",),
    "AT": ("frame",),
    "VT": ("audio",),
    "AVT": (),
}
"""View to the slots that it hides."""

BEFORE: Mapping[str, Any] = {"prefusion": {"name": "attention", "args": {}}, "modality_dropout": None}
"""What the model before is trained with in place of the configuration's settings."""

NUM_TRAIN, NUM_TEST, ENCODER_STEPS, BEFORE_STEPS, BATCH_SIZE = 320, 240, 240, 1000, 16


def module_of(model: AffectGPT, **options: Any) -> MERCaptionDataModule:
    """The datamodule for a model."""
    return MERCaptionDataModule(
        media=model.media.to_json(), style=model.style.name, task="labels", num_workers=0, **options
    )


def train_encoders(out: Path, config: Mapping[str, Any]) -> None:
    """Corpus, shards, encoders that can tell the emotions apart, and their features."""
    seed = int(config["seed_everything"])
    if not (out / "corpus").is_dir():
        make_corpus(out / "corpus", NUM_TRAIN, NUM_TEST, seed)
    for split in ("train", "test"):
        if not (out / "shards" / split).is_dir():
            pack(out / "corpus" / f"{split}.jsonl", out / "shards" / split)
    lightning.seed_everything(seed, verbose=False)
    model = AffectGPT.from_config(before_settings(config))
    label_sets = [record.labels for record in read_manifest(out / "corpus" / "train.jsonl")]
    data = module_of(model, train=str(out / "shards" / "train"), batch_size=8, cache_decoded=True)
    pretrain_encoders(model, label_sets, plain_trainer(ENCODER_STEPS, root=out), data)
    model.save_checkpoint(out / "encoders.ckpt")
    for split in ("train", "test"):  # the last of them says that all is done
        shutil.rmtree(out / "features" / split, ignore_errors=True)
        encode(EncoderSet.from_checkpoint(out / "encoders.ckpt"), out / "shards" / split, out / "features" / split)


def train_before(out: Path, config: Mapping[str, Any]) -> None:
    """The model that is trained on whole clips."""
    lightning.seed_everything(int(config["seed_everything"]), verbose=False)
    model = AffectGPT.from_config(before_settings(config))
    model.start_from(out / "encoders.ckpt")
    data = module_of(model, train=str(out / "features" / "train"), batch_size=BATCH_SIZE)
    plain_trainer(BEFORE_STEPS, root=out).fit(model, data)
    model.save_checkpoint(out / "before.ckpt")


def before_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration's model, without anything for missing views and with the published pre-fusion."""
    settings = {**copy.deepcopy(config["model"]), **copy.deepcopy(dict(BEFORE))}
    settings["optim"] |= {"train_only": None, "total_steps": BEFORE_STEPS}
    return settings


def answer_views(out: Path, checkpoint: Path) -> tuple[dict[str, list[list[str]]], list[list[str]]]:
    """The labels that a model answers by each view, and the true ones."""
    model = AffectGPT.from_checkpoint(checkpoint)
    data = module_of(model, test=str(out / "features" / "test"), val_batch_size=40)
    data.setup("test")
    batches = list(data.test_dataloader())
    found = {
        view: [list(one.labels) for batch in batches for one in answer_batch(model, batch, hide=hide)]
        for view, hide in VIEWS.items()
    }
    return found, [list(labels) for batch in batches for labels in batch.labels]


def compare(before: Mapping[str, Any], after: Mapping[str, Any], gold: Sequence[Sequence[str]]) -> dict[str, Any]:
    """For each view the wheel F1 before and after, and the difference, each with its 95 % interval."""
    wheel = EmotionWheel.builtin()
    rows = {}
    for view in VIEWS:
        one, other = (wheel_f1_summands(answers[view], gold, wheel, zero_division=0.0) for answers in (before, after))
        difference = bootstrap_difference(other, one).difference
        found = {"before": bootstrap_interval(one), "after": bootstrap_interval(other), "difference": difference}
        rows[view] = {name: [value.value, value.low, value.high] for name, value in found.items()}
    return rows


def draw(rows: Mapping[str, Mapping[str, Sequence[float]]]) -> bytes:
    """Two bars for each view, with their intervals."""
    figure, axes = new_figure(5.2, 4.6, grid="x")
    for at, values in enumerate(rows.values()):
        for name, color, up in (("before", PALE, -0.19), ("after", STRONG, 0.19)):
            score, low, high = (100 * value for value in values[name])
            axes.barh(at + up, score, 0.34, color=color, label=name if at == 0 else None)
            axes.plot([low, high], [at + up, at + up], color=INK, linewidth=1.2, marker="|", markersize=5)
    axes.set_yticks(range(len(rows)), list(rows), color=INK)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlim(0, 102)
    axes.set_xlabel("wheel F1, percent, with 95 % intervals", color=SOFT)
    axes.legend(frameon=False, labelcolor=SOFT, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    return to_png(figure)


def table(rows: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """The rows as Markdown."""
    lines = ["| view | before | after | after - before |", "|---|---|---|---|"]
    for view, values in rows.items():
        cells = [f"{100 * v:.1f} [{100 * a:.1f}, {100 * b:.1f}]" for v, a, b in (values["before"], values["after"])]
        v, a, b = values["difference"]
        lines.append(f"| {view} | {cells[0]} | {cells[1]} | {100 * v:+.1f} [{100 * a:+.1f}, {100 * b:+.1f}] |")
    return "\n".join(lines)


def run(args: argparse.Namespace) -> None:
    """Everything, in order."""
    start = time.perf_counter()
    out, config = Path(args.out), yaml.safe_load(Path(args.config).read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    seconds = {}
    if not (out / "features" / "test" / "index.json").is_file():
        train_encoders(out, config)
        seconds["corpus and encoders"] = time.perf_counter() - start
    then = time.perf_counter()
    if not (out / "before.ckpt").is_file():
        train_before(out, config)
        seconds["before"] = time.perf_counter() - then
    if not (out / "before.json").is_file():
        found, gold = answer_views(out, out / "before.ckpt")
        write_whole(out / "before.json", json.dumps({"labels": found, "gold": gold}))
    then = time.perf_counter()
    here = out / "missing_views.yaml"  # the configuration, with the folders of this run
    write_whole(here, Path(args.config).read_text(encoding="utf-8").replace("runs/missing_views", str(out)))
    if affectgpt(["fit", "--config", str(here), "--start", str(out / "before.ckpt"), "--overwrite"]) != 0:
        raise SystemExit("the training with missing views failed; see above")
    seconds["after"] = time.perf_counter() - then
    before = json.loads((out / "before.json").read_text())
    (checkpoint,) = (out / "after").glob("**/last.ckpt")
    after, gold = answer_views(out, checkpoint)
    rows = compare(before["labels"], after, gold)
    write_whole(out / "views.json", json.dumps({"views": rows, "after": after, "gold": gold}, indent=2) + "\n")
    write_whole(out / "views.png", draw(rows))
    facts = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "lightning", "transformers", "peft"))
    took = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    text = (
        f"# Training with missing views\n\n{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, "
        f"{torch.get_num_threads()} thread(s), Python {platform.python_version()}, {facts}; "
        f"`python benchmarks/missing_views.py --config {args.config}`.\n\n"
        f"Wheel F1 in percent (built-in wheel) on {len(gold)} held-out synthetic clips, with 95 % intervals; "
        "differences on the same clips and resamples. "
        f"Training: {took}; the whole run {time.perf_counter() - start:.0f} s.\n\n"
        f"{table(rows)}\n"
    )
    print(text)
    if args.result:
        write_whole(Path(args.result), text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/missing_views", help="folder of the run")
    parser.add_argument(
        "--config", default="experiments/missing_views_synthetic.yaml", help="the training that follows"
    )
    parser.add_argument("--result", help="Markdown file for the table")
    run(parser.parse_args())
