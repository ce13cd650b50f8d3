"""Measure training with and without stored features: samples a second, start, memory, and bytes a clip.

    python benchmarks/features.py [--llms tiny smollm2-135m-instruct] [--clips 4] [--steps 4] [--batch-size 2]

Encoders have the shapes of CLIP ViT-B/32 and HuBERT-base, with random weights, which cost what trained ones do. Clips
are drawn by the package. Each way trains alone, in turns, in one process; the first step is not counted. Processor time
is given too: on a machine that others use, it is what can be compared.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch

from affectgpt import AffectGPT
from affectgpt.cli.terminal import quiet
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.demo.corpus.write_corpus import make_corpus
from affectgpt.features import EncoderSet, encode
from affectgpt.shards import pack, read_index

LLM_ARGS: dict[str, dict[str, Any]] = {"tiny": {}, "smollm2-135m-instruct": {"lora": {"rank": 16, "alpha": 32}}}


class Clock(lightning.Callback):
    """When each step ended, by the clock on the wall and by processor time."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_train_batch_end(self, *_args: Any) -> None:
        """Note the time."""
        self.ends.append((time.perf_counter(), time.process_time()))


def save_encoders(folder: Path) -> dict[str, Any]:
    """Random weights in the shapes of CLIP ViT-B/32 and HuBERT-base, and streams that read them."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, HubertConfig, HubertModel

    torch.manual_seed(0)
    CLIPVisionModelWithProjection(CLIPVisionConfig()).save_pretrained(folder / "clip")
    HubertModel(HubertConfig()).save_pretrained(folder / "hubert")
    return {
        "frame": {"encoder": {"name": "clip", "args": {"path": str(folder / "clip")}}},
        "audio": {"encoder": {"name": "hubert", "args": {"path": str(folder / "hubert")}}},
    }


def train(config: dict[str, Any], folder: Path, features: Path | None, steps: int, batch_size: int) -> dict[str, float]:
    """Train a few steps; what it took."""
    lightning.seed_everything(0, verbose=False)
    begin = time.process_time()
    model = AffectGPT.from_config({**config, "features": None if features is None else str(features)})
    built = time.process_time()
    data = MERCaptionDataModule(
        str(folder), media=model.media.to_json(), style=model.style.name, task="labels", batch_size=batch_size,
        num_workers=0, bad_sample_budget=0.0,
    )  # fmt: skip
    clock = Clock()
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, max_steps=steps, max_epochs=-1, callbacks=[clock],
    )  # fmt: skip
    trainer.fit(model, data)
    wall, cpu = (last - first for first, last in zip(clock.ends[0], clock.ends[-1], strict=True))
    counted = (len(clock.ends) - 1) * batch_size
    held = sum(p.numel() * p.element_size() for p in model.encoders.parameters())
    return {
        "samples/s": counted / wall,
        "samples/CPU s": counted / cpu,
        "start CPU s": built - begin,
        "encoders MB": held / 1e6,
        "loss": float(trainer.callback_metrics["train/loss"]),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    for cells in (header, ["---"] * len(header), *rows):
        print("|", " | ".join(map(str, cells)), "|")
    print(flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llms", nargs="+", choices=list(LLM_ARGS), default=list(LLM_ARGS))
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    quiet()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["AFFECTGPT_CACHE"] = os.environ.get("AFFECTGPT_CACHE", str(folder / "cache"))
        corpus = make_corpus(folder / "corpus", num_train=args.clips, num_test=0, workers=1)
        shards = folder / "shards"
        pack(corpus / "train.jsonl", shards, samples_per_shard=8)
        config = {"streams": save_encoders(folder), "llm": "tiny", "style": "brief", "optim": {"warmup_steps": 0}}
        print(
            f"{platform.machine()}, {torch.get_num_threads()} thread(s), Python {platform.python_version()}, torch "
            f"{torch.__version__}, load average {os.getloadavg()[0]:.1f}; {args.clips} clips of "
            f"{read_index(shards).duration_seconds / args.clips:.1f} s, {args.steps - 1} steps of {args.batch_size} "
            f"counted, {args.rounds} rounds, medians\n"
        )
        encoders = EncoderSet.from_config(config)
        report = encode(encoders, shards, folder / "features").to_json()
        stored = [
            ["clips", f"{read_index(shards).bytes / args.clips / 1000:.1f}", ""],
            ["features, float16", f"{report['bytes_per_clip'] / 1000:.1f}", f"{report['clips_per_second']:.2f}"],
        ]
        table(("stored as", "kB a clip", "encoded, clips/s"), stored)
        rows = []
        for llm in args.llms:
            given = {**config, "llm": {"name": llm, "args": LLM_ARGS[llm]}}
            ways = {"from clips": (shards, None), "from features": (folder / "features", folder / "features")}
            runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
            for _ in range(args.rounds):
                for way, (source, features) in ways.items():
                    runs[way].append(train(given, source, features, args.steps, args.batch_size))
            medians = {
                w: {k: statistics.median(run[k] for run in found) for k in found[0]} for w, found in runs.items()
            }
            base = medians["from clips"]["samples/CPU s"]
            for way, found in medians.items():
                figures = [f"{found[name]:.3f}" for name in ("samples/s", "samples/CPU s")]
                ratio = f"{found['samples/CPU s'] / base:.1f}x"
                held = [f"{found['start CPU s']:.1f}", f"{found['encoders MB']:.0f}", f"{found['loss']:.4f}"]
                rows.append([llm, way, *figures, ratio, *held])
        header = ("LLM", "trained", "samples/s", "samples/CPU s", "", "start, CPU s", "encoders, MB", "last loss")
        table(header, rows)


if __name__ == "__main__":
    main()
