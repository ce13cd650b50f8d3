"""Reads shards with affectgpt, shuffled, and with other loaders, side by side in one run.

Usage: python benchmarks/loaders.py [--clips 1200] [--clip-bytes 334000] [--repeats 5] [--out FILE]

Two kinds of work: ``bytes`` gives the members of every sample as they are; ``decode`` makes frames and waveform of
them, with the same function in every loader. Files are in the page cache. A cell is the median of the samples a second,
and in brackets how many times as fast affectgpt is; the repeats of the loaders take turns. `other_loaders.py` says
which there are, and how those are installed that affectgpt does not bring.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import webdataset
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from other_loaders import BATCH, Decode, Loader, installed

from affectgpt.media import MediaProfile
from affectgpt.shards import webdataset_pipeline
from affectgpt.shards.index import INDEX_FILE, ShardIndex, ShardInfo
from affectgpt.shards.read import decode_sample
from affectgpt.streaming import ShardStream
from clipmaker import make_clip

PROFILE = MediaProfile()


def make_shards(folder: Path, clips: Iterator[tuple[str, bytes]], per_shard: int) -> None:
    """Write tars and their index; what is in a clip does not matter."""
    folder.mkdir()
    infos, pending = [], list(clips)
    for first in range(0, len(pending), per_shard):
        part = pending[first : first + per_shard]
        path = folder / f"shard-{len(infos):06d}.tar"
        with webdataset.TarWriter(str(path), encoder=False) as tar:
            for key, content in part:
                text = json.dumps({"subtitle": "words", "labels": ["happy"]}).encode()
                tar.write({"__key__": key, "mp4": content, "json": text})
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        infos.append(ShardInfo(path.name, len(part), path.stat().st_size, digest, part[0][0], part[-1][0]))
    (folder / INDEX_FILE).write_text(json.dumps(ShardIndex(tuple(infos)).to_json()))


class BytesStream(ShardStream):
    """The same stream, without decoding."""

    def load(self, readers: Any, place: Any) -> Any:
        """Give the sample as it is."""
        part, shard, position = place
        return readers[part, shard].read(position)


def ours(folder: Path, decode: Decode, workers: int) -> Iterator[Any]:
    """Our stream: shuffled, four shards mixed."""
    kind = BytesStream if decode is as_it_is else ShardStream
    stream = kind(folder, PROFILE, shuffle=True, seed=1, block=BATCH)
    return iter(DataLoader(stream, batch_size=BATCH, num_workers=workers, collate_fn=list))


def pipeline(folder: Path, decode: Decode, workers: int) -> Iterator[Any]:
    """``webdataset_pipeline``, which always decodes: shuffled shards, and a buffer of samples."""
    clips = webdataset_pipeline(folder, PROFILE, shardshuffle=4).shuffle(4 * BATCH)
    return iter(DataLoader(clips, batch_size=BATCH, num_workers=workers, collate_fn=list))


def as_it_is(sample: dict[str, Any]) -> dict[str, Any]:
    """The members, not decoded."""
    return sample


def decoded(sample: dict[str, Any]) -> Any:
    """The clip."""
    members = {name: value for name, value in sample.items() if not name.startswith("_")}
    return decode_sample(sample["__key__"], members, PROFILE, None)


def samples_per_second(read: Loader, folder: Path, decode: Decode, workers: int) -> float:
    """One pass; the start of the workers is part of it."""
    start = time.perf_counter()
    count = sum(len(batch) for batch in read(folder, decode, workers))
    seconds = time.perf_counter() - start
    assert count == sum(shard["samples"] for shard in json.loads((folder / INDEX_FILE).read_text())["shards"])
    return count / seconds


def measured(readers: dict[str, Loader], folder: Path, decode: Decode, workers: int, repeats: int) -> str:
    """The cells of a row: the median of each loader's passes, and its ratio to ours; the passes take turns."""
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for repeat in range(repeats + 1):
        for name, read in readers.items():
            if read is pipeline and decode is as_it_is:
                continue
            rate = samples_per_second(read, folder, decode, workers)
            if repeat:  # the first pass fills the page cache
                rates[name].append(rate)
    medians = {name: statistics.median(found) for name, found in rates.items() if found}
    mine = medians["affectgpt"]
    shown = {name: f"{rate:,.0f} ({mine / rate:.2f})" for name, rate in medians.items()}
    return " | ".join(shown.get(name, "-") for name in readers)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1200)
    parser.add_argument("--clip-bytes", type=int, default=334_000)
    parser.add_argument("--decoded-clips", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    draw = random.Random(0)
    readers: dict[str, Loader] = {"affectgpt": ours, "webdataset_pipeline": pipeline, **installed()}
    lines = [f"| work | workers | {' | '.join(readers)} |", "|---|---|" + "---|" * len(readers)]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as root:
        raw, clips = Path(root, "bytes"), Path(root, "decode")
        make_shards(raw, ((f"clip{i:06d}", draw.randbytes(args.clip_bytes)) for i in range(args.clips)), 100)
        video = make_clip(4.0, size=(640, 360))
        make_shards(clips, ((f"clip{i:06d}", video) for i in range(args.decoded_clips)), 12)
        for folder, decode in ((raw, as_it_is), (clips, decoded)):
            for workers in (0, 2):
                lines.append(
                    f"| {folder.name} | {workers} | {measured(readers, folder, decode, workers, args.repeats)} |"
                )
                print(lines[-1], flush=True)
    if args.out:
        names = ["torch", "webdataset", "av", "numpy"]
        names += [
            name for name in ("mosaicml-streaming", "megatron-energon") if name.rpartition("-")[2] in str(readers)
        ]
        packages = ", ".join(f"{name} {version(name)}" for name in names)
        options = {"clips": args.clips, "decoded-clips": args.decoded_clips, "repeats": args.repeats}
        command = " ".join(["python benchmarks/loaders.py", *(f"--{name} {value}" for name, value in options.items())])
        args.out.write_text(
            "# Streaming: affectgpt beside other loaders\n\n"
            f"`{command}` on {os.cpu_count()} cores of {platform.machine()}, shared with other work; Python "
            f"{platform.python_version()}, {packages}. {args.clips} clips of {args.clip_bytes:,} bytes in shards of "
            f"100 (`bytes`), {args.decoded_clips} clips of 4 s at 640x360 in shards of 12 (`decode`), page cache warm, "
            f"medians of {args.repeats} alternating passes, start of the workers included.\n\n"
            + "\n".join(lines)
            + "\n"
        )


if __name__ == "__main__":
    main()
