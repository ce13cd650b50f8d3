"""Measure packing, and reading what was packed: clips a second by workers, size by form, decoding by form.

    python benchmarks/packing.py --clips FOLDER [--copies 8] [--workers 0 1 2] [--repeats 5]

FOLDER holds real clips; each is packed ``--copies`` times under other names. Packing is timed by the clock, once for
each number of workers. Decoding takes turns between the forms on one core and is given in processor time, since other
work may share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path

import torch

from affectgpt.media import MediaProfile
from affectgpt.shards import pack, read_index
from affectgpt.shards.forms.frames import FramesRecipe
from affectgpt.shards.read import ShardReader

PROFILE = MediaProfile()
FORMS = {
    "media": None,
    "frames, jpeg_qscale 2": FramesRecipe(PROFILE),
    "frames, jpeg_qscale 4": FramesRecipe(PROFILE, jpeg_qscale=4),
}


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sources = sorted(args.clips.glob("*.mp4"))
    versions = {name: metadata.version(name) for name in ("av", "torch")}
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "manifest.jsonl"
        lines = [
            {"name": f"{source.stem}-{copy}", "video": str(source.resolve())}
            for copy in range(args.copies)
            for source in sources
        ]
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        packing(manifest, Path(folder), args.workers)
        reading(Path(folder), args.repeats)


def packing(manifest: Path, folder: Path, workers: list[int]) -> None:
    """Pack every form with every number of workers; the last of each form is kept for reading."""
    print("\n| packed, clips/s by the clock | " + " | ".join(f"{count} workers" for count in workers) + " |")
    print("|---" * (len(workers) + 1) + "|")
    for form, recipe in FORMS.items():
        cells = []
        for count in workers:
            start = time.perf_counter()
            report = pack(manifest, folder / form, recipe=recipe, workers=count, overwrite=True)
            cells.append(f"{report.index.samples / (time.perf_counter() - start):.1f}")
        print(f"| {form} | {' | '.join(cells)} |", flush=True)


def reading(folder: Path, repeats: int) -> None:
    """Decode every form in turns, from an open shard to tensors."""
    milliseconds: dict[str, list[float]] = {form: [] for form in FORMS}
    indexes = {form: read_index(folder / form) for form in FORMS}
    for repeat in range(repeats + 1):  # the first warms up
        for form, index in indexes.items():
            shard = index.shards[0]
            with ShardReader(index.folder / shard.name, shard.samples) as reader:
                start = time.process_time()
                for place in range(shard.samples):
                    reader.load(place, PROFILE)
                spent = time.process_time() - start
            if repeat:
                milliseconds[form].append(1e3 * spent / shard.samples)
    seconds = indexes["media"].duration_seconds / indexes["media"].samples
    print(f"\nclips of {seconds:.1f} s on average; frames {PROFILE.frame_width}x{PROFILE.frame_height}\n")
    print("| form | kB a clip | ms a clip and core | clips/s/core |\n|---|---|---|---|")
    for form, index in indexes.items():
        spent = statistics.median(milliseconds[form])
        print(f"| {form} | {index.bytes / index.samples / 1e3:.0f} | {spent:.1f} | {1e3 / spent:.0f} |")


if __name__ == "__main__":
    main()
