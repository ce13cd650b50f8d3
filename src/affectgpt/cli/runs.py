"""The verb ``runs``: compares runs in a table and a plot."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from affectgpt.cli.terminal import say, say_json
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.files import write_whole
from affectgpt.training.run_comparison import draw, ranked, read_runs, table


def run(verb: str, argv: Sequence[str]) -> int:
    """Compare runs.

    Raises:
        DataError: If a folder does not exist or holds no runs, or a file in it cannot be read.
        ConfigError: If ``--picture`` is given and matplotlib is not installed.
    """
    args = parser().parse_args(argv)
    runs = read_runs(args.folders)
    rows = [
        {"run": one.name, "folder": str(one.folder), "starts": one.starts, **one.row(), "differs": one.differs}
        for one in ranked(runs)
    ]
    if args.json:
        say_json(json.dumps(rows, indent=2))
    else:
        for line in table(runs):
            say(line)
    if args.picture is not None:
        write_whole(args.picture, draw(runs))
        say(f"wrote {args.picture}", err=args.json)
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt runs",
        description="Compare runs of fit by their logs (metrics.csv), the best validation first: steps, the mean\n"
        "of the last losses, the best validation, speed, and the settings in which they differ.",
        epilog="example: affectgpt runs runs/ --picture runs.png",
    )
    parser.add_argument("folders", nargs="+", help="folders of runs, searched at any depth")
    parser.add_argument("--picture", type=Path, help="write a plot of the losses, a PNG file")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser
