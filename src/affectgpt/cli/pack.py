"""The verb ``pack``: writes clips and a manifest as WebDataset shards."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from affectgpt.cli.progress import Progress
from affectgpt.cli.terminal import say, say_json
from affectgpt.cli.verb_parser import VerbParser
from affectgpt.errors import ConfigError
from affectgpt.files import parse_json

if TYPE_CHECKING:
    from affectgpt.manifests.manifest import Layout
    from affectgpt.shards.forms.frames import FramesRecipe
    from affectgpt.shards.packing import Review

_LAYOUTS = ("mer2025", "mer2026")


def run(verb: str, argv: Sequence[str]) -> int:
    """Pack a manifest.

    Raises:
        ConfigError: If an argument does not fit.
        DataError: If the manifest or a clip is bad.
    """
    args = parser().parse_args(argv)
    recipe = _recipe(args)
    _unpack(args)
    layout = _layout(args)
    leave_out = _overlap(args, layout)
    from affectgpt.shards.packing import pack

    stored = "original files" if recipe is None else f"{recipe.profile.num_frames} JPEG frames and FLAC sound"
    with Progress("packing", "clips") as progress:
        progress.say(f"packing {args.manifest} into {args.out}: {stored}; every clip is decoded as a check")
        report = pack(
            args.manifest,
            args.out,
            layout=layout,
            subtitle=args.subtitle if layout is None else None,
            recipe=recipe,
            face_detector=args.face_detector if args.faces else None,
            samples_per_shard=args.samples_per_shard,
            shard_bytes=round(args.shard_mb * 1e6),
            workers=args.workers,
            split=args.split,
            labelled_only=args.skip_unlabelled,
            leave_out=leave_out,
            review=_review(args),
            skip_bad=args.skip_bad,
            overwrite=args.overwrite,
            restart=args.restart,
            provenance=dict(_pair(text) for text in args.provenance),
            progress=progress.update,
        )
    index = report.index
    for remark in report.remarks:
        say(remark)
    if report.num_resumed:
        say(f"resumed after {report.num_resumed} clips of an earlier run")
    say(
        f"packed {index.samples} samples ({index.bytes / 1e6:.1f} MB, {index.duration_seconds / 3600:.2f} h) in "
        f"{len(index.shards)} shard(s) at {args.out}"
    )
    if report.rejects:
        codes = sorted({problem.code for problem in report.rejects})
        say(f"left out {len(report.rejects)} ({', '.join(codes)}); {args.out}/rejects.jsonl has the reasons")
    if report.num_noted:
        say(f"{report.num_noted} have notes on damage or doubt in their json (media_notes, manifest_notes)")
    out = shlex.quote(args.out)
    say(f"next: affectgpt check {out}, then affectgpt fit --config CONFIG.yaml --data.args.train {out}")
    if args.json:
        say_json(json.dumps(index.to_json(), indent=2, ensure_ascii=False))
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = VerbParser(
        prog="affectgpt pack",
        description="Write clips as WebDataset shards with an index. A manifest has, for each clip, name, video, and "
        "optionally audio, subtitle, labels, description, faces, split; paths are relative to it. A folder is packed "
        "with every media file in it. After an interruption the same command resumes where it stopped.",
        epilog="example: affectgpt pack clips/manifest.jsonl shards/train --split train   |   "
        "affectgpt pack mer2025-dataset shards/plus --layout mer2025 --form frames --skip-bad   |   "
        "affectgpt pack mer2026-dataset shards/human --layout mer2026 --subset track2_train_human",
    )
    parser.add_argument("manifest", help=".jsonl, .csv, .tsv or .parquet file, or a folder")
    parser.add_argument("out", help="folder to make")
    parser.add_argument("--split", help="only the entries of this split")
    parser.add_argument("--skip-unlabelled", action="store_true", help="leave out clips without labels and description")
    parser.add_argument(
        "--review", metavar="FILE", help="decisions of people, from app --annotations; they replace labels"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave bad clips out, and list them in rejects.jsonl")
    parser.add_argument(
        "--subtitle",
        metavar="LANGUAGE",
        help="of a folder with subtitles in several languages: en takes u1.en.srt; of a published layout: english "
        "(default), chinese, or of mer2026 english,chinese",
    )
    layout = parser.add_argument_group("published layouts")
    layout.add_argument("--layout", choices=list(_LAYOUTS), help="the published layout of the folder")
    layout.add_argument(
        "--subset",
        help="of mer2025: mercaptionplus (default), ovmerd, or of one's own; of mer2026: a table without .csv, such as "
        "track2_train_human (default track2_train_mercaptionplus)",
    )
    layout.add_argument("--ignore", action="append", default=[], metavar="PART", help="audio, faces or subtitle")
    layout.add_argument("--descriptions", metavar="FILE", help="of mer2026: table with name and reason, joined by name")
    layout.add_argument(
        "--unpack", metavar="FOLDER", help="of mer2026: unpack the subset's archives into this folder first"
    )
    overlap = parser.add_argument_group("clips of other sets")
    overlap.add_argument("--against", metavar="SET", help="refuse to pack clips of this set: shards, manifest, table")
    overlap.add_argument("--leave-out-overlap", action="store_true", help="leave the clips of that set out instead")
    overlap.add_argument("--allow-overlap", action="store_true", help="pack them nevertheless")
    form = parser.add_argument_group("form of a sample")
    form.add_argument(
        "--form", choices=["media", "frames"], default="media", help="original files, or frames and sound"
    )
    form.add_argument(
        "--media", metavar="PROFILE", help="of frames: a name (official) or JSON such as '{\"num_frames\": 4}'"
    )
    form.add_argument("--jpeg-qscale", type=int, metavar="Q", help="of frames: 1 (best) to 31, FFmpeg's scale (2)")
    form.add_argument("--faces", action="store_true", help="find the main face of clips without face crops")
    form.add_argument(
        "--face-detector", default="centerface", metavar="NAME", help="the detector that finds it (centerface)"
    )
    shards = parser.add_argument_group("shards")
    shards.add_argument("--samples-per-shard", type=int, default=512, help="most samples in a tar (512)")
    shards.add_argument("--shard-mb", type=float, default=256.0, help="size at which a tar ends, in MB (256)")
    shards.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes for decoding (all cores)")
    shards.add_argument("--overwrite", action="store_true", help="replace the shard folder if it exists")
    shards.add_argument("--restart", action="store_true", help="discard an unfinished packing instead of resuming it")
    shards.add_argument(
        "--provenance", action="append", default=[], metavar="KEY=VALUE", help="a fact for the index: licence=CC-BY-4.0"
    )
    parser.add_argument("--json", action="store_true", help="print the index")
    return parser


def _recipe(args: argparse.Namespace) -> FramesRecipe | None:
    if args.form == "media":
        if args.media or args.jpeg_qscale:
            raise ConfigError("--media and --jpeg-qscale say how frames are stored; give --form frames")
        return None
    from affectgpt.media.profile import MediaProfile
    from affectgpt.shards.forms.frames import FramesRecipe

    media = args.media
    if media is not None and media.lstrip().startswith("{"):
        media = parse_json(media, f"--media {media[:200]!r}")
    return FramesRecipe(MediaProfile.of(media), args.jpeg_qscale or 2)


def _review(args: argparse.Namespace) -> Review | None:
    if args.review is None:
        return None
    from affectgpt.annotate import ReviewedRecords

    return ReviewedRecords(args.review)


def _layout(args: argparse.Namespace) -> Layout | None:
    own = ("subset", "subtitle", "descriptions", "unpack")
    if args.layout is None:
        if args.ignore or any(getattr(args, name) for name in own if name != "subtitle"):
            raise ConfigError(
                "--subset, --ignore, --descriptions and --unpack belong to a published layout; give "
                f"--layout {' or '.join(_LAYOUTS)}"
            )
        return None
    chosen = {name: value for name in ("subset", "subtitle") if (value := getattr(args, name)) is not None}
    if args.layout == "mer2025":
        if args.descriptions or args.unpack:
            raise ConfigError("--descriptions and --unpack belong to --layout mer2026")
        from affectgpt.manifests.mer2025 import Mer2025

        return Mer2025(**chosen, ignore=tuple(args.ignore))
    from affectgpt.manifests.mer2026 import Mer2026

    return Mer2026(**chosen, ignore=tuple(args.ignore), descriptions=args.descriptions, media=args.unpack)


def _unpack(args: argparse.Namespace) -> None:
    """Unpack the archives of the subset if asked to."""
    if not args.unpack or args.layout != "mer2026":
        return
    from affectgpt.manifests.mer2026 import Mer2026
    from affectgpt.manifests.mer2026_archives import unpack_archives

    subset = args.subset or Mer2026().subset
    with Progress("unpacking", "MB") as progress:
        progress.say(f"unpacking the archives of {subset} into {args.unpack}")
        done = unpack_archives(
            Path(args.manifest),
            subset,
            Path(args.unpack),
            tuple(args.ignore),
            lambda copied, total: progress.update(copied // 10**6, total // 10**6),
        )
        progress.say(
            f"unpacked {done.written} files, {done.replaced} of them in place of others; {done.kept} were there, and "
            f"{done.passed_over} belong to clips that "
            f"{subset}.csv does not name"
        )


def _overlap(args: argparse.Namespace, layout: Layout | None) -> tuple[str, ...]:
    """The clips to leave out because the set of ``--against`` has them.

    Raises:
        DataError: If they share clips, and no option says what to do with them.
    """
    if args.against is None:
        if args.leave_out_overlap or args.allow_overlap:
            raise ConfigError("--leave-out-overlap and --allow-overlap need the other set; give --against SET")
        return ()
    from affectgpt.cli.check_leak import refuse_leak
    from affectgpt.shards.leak import find_leak, list_set

    found = find_leak(list_set(args.manifest, layout), list_set(args.against))
    if not (args.leave_out_overlap or args.allow_overlap):
        refuse_leak(found, "give --leave-out-overlap to pack the others, or --allow-overlap to pack all")
    if found.names:
        say(f"{found.describe()}; {'they are left out' if args.leave_out_overlap else 'they are packed nevertheless'}")
    return found.names if args.leave_out_overlap else ()


def _pair(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found:
        raise ConfigError(f"--provenance takes KEY=VALUE, such as licence=CC-BY-4.0, but got {text!r}")
    return key, value
