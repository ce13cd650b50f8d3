"""Hands out a result: into a file, and on the screen as JSON or in words."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from affectgpt.cli.terminal import say, say_json, shown
from affectgpt.files import write_whole
from affectgpt.pages.escaping import for_json


def hand_out(found: Mapping[str, Any], args: argparse.Namespace, show: Callable[[], None]) -> None:
    """Write a result to ``--out``, and print it: as JSON with ``--json``, else in words.

    Args:
        found: The result as plain JSON.
        args: With ``out`` and ``json``.
        show: Prints it in words.
    """
    text = for_json(found)
    if args.out:
        write_whole(args.out, text + "\n")
    if args.json:
        say_json(text)
        return
    show()
    if args.out:
        say(f"wrote {shown(args.out)}")


def save_report(path: Path, text: str) -> str:
    """Write a report, and return where it is or why it failed; a failure must not lose the result of the check."""
    try:
        write_whole(path, text)
    except OSError as error:
        reason = error.strerror or error
        return f"the report could not be written to {path} ({reason}); name another file with --out FILE"
    return f"report: {path}"
