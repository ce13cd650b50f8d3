"""Hands out a result: into a file, and on the screen as JSON or in words."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from affectgpt.cli.terminal import say, shown
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
        say(text)
        return
    show()
    if args.out:
        say(f"wrote {shown(args.out)}")
