"""The verb ``convert``: converts released checkpoints to ours, and back."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from affectgpt.checkpoints.average import average_checkpoints
from affectgpt.checkpoints.official.convert import save_official
from affectgpt.checkpoints.official.released_names import LAYOUTS
from affectgpt.checkpoints.training_file import is_file
from affectgpt.checkpoints.weights_file import SUFFIX, write_weights_file
from affectgpt.cli.terminal import quiet, say, say_json, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError

RELEASED = ".pth"
TRAINED = ".ckpt"


def run(verb: str, argv: Sequence[str]) -> int:
    """Convert one checkpoint.

    Raises:
        CheckpointError: If the source cannot be read or does not fit; every difference is listed.
        ConfigError: If an option is missing for this kind of source, or the kind of the destination is unknown.
    """
    args = parser().parse_args(argv)
    source, destination = args.source, Path(args.destination)
    if destination.suffix not in (RELEASED, TRAINED, SUFFIX, ""):
        raise ConfigError(
            f"{destination}: give a name that ends in {RELEASED} (the released format), in {TRAINED} or {SUFFIX} (one "
            "file for predict and fit), or a folder without an ending (to share)"
        )
    if args.average and destination.suffix != SUFFIX:
        raise ConfigError(f"--average writes one file: give a destination that ends in {SUFFIX}, not {destination}")
    if args.licence and destination.suffix:
        raise ConfigError(f"--licence is written on the card of a folder to share; {destination} would have none")
    if destination.exists() and not args.overwrite:
        raise ConfigError(f"{destination} exists already; give another name, or --overwrite")
    say(f"reading {source}", err=True)
    quiet()
    if destination.suffix == SUFFIX and is_file(args.source) and Path(args.source).suffix != RELEASED:
        # no model needs to be built
        checkpoint = average_checkpoints([args.source, *args.average], allow_import=args.allow_import)
        write_weights_file(checkpoint, destination)
        weights = sum(tensor.numel() for tensor in checkpoint["state_dict"].values())
        facts = {
            "source": args.source,
            "written": {str(destination): destination.stat().st_size},
            "streams": list(checkpoint["hyper_parameters"]["streams"]),
            "stored": weights,
        }
        _tell(facts, as_json=args.json)
        return 0
    model = _load(args)
    say(f"writing {destination}", err=True)
    if destination.suffix == RELEASED:
        save_official(model, destination)
    elif destination.suffix == TRAINED:
        model.save_checkpoint(destination)
    else:
        model.save_pretrained(destination, paths=_paths(args.path), licence=args.licence)
    _tell(_facts(model, source, destination), as_json=args.json)
    return 0


def _load(args: argparse.Namespace) -> Any:
    from affectgpt.model import AffectGPT

    source = Path(args.source)
    if source.suffix != RELEASED:
        return AffectGPT.load(args.source, allow_import=args.allow_import)
    missing = [f"--{name}" for name in ("clip", "hubert", "llm") if getattr(args, name) is None]
    if missing:
        raise ConfigError(
            f"{source} holds the trained weights only; give the folders of the networks that it was trained over: "
            f"{', '.join(missing)}"
        )
    return AffectGPT.from_official(
        source,
        clip=args.clip,
        hubert=args.hubert,
        llm=args.llm,
        layout=args.layout,
        bert=args.bert,
        llm_dtype=args.llm_dtype,
    )


def _paths(given: Sequence[str]) -> dict[str, str]:
    pairs = [item.partition("=") for item in given]
    for name, equals, path in pairs:
        if not (name and equals and path):
            raise ConfigError(f"--path {name}{equals}{path}: write NAME=ID, such as llm=Qwen/Qwen2.5-7B-Instruct")
    return {name: path for name, _, path in pairs}


def _facts(model: Any, source: str, destination: Path) -> dict[str, Any]:
    origin = model.hparams.get("official") or {}
    files = sorted(destination.iterdir()) if destination.is_dir() else [destination]
    return {
        "source": source,
        "written": {str(file): file.stat().st_size for file in files},
        "streams": list(model.specs),
        "layout": origin.get("layout"),
        "epoch": origin.get("epoch"),
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "carried": sum(p.numel() for p in model.carried.values()),
    }


def _tell(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(json.dumps(facts, indent=2))
        return
    say(f"  streams  {', '.join(facts['streams'])}")
    if facts.get("layout"):
        say(f"  layout   {facts['layout']}, epoch {facts['epoch']}")
    if "stored" in facts:
        say(f"  weights  {facts['stored']:,} stored")
    else:
        say(f"  weights  {facts['trained']:,} trained, {facts['carried']:,} carried along unused")
    for file, size in facts["written"].items():
        say(f"  wrote    {shown(file)} ({size / 1e6:,.1f} MB)")


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt convert",
        description="Turn a released AffectGPT checkpoint (.pth) into ours, one of ours back, or a checkpoint in\n"
        "shards into one file. The endings of the two names say what is what: .pth the released format, .ckpt and\n"
        ".safetensors our one file, a folder of shards as training writes it, any other folder ours to share.",
        epilog="example: affectgpt convert checkpoint_000030.pth affectgpt-face --clip clip-vit-large-patch14 \\\n"
        "      --hubert chinese-hubert-large --llm Qwen2.5-7B-Instruct\n"
        "  affectgpt convert affectgpt-face back.pth\n"
        "  affectgpt convert runs/x/last.ckpt trained.safetensors",
    )
    parser.add_argument(
        "source",
        help="a .pth, .ckpt or .safetensors file, a folder of shards, or a folder or hub id that save_pretrained wrote",
    )
    parser.add_argument("destination", help="a .pth, .ckpt or .safetensors file, or a folder to make")
    parser.add_argument(
        "--average",
        nargs="+",
        default=[],
        metavar="CHECKPOINT",
        help="further checkpoints of the run: write the mean of their weights and the source's into a .safetensors",
    )
    parser.add_argument("--clip", help="folder or hub id of CLIP ViT-L/14, for a .pth")
    parser.add_argument("--hubert", help="folder or hub id of Chinese HuBERT-large, for a .pth")
    parser.add_argument("--llm", help="folder or hub id of Qwen2.5-7B-Instruct, for a .pth")
    parser.add_argument("--bert", help="folder of the BERT that gives the Q-Formers their sizes, if not bert-base")
    parser.add_argument(
        "--layout", choices=list(LAYOUTS), help="the prompt layout, if the file's configuration does not name it"
    )
    parser.add_argument(
        "--llm-dtype", default="bfloat16", choices=["float32", "bfloat16", "float16"], help="type of the LLM's weights"
    )
    parser.add_argument(
        "--path",
        action="append",
        default=[],
        metavar="NAME=ID",
        help="in a folder to share, record this hub id or folder of a frozen network, "
        "such as llm=Qwen/Qwen2.5-7B-Instruct; can be repeated",
    )
    parser.add_argument(
        "--licence", metavar="NAME", help="in a folder to share, the licence of the weights, such as cc-by-nc-4.0"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the destination")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--allow-import", action="store_true", help="import registered modules that the source names as code"
    )
    return parser
