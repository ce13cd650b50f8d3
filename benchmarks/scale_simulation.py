"""Deals 100 million clips in 10,000 shards out to 512 ranks x 8 workers, with indices only.

Usage: python benchmarks/scale_simulation.py [--clips 100000000] [--shards 10000] [--ranks 512] [--workers 8]
           [--batch 8] [--resume-from 64] [--out FILE]

The index is a real ``index.json``; its shards are sparse files of the size that it says, so that the check at the start
of a run is the real one. Every process measured is one of its own. What is asserted holds or the script fails.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from affectgpt.shards.index import INDEX_FILE, ShardIndex, ShardInfo, read_index
from affectgpt.streaming.epoch_plan import EpochPlan, Piece
from affectgpt.streaming.mixture import MixtureOrder

CLIP_BYTES = 100_000


def make_set(folder: Path, clips: int, shards: int) -> None:
    """An index and sparse shards; the sizes vary by a tenth, as those of real sets do."""
    infos = []
    for number in range(shards):
        count = clips // shards + (clips // shards // 20) * (1 if number % 2 else -1)
        name = f"shard-{number:06d}.tar"
        digest = hashlib.sha256(name.encode()).hexdigest()
        infos.append(ShardInfo(name, count, count * CLIP_BYTES, digest, f"clip{number:06d}a", f"clip{number:06d}z"))
        with (folder / name).open("wb") as file:
            file.truncate(count * CLIP_BYTES)
    (folder / INDEX_FILE).write_text(json.dumps(ShardIndex(tuple(infos)).to_json(), indent=1))


def order_of(index: ShardIndex, epoch: int = 0) -> MixtureOrder:
    """The order of an epoch."""
    counts = [[shard.samples for shard in index.shards]]
    return MixtureOrder(counts, [index.samples], seed=42, epoch=epoch, shuffle=True)


def start_of_rank(folder: Path, rank: int, ranks: int, batch: int, skip_steps: int) -> dict[str, float]:
    """What a rank does before its first sample, in a process of its own."""
    bare_mb = memory_mb()
    begin = time.perf_counter()
    index = read_index(folder)
    read = time.perf_counter()
    plan = EpochPlan(((0, index.samples),), ranks, batch)
    (start, stop), *_ = plan.of_rank(rank, skip_steps)
    next(order_of(index, epoch=3).walk(start, stop))
    first = time.perf_counter()
    full_mb = memory_mb()
    return {"index": read - begin, "sampler": first - read, "process_mb": full_mb, "grown_mb": full_mb - bare_mb}


def memory_mb() -> float:
    """Most memory that this process has had; ``getrusage`` would count its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def covers(pieces: Iterable[Piece], num_samples: int) -> bool:
    """Whether pieces hold every position once."""
    ordered = sorted(pieces)
    ends = [0, *(stop for _, stop in ordered)]
    return [start for start, _ in ordered] == ends[:-1] and ends[-1] == num_samples


