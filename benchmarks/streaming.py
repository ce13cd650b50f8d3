"""Reads shards with affectgpt, shuffled, and with plain sequential WebDataset, side by side in one run.

Usage: python benchmarks/streaming.py [--clips 1200] [--clip-bytes 334000] [--repeats 5] [--out FILE]

Two kinds of work: ``bytes`` gives the members of every sample as they are; ``decode`` makes frames and waveform of
them, with the same function on both sides. Files are in the page cache. Ratios are of medians; the repeats alternate.
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
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import webdataset
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from affectgpt.media import MediaProfile
from affectgpt.shards.index import INDEX_FILE, ShardIndex, ShardInfo
from affectgpt.shards.read import decode_sample
from affectgpt.streaming import ShardStream
from clipmaker import make_clip

PROFILE = MediaProfile()
BATCH = 8


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


def ours(folder: Path, work: str, workers: int) -> Iterator[Any]:
    """Our stream: shuffled, four shards mixed."""
    kind = ShardStream if work == "decode" else BytesStream
    stream = kind(folder, PROFILE, shuffle=True, seed=1, block=BATCH)
    return iter(DataLoader(stream, batch_size=BATCH, num_workers=workers, collate_fn=list))


def theirs(folder: Path, work: str, workers: int) -> Iterator[Any]:
    """WebDataset: in the order of the files, each worker its own shards."""
    urls = sorted(str(path) for path in folder.glob("*.tar"))
    data = webdataset.WebDataset(urls, shardshuffle=False, nodesplitter=None, workersplitter=webdataset.split_by_worker)
    if work == "decode":
        data = data.map(_decode)
    return iter(DataLoader(data, batch_size=BATCH, num_workers=workers, collate_fn=list))


def _decode(sample: dict[str, Any]) -> Any:
    members = {name: value for name, value in sample.items() if not name.startswith("_")}
    return decode_sample(sample["__key__"], members, PROFILE, None)


def samples_per_second(read: Callable[[Path, str, int], Iterator[Any]], folder: Path, work: str, workers: int) -> float:
    """One pass; the start of the workers is part of it."""
    start = time.perf_counter()
    count = sum(len(batch) for batch in read(folder, work, workers))
    seconds = time.perf_counter() - start
    assert count == sum(shard["samples"] for shard in json.loads((folder / INDEX_FILE).read_text())["shards"])
    return count / seconds


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
    lines = ["| work | workers | affectgpt, samples/s | WebDataset, samples/s | ratio | ratio of the fastest passes |"]
    lines.append("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as root:
        raw, clips = Path(root, "bytes"), Path(root, "decode")
        make_shards(raw, ((f"clip{i:06d}", draw.randbytes(args.clip_bytes)) for i in range(args.clips)), 100)
        video = make_clip(4.0, size=(640, 360))
        make_shards(clips, ((f"clip{i:06d}", video) for i in range(args.decoded_clips)), 12)
        for work, folder in (("bytes", raw), ("decode", clips)):
            for workers in (0, 2):
                rates: dict[str, list[float]] = {"ours": [], "theirs": []}
                for repeat in range(args.repeats + 1):
                    for name, read in (("ours", ours), ("theirs", theirs)):
                        rate = samples_per_second(read, folder, work, workers)
                        if repeat:  # the first pass fills the page cache
                            rates[name].append(rate)
                mine, other = (statistics.median(rates[name]) for name in ("ours", "theirs"))
                best = max(rates["ours"]) / max(rates["theirs"])
                lines.append(f"| {work} | {workers} | {mine:,.0f} | {other:,.0f} | {mine / other:.2f} | {best:.2f} |")
                print(lines[-1], flush=True)
    if args.out:
        packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "webdataset", "av", "numpy"))
        options = {"clips": args.clips, "decoded-clips": args.decoded_clips, "repeats": args.repeats}
        command = " ".join(
            ["python benchmarks/streaming.py", *(f"--{name} {value}" for name, value in options.items())]
        )
        args.out.write_text(
            "# Streaming: shuffled affectgpt shards beside sequential WebDataset\n\n"
            f"`{command}` on {os.cpu_count()} cores of {platform.machine()}, shared with other work; Python "
            f"{platform.python_version()}, {packages}. {args.clips} clips of {args.clip_bytes:,} bytes in shards of "
            f"100 (`bytes`), {args.decoded_clips} clips of 4 s at 640x360 in shards of 12 (`decode`), page cache warm, "
            f"medians of {args.repeats} alternating passes, start of the workers included.\n\n"
            + "\n".join(lines)
            + "\n"
        )


if __name__ == "__main__":
    main()
