"""The verb ``export``: writes the language model of a checkpoint, adapters merged, for other programs."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from affectgpt.cli.terminal import quiet, say, say_json, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError


def run(verb: str, argv: Sequence[str]) -> int:
    """Export one checkpoint.

    Raises:
        CheckpointError: If the checkpoint cannot be read, or the merged model computes something else.
        ConfigError: If it cannot be merged, or the folder exists.
    """
    args = parser().parse_args(argv)
    if not args.merged:
        raise ConfigError(
            "say --merged: the language model with its adapters merged is what can be exported; affectgpt convert "
            "writes whole checkpoints"
        )
    folder = Path(args.folder)
    if folder.exists() and not args.overwrite:
        raise ConfigError(f"{folder} exists already; give another name, or --overwrite")
    from affectgpt.checkpoints.merged_llm import export_merged
    from affectgpt.model import AffectGPT

    quiet()
    say(f"reading {args.checkpoint}", err=True)
    model = AffectGPT.load(args.checkpoint, allow_import=args.allow_import)
    say(f"merging and writing {folder}", err=True)
    facts = export_merged(model, folder, dtype=args.dtype, in_place=True)
    files = {str(file): file.stat().st_size for file in sorted(folder.iterdir())}
    if args.json:
        say_json(json.dumps({**asdict(facts), "written": files}, indent=2))
        return 0
    say(f"  merged   {facts.adapters} adapters into weights in {facts.dtype}")
    say(f"  logits   differ by {facts.logit_difference:.1e} of the largest")
    for file, size in files.items():
        say(f"  wrote    {shown(file)} ({size / 1e6:,.1f} MB)")
    name = shlex.quote(str(folder))
    say(f"next: vllm serve {name} --enable-prompt-embeds, then affectgpt serve --vllm (docs/serve.md)", err=True)
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt export",
        description="Write the language model of a checkpoint as a plain folder of transformers: LoRA adapters merged, "
        "safetensors and tokenizer. The encoders and the fusion stay in the checkpoint.",
        epilog="example: affectgpt export runs/x/last.ckpt merged-llm --merged --dtype bfloat16",
    )
    parser.add_argument("checkpoint", help="a .ckpt file, a saved folder, or a hub id")
    parser.add_argument("folder", help="the folder to make")
    parser.add_argument(
        "--merged", action="store_true", help="merge the adapters into the weights; the one form there is"
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "float16"],
        help="type of the written weights; by default as they are",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--allow-import", action="store_true", help="import registered modules that the checkpoint names as code"
    )
    return parser
