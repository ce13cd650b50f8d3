"""Measure how fast emotion labels are scored: the library beside a plain dictionary look-up.

    python benchmarks/metrics.py [--samples 200000] [--repeats 5]

Made-up answers of 0 to 5 labels, 4 % of them unknown to the vocabulary, on one thread. Prints the medians as a
Markdown table.
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

    assert abs(wheel_score("official") - looked_up(preds, target, wheel)) < 1e-12
    runs: dict[str, Callable[[], object]] = {
        "EmotionWheelScore, official": lambda: wheel_score("official"),
        "EmotionWheelScore, strict": lambda: wheel_score("strict"),
        "EmotionHitRate, official": hit_rate,
        "dictionaries and sets, official F1": lambda: looked_up(preds, target, wheel),
    }
    print(f"{platform.processor() or platform.machine()}, one thread, Python {platform.python_version()}, ", end="")
    print(f"torch {torch.__version__}, numpy {numpy.__version__}; {args.samples:,} samples, {args.repeats} repeats\n")
    print("| what | CPU seconds | million sample-wheels per second |\n|---|---|---|")
    for name, run in runs.items():
        seconds = median_seconds(run, args.repeats)
        print(f"| {name} | {seconds:.3f} | {args.samples * wheel.num_wheels / seconds / 1e6:.2f} |")
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
