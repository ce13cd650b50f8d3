"""The options of the verb ``bench`` that choose the answerers, and how clips are shown and answers drawn."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectgpt.cli.terminal import pick_device
from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    from affectgpt.bench.answerers.answer_settings import AnswerSettings
    from affectgpt.bench.answerers.base import Answerer

OURS = "affectgpt"
"""The answerer for checkpoints, the only one that can be used several times at once."""

_WITHOUT_USE: Mapping[str, tuple[tuple[str, ...], str]] = {
    OURS: (("frames",), "a checkpoint is shown clips as it was trained, whatever the profile"),
    "command": (("frames",), "a program is given the files and takes its own frames"),
    "files": (("frames", "modalities", "temperature", "top_p", "max_new_tokens"), "these answers exist already"),
}
"""Answerer to the options that change nothing there, and why; they are refused rather than ignored."""


def add_answerers(parser: argparse._ActionsContainer) -> None:
    """Add the options."""
    add = parser.add_argument
    add(
        "--answerer",
        default=OURS,
        metavar="NAME[:TARGET]",
        help="affectgpt (default), openai:URL, transformers:FOLDER, command:PROGRAM, files:PATH, or a registered name",
    )
    add("--arg", action="append", default=[], metavar="NAME=VALUE", help="argument of the answerer: JSON, or a text")
    add("--profile", default="fast", help="fast (greedy, small pictures) or published (temperature 1, top-p 0.9)")
    add("--modalities", metavar="A,B", help="modalities of a clip to show: video,audio,text (default)")
    add("--frames", type=int, metavar="N", help="number of frames to show a model that is not ours (8)")
    add("--temperature", type=float, help="sampling temperature; 0 always takes the most likely token")
    add("--top-p", type=float, help="share of the probability to sample from")
    add("--max-new-tokens", type=int, help="longest answer, in tokens")
    add("--repeats", type=int, default=1, help="number of runs; the report gives their mean and spread (1)")
    add("--question", help="the question; by default the published one about all emotional states")
    add("--face-detector", default="centerface", help="face detector for sets without face crops; none for no detector")
    add("--batch-size", type=int, default=8, help="clips answered at a time (8)")
    add("--num-workers", type=int, default=2, help="processes for decoding (2)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    add("--allow-import", action="store_true", help="import registered modules that the checkpoint names as code")


def make_settings(args: argparse.Namespace) -> AnswerSettings:
    """How clips are shown and answers drawn: the profile, changed by the options.

    Raises:
        ConfigError: If the profile or a modality does not exist, or a number is out of range.
    """
    from affectgpt.bench.answerers.answer_settings import get_profile

    named = None if args.modalities is None else [one.strip() for one in args.modalities.split(",") if one.strip()]
    return get_profile(args.profile).changed(
        named,
        temperature=args.temperature,
        top_p=args.top_p,
        max_tokens=args.max_new_tokens,
        num_frames=args.frames,
    )


def make_answerers(args: argparse.Namespace) -> list[Answerer]:
    """Build the answerers that the options name: one, or one per checkpoint of ours.

    Raises:
        CheckpointError: If a checkpoint cannot be read.
        ConfigError: If the answerer is unknown, or an argument does not fit.
        DataError: If a file that an answerer needs is missing.
    """
    from affectgpt.registry import ANSWERERS, Spec

    name, target = _split(args.answerer)
    useless, why = _WITHOUT_USE.get(name, ((), ""))
    for option in useless:
        if getattr(args, option) is not None:
            raise ConfigError(
                f"--{option.replace('_', '-')} has no effect with the answerer {name!r}: {why}; leave it out"
            )
    own = dict(map(_pair, args.arg))
    kind = ANSWERERS.get(name)
    if target is not None:
        argument = getattr(kind, "target", None)
        if argument is None:
            raise ConfigError(f"the answerer {name!r} takes nothing after a colon; give --model, or --arg NAME=VALUE")
        own.setdefault(argument, target)
    models = list(args.model or ())
    if name != OURS and len(models) > 1:
        raise ConfigError(f"the answerer {name!r} answers with one model, but --model names {len(models)}")
    runtime: dict[str, Any] = {
        "settings": make_settings(args),
        "device": pick_device(args.device),
        "batch_size": args.batch_size,
        "num_workers": args.num_workers,
        "face_detector": None if args.face_detector == "none" else args.face_detector,
        "allow_import": args.allow_import,
    }
    if name == "files" and args.column is not None:
        runtime["column"] = args.column
    listed = [{"model": model} for model in models] or [{}]
    return [ANSWERERS.build(Spec(name, {**model, **own}), **runtime) for model in listed]


def default_extractor(args: argparse.Namespace) -> str:
    """The default extractor: our models and files give lists of labels, other models give sentences."""
    return "template" if args.answerer.partition(":")[0] in (OURS, "files") else "lexicon"


def system_name(args: argparse.Namespace, answerers: list[Answerer]) -> str:
    """Name of the system without ``--name``."""
    if args.name:
        return str(args.name)
    return answerers[0].title() if len(answerers) == 1 else Path(args.model[0]).resolve().parent.name


def _split(text: str) -> tuple[str, str | None]:
    """Name and target; ``package.module:Class`` is a name."""
    from affectgpt.registry import ANSWERERS

    name, colon, target = text.partition(":")
    if not colon or (name not in ANSWERERS and target.isidentifier()):
        return text, None
    return name, target


def _pair(text: str) -> tuple[str, Any]:
    key, found, value = text.partition("=")
    if not found:
        raise ConfigError(f"--arg takes NAME=VALUE, such as num_parallel=8, but got {text!r}")
    try:
        return key.replace("-", "_"), json.loads(value)
    except ValueError:
        return key.replace("-", "_"), value
