"""The verb ``check`` with ``--media``: decodes media files, and says of each whether it can be used."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from affectgpt.cli.check import save_report
from affectgpt.cli.progress import Progress
from affectgpt.errors import DataError


def run(argv: Sequence[str]) -> int:
    """Check files and folders.

    Returns:
        0 if every file can be used, 1 if one is refused.

    Raises:
        DataError: If there is no file to check.
    """
    args = _parser().parse_args(argv)
    from affectgpt.media.verdict import MediaCheck, check_files

    files = _files([Path(name) for name in args.media])
    results: list[MediaCheck] = []
    with Progress("checking", "files") as progress:
        progress.say(f"checking {len(files)} file(s): each is decoded")
        for result in check_files(files, args.workers):
            results.append(result)
            progress.update(len(results), len(files))
    lines = (json.dumps(result.to_json(), ensure_ascii=False) + "\n" for result in results)
    written = save_report(Path(args.out), "".join(lines))
    if args.json:
        print(json.dumps([result.to_json() for result in results], ensure_ascii=False, indent=1))
        print(written, file=sys.stderr)
    else:
        for result in results:
            _show(result.to_json())
        counts = Counter(result.verdict for result in results)
        hours = sum(result.duration_seconds or 0 for result in results) / 3600
        print(f"{counts['ok']} ok, {counts['notes']} with notes, {counts['refused']} refused; ", end="")
        print(f"{hours:.2f} h; {written}")
    return int(any(result.verdict == "refused" for result in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="affectgpt check --media",
        description="Decode media files, and say of each whether it can be used, what is in it and what is odd. "
        "The exit code is 1 if one is refused.",
        epilog="example: affectgpt check --media clips/ extra.mp4 --workers 4",
    )
    parser.add_argument("--media", nargs="+", required=True, metavar="PATH", help="files, and folders of files")
    parser.add_argument("--workers", type=int, default=1, help="processes to decode in (1)")
    parser.add_argument("--out", metavar="FILE", default="media_check.jsonl", help="where the report goes")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _files(paths: Sequence[Path]) -> list[Path]:
    from affectgpt.manifests.record import AUDIO_SUFFIXES, VIDEO_SUFFIXES

    known = VIDEO_SUFFIXES | AUDIO_SUFFIXES
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if file.suffix.lower().lstrip(".") in known)
        else:
            files.append(path)  # a file that is not there is a result too
    if not files:
        raise DataError(f"no media file in {', '.join(map(str, paths))}; known endings: {', '.join(sorted(known))}")
    return files


def _show(result: dict[str, object]) -> None:
    streams = result["streams"]
    assert isinstance(streams, dict)
    video, audio = streams.get("video"), streams.get("audio")
    parts = [f"{video['codec']} {video['width']}x{video['height']} {video['rate_hz']:g} Hz"] if video else []
    parts += [f"{audio['codec']} {audio['rate_hz']} Hz x{audio['channels']}"] if audio else []
    seconds = "" if result["duration_seconds"] is None else f"{result['duration_seconds']:8.2f} s"
    print(f"{result['verdict']:<8}{result['code']:<12}{seconds:>11}  {result['file']}  [{', '.join(parts)}]")
    notes = result["notes"]
    assert isinstance(notes, list)
    for note in notes:
        print(f"{'':<20}{note}")
