"""The verb ``watch``: answers films of any length, and calibrates how sure a model is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from affectgpt.cli.progress import Progress
from affectgpt.cli.terminal import pick_device, quiet, say, say_json, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError

PICTURE = "timeline.png"


def run(verb: str, argv: Sequence[str]) -> int:
    """Watch a film, or calibrate.

    Raises:
        ConfigError: If an argument does not fit.
        DataError: If a file cannot be read, or not to its end; what was answered before is written first.
    """
    args = parser().parse_args(argv)
    quiet()
    from affectgpt import AffectGPT

    model = AffectGPT.load(args.checkpoint, allow_import=args.allow_import).to(pick_device(args.device))
    return _calibrate(args, model) if args.calibrate else _watch(args, model)


def _watch(args: argparse.Namespace, model: Any) -> int:
    from affectgpt.manifests.subtitles import read_cues
    from affectgpt.media.speech.base import Segment
    from affectgpt.watch import BrokenFilmError, CuttingRules, WatchPlan, draw_timeline, watch, write_tables
    from affectgpt.watch.rows import UNSURE

    out = Path(args.out or f"{Path(args.film).stem}.watched")
    cues = None
    if args.subtitles:
        cues = [Segment(cue.start_seconds, cue.end_seconds, cue.text) for cue in read_cues(Path(args.subtitles))]
    rules = CuttingRules(longest_seconds=args.longest, answers_quiet=not args.speech_only)
    plan = WatchPlan(rules, _asking(args), args.batch_size, args.unsure_below, args.question, args.language)
    try:
        with Progress("watching", "seconds") as bar:
            bar.say(f"watching {shown(args.film)}; answers go to {shown(out)}")
            found = watch(
                model,
                args.film,
                plan=plan,
                out=out,
                face_detector=None if args.face_detector == "none" else args.face_detector,
                asr=args.asr,
                cues=cues,
                speaker_weights=args.speaker_weights,
                calibration=args.calibration,
                model_name=_with_fingerprint(args.checkpoint),
                restart=args.restart,
                isolated=True,
                progress=lambda done, total: bar.update(round(done), round(total or done), ""),
            )
    except BrokenFilmError as error:
        files = write_tables(error.found.rows, out, args.film)
        say(f"wrote what was answered before: {', '.join(shown(path) for path in files)}", err=True)
        say("the same command goes on there, once the film can be read", err=True)
        raise
    files = write_tables(found.rows, out, args.film)
    notes = list(found.notes)
    try:
        files.append(draw_timeline(found.rows, args.film, out / PICTURE, found.seconds, isolated=True))
    except ConfigError as error:  # without matplotlib; the answers of hours are no failure
        notes.append(f"no timeline was drawn: {error}")
    for note in notes:
        say(f"note: {shown(note)}", err=True)
    if args.json:
        say_json(json.dumps([row.to_json() for row in found.rows], ensure_ascii=False, indent=1))
        return 0
    unsure = sum(row.is_unsure for row in found.rows)
    say(f"{found.seconds:.0f} s, {len(found.rows)} answers, {found.num_people} tracks of faces, {unsure} {UNSURE}")
    for row in found.rows[:8]:
        who = f"{row.start_seconds:8.1f} to {row.end_seconds:6.1f} s  {row.name:<11}"
        say(f"  {who} {row.confidence:4.2f}  {shown(row.answer or '-')}")
    if len(found.rows) > 8:
        say(f"  ... and {len(found.rows) - 8} more")
    say(f"wrote {', '.join(shown(path) for path in files)}")
    return 0


def _calibrate(args: argparse.Namespace, model: Any) -> int:
    from affectgpt.watch.calibration_set import calibrate_on

    if not args.out:
        raise ConfigError("give --out, the file for the calibration, such as --out calibration.json")
    with Progress("calibrating", "clips") as bar:
        found = calibrate_on(
            model,
            args.film,
            _asking(args),
            out=args.out,
            batch_size=args.batch_size,
            model_name=str(args.checkpoint),
            progress=lambda done, total: bar.update(done, total, ""),
        )
    if args.json:
        say_json(Path(args.out).read_text("utf-8"))
        return 0
    say(f"{found.num_clips} clips, {found.share_right:.0%} right")
    say(f"expected calibration error {found.error_before:.3f}; calibrated, on clips left out, {found.error_after:.3f}")
    say(f"wrote {shown(args.out)} and {shown(Path(args.out).with_suffix('.png'))}; use it with --calibration")
    return 0


def _with_fingerprint(checkpoint: str) -> str:
    """The checkpoint's name and what is in it, because ``last.ckpt`` is another model after more training."""
    from affectgpt.watch.watch_film import fingerprint

    return f"{checkpoint} {fingerprint(Path(checkpoint))[:12]}" if Path(checkpoint).exists() else checkpoint


def _asking(args: argparse.Namespace) -> Any:
    from affectgpt.watch import Asking

    return Asking(num_drawn=args.drawn, seed=args.seed, max_new_tokens=args.max_new_tokens)


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt watch",
        description="Answer every utterance and every person of a film of any length, with how sure each answer is; "
        "write a table, subtitles, ELAN annotations and a picture. After an interruption the same command goes on.",
        epilog="example: affectgpt watch film.mp4 --checkpoint runs/last.ckpt   |   "
        "affectgpt watch film.mp4 --checkpoint runs/last.ckpt --subtitles film.srt --drawn 5 --unsure-below 0.4   |   "
        "affectgpt watch labelled.jsonl --calibrate --checkpoint runs/last.ckpt --out calibration.json",
    )
    add = parser.add_argument
    add("film", help="a video or sound file; with --calibrate, a manifest of clips with labels")
    add("--checkpoint", required=True, help="a .ckpt file, a saved folder, or a hub id")
    add("--out", help="folder for the answers (FILM.watched); with --calibrate, the file to write")
    add("--subtitles", metavar="FILE", help="what is said when: .srt, .vtt, .ass")
    add("--asr", metavar="NAME[:MODEL]", help="speech recogniser, e.g. faster-whisper:small")
    add("--language", help="code of the spoken language, for the recogniser")
    add("--drawn", type=int, default=0, metavar="N", help="answers drawn for each, to see whether they agree (0)")
    add("--calibration", metavar="FILE", help="what --calibrate wrote: confidence becomes a probability")
    add("--unsure-below", type=float, metavar="P", help='answers with a confidence below this say "unsure"')
    add("--speaker-weights", metavar="FILE", help="LR-ASD weights, to tell who of several people speaks")
    add("--calibrate", action="store_true", help="measure how often the model is right when it is how sure")
    add("--restart", action="store_true", help="throw away what an earlier run left in the folder")
    add("--json", action="store_true", help="print the answers as JSON")
    more = parser.add_argument_group("cutting and answering").add_argument
    more("--speech-only", action="store_true", help="leave out stretches in which nobody speaks")
    more("--longest", type=float, default=12.0, metavar="S", help="longest stretch, in seconds (12)")
    more("--question", help="the question; by default the one about all possible emotional states")
    more("--max-new-tokens", type=int, help="longest answer, in tokens")
    more("--batch-size", type=int, default=8, help="answers at a time (8)")
    more("--seed", type=int, default=0, help="of the drawn answers (0)")
    more("--face-detector", default="centerface", help="face detector; none looks for no faces")
    more("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    more("--allow-import", action="store_true", help="import registered modules that the checkpoint names as code")
    return parser
