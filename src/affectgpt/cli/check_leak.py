"""The verb ``check --against``: finds clips that two sets share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from affectgpt.cli.progress import Progress
from affectgpt.cli.result_output import hand_out
from affectgpt.cli.terminal import say, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import DataError

if TYPE_CHECKING:
    from affectgpt.shards.leak import Leak

_SHOWN = 20


def run(argv: Sequence[str]) -> int:
    """Compare two sets.

    Returns:
        0 if they share no clips, or sharing is allowed; else 1.

    Raises:
        DataError: If a set cannot be read.
    """
    args = parser().parse_args(argv)
    from affectgpt.shards.leak import find_leak, list_set

    with Progress("comparing", "MB") as progress:
        progress.say(f"comparing {shown(args.set)} with {shown(args.against)}: names, and contents of equal size")
        found = find_leak(
            list_set(args.set),
            list_set(args.against),
            lambda done, total: progress.update(done // 10**6, total // 10**6),
        )
    hand_out(found.to_json(), args, lambda: _show(found))
    return int(bool(found.names) and not args.allow_overlap)


def refuse_leak(found: Leak, allowed: str) -> None:
    """Reject sets that share clips.

    Args:
        found: The shared clips.
        allowed: Advice for users who share clips on purpose.

    Raises:
        DataError: If the sets share clips.
    """
    if found.names:
        raise DataError(f"{found.describe()}. A score on training clips says little; {allowed}")


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt check SET --against OTHER",
        description="Compare two sets by the names of their clips and the content of their media. The exit code is 1 "
        "if they share a clip. A set is a shard folder, a manifest, a folder of media, or a table of names.",
        epilog="example: affectgpt check shards/test --against shards/train   |   "
        "affectgpt check track2_train_human.csv --against track2_train_mercaptionplus.csv",
    )
    parser.add_argument("set", help="the set to test on")
    parser.add_argument("--against", required=True, metavar="SET", help="the training set")
    parser.add_argument("--allow-overlap", action="store_true", help="report shared clips, and exit with 0")
    parser.add_argument("--out", metavar="FILE", help="write the report to this file, as JSON")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _show(found: Leak) -> None:
    say(found.describe())
    for kind, names in (
        ("same name and content", found.same),
        ("same name, other content", found.differing),
        ("same name", found.names_only),
        ("same content", tuple(f"{a} = {b}" for a, b in found.twins)),
    ):
        if names:
            more = f" ... and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            say(f"  {kind:<24} {len(names):>6}: {', '.join(map(shown, names[:_SHOWN]))}{more}")
