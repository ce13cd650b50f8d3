"""The verb ``encode``: runs a model's frozen encoders once over shards, and stores their features."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from affectgpt.cli.progress import Progress
from affectgpt.cli.terminal import quiet, say, say_json
from affectgpt.cli.untrained import UNTRAINED_HELP, refuse_untrained
from affectgpt.cli.verb_parser import VerbParser

if TYPE_CHECKING:
    from affectgpt.features import EncodeReport, EncoderSet


def run(verb: str, argv: Sequence[str]) -> int:
    """Encode a shard folder.

    Raises:
        CheckpointError: If the checkpoint or an encoder's weights cannot be read.
        ConfigError: If the configuration or an argument does not fit.
        DataError: If the shards are broken, or too many clips are bad.
    """
    args = parser().parse_args(argv)
    from affectgpt.features import encode

    quiet()
    first = not int(os.environ.get("RANK", 0))
    with Progress("encoding", "clips") if first else nullcontext() as progress:
        encoders = _encoders(args).to(_device(args.device))
        _refuse_random_weights(args, encoders)
        if progress is not None:
            for line in _plan(args, encoders):
                progress.say(line)
        report = encode(
            encoders,
            args.source,
            args.out,
            dtype=args.dtype,
            batch_size=args.batch_size,
            num_workers=args.num_workers,
            bad_sample_budget=args.bad_sample_budget,
            overwrite=args.overwrite,
            restart=args.restart,
            progress=None if progress is None else progress.update,
        )
    if first:
        _show(report, args.json)
    return 0


def _plan(args: argparse.Namespace, encoders: EncoderSet) -> Iterator[str]:
    """The lines that announce the run."""
    from affectgpt.features.feeding import feature_key

    processes = os.environ.get("WORLD_SIZE", "1")
    yield (
        f"encoding {args.source} into {args.out}: {', '.join(encoders.specs)} as {args.dtype}, "
        f"{processes} process(es), this one on {encoders.device}"
    )
    for name in encoders.specs:
        key = feature_key(encoders, name)
        assert key is not None
        seed = ""
        if not key.encoder.from_file and not _is_checkpoint(args.model):
            seed = f"; its weights are random, those of a model with seed_everything {_seed(args)}"
        yield f"  {name}: {key.encoder.kind}, {key.encoder.width} wide, key {key.digest}{seed}"


def _encoders(args: argparse.Namespace) -> EncoderSet:
    import lightning

    from affectgpt.features import EncoderSet

    names = args.streams.split(",") if args.streams else None
    if _is_checkpoint(args.model):
        return EncoderSet.from_checkpoint(args.model, names, allow_import=args.allow_import)
    lightning.seed_everything(_seed(args), verbose=False)
    return EncoderSet.from_config(args.model, names)


def _seed(args: argparse.Namespace) -> int:
    """The seed with which ``fit`` would build the same model: that of the configuration, or 42."""
    if args.seed is not None:
        return int(args.seed)
    import yaml

    config = yaml.safe_load(Path(args.model).read_text(encoding="utf-8"))
    seed = config.get("seed_everything", 42) if isinstance(config, dict) else 42
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else 42


def _refuse_random_weights(args: argparse.Namespace, encoders: EncoderSet) -> None:
    from affectgpt.features.feeding import feature_key

    if _is_checkpoint(args.model):
        return
    for name in encoders.specs:
        key = feature_key(encoders, name)
        if key is not None and not key.encoder.from_file:
            refuse_untrained(
                "encode",
                f"the encoder of stream {name!r} in {args.model} names no weights, and features of random weights are "
                "useless",
                "Name a checkpoint instead of the configuration, or weights for the encoder (affectgpt parts); "
                "or confirm with --untrained",
                allowed=args.untrained,
            )


def _is_checkpoint(path: str) -> bool:
    return path.endswith(".ckpt") or Path(path).is_dir()


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"


def _show(report: EncodeReport, as_json: bool) -> None:
    facts = report.to_json()
    left_out = f"; left out {facts['rejects']}, see {facts['folder']}/rejects.jsonl" if facts["rejects"] else ""
    kept = facts["samples"] - facts["encoded"]
    before = f", {kept} kept from an earlier run" if kept > 0 else ""
    speed = f" ({facts['clips_per_second']} clips/s)" if facts["encoded"] else ""
    say(
        f"encoded {facts['samples']} clips{before} into {facts['shards']} shard(s) at {facts['folder']}, "
        f"{facts['bytes_per_clip'] / 1000:.1f} kB a clip, in {facts['seconds']:.1f} s{speed}{left_out}"
    )
    if as_json:
        say_json(json.dumps(facts, indent=2))


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt encode",
        description="Run the frozen encoders of a model once over shards, and store their features as shards, about "
        "30 kB a clip. fit, validate, test and predict --config accept the new folder like the old one, and then "
        "neither run nor load the encoders. A killed run resumes where it stopped.",
        epilog="example: affectgpt encode experiments/FILE.yaml shards/train features/train --num-workers 4\n"
        "         torchrun --nproc-per-node 8 -m affectgpt.cli.main encode FILE.yaml shards/train features/train",
    )
    parser.add_argument("model", help="configuration (YAML), checkpoint (.ckpt), or folder of save_pretrained")
    parser.add_argument("source", help="shard folder of clips")
    parser.add_argument("out", help="folder to make")
    parser.add_argument("--streams", help="encode these streams only, separated by commas; the others keep their media")
    parser.add_argument("--dtype", default="float16", help="stored type: float16 (default), bfloat16 or float32")
    parser.add_argument("--batch-size", type=int, default=16, help="clips at a time (16)")
    parser.add_argument("--num-workers", type=int, default=2, help="processes for decoding, per device (2)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--bad-sample-budget", type=float, default=0.001, help="fraction of bad clips that may be left out (0.001)"
    )
    parser.add_argument(
        "--seed", type=int, help="seed of encoders with random weights; by default seed_everything of the configuration"
    )
    parser.add_argument("--untrained", action="store_true", help=UNTRAINED_HELP)
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it exists")
    parser.add_argument("--restart", action="store_true", help="discard an unfinished run")
    parser.add_argument(
        "--allow-import", action="store_true", help="import registered modules that the checkpoint names as code"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser
