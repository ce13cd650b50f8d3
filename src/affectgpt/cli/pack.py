"""The verb ``pack``: writes clips and a manifest as WebDataset shards."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence

from affectgpt.errors import ConfigError


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
    noted = f"; {report.num_noted} had damage that was skipped (media_notes)" if report.num_noted else ""
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
        description="Write clips as WebDataset shards with an index. A manifest is a file of JSON lines: name, video, "
        "and optionally audio, subtitle, labels, description, faces, split; paths are relative to the manifest.",
        epilog="example: affectgpt pack clips/manifest.jsonl shards/train --split train",
    )
    parser.add_argument("manifest", help="file of JSON lines")
    parser.add_argument("out", help="folder to make")
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


def _pair(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found:
        raise ConfigError(f"--provenance takes KEY=VALUE, such as licence=CC-BY-4.0, but got {text!r}")
    return key, value
