"""The verb ``parts``: lists what the registry holds, and what is broken."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from affectgpt.registry import ASRS, DATAMODULES, ENCODERS, FACE_DETECTORS, LLMS, POOLINGS, PREFUSIONS, Registry

REGISTRIES: dict[str, Registry[Any]] = {
    "encoders": ENCODERS,
    "poolings": POOLINGS,
    "prefusions": PREFUSIONS,
    "llms": LLMS,
    "datamodules": DATAMODULES,
    "face_detectors": FACE_DETECTORS,
    "asrs": ASRS,
}


def run(verb: str, argv: Sequence[str]) -> int:
    """List the parts; with ``--check``, import each and exit with 1 if any is broken."""
    parser = argparse.ArgumentParser(
        prog="affectgpt parts",
        description="List the registered parts: name, owner, class.",
        epilog="example: affectgpt parts encoders --check",
    )
    parser.add_argument("kind", nargs="?", choices=REGISTRIES, help="only this kind")
    parser.add_argument("--check", action="store_true", help="import each part (slow), and show what is broken")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    kinds = [args.kind] if args.kind else list(REGISTRIES)
    listed = {kind: REGISTRIES[kind].check() if args.check else REGISTRIES[kind].entries() for kind in kinds}
    if args.json:
        print(json.dumps({kind: [asdict(e) for e in entries] for kind, entries in listed.items()}, indent=2))
    else:
        from rich.console import Console
        from rich.table import Table

        console = Console()
        for kind, entries in listed.items():
            table = Table(title=kind, title_justify="left", box=None, pad_edge=False)
            for column in ("name", "owner", "class", *(["state"] if args.check else [])):
                table.add_column(column, overflow="fold")
            for entry in entries:
                state = [f"[red]broken[/red]: {entry.problem}" if entry.problem else "ok"] if args.check else []
                table.add_row(entry.name, entry.owner, entry.target, *state)
            console.print(table, "")
    return int(any(entry.problem for entries in listed.values() for entry in entries))
