"""Counts labels that stay in the answers though the view that alone brought them is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from affectgpt.bench.predictions import read_predictions
from affectgpt.bench.system_result import Evidence, SystemResult
from affectgpt.metrics.functional import bootstrap_interval, faithfulness, faithfulness_summands
from affectgpt.metrics.labels import parse_labels

if TYPE_CHECKING:
    from affectgpt.bench.benchmark import Benchmark

INPUTS: Mapping[str, str] = {"A": "sound", "V": "picture", "T": "words"}


def evidence_of(
    benchmark: Benchmark,
    whole: SystemResult,
    views: Mapping[str, SystemResult],
    letters: Sequence[str],
    blind: str,
) -> Evidence | None:
    """What becomes of the labels of one set when their only evidence is gone; see ``metrics.functional.faithfulness``.

    Args:
        benchmark: The benchmark that scores the answers.
        whole: The result of the whole view.
        views: View to its result on the same set.
        letters: What the model reads of a clip, such as ``AVT``.
        blind: What the model answers though nothing is shown to it.

    Returns:
        The counts; ``None`` unless every input was shown alone, and every one was left out.
    """
    alone = {letter: letter for letter in letters}
    without = {letter: "".join(other for other in letters if other != letter) for letter in letters}
    if len(letters) < 2 or not {*alone.values(), *without.values()} <= {*views}:
        return None
    answered = _labels_of(whole)
    read = {}
    for view in {*alone.values(), *without.values()}:
        found = _labels_of(views[view])
        read[view] = [found[name] for name in answered]
    given = (
        [*answered.values()],
        {INPUTS[letter]: read[view] for letter, view in alone.items()},
        {INPUTS[letter]: read[view] for letter, view in without.items()},
        benchmark.wheel,
        benchmark.extractor.extract([blind])[0],
    )
    counts = faithfulness(*given)
    if not benchmark.resamples or not counts.tested:
        return Evidence(counts, None)
    return Evidence(counts, bootstrap_interval(faithfulness_summands(*given), benchmark.resamples))


def _labels_of(result: SystemResult) -> dict[str, list[str]]:
    """Name of each clip to the labels of its answer; a set that is scored by sentiment has them in a file beside it."""
    assert result.predictions is not None
    path = Path(result.predictions)
    found = read_predictions(path.with_name(path.name.replace("-openset-sentiment.", "-openset.")))
    return {name: parse_labels(value, mode="strict") for name, value in found.values.items()}


def evidence_in_words(one: SystemResult) -> str:
    """The counts of one set on one line; empty where nothing was counted."""
    if one.evidence is None:
        return ""
    found = one.evidence.counts
    share = f" ({100 * found.share:.0f} %)" if found.tested else ""
    return (
        f"{found.stay} of {found.tested} labels with one only evidence stay without it{share}; "
        f"{found.blind} of {found.labels} are named with nothing shown"
    )
