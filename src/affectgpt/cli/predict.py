"""The verb ``predict``: answers media files with a trained model."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Self, TextIO

from affectgpt.cli.progress import Progress
from affectgpt.cli.terminal import pick_device, quiet, say, say_json, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError, DataError
from affectgpt.types import Prediction


def run(verb: str, argv: Sequence[str]) -> int:
    """Answer files, or hand over to Lightning when a configuration is given.

    Raises:
        CheckpointError: If the checkpoint does not fit.
        ConfigError: If a folder is given, or ``--subtitle``, ``--audio`` or ``--source`` for several clips.
        DataError: If a file cannot be decoded, after the others have been answered.
    """
    if any(arg in ("--config", "-c") or arg.startswith("--config=") for arg in argv):
        from affectgpt.cli.train import run as run_lightning

        return run_lightning(verb, argv)
    args = parser().parse_args(argv)
    files = dict(_named_file(text) for text in args.source)
    if len(args.clip) > 1 and (args.subtitle or args.audio or files):
        raise ConfigError(
            f"--subtitle, --audio and --source belong to one clip, but {len(args.clip)} were given; answer them one by "
            "one, or pack them with a manifest and use --config"
        )
    if not args.clip and not files:
        raise ConfigError("there is nothing to answer: give a media file, or the file of a source with --source")
    folders = [clip for clip in args.clip if Path(clip).is_dir()]
    if folders:
        files_in_it = f"{shlex.quote(folders[0].rstrip('/'))}/*.mp4"
        raise ConfigError(
            f"{folders[0]!r} is a folder, and predict takes files: give {files_in_it}, or pack the folder and give a "
            "configuration with --config"
        )
    clips: list[str | None] = args.clip or [None]
    from affectgpt.media.clip import name_of
    from affectgpt.media.isolated_reading import Request, crashed, read_request
    from affectgpt.media.isolation import Isolated
    from affectgpt.media.speech import build_asr
    from affectgpt.model import AffectGPT
    from affectgpt.model.answer import answer_decoded
    from affectgpt.part import in_eval_mode

    quiet()
    problems: list[str] = []
    answers: list[Prediction] = []
    with (
        _AnswerFile(args.out) as out,
        Isolated(read_request, 1, crashed) as reading,
        Progress("answering", "files") as bar,
    ):
        bar.say(f"answering {len(clips)} file(s) with {args.checkpoint}")
        reading.submit(None)  # the process starts while the model is loaded
        model = AffectGPT.load(args.checkpoint, allow_import=args.allow_import).to(pick_device(args.device))
        asr = build_asr(args.asr) if args.asr else None
        speech = asr is not None and not (args.subtitle and args.subtitle.strip())
        detector = args.face_detector if "face" in model.media.sources else None
        requests = [Request(clip, model.media, args.audio, detector, speech, files=files) for clip in clips]
        for done, (clip, read) in enumerate(zip(clips, reading.map(requests), strict=True), start=1):
            try:
                if read.decoded is None:
                    raise read.problem or DataError(f"{clip!r} has no usable stream")
                with in_eval_mode(model):
                    answer = answer_decoded(
                        model,
                        read.decoded,
                        name_of(clip or next(iter(files.values()))),
                        args.subtitle,
                        question=args.question,
                        max_new_tokens=args.max_new_tokens,
                        asr=asr,
                        read_seconds=read.seconds,
                    )
            except DataError as error:
                problems.append(str(error))
                if len(clips) > 1:
                    say(f"no answer: {error}", err=True)
                continue
            finally:
                bar.update(done, len(clips))
            out.add(answer)
            answers.append(answer)
            if not args.json:
                _show(answer)
    if args.json and (answers or not problems):
        say_json(
            json.dumps(
                [a.to_json() for a in answers] if len(clips) > 1 else answers[0].to_json() if answers else [],
                ensure_ascii=False,
                indent=2,
            )
        )
    _tell_next(args.out, len(answers))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{more}")
    return 0


class _AnswerFile:
    """A file of answers, one JSON object per line, each written as soon as it is known.

    Args:
        path: The file, or ``None`` for no file. Earlier content stays until the first answer.

    Raises:
        DataError: If it cannot be written.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._num_written = 0
        if path is not None:
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                # half a character, as in a file name in another encoding, becomes a JSON escape
                self._file = Path(path).open("a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            except OSError as error:
                raise DataError(
                    f"{path!r} cannot be written ({error.strerror}); give --out another path, or leave it out"
                ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, answer: Prediction) -> None:
        """Write an answer."""
        if self._file is None:
            return
        try:
            if not self._num_written:
                self._file.truncate(0)
            self._file.write(json.dumps(answer.to_json(), ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise ConfigError(
                f"{self.path!r} can no longer be written ({error.strerror}); it has {self._num_written} answers"
            ) from error
        self._num_written += 1


def _named_file(text: str) -> tuple[str, str]:
    name, found, path = text.partition("=")
    if not found or not name or not path:
        raise ConfigError(f"--source takes NAME=FILE, such as physiology=clip.csv, but got {text!r}")
    return name, path


def _tell_next(path: str | None, num_answers: int) -> None:
    """Say what was written, and the next step."""
    if path is None:
        if num_answers:
            say("nothing was written; --out FILE keeps the answers", err=True)
        return
    say(f"wrote {num_answers} answers to {path}", err=True)
    if num_answers:
        say(f"next: affectgpt score --help says how to score {shlex.quote(path)} against a gold table", err=True)


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt predict",
        description="Answer media files with a trained model. With --config, answer the shards of a configuration.",
        epilog='example: affectgpt predict clip.mp4 --checkpoint runs/last.ckpt --subtitle "I am fine."',
    )
    parser.add_argument("clip", nargs="*", help="video, sound or picture files")
    parser.add_argument("--checkpoint", required=True, help="a .ckpt file, a saved folder, or a hub id")
    parser.add_argument("--subtitle", help="the spoken words, if known")
    parser.add_argument("--audio", help="a separate sound file, instead of the clip's own track")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="the clip's file of a source from a plug-in, such as physiology=clip.csv",
    )
    parser.add_argument("--question", help="the question; by default the one about all possible emotional states")
    parser.add_argument("--max-new-tokens", type=int, help="longest answer, in tokens")
    parser.add_argument("--face-detector", default="centerface", help="face detector, if the model uses faces")
    parser.add_argument(
        "--asr", metavar="NAME[:MODEL]", help="speech recogniser for clips without subtitle, e.g. faster-whisper:small"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--out", help="write the answers to this file, one JSON object per line")
    parser.add_argument(
        "--allow-import", action="store_true", help="import registered modules that the checkpoint names as code"
    )
    return parser


def _show(answer: Prediction) -> None:
    seconds = ", ".join(f"{stage} {value:.2f} s" for stage, value in answer.seconds.items())
    say(f"\n{shown(answer.key)}")
    say(f"  answer     {shown(answer.text)}")
    if answer.description is None:
        say(f"  labels     {shown(', '.join(answer.labels)) or '(none found in the answer)'}")
        say(f"  sentiment  {answer.sentiment or '(no label is in the vocabulary)'}")
    if answer.transcript is not None:
        say(f"  heard      {shown(answer.transcript)}")
    say(f"  used       {', '.join(answer.used) or 'nothing but the question'}")
    for name, reason in answer.missing.items():
        say(f"  missing    {name}: {shown(reason)}")
    say(f"  time       {seconds}")
