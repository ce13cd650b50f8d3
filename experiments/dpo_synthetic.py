"""Trains by DPO on pairs of descriptions of synthetic clips, and scores what it finds likelier in held-out pairs.

    python experiments/dpo_synthetic.py [--demo runs/demo] [--out runs/dpo_synthetic]

Starts from the model of ``affectgpt demo``, which it makes first if it is not there. A pair is a clip's true
description and that of another emotion with the same words; they lie in a folder in the shape of MER2026, Track 3. The
configuration is ``dpo_preferences.yaml`` with the model of the demo. Commands are shown as they are run.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import time
from pathlib import Path
from typing import Any

import yaml
from stage_runs import SUPERVISED, fit_stages, logged, run  # a neighbour of this script

from affectgpt import AffectGPT
from affectgpt.cli.terminal import say
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.demo.corpus import make_corpus
from affectgpt.demo.corpus.states import STATES
from affectgpt.files import write_lines, write_whole
from affectgpt.manifests.manifest import read_manifest
from affectgpt.metrics.functional import Interval, bootstrap_difference
from affectgpt.metrics.functional.preference import MIRRORED, preference_summands
from affectgpt.post_training.dpo import finds_better_likelier

CONFIG = Path(__file__).with_name("dpo_preferences.yaml")
SUBSETS = {"train": "track3_emopreferv2", "test": "track3_emoprefer"}


def main() -> None:
    """Run everything and print what came."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", default="runs/demo", help="what affectgpt demo made (runs/demo)")
    parser.add_argument("--out", default="runs/dpo_synthetic", help="folder for all output (runs/dpo_synthetic)")
    parser.add_argument("--pairs", type=int, default=240, help="pairs to learn from (240)")
    parser.add_argument("--test-pairs", type=int, default=160, help="held-out pairs (160)")
    parser.add_argument("--supervised-steps", type=int, default=12, help="steps on the better descriptions (12)")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    out, demo, began = Path(args.out), Path(args.demo), time.perf_counter()
    if out.exists():
        parser.error(f"{out} exists; remove it, or give another folder with --out")
    start = demo / "model.ckpt"
    if not start.is_file():
        run(["demo", "--out", str(demo)])
    release = make_release(out / "mer2026-dataset", args.pairs, args.test_pairs, args.seed)
    for split, subset in SUBSETS.items():
        run(["pack", str(release), str(out / "shards" / split), "--layout", "mer2026", "--subset", subset])
        run(["encode", str(start), str(out / "shards" / split), str(out / "features" / split), "--num-workers", "0"])
    took = {"pairs and features": time.perf_counter() - began}
    stages = {
        "supervised": [
            *(
                *SUPERVISED,
                "--trainer.max_steps",
                str(args.supervised_steps),
                "--model.optim.lr",
                "0.0005",
                "--start",
                str(start),
            ),
        ],
        "dpo": ["--start", str(out / "supervised" / "model.ckpt")],
    }
    took |= fit_stages(stages, read_config(), out, args.seed)
    gold = release / f"{SUBSETS['test']}.csv"
    for name in stages:
        begin = time.perf_counter()
        judge(out, name, gold)
        took[f"judging, {name}"] = time.perf_counter() - begin
        answers, result = str(out / name / "answers.jsonl"), str(out / name / "scores.json")
        run(["score", "preference", answers, str(gold), "--mode", "strict", "--out", result])
    report(out, gold, took)