def balance(index: ShardIndex, ranks: int, workers: int, batch: int) -> list[str]:
    """Samples per rank and worker, and shards that they open."""
    plan = EpochPlan(((0, index.samples),), ranks, batch)
    shares = [plan.of_rank(rank) for rank in range(ranks)]
    left_out = [plan.reserve_of(rank) for rank in range(ranks)]
    assert covers(itertools.chain(*shares, *left_out), index.samples)
    sizes = {sum(b - a for a, b in share) for share in shares}
    assert sizes == {plan.share}
    opened, per_worker = [], Counter[int]()
    order = order_of(index)
    for rank in range(0, ranks, max(1, ranks // 4)):
        shards = set()
        for number, (_, shard, _) in enumerate(order.walk(*shares[rank][0])):
            shards.add(shard)
            per_worker[rank, number // batch % workers] += 1  # type: ignore[index]
        opened.append(len(shards))
    least, most = min(per_worker.values()), max(per_worker.values())
    return [
        f"| samples per rank | {plan.share:,} on every rank, in {plan.steps:,} steps |",
        f"| samples per worker | {least:,} to {most:,} |",
        f"| left out of the epoch | {index.samples - ranks * plan.share:,} of {index.samples:,} |",
        f"| shards that a rank opens | {min(opened)} to {max(opened)} of {len(index.shards):,} |",
    ]


def resume(num_samples: int, sizes: Sequence[int], batch: int) -> list[str]:
    """Stop an epoch twice in the middle and go on with other numbers of ranks, in positions of the sequence."""
    lines, pieces, read = [], ((0, num_samples),), list[Piece]()
    for number, ranks in enumerate(sizes):
        plan = EpochPlan(tuple(pieces), ranks, batch)
        last = number == len(sizes) - 1
        steps = plan.steps if last else plan.steps * 2 // 5
        begin = time.perf_counter()
        pieces = plan.rest(steps, [0] * ranks)
        for rank in range(ranks):
            share, rest = plan.of_rank(rank), plan.of_rank(rank, steps)
            first = rest[0][0] if rest else None
            for start, stop in share:
                if rest and start <= first < stop:
                    read += [(start, first)] if first > start else []
                    break
                read.append((start, stop))
        seconds = time.perf_counter() - begin
        state = len(json.dumps(plan.to_json()))
        assert covers([*read, *pieces], num_samples)
        lines.append(
            f"| {ranks} ranks make {steps:,} of {plan.steps:,} steps | {len(pieces):,} pieces left, "
            f"{sum(b - a for a, b in pieces):,} clips; {seconds:.2f} s; {state:,} bytes in the checkpoint |"
        )
    return lines


def walk_all(index: ShardIndex, sizes: Sequence[int], batch: int) -> str:
    """The same with every sample walked, for a set small enough."""
    seen = Counter[tuple[int, int]]()
    pieces: tuple[Piece, ...] = ((0, index.samples),)
    order = order_of(index)
    for number, ranks in enumerate(sizes):
        plan = EpochPlan(pieces, ranks, batch)
        steps = plan.steps if number == len(sizes) - 1 else plan.steps * 2 // 5
        for rank in range(ranks):
            left = steps * batch
            for start, stop in plan.of_rank(rank):
                seen.update((shard, place) for _, shard, place in order.walk(start, min(stop, start + left)))
                left -= min(left, stop - start)
        pieces = plan.rest(steps, [0] * ranks)
    for start, stop in pieces:
        seen.update((shard, place) for _, shard, place in order.walk(start, stop))
    everything = {(number, place) for number, shard in enumerate(index.shards) for place in range(shard.samples)}
    assert set(seen) == everything
    assert set(seen.values()) == {1}
    return f"| every sample of {index.samples:,} walked | each once over {' -> '.join(map(str, sizes))} ranks |"


def main() -> None:
    """Simulate, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000_000)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--ranks", type=int, default=512)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--resume-from", type=int, default=64)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--start-of-rank", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.start_of_rank:
        folder, rank, skip = args.start_of_rank
        print(json.dumps(start_of_rank(Path(folder), int(rank), args.ranks, args.batch, int(skip))))
        return
    lines = ["| at the start of a rank | |", "|---|---|"]
    with tempfile.TemporaryDirectory() as root:
        folder, small = Path(root, "set"), Path(root, "small")
        folder.mkdir()
        small.mkdir()
        make_set(folder, args.clips, args.shards)
        make_set(small, args.clips // 100, args.shards)
        index = read_index(folder)
        size = (folder / INDEX_FILE).stat().st_size
        lines.append(
            f"| `index.json` | {size / 1e6:.1f} MB for {len(index.shards):,} shards, {index.samples:,} clips |"
        )
        steps = EpochPlan(((0, index.samples),), args.ranks, args.batch).steps
        for name, rank, skip in (("first rank", 0, 0), ("last rank, in mid-epoch", args.ranks - 1, steps // 2)):
            command = [sys.executable, __file__, "--ranks", str(args.ranks), "--batch", str(args.batch)]
            command += ["--start-of-rank", str(folder), str(rank), str(skip)]
            figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            lines.append(
                f"| {name} | {figures['index']:.2f} s to read the index and look at every shard, "
                f"{figures['sampler']:.2f} s to the first sample; the process has {figures['process_mb']:.0f} MB, "
                f"{figures['grown_mb']:.0f} MB more than before |"
            )
            assert figures["index"] + figures["sampler"] < 5 or os.getloadavg()[0] > (os.cpu_count() or 1)
            assert figures["process_mb"] < 200
        lines += ["", "| balance | |", "|---|---|", *balance(index, args.ranks, args.workers, args.batch)]
        sizes = (args.resume_from, args.ranks, args.resume_from)
        lines += ["", "| resuming with other ranks | |", "|---|---|", *resume(index.samples, sizes, args.batch)]
        lines.append(walk_all(read_index(small), sizes, args.batch))
    print("\n".join(lines))
    if args.out:
        args.out.write_text(
            f"# {args.clips:,} clips on {args.ranks} ranks x {args.workers} workers, simulated\n\n"
            f"`python benchmarks/scale_simulation.py` on {os.cpu_count()} cores of {platform.machine()}, shared with "
            f"other work (load {os.getloadavg()[0]:.1f}); Python {platform.python_version()}. Batches of {args.batch} "
            "on each rank, four shards mixed. No media: the index is a real file, the shards are sparse.\n\n"
            + "\n".join(lines)
            + "\n"
        )


if __name__ == "__main__":
    main()
