"""Trains on given answers for a few steps, then by GRPO, on the demo's corpus, and compares held-out answers.

    python experiments/grpo_synthetic.py [--out runs/grpo_synthetic]

See ``grpo_synthetic.yaml``, which is the configuration of both trainings. The commands of the command line are shown as
they are run.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import lightning
import yaml
from stage_runs import SUPERVISED, fit_stages, logged  # a neighbour of this script

from affectgpt import AffectGPT
from affectgpt.cli.terminal import say
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.demo.corpus import make_corpus
from affectgpt.demo.main_job import held_out_batches
from affectgpt.demo.pretrain import pretrain_encoders
from affectgpt.features import EncoderSet, encode
from affectgpt.files import write_whole
from affectgpt.manifests.manifest import read_manifest
from affectgpt.metrics import EmotionWheel
from affectgpt.metrics.functional import Faithfulness, faithfulness
from affectgpt.model.answer import answer_batch
from affectgpt.post_training.clip_views import answer_views
from affectgpt.post_training.gain import gain_of
from affectgpt.post_training.gain_page import curves_of, write_gain_page
from affectgpt.shards.packing import pack
from affectgpt.training.plain_trainer import plain_trainer

CONFIG = Path(__file__).with_suffix(".yaml")


def main() -> None:
    """Run everything and print what came."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/grpo_synthetic", help="folder for all output (runs/grpo_synthetic)")
    parser.add_argument("--train-clips", type=int, default=320)
    parser.add_argument("--test-clips", type=int, default=160)
    parser.add_argument("--encoder-steps", type=int, default=320, help="training steps of the encoders (320)")
    parser.add_argument("--supervised-steps", type=int, default=22, help="steps on given answers (22)")
    parser.add_argument("--steps", type=int, default=60, help="steps of GRPO (60)")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    out, began = Path(args.out), time.perf_counter()
    if out.exists():
        parser.error(f"{out} exists; remove it, or give another folder with --out")
    lightning.seed_everything(args.seed, verbose=False)
    prepare(out, args)
    took = {"corpus, encoders and features": time.perf_counter() - began}
    stages = {
        "supervised": [
            *(*SUPERVISED, "--model.optim.lr", "0.001"),
            *("--model.optim.lr_of", "{poolings: 0.002, prefusion: 0.002, projectors: 0.002}"),
            *("--trainer.max_steps", str(args.supervised_steps), "--start", str(out / "encoders")),
        ],
        "grpo": ["--trainer.max_steps", str(args.steps), "--start", str(out / "supervised" / "model.ckpt")],
    }
    took |= fit_stages(stages, yaml.safe_load(CONFIG.read_text()), out, args.seed)
    start = time.perf_counter()
    models = {name: AffectGPT.from_checkpoint(out / name / "model.ckpt") for name in stages}
    answers = {name: answer(out, model) for name, model in models.items()}
    took["answers"] = time.perf_counter() - start
    start = time.perf_counter()
    faithful = {name: count_faithful(out, model) for name, model in models.items()}
    took["faithfulness"] = time.perf_counter() - start
    report(out, answers, faithful, took)


def report(
    out: Path, answers: dict[str, list[tuple[str, ...]]], faithful: dict[str, Faithfulness], took: dict[str, float]
) -> None:
    """Compare the answers, write ``report.json`` and ``report.html``, and say what came."""
    clips = list(read_manifest(out / "corpus" / "test.jsonl"))
    target = [record.labels for record in clips]
    before, after = answers.values()
    gain = gain_of(before, after, target)
    found = {"gain": gain.to_json(), "faithfulness": {name: one.to_json() for name, one in faithful.items()}}
    seconds = {name: round(value, 1) for name, value in took.items()}
    write_whole(out / "report.json", json.dumps({**found, "seconds": seconds}, indent=2) + "\n")
    history = curves_of(logged(out, "grpo"))
    rows = zip([record.key for record in clips], target, before, after, strict=True)
    write_gain_page(
        gain,
        history,
        list(rows),
        out / "report.html",
        title="GRPO on the synthetic corpus",
        about="SmolLM2-135M with LoRA, supervised for a few steps, then rewarded for the wheel F1. The clips are drawn "
        "and synthesised: the figures tell what learning from rewards does there, and say nothing about real people.",
        faithful=dict(zip(("before", "after"), faithful.values(), strict=True)),
        minutes=sum(took.values()) / 60,
    )
    for name in ("f1", "precision", "recall", "f1_strict", "hit_skill", "labels"):
        say(f"{name:10} {gain.before[name]:.3f} -> {gain.after[name]:.3f}")
    say(f"gain of F1 {gain.f1.value:+.3f}, paired 95 % interval {gain.f1.low:+.3f} to {gain.f1.high:+.3f}")
    say(f"labels a clip {100 * gain.longer:+.1f} %; earned: {gain.is_earned}")
    for name, one in faithful.items():
        say(f"faithfulness, {name}: {one.to_json()}")
    say(f"seconds: {seconds}; together {sum(took.values()) / 60:.1f} min")
    say(f"wrote {out / 'report.html'} and report.json")


def prepare(out: Path, args: argparse.Namespace) -> None:
    """Draw the corpus, pack it, train the encoders as the demo does, freeze them, and store what they give."""
    corpus = make_corpus(out / "corpus", args.train_clips, args.test_clips, args.seed)
    for split in ("train", "test"):
        pack(corpus / f"{split}.jsonl", out / "shards" / split, provenance={"source": "affectgpt.demo.corpus"})
    model = AffectGPT.from_config(yaml.safe_load(CONFIG.read_text())["model"])
    data = MERCaptionDataModule(
        train=str(out / "shards" / "train"), media=model.media.to_json(), style=model.style.name, seed=args.seed,
        batch_size=8, task="labels", cache_decoded=True, num_workers=0,
    )  # fmt: skip
    label_sets = [record.labels for record in read_manifest(corpus / "train.jsonl")]
    pretrain_encoders(model, label_sets, plain_trainer(args.encoder_steps, accelerator="cpu"), data)
    model.save_pretrained(out / "encoders")
    for split in ("train", "test"):
        encode(EncoderSet.from_checkpoint(out / "encoders"), out / "shards" / split, out / "features" / split)


def answer(out: Path, model: AffectGPT) -> list[tuple[str, ...]]:
    """The labels that a model writes for the held-out clips, the most likely word each time."""
    return [
        found.labels
        for batch in held_out_batches(out / "features" / "test", model)
        for found in answer_batch(model, batch)
    ]


def count_faithful(out: Path, model: AffectGPT) -> Faithfulness:
    """Labels that stay though their only evidence is gone, over the first batch of held-out clips."""
    views = answer_views(model, held_out_batches(out / "features" / "test", model)[0])
    return faithfulness(views.whole, views.alone, views.without, EmotionWheel.builtin(), views.blind)


if __name__ == "__main__":
    main()
