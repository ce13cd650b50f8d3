"""The verb ``parts``: lists the registered modules and those that work here, and starts a new one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from affectgpt.cli.new_part import KINDS, write_new_part
from affectgpt.cli.part_states import PartState, state_of
from affectgpt.cli.terminal import make_console, say, say_json, shown
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.registry import Entry, Registry

REGISTRIES: Mapping[str, Registry[Any]] = {kind.listed: kind.registry for kind in KINDS.values()}


def run(verb: str, argv: Sequence[str]) -> int:
    """List the modules; with ``--check``, import each and exit with 1 if any is broken; with ``--new``, write one."""
    args = parser().parse_args(argv)
    if args.new:
        kind, name = args.new
        folder = write_new_part(kind, name, args.out)
        if args.json:
            say_json(json.dumps({"folder": str(folder)}))
            return 0
        say(f"wrote {folder}; next: pip install -e '{folder}[dev]' && pytest {folder}")
        return 0
    kinds = [args.kind] if args.kind else list(REGISTRIES)
    if not args.check:
        _show({kind: [(entry, None) for entry in REGISTRIES[kind].entries()] for kind in kinds}, args.json)
        return 0
    checked: dict[str, list[tuple[Entry, PartState | None]]] = {
        kind: [(entry, state_of(REGISTRIES[kind], entry)) for entry in REGISTRIES[kind].check()] for kind in kinds
    }
    _show(checked, args.json)
    return int(any(entry.problem for entries in checked.values() for entry, _ in entries))


def parser() -> VerbParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt parts",
        description="List the registered modules (parts): name, owner, class.",
        epilog="example: affectgpt parts encoders --check   |   affectgpt parts --new encoder my-face",
    )
    parser.add_argument(
        "kind", nargs="?", choices=REGISTRIES, metavar="KIND", help=f"only this kind: {', '.join(REGISTRIES)}"
    )
    parser.add_argument(
        "--check", action="store_true", help="import each module (slow), and show which are usable here"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--new",
        nargs=2,
        metavar=("KIND", "NAME"),
        help=f"write a distribution with a part of that name and its test; kinds: {', '.join(KINDS)}",
    )
    parser.add_argument("--out", metavar="FOLDER", help="folder that --new writes (by default named after the part)")
    return parser


def _show(listed: Mapping[str, Sequence[tuple[Entry, PartState | None]]], as_json: bool) -> None:
    if as_json:
        rows = {
            kind: [asdict(entry) | (asdict(state) if state is not None else {}) for entry, state in entries]
            for kind, entries in listed.items()
        }
        say_json(json.dumps(rows, indent=2))
        return
    from rich.table import Table

    console = make_console()
    for kind, entries in listed.items():
        table = Table(title=kind, title_justify="left", box=None, pad_edge=False)
        checked = any(state is not None for _, state in entries)
        for column in ("name", "owner", *(["state", "note"] if checked else ["class"])):
            table.add_column(column, overflow="fold")
        for entry, state in entries:
            said = [entry.target] if state is None else [state.state, state.note]
            table.add_row(*map(shown, (entry.name, entry.owner, *said)))
        console.print(table, "")
