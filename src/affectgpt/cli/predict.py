"""The verb ``predict``: answers media files with a trained model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from affectgpt.cli.terminal import pick_device, quiet
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import write_lines
from affectgpt.types import Prediction


def run(verb: str, argv: Sequence[str]) -> int:
    """Answer files, or hand over to Lightning when a configuration is given.

    Raises:
        CheckpointError: If the checkpoint does not fit.
        ConfigError: If the words or the sound of one clip are given for several.
        DataError: If a file cannot be decoded, after the others have been answered.
    """
    if any(arg in ("--config", "-c") or arg.startswith("--config=") for arg in argv):
        from affectgpt.cli.train import run as run_lightning

        return run_lightning(verb, argv)
    args = _parser().parse_args(argv)
    if len(args.clip) > 1 and (args.subtitle or args.audio):
        raise ConfigError(
            f"--subtitle and --audio belong to one clip, but {len(args.clip)} were given; answer them one by one, or "
            "pack them with a manifest and use --config"
        )
    from rich.console import Console
    from rich.progress import track

    from affectgpt.media.speech import build_asr
    from affectgpt.model import AffectGPT

    quiet()
    console = Console(stderr=True)
    console.print(f"answering {len(args.clip)} file(s) with {args.checkpoint}")
    model = AffectGPT.load(args.checkpoint, allow_import=args.allow_import).to(pick_device(args.device))
    asr = build_asr(args.asr) if args.asr else None
    problems: list[str] = []
    answers: list[Prediction] = []
    for clip in track(args.clip, description="answering", console=console, disable=len(args.clip) == 1):
        try:
            answer = model.predict(
                clip,
                args.subtitle,
                question=args.question,
                audio=args.audio,
                max_new_tokens=args.max_new_tokens,
                face_detector=args.face_detector,
                asr=asr,
            )
        except DataError as error:
            problems.append(str(error))
            continue
        answers.append(answer)
        if not args.json:
            _show(answer, console)
    if args.json:
        print(
            json.dumps(
                [a.to_json() for a in answers] if len(args.clip) > 1 else answers[0].to_json() if answers else [],
                ensure_ascii=False,
                indent=2,
            )
        )
    if args.out:
        write_lines(args.out, (json.dumps(a.to_json(), ensure_ascii=False) for a in answers))
        console.print(f"wrote {len(answers)} answers to {args.out}")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{more}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="affectgpt predict",
        description="Answer media files with a trained model. With --config, answer the shards of a configuration.",
        epilog='example: affectgpt predict clip.mp4 --checkpoint runs/last.ckpt --subtitle "I am fine."',
    )
    parser.add_argument("clip", nargs="+", help="video, sound or picture files")
    parser.add_argument("--checkpoint", required=True, help="a .ckpt file, a saved folder, or a hub id")
    parser.add_argument("--subtitle", help="the spoken words, if known")
    parser.add_argument("--audio", help="a separate sound file, instead of the clip's own track")
    parser.add_argument("--question", help="what to ask; by default for all possible emotional states")
    parser.add_argument("--max-new-tokens", type=int, help="longest answer, in tokens")
    parser.add_argument(
        "--face-detector", default="centerface", help="what finds the face, if the model looks at faces"
    )
    parser.add_argument(
        "--asr", metavar="NAME[:MODEL]", help="hear the words of clips without subtitle, e.g. faster-whisper:small"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--out", help="write the answers to this file, one JSON object a line")
    parser.add_argument("--allow-import", action="store_true", help="import parts that the checkpoint names as code")
    return parser


def _show(answer: Prediction, console: object) -> None:
    seconds = ", ".join(f"{stage} {value:.2f} s" for stage, value in answer.seconds.items())
    print(f"\n{answer.key}")
    print(f"  answer     {answer.text}")
    if answer.description is None:
        print(f"  labels     {', '.join(answer.labels) or '(none found in the answer)'}")
        print(f"  sentiment  {answer.sentiment or '(no label is in the vocabulary)'}")
    if answer.transcript is not None:
        print(f"  heard      {answer.transcript}")
    print(f"  used       {', '.join(answer.used) or 'nothing but the question'}")
    for name, reason in answer.missing.items():
        print(f"  missing    {name}: {reason}")
    print(f"  time       {seconds}")
