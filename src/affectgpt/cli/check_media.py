"""The verb ``check`` with ``--media``: decodes media files, and reports which can be used."""

from __future__ import annotations

import argparse
import json
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from affectgpt.cli.progress import Progress
from affectgpt.cli.result_output import save_report
from affectgpt.cli.terminal import say, say_json, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import DataError


def run(argv: Sequence[str]) -> int:
    """Check files and folders.

    Returns:
        0 if every file can be used, 1 if any is rejected.

    Raises:
        DataError: If there are no files to check.
    """
    args = parser().parse_args(argv)
    from affectgpt.media.verdict import MediaCheck, check_files

    files, remarks = _files([Path(name) for name in args.media])
    results: list[MediaCheck] = []
    with Progress("checking", "files") as progress:
        progress.say(f"checking {len(files)} file(s): each is decoded")
        for result in check_files(files, max(args.workers, 1)):
            results.append(result)
            progress.update(len(results), len(files))
    # escaped: a name may contain bytes that are not UTF-8
    written = save_report(Path(args.out), "".join(json.dumps(result.to_json()) + "\n" for result in results))
    if args.json:
        say_json(json.dumps([result.to_json() for result in results], ensure_ascii=False, indent=1))
        say(written, err=True)
    else:
        for result in results:
            _show(result.to_json())
        for remark in remarks:
            say(remark)
        counts = Counter(result.verdict for result in results)
        hours = sum(result.duration_seconds or 0 for result in results) / 3600
        verdicts = f"{counts['ok']} ok, {counts['notes']} with notes, {counts['refused']} refused"
        say(f"{verdicts}; {hours:.2f} h; {written}")
        if counts["refused"] < len(results) and Path(args.media[0]).is_dir():
            say(f"next: affectgpt pack {shlex.quote(args.media[0])} SHARDS --skip-bad")
    return int(any(result.verdict == "refused" for result in results))


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt check --media",
        description="Decode media files, and report for each whether it can be used, its streams and its "
        "irregularities. The exit code is 1 if any file is refused.",
        epilog="example: affectgpt check --media clips/ extra.mp4 --workers 4",
    )
    parser.add_argument("--media", nargs="+", required=True, metavar="PATH", help="files, and folders of files")
    parser.add_argument("--workers", type=int, default=1, help="processes for decoding (1)")
    parser.add_argument("--out", metavar="FILE", default="media_check.jsonl", help="file for the report")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _files(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The files to check, and one line for each kind of file that is skipped."""
    from affectgpt.manifests.folder_walk import describe_unused, walk_folder
    from affectgpt.manifests.record import AUDIO_SUFFIXES, VIDEO_SUFFIXES

    known = VIDEO_SUFFIXES | AUDIO_SUFFIXES
    files: list[Path] = []
    remarks: list[str] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)  # a missing file is reported like any other
            continue
        walk = walk_folder(path)
        media = [file for file in walk.files if file.suffix.lower().lstrip(".") in known]
        files += [path / file for file in media]
        others = dict.fromkeys(set(walk.files) - set(media), "not a media file by their suffix")
        remarks += describe_unused(path, {**walk.passed_over, **dict(sorted(others.items()))})
    if not files:
        raise DataError(f"no media file in {', '.join(map(str, paths))}; known endings: {', '.join(sorted(known))}")
    return files, remarks


def _show(result: dict[str, object]) -> None:
    streams = result["streams"]
    assert isinstance(streams, dict)
    video, audio = streams.get("video"), streams.get("audio")
    parts = [f"{video['codec']} {video['width']}x{video['height']} {video['rate_hz']:g} Hz"] if video else []
    parts += [f"{audio['codec']} {audio['rate_hz']} Hz x{audio['channels']}"] if audio else []
    seconds = "" if result["duration_seconds"] is None else f"{result['duration_seconds']:8.2f} s"
    say(f"{result['verdict']:<8}{result['code']:<12}{seconds:>11}  {shown(result['file'])}  [{', '.join(parts)}]")
    notes = result["notes"]
    assert isinstance(notes, list)
    for note in notes:
        say(f"{'':<20}{shown(note)}")