def make_release(folder: Path, num_train: int, num_test: int, seed: int) -> Path:
    """A folder in the shape of MER2026 with pairs of descriptions, of which people would prefer the true one."""
    corpus = make_corpus(folder.with_name("corpus"), num_train, num_test, seed + 1)
    draw, spoken = random.Random(seed), []
    (folder / "video").mkdir(parents=True)
    for split, subset in SUBSETS.items():
        rows = []
        for clip in read_manifest(corpus / f"{split}.jsonl"):
            assert clip.video is not None
            assert clip.subtitle is not None
            (folder / "video" / clip.video.name).symlink_to(clip.video.resolve())
            spoken.append([clip.key, "", clip.subtitle])
            other = draw.choice([state for state in STATES if state.name != clip.extra["state"]])
            two = [clip.description, other.describe(clip.subtitle)]
            better = draw.choice(["a1", "a2"])
            rows.append([clip.key, *(two if better == "a1" else reversed(two)), better])
        write_table(folder / f"{subset}.csv", ["name", "a1", "a2", "preference"], rows)
    write_table(folder / "subtitle_chieng.csv", ["name", "chinese", "english"], spoken)
    return folder


def write_table(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """Write a table of text."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def read_config() -> dict[str, Any]:
    """The configuration of both stages; the model is that of the checkpoint that a stage starts from."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    config["model"] = {"slot_dropout": 0.0, "optim": config["model"]["optim"]}
    config["data"]["args"]["val"] = None
    return config


def judge(out: Path, stage: str, gold: Path) -> None:
    """Write which of both descriptions of each held-out pair the model of a stage finds likelier."""
    model = AffectGPT.from_checkpoint(out / stage / "model.ckpt")
    data = MERCaptionDataModule(
        test=str(out / "features" / "test"), media=model.media.to_json(), style=model.style.name, task="preferred",
        val_batch_size=8, num_workers=0,
    )  # fmt: skip
    data.setup("test")
    right = {
        key: is_right
        for batch in data.test_dataloader()
        for key, is_right in zip(batch.keys, finds_better_likelier(model, batch), strict=True)
    }
    people = preferences_of(gold)
    answers = {key: people[key] if is_right else MIRRORED[people[key]] for key, is_right in right.items()}
    write_lines(
        out / stage / "answers.jsonl", [json.dumps({"name": key, "preference": answers[key]}) for key in people]
    )


def preferences_of(gold: Path) -> dict[str, str]:
    """Name of each clip to the preference of its pair."""
    with gold.open(encoding="utf-8", newline="") as file:
        return {row["name"]: row["preference"] for row in csv.DictReader(file)}


def report(out: Path, gold: Path, took: dict[str, float]) -> None:
    """Compare both models on the same pairs, write ``report.json``, and say what came."""
    people = preferences_of(gold)
    summands = {}
    for stage in ("supervised", "dpo"):
        lines = (out / stage / "answers.jsonl").read_text("utf-8").splitlines()
        given = [json.loads(line)["preference"] for line in lines]
        summands[stage] = preference_summands(given, list(people.values()), mode="strict")
    gain = bootstrap_difference(summands["dpo"], summands["supervised"]).difference
    scores = {stage: json.loads((out / stage / "scores.json").read_text("utf-8")) for stage in summands}
    history = [row for row in logged(out, "dpo") if row.get("dpo/margin")]
    curves = {
        name: [float(row[name]) for row in history]
        for name in ("train/loss", "dpo/accuracy", "dpo/better", "dpo/worse")
    }
    found = {"before": scores["supervised"], "after": scores["dpo"], "gain": [gain.value, gain.low, gain.high]}
    seconds = {name: round(value, 1) for name, value in took.items()}
    write_whole(out / "report.json", json.dumps({**found, "curves": curves, "seconds": seconds}, indent=2) + "\n")
    say(f"{len(people)} held-out pairs, gain of weighted F1 {interval(gain)} points (paired, 95 %)")
    for name, values in curves.items():
        say(f"  {name:13} first 5 steps {sum(values[:5]) / 5:7.3f}, last 5 {sum(values[-5:]) / 5:7.3f}")
    say(f"seconds: {seconds}; together {sum(took.values()) / 60:.1f} min; wrote {out / 'report.json'}")


def interval(found: Interval) -> str:
    """An interval in points."""
    return f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


if __name__ == "__main__":
    main()
