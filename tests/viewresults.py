"""Made results of a system that was asked by views: fewer modalities, more wrong answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from affectgpt.bench import compare, score
from affectgpt.bench.system_result import SystemResult
from affectgpt.datamodules.unibench.sets import TEST_SETS
from setmaker import gold_value, sample_name, write_csv

RIGHT = {"A": 0.45, "V": 0.5, "T": 0.62, "AV": 0.55, "AT": 0.66, "VT": 0.72, "AVT": 0.75}


def make_view_results(
    folder: Path, sets: Sequence[str], views: Sequence[str], count: int = 60, resamples: int = 200, name: str = "mine"
) -> list[SystemResult]:
    """One result a set, with the views beside it."""
    results = []
    for dataset in sets:
        draw = random.Random(dataset + name)
        names = [sample_name(dataset, number) for number in range(count)]
        gold = write_csv(folder / f"{dataset}.csv", ("name", "label"), [(n, _gold(dataset, n, names)) for n in names])
        luck = [draw.random() for _ in names]
        files = {}
        for view in views:
            rows = [(n, _answer(dataset, i, x < RIGHT[view])) for i, (n, x) in enumerate(zip(names, luck, strict=True))]
            files[view] = write_csv(folder / f"{dataset}-{name}-{view}.csv", ("name", "openset"), rows)
        whole = SystemResult(
            score(dataset, files["AVT"], gold, resamples=resamples), name, predictions=files["AVT"].name
        )
        found = {v: compare(dataset, files[v], files["AVT"], gold, resamples=resamples) for v in views if v != "AVT"}
        results.append(replace(whole, views=found))
    return results


def _gold(dataset: str, name: str, names: Sequence[str]) -> str | float:
    return gold_value(dataset, names.index(name))


def _answer(dataset: str, number: int, right: bool) -> str:
    gold = gold_value(dataset, number)
    task = TEST_SETS[dataset].task
    if task == "sentiment":
        positive = float(gold) > 0
        return "[happy]" if positive == right else "[sad]"
    if task == "open":
        return "[joyful, calm]" if right else "[angry, tired]"
    return f"[{gold}]" if right else "[confused]"
