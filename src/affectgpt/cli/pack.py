"""The verb ``pack``: writes clips and a manifest as WebDataset shards."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    from affectgpt.datamodules.manifests import Layout


def run(verb: str, argv: Sequence[str]) -> int:
    """Pack a manifest.

    Raises:
        ConfigError: If an argument does not fit.
        DataError: If the manifest or a clip is bad.
    """
    args = _parser().parse_args(argv)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from affectgpt.datamodules.shards import pack

    console = Console(stderr=True)
    console.print(f"packing {args.manifest} into {args.out}: every clip is decoded once, as a test")
    columns = (TextColumn("packing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("pack", total=None)
        report = pack(
            args.manifest,
            args.out,
            layout=_layout(args),
            samples_per_shard=args.samples_per_shard,
            shard_bytes=round(args.shard_mb * 1e6),
            workers=args.workers,
            split=args.split,
            labelled_only=args.skip_unlabelled,
            skip_bad=args.skip_bad,
            overwrite=args.overwrite,
            restart=args.restart,
            provenance=dict(_pair(text) for text in args.provenance),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    index = report.index
    left_out = f"; left out {len(report.rejects)}, see {args.out}/rejects.jsonl" if report.rejects else ""
    noted = (
        f"; {report.num_noted} had something skipped or unclear (media_notes, manifest_notes)"
        if report.num_noted
        else ""
    )
    print(
        f"packed {index.samples} samples ({index.bytes / 1e6:.1f} MB) in {len(index.shards)} shard(s) "
        f"at {args.out}{left_out}{noted}"
    )
    if args.json:
        print(json.dumps(index.to_json(), indent=2, ensure_ascii=False))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="affectgpt pack",
        description="Write clips as WebDataset shards with an index. A manifest has, for each clip, name, video, and "
        "optionally audio, subtitle, labels, description, faces, split; paths are relative to it. A folder is packed "
        "with every media file in it. After an interruption the same command goes on where it stopped.",
        epilog="example: affectgpt pack clips/manifest.jsonl shards/train --split train   |   "
        "affectgpt pack mer2025-dataset shards/plus --layout mer2025 --skip-bad",
    )
    parser.add_argument("manifest", help=".jsonl, .csv, .tsv or .parquet file, or a folder")
    parser.add_argument("out", help="folder to make")
    published = parser.add_argument_group("published layouts")
    published.add_argument(
        "--layout", choices=["mer2025"], help="how the folder is laid out: as the authors publish it"
    )
    published.add_argument("--subset", help="tables of labels: mercaptionplus (default), ovmerd, or of one's own")
    published.add_argument("--subtitle", help="column of the subtitle: english (default) or chinese")
    published.add_argument("--ignore", action="append", default=[], metavar="PART", help="audio, faces or subtitle")
    parser.add_argument("--split", help="only the lines of this split")
    parser.add_argument("--samples-per-shard", type=int, default=512, help="most samples in a tar (512)")
    parser.add_argument("--shard-mb", type=float, default=256.0, help="size at which a tar ends, in MB (256)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that decode (all cores)")
    parser.add_argument("--skip-unlabelled", action="store_true", help="leave out clips without labels and description")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad clips out, listed in rejects.jsonl")
    parser.add_argument("--overwrite", action="store_true", help="replace the shard folder if it is there")
    parser.add_argument("--restart", action="store_true", help="begin anew where an unfinished packing would go on")
    parser.add_argument(
        "--provenance", action="append", default=[], metavar="KEY=VALUE", help="a fact for the index: licence=CC-BY-4.0"
    )
    parser.add_argument("--json", action="store_true", help="print the index")
    return parser


def _layout(args: argparse.Namespace) -> Layout | None:
    if args.layout is None:
        if args.subset or args.subtitle or args.ignore:
            raise ConfigError("--subset, --subtitle and --ignore belong to a published layout; give --layout mer2025")
        return None
    from affectgpt.datamodules.mer2025 import Mer2025

    chosen = {name: value for name in ("subset", "subtitle") if (value := getattr(args, name)) is not None}
    return Mer2025(**chosen, ignore=tuple(args.ignore))


def _pair(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found:
        raise ConfigError(f"--provenance takes KEY=VALUE, such as licence=CC-BY-4.0, but got {text!r}")
    return key, value
