"""Measure how fast emotion labels are scored: the library beside a plain dictionary look-up.

    python benchmarks/metrics.py [--samples 200000] [--repeats 5] [--only TEXT] [--tables FOLDER]

Made-up answers of 0 to 5 labels, 4 % of them unknown to the vocabulary, on one thread. Prints Markdown tables: the
median of several runs in both modes, each beside the same figure by one dictionary per wheel and Python sets; a million
predictions in processes of their own, with their peak memory; bootstrap intervals for a set of MELD's size; and, where
the folder of the official tables is given, how long it takes to load them.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy
import torch

from affectgpt.metrics import EmotionHitRate, EmotionWheel, EmotionWheelScore
from affectgpt.metrics.functional import (
    bootstrap_difference,
    bootstrap_interval,
    hit_rate_summands,
    hit_skill_summands,
    wheel_f1_summands,
)

MELD_SAMPLES = 2610


Answers = list[list[str]]


@dataclass(frozen=True)
class Work:
    """Answers to score, their true label lists, and one true label each."""

    preds: Answers
    target: Answers
    labels: list[str]
    wheel: EmotionWheel


def made_answers(wheel: EmotionWheel, count: int, seed: int = 0) -> Answers:
    """Answers of 0 to 5 labels."""
    draw = random.Random(seed)
    words = [*wheel.labels, *(f"unknown {i}" for i in range(len(wheel.labels) // 25))]
    return [draw.choices(words, k=draw.randrange(6)) for _ in range(count)]


def first_labels(target: Answers) -> list[str]:
    """One true label per sample."""
    return [answer[0] if answer else "neutral" for answer in target]


def looked_up(work: Work, mode: str) -> float:
    """The F1 by one dictionary per wheel and Python sets."""
    wheel = work.wheel
    kin = dict(zip(wheel.labels, wheel.kin.tolist(), strict=True))
    scores = []
    for number in range(1, wheel.num_wheels + 1):
        table = {label: group for label in wheel.labels if (group := wheel.group(label, number)) is not None}

        def groups(labels: Sequence[str], table: Mapping[str, str] = table) -> set[object]:
            if mode == "official":
                return {table[w] for label in labels if (w := label.lower().strip()) in table}
            # A word without a group is one of its own, in all its forms; so is "neutral".
            return {table.get(w) or kin.get(w, w) for label in labels if (w := label.lower().strip())}

        precision = recall = kept = 0.0
        for answer, truth in zip(work.preds, work.target, strict=True):
            true_groups = groups(truth or ["neutral"])
            if not true_groups:
                continue
            found = groups(answer)
            kept += 1
            precision += len(found & true_groups) / len(found) if found else 0.0
            recall += len(found & true_groups) / len(true_groups)
        scores.append(2 * precision * recall / (precision + recall) / kept)
    return statistics.mean(scores)


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """The median processor time of several runs: other work on the machine does not count."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return statistics.median(times)


def wheel_score(work: Work, mode: str) -> float:
    """The F1 by the library."""
    metric = EmotionWheelScore(work.wheel, mode=mode)
    metric.update(work.preds, work.target)
    return float(metric.compute()["f1"])


def hit_rate(work: Work, mode: str) -> float:
    """The hit rate, and what is above chance, by the library."""
    metric = EmotionHitRate(work.wheel, mode=mode)
    metric.update(work.preds, work.labels)
    return float(metric.compute()["hit_rate"])


RUNS: Mapping[str, Callable[[Work, str], float]] = {
    "EmotionWheelScore": wheel_score,
    "dictionaries and sets": looked_up,
    "EmotionHitRate": hit_rate,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="run only what has this text in its name, and no further table")
    parser.add_argument("--tables", help="folder of the official word tables")
    args = parser.parse_args()
    torch.set_num_threads(1)
    chosen = {f"{name}, {mode}": (run, mode) for name, run in RUNS.items() for mode in ("official", "strict")}
    chosen = {name: run for name, run in chosen.items() if args.only in name}
    if not chosen:
        parser.error(f"--only {args.only!r} is in none of: {', '.join(RUNS)}")
    wheel = EmotionWheel.builtin()
    target = made_answers(wheel, args.samples, seed=1)
    work = Work(made_answers(wheel, args.samples), target, first_labels(target), wheel)
    if not args.only:
        for mode in ("official", "strict"):
            assert abs(wheel_score(work, mode) - looked_up(work, mode)) < 1e-12
    print(f"{platform.processor() or platform.machine()}, one thread, Python {platform.python_version()}, ", end="")
    print(f"torch {torch.__version__}, numpy {numpy.__version__}; {args.samples:,} samples, {args.repeats} repeats\n")
    print("| what | CPU seconds | million sample-wheels per second |\n|---|---|---|")
    times: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(args.repeats):  # in turns, so that a busy machine is busy for all
        for name, (run, mode) in chosen.items():
            times[name].append(median_seconds(functools.partial(run, work, mode), 1))
    for name, seconds in times.items():
        rate = args.samples * wheel.num_wheels / statistics.median(seconds) / 1e6
        print(f"| {name} | {statistics.median(seconds):.3f} | {rate:.2f} |")
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    if not args.only:
        measure_million()
        measure_intervals(wheel, args.repeats)
        measure_loading(args.tables)


def measure_million() -> None:
    """Print time and peak memory of a million predictions, each in a process of its own."""
    print("\n| a million predictions in one call | CPU seconds | peak memory of the process |\n|---|---|---|")
    for name in (
        f"{name}, {mode}" for name in ("EmotionWheelScore", "EmotionHitRate") for mode in ("official", "strict")
    ):
        command = [sys.executable, __file__, "--samples", "1000000", "--repeats", "1", "--only", name]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        row, peak = next(line for line in out if line.startswith(f"| {name}")), out[-1]
        print(f"| {name} | {row.split('|')[2].strip()} | {peak.removeprefix('peak memory ')} |")


def measure_loading(tables: str | None) -> None:
    """Print how long the official vocabulary takes to load, from the tables and from what is kept of them."""
    if tables is None:
        return
    with tempfile.TemporaryDirectory() as cache:
        os.environ["AFFECTGPT_CACHE"] = cache
        first = median_seconds(lambda: EmotionWheel.official(tables), 1)
        again = median_seconds(lambda: EmotionWheel.official(tables), 20)
    print(f"\nofficial vocabulary: {1000 * first:.0f} ms from the tables, then {1000 * again:.1f} ms (CPU)")


def measure_intervals(wheel: EmotionWheel, repeats: int) -> None:
    """Print the time of intervals and paired comparisons with 10,000 resamples."""
    preds, other, target = (made_answers(wheel, MELD_SAMPLES, seed) for seed in (2, 3, 4))
    labels = first_labels(target)
    pairs = {
        "hit rate": [hit_rate_summands(answers, labels, wheel) for answers in (preds, other)],
        "hit skill": [hit_skill_summands(answers, labels, wheel) for answers in (preds, other)],
        "wheel F1": [wheel_f1_summands(answers, target, wheel) for answers in (preds, other)],
    }
    print(
        f"\n| 10,000 resamples of {MELD_SAMPLES:,} samples | interval, CPU seconds | paired comparison, CPU seconds |"
    )
    print("|---|---|---|")
    for name, (first, second) in pairs.items():
        one = median_seconds(lambda first=first: bootstrap_interval(first), repeats)
        two = median_seconds(lambda first=first, second=second: bootstrap_difference(first, second), repeats)
        print(f"| {name} | {one:.2f} | {two:.2f} |")


if __name__ == "__main__":
    main()
