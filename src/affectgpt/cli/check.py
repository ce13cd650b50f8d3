"""The verb ``check``: verifies shards against their index, and summarises their content."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from affectgpt.cli.progress import Progress
from affectgpt.cli.result_output import save_report
from affectgpt.cli.terminal import say, say_json
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.web import without_secrets

if TYPE_CHECKING:
    from affectgpt.shards.check import ShardCheck

_BAR_WIDTH = 30
_TOP_LABELS = 20
_SHOWN_FAULTS = 50


def run(verb: str, argv: Sequence[str]) -> int:
    """Check a shard folder.

    Returns:
        0 if the shards have no faults, else 1.

    Raises:
        DataError: If there is no index.
    """
    if "--media" in argv:
        from affectgpt.cli.check_media import run as run_media

        return run_media(argv)
    if any(arg == "--against" or arg.startswith("--against=") for arg in argv):
        from affectgpt.cli.check_leak import run as run_leak

        return run_leak(argv)
    args = parser().parse_args(argv)
    from affectgpt.shards.check import check_shards

    with Progress("checking", "MB") as progress:
        shown = without_secrets(args.folder)
        progress.say(f"checking {shown}: every byte against its index" + (", decoding it" if args.decode else ""))
        found = check_shards(
            args.folder, decode=args.decode, progress=lambda done, total: progress.update(done // 10**6, total // 10**6)
        )
    text = json.dumps(found.to_json(), indent=1, ensure_ascii=False) + "\n"
    written = save_report(Path(args.out) if args.out else found.index.folder / "check.json", text)
    if args.json:
        say_json(text)
        say(written, err=True)
    else:
        _show(found, written)
    return int(bool(found.faults))


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt check",
        description="Verify the shards of a folder or a URL against the index: sizes, digests, keys, members, sums. "
        "Prints a summary of their content, and every fault; the exit code is 1 if there are faults.",
        epilog="example: affectgpt check shards/train   |   affectgpt check --media clips/   |   "
        "affectgpt check shards/test --against shards/train",
    )
    parser.add_argument("folder", help="shard folder, or its URL: https, s3, gs or hf")
    parser.add_argument("--decode", action="store_true", help="also decode every sample, as training does")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="file for the report (check.json in the folder, or in the current folder for a URL)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _show(found: ShardCheck, written: str) -> None:
    index, counts = found.index, found.counts
    hours = counts.seconds / 3600
    say(f"{index.location}: {index.form}, {found.samples} samples in {len(index.shards)} shard(s), ", end="")
    say(f"{index.bytes / 1e6:.1f} MB, {hours:.2f} h ({counts.seconds / max(found.samples, 1):.1f} s a clip)")
    origin = ", ".join(f"{name}: {value}" for name, value in index.provenance.items() if value)
    say(f"packed by {index.tool or 'an unknown tool'}; {origin or 'no provenance'}")
    _bars("has", counts.modalities, found.samples)
    if found.missing:
        _bars("lacks", found.missing, found.samples)
    if counts.labels:
        labels = counts.sorted_labels()
        more = f", the first {_TOP_LABELS} of {len(labels)}" if len(labels) > _TOP_LABELS else ""
        _bars(f"labels{more}", dict(list(labels.items())[:_TOP_LABELS]), max(labels.values()))
    if counts.noted:
        say(f"{counts.noted} samples have notes on damage or doubt (media_notes, manifest_notes)")
    if found.rejects:
        left_out = ", ".join(f"{count} {code}" for code, count in found.rejects.items())
        say(f"left out when it was packed: {left_out}")
    for fault in found.faults[:_SHOWN_FAULTS]:
        where = f"{fault.shard} {fault.key}".strip()
        say(f"FAULT {fault.code} [{where}]: {fault.message}")
    if len(found.faults) > _SHOWN_FAULTS:
        say(f"... and {len(found.faults) - _SHOWN_FAULTS} more faults")
    say(f"{f'{len(found.faults)} fault(s)' if found.faults else 'all is well'}; {written}")


def _bars(title: str, counts: Mapping[str, int], full: int) -> None:
    say(f"\n{title}")
    width = max(map(len, counts), default=0)
    for name, count in counts.items():
        eighths = round(8 * _BAR_WIDTH * count / full) if full else 0
        bar = "█" * (eighths // 8) + ("▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else "")
        say(f"  {name:<{width}}  {bar:<{_BAR_WIDTH}}  {count}")
