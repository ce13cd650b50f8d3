"""The words ``export`` and ``import`` of the verb ``annotate``: sets in the JSON forms of others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from affectgpt.cli.terminal import say, say_json
from affectgpt.cli.verb_parser import VerbParser

_MOST_SHOWN = 5


def run_export(argv: Sequence[str]) -> int:
    """Write an annotated set in another form."""
    from affectgpt.annotate.data_set import MANIFEST_FILE
    from affectgpt.annotate.exchange import DEFAULT_QUESTION, export_set

    args = export_parser().parse_args(argv)
    source = Path(args.set)
    manifest = source / MANIFEST_FILE if source.is_dir() and (source / MANIFEST_FILE).is_file() else source
    written, left = export_set(manifest, args.file, args.form, args.question or DEFAULT_QUESTION)
    if args.json:
        say_json(json.dumps({"file": args.file, "form": args.form, "clips": written, "left_out": left}))
        return 0
    say(
        f"wrote {written:,} clips into {args.file} as {args.form}" + (f"; {left:,} have no description" if left else "")
    )
    return 0


def run_import(argv: Sequence[str]) -> int:
    """Make a manifest of a set in another form; exit with 1 if an entry cannot be used."""
    from affectgpt.annotate.exchange import import_set

    args = import_parser().parse_args(argv)
    written, problems = import_set(args.file, args.manifest, args.form, args.media)
    say(f"wrote {written:,} clips into {args.manifest}")
    if args.json:
        told = [str(problem) for problem in problems]
        say_json(json.dumps({"manifest": args.manifest, "clips": written, "left_out": told}, indent=2))
    for problem in problems[:_MOST_SHOWN]:
        say(f"left out: {problem}", err=True)
    if problems:
        say(f"{len(problems):,} entries were left out", err=True)
    return int(bool(problems))


def export_parser() -> VerbParser:
    """The options of ``export``."""
    parser = VerbParser(
        prog="affectgpt annotate export",
        description="Write an annotated set, or any manifest, in the JSON form of another project.",
        epilog="example: affectgpt annotate export annotated set.jsonl --form llama-factory",
    )
    parser.add_argument("set", help="folder that annotate wrote, or a manifest")
    parser.add_argument("file", help="file to write: .jsonl, or .json for merr")
    parser.add_argument("--form", choices=["sharegpt", "llama-factory", "merr"], required=True, help="of the file")
    parser.add_argument("--question", help="what is asked about a description (the published question)")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    return parser


def import_parser() -> VerbParser:
    """The options of ``import``."""
    parser = VerbParser(
        prog="affectgpt annotate import",
        description="Make a manifest of clips that others described, to filter, review or pack them.",
        epilog="example: affectgpt annotate import MERR_fine_grained.json merr.jsonl --form merr --media videos",
    )
    parser.add_argument("file", help=".jsonl, or .json with a list or an object")
    parser.add_argument("manifest", help="manifest to write, .jsonl")
    parser.add_argument("--form", choices=["sharegpt", "llama-factory", "merr"], required=True, help="of the file")
    parser.add_argument("--media", help="folder of the media (that of the file)")
    parser.add_argument("--json", action="store_true", help="print the counts and what was left out as JSON")
    return parser
