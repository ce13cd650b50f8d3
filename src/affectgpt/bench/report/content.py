"""Bring the results of one or several systems into one table, with what a reader must know to judge it."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from affectgpt import __version__
from affectgpt.bench.gold_check import PROBLEMS
from affectgpt.bench.published import PublishedRow, published_rows
from affectgpt.bench.selection import RULES, means_by_checkpoint
from affectgpt.datamodules.unibench.sets import TEST_SETS, TestSet, get_test_set
from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics.labels import MODES

PUBLISHED_WHEEL = "official-2025"

_COUNTED: Mapping[str, str] = {
    "missing_predictions": "samples have no prediction and count as empty",
    "unreadable_predictions": "predictions could not be read and count as empty",
    "failed_answers": "samples could not be answered and count as empty",
    **{key: f"samples {what}" for key, what in PROBLEMS.items()},
}

Content = dict[str, Any]


def build_content(results: Sequence[Mapping[str, Any]], title: str) -> Content:
    """What ``report.json`` holds, from which the other files are written.

    Args:
        results: See ``write_report``.
        title: Heading of the report.

    Returns:
        Plain JSON without NaN: ``title``, ``made`` (date), ``affectgpt`` (version), ``sets``, ``systems`` (each with
        ``cells`` by set, ``mean``, ``honest_mean`` and ``one_checkpoint``, the means of checkpoints used for all sets),
        ``published``, ``sources``, ``warnings``, ``results``.

    Raises:
        ConfigError: If a set or a selection rule does not exist.
        DataError: If there is no result, one lacks an entry, or a system has two results for one set.
    """
    if not results:
        raise DataError("there is no result to report; pass at least one, as affectgpt.bench.score returns it")
    plain = [_checked(without_nan(result), number) for number, result in enumerate(results)]
    named = {get_test_set(result["dataset"]).name for result in plain}
    columns = [test_set for name, test_set in TEST_SETS.items() if name in named]
    by_system: dict[str, dict[str, Any]] = {}
    for result in plain:
        cells = by_system.setdefault(result["system"], {})
        if result["dataset"] in cells:
            raise DataError(f"system {result['system']!r} has two results for {result['dataset']!r}; pass one of them")
        cells[result["dataset"]] = result
    all_nine = len(columns) == len(TEST_SETS)
    rows = [
        r for r in published_rows() if any(s.name in r.scores for s in columns) or (all_nine and r.mean is not None)
    ]
    sources = {row.source.citation: row.source for row in rows}
    return {
        "title": title,
        "made": datetime.date.today().isoformat(),
        "affectgpt": __version__,
        "sets": [{"dataset": s.name, "title": s.title, "metric": s.metric, "task": s.task} for s in columns],
        "systems": [_system(name, found, columns) for name, found in by_system.items()],
        "published": [_published(row, columns) for row in rows],
        "sources": [{"citation": s.citation, "place": s.place, "note": s.note} for s in sources.values()],
        "warnings": list(_warnings(plain)),
        "results": plain,
    }


def _checked(result: dict[str, Any], number: int) -> dict[str, Any]:
    lacking = [key for key in ("dataset", "metric", "score", "mode", "wheel") if key not in result]
    if lacking:
        raise DataError(f"result {number} has no {', '.join(lacking)}; pass what affectgpt.bench.score returns")
    result["dataset"] = get_test_set(result["dataset"]).name
    result.setdefault("system", "this system")
    selection = result.get("selection")
    if selection is not None and selection.get("rule") not in RULES:
        raise ConfigError(f"result {number} was selected by {selection.get('rule')!r}; known rules: {', '.join(RULES)}")
    return result


def _system(name: str, found: Mapping[str, Any], columns: Sequence[TestSet]) -> dict[str, Any]:
    cells = {dataset: _cell(result) for dataset, result in found.items()}
    scores = [cells[s.name]["score"] if s.name in cells else None for s in columns]
    honest = [cells[s.name]["honest"] if s.name in cells else None for s in columns]
    return {
        "system": name,
        "cells": cells,
        "mean": mean_of(scores),
        "honest_mean": mean_of(honest),
        "optimistic": any(cell["optimistic"] for cell in cells.values()),
        "one_checkpoint": means_by_checkpoint(list(found.values())),
    }


def _cell(result: Mapping[str, Any]) -> dict[str, Any]:
    interval = result.get("interval") or {}
    selection = result.get("selection") or {}
    optimistic = selection.get("rule") == "official"
    honest = selection.get("honest") or {}
    return {
        "score": result["score"],
        "low": interval.get("low"),
        "high": interval.get("high"),
        "rule": selection.get("rule"),
        "optimistic": optimistic,
        # A figure that no test label had a part in; of an honest rule the figure itself.
        "honest": honest.get("score") if optimistic else result["score"],
    }


def _published(row: PublishedRow, columns: Sequence[TestSet]) -> dict[str, Any]:
    own = [row.scores.get(s.name) for s in columns]
    return {
        "system": row.system,
        "inputs": row.inputs,
        "scores": {s.name: row.scores[s.name] for s in columns if s.name in row.scores},
        # Of the nine sets the mean as printed; of fewer the mean of the same sets as the systems'.
        "mean": row.mean if len(columns) == len(TEST_SETS) else mean_of(own),
        "source": row.source.citation,
    }


def mean_of(scores: Iterable[float | None]) -> float | None:
    """The plain mean; ``None`` where a score is missing."""
    listed = list(scores)
    known = [score for score in listed if score is not None]
    return sum(known) / len(known) if known and len(known) == len(listed) else None


def _warnings(results: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """What keeps the figures from standing beside the published ones."""
    wheels = sorted({r["wheel"] for r in results if r["wheel"] != PUBLISHED_WHEEL and r["metric"] != "weighted_f1"})
    if wheels:
        yield (
            f"Emotion labels were compared with the wheel {', '.join(wheels)}. The published rows were made with "
            f"{PUBLISHED_WHEEL}; figures of the two differ by some points and must not be compared."
        )
    if any(r["mode"] != "official" for r in results):
        yield "Some figures are of mode strict. The published rows are of mode official."
    optimistic = sum((r.get("selection") or {}).get("rule") == "official" for r in results)
    if optimistic:
        yield (
            f"{optimistic} of {len(results)} figures are of the checkpoint that was best on the test set (rule "
            "official, as AffectGPT's published row). They are optimistic; the honest figure stands beside them."
        )
    for result in results:
        where = f"{result['system']} on {result.get('title', result['dataset'])}"
        found, expected = result.get("gold_samples"), result.get("expected_samples")
        if found is not None and expected is not None and found != expected:
            yield f"{where}: scored on {found:,} samples; the published split has {expected:,}."
        for key, what in _COUNTED.items():
            if result.get(key):
                yield f"{where}: {len(result[key]):,} {what}."
        for mode in MODES:
            if "error" in (result.get(mode) or {}):
                yield f"{where}: no figures of mode {mode}, because {result[mode]['error']}."
        data = result.get("data") or {}
        for message in [d["message"] for d in data.get("differences", ()) if d["kind"] != "count"]:
            yield f"{where}: {message}."
        for note in data.get("notes", ()):
            yield f"{where}: {note}."


def without_nan(value: Any) -> Any:
    """JSON without NaN or infinity, which JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return value
