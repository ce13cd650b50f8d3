"""Measures a vote over ten systems, files read and written: seconds and peak memory, beside a plain loop over samples.

    python benchmarks/voting.py [--samples 100000] [--systems 10] [--out FILE]

Each way runs in a process of its own, on the same files. The systems answer with one to eight words from a vocabulary
of 1,200, the more frequent the lower their number, as the labels of real systems are. What both ways give is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

VOCABULARY = 1_200
WAYS = ("affectgpt", "affectgpt --rule wheel", "plain loop")


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--systems", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        make_systems(Path(folder), args.samples, args.systems)
        lines = report(measure(Path(folder), args), args)
    print(lines)
    if args.out:
        args.out.write_text(lines, "utf-8")


def make_systems(folder: Path, samples: int, systems: int) -> None:
    """One file of predictions a system, in JSON lines."""
    draw = random.Random(0)
    words = [f"word{number:04d}" for number in range(VOCABULARY)]
    weights = [1 / (1 + number) for number in range(VOCABULARY)]
    for system in range(systems):
        flat = draw.choices(words, weights, k=8 * samples)
        with (folder / f"system{system}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(samples):
                said = list(dict.fromkeys(flat[8 * number : 8 * number + draw.randint(1, 8)]))
                file.write(json.dumps({"name": f"clip_{number:07d}", "labels": said}) + "\n")


def measure(folder: Path, args: argparse.Namespace) -> dict[str, list[tuple[float, ...]]]:
    """Seconds by the clock and of the processor, and peak memory in GB of each way; the ways take turns."""
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for _ in range(args.repeats):
        for way in WAYS:
            start = time.perf_counter()
            process = subprocess.Popen([sys.executable, __file__, "--work", way, "--folder", str(folder)])
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{way} ended with status {status}")
            seconds = time.perf_counter() - start
            found[way].append((seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6))
    first = (folder / "affectgpt.jsonl").read_text("utf-8")
    assert first == (folder / "plain loop.jsonl").read_text("utf-8"), "the two ways differ"
    return found


def work(way: str, folder: Path) -> None:
    """One vote, from files to a file."""
    files = sorted(folder.glob("system*.jsonl"))
    out = folder / f"{way}.jsonl"
    if way == "plain loop":
        out.write_text(plain_loop(files), "utf-8")
        return
    from affectgpt.bench import vote

    vote(files, "wheel" if "wheel" in way else "rank-decay").write(out)


def plain_loop(files: list[Path], decay: float = 0.7, ratio: float = 0.29, lo: int = 3, hi: int = 6) -> str:
    """The same vote as most write it: a dictionary a sample."""
    answers: dict[str, list[list[str]]] = defaultdict(list)
    for path in files:
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            answers[row["name"]].append(row["labels"])
    lines = []
    for name, lists in answers.items():
        ranks: dict[str, list[int]] = defaultdict(list)
        for words in lists:
            for rank, word in enumerate(words[:8]):
                ranks[word].append(rank)
        score = {word: round(sum(1 / (1 + decay * rank) for rank in sorted(said)), 9) for word, said in ranks.items()}
        order = sorted(score, key=lambda word: (-score[word], -len(ranks[word]), min(ranks[word]), word))
        best = score[order[0]]
        kept = [w for place, w in enumerate(order) if place < lo or (place < hi and score[w] >= round(ratio * best, 9))]
        lines.append(json.dumps({"name": name, "openset": kept}, ensure_ascii=False) + "\n")
    return "".join(lines)


def report(found: dict[str, list[tuple[float, ...]]], args: argparse.Namespace) -> str:
    """The result as Markdown."""
    import numpy

    predictions = args.samples * args.systems
    machine = f"{cpu()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {numpy.__version__}"
    lines = [
        f"# A vote over {args.systems} systems, {predictions:,} predictions",
        "",
        f"`python benchmarks/voting.py --samples {args.samples} --systems {args.systems} --repeats {args.repeats}`, "
        f"{time.strftime('%Y-%m-%d')}",
        "",
        f"{machine}; load average {os.getloadavg()[1]:.1f}. Medians of {args.repeats}, one process at a time; from "
        "files (JSON lines) to a file, the start of Python included.",
        "",
        "| way | processor, s | clock, s | peak memory, GB |",
        "|---|---|---|---|",
    ]
    for way in WAYS:
        clock, processor, memory = (sorted(values)[args.repeats // 2] for values in zip(*found[way], strict=True))
        lines.append(f"| {way} | {processor:.1f} | {clock:.1f} | {memory:.2f} |")
    lines += ["", "affectgpt and the plain loop give the same answers, letter by letter.", ""]
    return "\n".join(lines)


def cpu() -> str:
    """The name of the processor."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
