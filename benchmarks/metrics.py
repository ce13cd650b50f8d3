"""Measure how fast emotion labels are scored: the library beside a plain dictionary look-up.

    python benchmarks/metrics.py [--samples 200000] [--repeats 5] [--only TEXT]

Made-up answers of 0 to 5 labels, 4 % of them unknown to the vocabulary, on one thread. Prints the medians as a
Markdown table, and the time of bootstrap intervals for a set of MELD's size.
"""

from __future__ import annotations

import argparse
import platform
import random
import resource
import statistics
import time
from collections.abc import Callable, Sequence

import numpy
import torch

from affectgpt.metrics import EmotionHitRate, EmotionWheel, EmotionWheelScore
from affectgpt.metrics.functional import (
    bootstrap_difference,
    bootstrap_interval,
    hit_rate_summands,
    wheel_f1_summands,
)

MELD_SAMPLES = 2610


def made_answers(wheel: EmotionWheel, count: int, seed: int = 0) -> list[list[str]]:
    """Answers of 0 to 5 labels."""
    draw = random.Random(seed)
    words = [*wheel.labels, *(f"unknown {i}" for i in range(len(wheel.labels) // 25))]
    return [draw.choices(words, k=draw.randrange(6)) for _ in range(count)]


def looked_up(preds: Sequence[Sequence[str]], target: Sequence[Sequence[str]], wheel: EmotionWheel) -> float:
    """The official F1 by one dictionary per wheel and Python sets."""
    scores = []
    for number in range(1, wheel.num_wheels + 1):
        table = {label: group for label in wheel.labels if (group := wheel.group(label, number)) is not None}
        precision = recall = kept = 0.0
        for answer, truth in zip(preds, target, strict=True):
            true_groups = {table[w] for label in truth if (w := label.lower().strip()) in table}
            if not true_groups:
                continue
            groups = {table[w] for label in answer if (w := label.lower().strip()) in table}
            kept += 1
            precision += len(groups & true_groups) / len(groups) if groups else 0.0
            recall += len(groups & true_groups) / len(true_groups)
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="run only what has this text in its name")
    args = parser.parse_args()
    torch.set_num_threads(1)
    wheel = EmotionWheel.builtin()
    preds, target = made_answers(wheel, args.samples), made_answers(wheel, args.samples, seed=1)
    labels = [answer[0] if answer else "neutral" for answer in target]

    def wheel_score(mode: str) -> float:
        metric = EmotionWheelScore(wheel, mode=mode)
        metric.update(preds, target)
        return float(metric.compute()["f1"])

    def hit_rate() -> float:
        metric = EmotionHitRate(wheel)
        metric.update(preds, labels)
        return float(metric.compute()["hit_rate"])

    runs: dict[str, Callable[[], object]] = {
        "EmotionWheelScore, official": lambda: wheel_score("official"),
        "EmotionWheelScore, strict": lambda: wheel_score("strict"),
        "EmotionHitRate, official": hit_rate,
        "dictionaries and sets, official F1": lambda: looked_up(preds, target, wheel),
    }
    chosen = {name: run for name, run in runs.items() if args.only in name}
    if not chosen:
        parser.error(f"--only {args.only!r} is in none of: {', '.join(runs)}")
    if len(chosen) == len(runs):
        assert abs(wheel_score("official") - looked_up(preds, target, wheel)) < 1e-12
    print(f"{platform.processor() or platform.machine()}, one thread, Python {platform.python_version()}, ", end="")
    print(f"torch {torch.__version__}, numpy {numpy.__version__}; {args.samples:,} samples, {args.repeats} repeats\n")
    print("| what | CPU seconds | million sample-wheels per second |\n|---|---|---|")
    for name, run in chosen.items():
        seconds = median_seconds(run, args.repeats)
        print(f"| {name} | {seconds:.3f} | {args.samples * wheel.num_wheels / seconds / 1e6:.2f} |")
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    if len(chosen) == len(runs):
        measure_intervals(wheel, args.repeats)


def measure_intervals(wheel: EmotionWheel, repeats: int) -> None:
    """Print the time of intervals and paired comparisons with 10,000 resamples."""
    preds, other, target = (made_answers(wheel, MELD_SAMPLES, seed) for seed in (2, 3, 4))
    labels = [answer[0] if answer else "neutral" for answer in target]
    pairs = {
        "hit rate": [hit_rate_summands(answers, labels, wheel) for answers in (preds, other)],
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
