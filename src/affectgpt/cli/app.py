"""The verb ``app``: a local page on which people upload clips and look at answers."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from affectgpt.cli.terminal import pick_device, quiet, say, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError

STOP_SECONDS = 10.0
"""How long answers under way may take when the command is stopped."""


def run(verb: str, argv: Sequence[str]) -> int:
    """Show the page until the command is stopped.

    Raises:
        CheckpointError: If a checkpoint does not fit.
        ConfigError: If a setting is wrong, or a package is missing.
    """
    args = parser().parse_args(argv)
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("app needs gradio, which is not installed: pip install 'affectgpt[app]'")
    from affectgpt.serve.uvicorn_server import is_loopback

    if not args.anybody and not is_loopback(args.host):
        raise ConfigError(
            f"whoever reaches {args.host} could use the page, which asks for no password: say --anybody if only people "
            "whom you trust can reach it, or something in front of it checks who asks"
        )
    settings = _settings(args)
    quiet()
    models = _models(args, settings)
    from affectgpt.app import create_page
    from affectgpt.serve import ServiceSettings, run_service

    app = create_page(models, settings)

    def ready(url: str) -> None:
        say(f"the page is at {url}; Ctrl-C stops it")

    drain = ServiceSettings(drain_seconds=STOP_SECONDS)
    run_service(app, args.host, args.port, settings=drain, ready=ready, stopping=app.state.stopping)
    say("stopped; uploads are deleted", err=True)
    return 0


def _models(args: argparse.Namespace, settings: Any) -> list[Any]:
    from affectgpt.app import PageModel
    from affectgpt.bench.answerers.checkpoint import name_of
    from affectgpt.media.speech import build_asr
    from affectgpt.model import AffectGPT
    from affectgpt.watch import Calibration

    asr = build_asr(args.asr) if args.asr else None
    calibration = Calibration.read(args.calibration) if args.calibration else None
    models = []
    for checkpoint in [args.checkpoint, *([args.compare] if args.compare else [])]:
        say(f"loading {shown(checkpoint)}", err=True)
        model = AffectGPT.load(checkpoint, allow_import=args.allow_import).to(pick_device(args.device)).eval()
        # a calibration belongs to the model that it was measured on
        fitting = calibration if checkpoint == args.checkpoint else None
        name = name_of(checkpoint) or str(checkpoint)
        models.append(PageModel(name, model, settings, asr=asr, calibration=fitting))
    return models


def _settings(args: argparse.Namespace) -> Any:
    from affectgpt.app import PageSettings
    from affectgpt.watch import Asking

    return PageSettings(
        max_upload_bytes=int(args.max_upload_mb * 2**20),
        max_clip_seconds=args.max_clip_seconds,
        max_film_seconds=60 * args.max_film_minutes,
        max_waiting=args.max_waiting,
        timeout_seconds=args.timeout,
        max_batch=args.max_batch,
        face_detector=None if args.face_detector == "none" else args.face_detector,
        asking=Asking(num_drawn=args.drawn),
        unsure_below=args.unsure_below,
        annotations=Path(args.annotations) if args.annotations else None,
    )


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt app",
        description="Show a page on this machine: upload or record a clip or a film, and see the answer with what the "
        "model saw and heard. It needs no network, and deletes uploads.",
        epilog="example: affectgpt app --checkpoint runs/last.ckpt   |   "
        "affectgpt app --checkpoint new.ckpt --compare old.ckpt --annotations review.jsonl",
    )
    add = parser.add_argument
    add("--checkpoint", required=True, help="a .ckpt file, a saved folder, or a hub id")
    add("--compare", metavar="CHECKPOINT", help="a second model, whose answers stand beside those of the first")
    add("--annotations", metavar="FILE", help="log for what people say of answers; pack --review reads it")
    add("--asr", metavar="NAME[:MODEL]", help="speech recogniser for clips without words, e.g. faster-whisper:small")
    add("--drawn", type=int, default=0, metavar="N", help="answers drawn for each clip, to see whether they agree (0)")
    add("--calibration", metavar="FILE", help="what watch --calibrate wrote: confidence becomes a probability")
    add("--unsure-below", type=float, metavar="P", help='answers with a confidence below this say "unsure"')
    add("--host", default="127.0.0.1", help="address to listen on; others than this machine's need --anybody")
    add("--port", type=int, default=7860, help="port; 0 for any that is free (7860)")
    add("--anybody", action="store_true", help="listen beyond this machine, without a password")
    more = parser.add_argument_group("limits").add_argument
    more("--max-upload-mb", type=float, default=200.0, metavar="MB", help="largest file (200)")
    more("--max-clip-seconds", type=float, default=120.0, metavar="S", help="longest clip (120)")
    more("--max-film-minutes", type=float, default=180.0, metavar="MIN", help="longest film (180)")
    more("--max-waiting", type=int, default=32, metavar="N", help="most requests under way (32)")
    more("--timeout", type=float, default=300.0, metavar="S", help="longest time for the answer about a clip (300)")
    more("--max-batch", type=int, default=8, metavar="N", help="most clips answered together (8)")
    more("--face-detector", default="centerface", help="face detector; none looks for no faces")
    more("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    more("--allow-import", action="store_true", help="import registered modules that the checkpoint names as code")
    return parser
