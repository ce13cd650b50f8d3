"""What the tasks for lmms-eval call: what is shown of a clip, and how its answer is kept and scored; no media code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from affectgpt.bench.result import Figures
from affectgpt.harness.grading import GradedItem, Grading, grade, grade_one

Kept = Mapping[str, Any]
"""One clip with the answers to it, as ``process_results`` returns it for every metric."""


def doc_to_visual(doc: Mapping[str, Any]) -> list[str]:
    """The files that are shown of a clip."""
    return list(doc["shown"])


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Kept]:
    """Keep what a clip was answered, for every metric.

    Args:
        doc: The clip's row in the table of its set.
        results: Its answers, one for each repeat.

    Returns:
        The same for every metric; ``score`` is the clip's own, of which lmms-eval makes its standard errors and its
        comparison with a baseline, and ``cluster`` its dialogue or video.
    """
    kept = {key: doc[key] for key in ("set", "name", "gold", "grading")} | {
        "answers": list(results),
        "cluster": doc["cluster"] or None,
    }
    (item, *_), grading = _items([kept])[0], _grading(doc["grading"])
    kept["score"] = grade_one(item, grading)[1]
    return dict.fromkeys(("score", "score_strict", "standard_error", "standard_error_strict"), kept)


def official(kept: Sequence[Kept]) -> float:
    """The set's own figure as published."""
    return _mean([_figure_of(one, metric) for one, _, metric in _scored(kept)])


def strict(kept: Sequence[Kept]) -> float:
    """The same in mode ``strict``."""
    return _mean([_figure_of(one, metric) for _, one, metric in _scored(kept)])


def official_error(kept: Sequence[Kept]) -> float:
    """The standard error of the published figure, by dialogue or video where the set names them."""
    return _mean([one.standard_error or 0.0 for one, _, _ in _scored(kept)])


def strict_error(kept: Sequence[Kept]) -> float:
    """The same in mode ``strict``."""
    return _mean([one.standard_error or 0.0 for _, one, _ in _scored(kept)])


def _scored(kept: Sequence[Kept]) -> list[tuple[Figures, Figures, str]]:
    """Official figures, strict ones and the name of the set's own, for every repeat."""
    return _score_text(json.dumps(list(kept), default=str))


@lru_cache(maxsize=2)
def _score_text(text: str) -> list[tuple[Figures, Figures, str]]:
    # lmms-eval asks for the four figures one after another, each of the same clips.
    kept = json.loads(text)
    grading = _grading(kept[0]["grading"])
    results = []
    for repeat in zip(*_items(kept), strict=True):
        result = grade({item.name: item for item in repeat}, grading)
        results.append((result.official, result.strict, result.metric))
    return results


def _items(kept: Sequence[Kept]) -> list[list[GradedItem]]:
    """Per clip its answers, one for each repeat."""
    return [
        [GradedItem(one["set"], one["name"], answer, one["gold"], one["cluster"]) for answer in one["answers"]]
        for one in kept
    ]


@lru_cache(maxsize=4)
def _grading(text: str) -> Grading:
    return Grading(**json.loads(text))


def _figure_of(figures: Figures, metric: str) -> float:
    value = figures.figure(metric)
    return float("nan") if value is None else value


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
