"""Lists the caveats of a report: reasons why its figures are not comparable with the published ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from affectgpt.bench.gold_check import PROBLEMS
from affectgpt.bench.run import failures_in_words
from affectgpt.bench.system_result import SystemResult

PUBLISHED_WHEEL = "official-2025"

_COUNTED: Mapping[str, str] = {
    "missing_predictions": "samples have no prediction and count as empty",
    "unreadable_predictions": "predictions could not be read and count as empty",
    **{key: f"samples {what}" for key, what in PROBLEMS.items()},
}


def doubts_of(results: Sequence[SystemResult]) -> Iterable[str]:
    """The caveats of results, as sentences."""
    own = [one.result for one in results]
    wheels = sorted({r.wheel for r in own if r.wheel != PUBLISHED_WHEEL and r.metric != "weighted_f1"})
    if wheels:
        yield (
            f"Emotion labels were compared with the wheel {', '.join(wheels)}. The published rows were made with "
            f"{PUBLISHED_WHEEL}; figures of the two differ by some points and must not be compared."
        )
    if any(r.mode != "official" for r in own):
        yield "Some figures are from mode strict. The published rows are from mode official."
    optimistic = sum(one.selection is not None and one.selection.optimistic for one in results)
    if optimistic:
        yield (
            f"For {optimistic} of {len(results)} figures the checkpoint was chosen that is best on the test set (rule "
            "official, as in AffectGPT's published row). These figures are optimistic and marked with a dagger; the "
            "honest ones come before them."
        )
    yield from _splits(results)
    yield from _by_set([(one, message) for one in results for message in _of_one(one)], results)


def _splits(results: Sequence[SystemResult]) -> Iterable[str]:
    """The sets that differ in size from the published split, in one sentence for all systems that agree."""
    sizes: dict[str, dict[tuple[int, int], list[str]]] = {}
    for one in results:
        found, expected = one.result.gold_samples, one.result.expected_samples
        if found is not None and expected is not None and found != expected:
            by_size = sizes.setdefault(one.result.title or one.result.dataset, {})
            by_size.setdefault((found, expected), []).append(one.system)
    told = []
    for title, by_size in sizes.items():
        for (found, expected), systems in by_size.items():
            who = f" ({', '.join(systems)})" if len(by_size) > 1 else ""
            told.append(f"{title} {found:,} of {expected:,}{who}")
    if told:
        yield f"Scored on other clips than the published split has: {', '.join(told)}."


def _by_set(found: Sequence[tuple[SystemResult, str]], results: Sequence[SystemResult]) -> Iterable[str]:
    """The caveats about single results; what is the same for several systems on a set is said once."""
    merged: dict[tuple[str, str], list[str]] = {}
    for one, message in found:
        merged.setdefault((one.result.dataset, message), []).append(one.system)
    titles = {one.result.dataset: one.result.title or one.result.dataset for one in results}
    for (dataset, message), systems in merged.items():
        scored = [one.system for one in results if one.result.dataset == dataset]
        who = "all systems" if len(systems) == len(scored) > 1 else ", ".join(systems)
        yield f"{who} on {titles[dataset]}: {message}"


def _of_one(one: SystemResult) -> Iterable[str]:
    """What is doubtful about one result, besides its number of samples."""
    result = one.result
    for key, what in _COUNTED.items():
        names = getattr(result, key)
        if names:
            yield f"{len(names):,} {what}."
    for samples, what in ((one.failed_answers, "no answer"), (one.refused_answers, "a refusal for an answer")):
        if samples:
            have = "sample has" if len(samples) == 1 else "samples have"
            yield f"{len(samples):,} {have} {what}, and no labels. {failures_in_words(samples, 1)[0]}"
    if result.undefined is not None:
        yield f"{result.undefined}."
    if result.other_error is not None:
        yield f"no figures for mode {result.other_mode}, because {result.other_error}."
    if one.passed_over:
        yield f"{len(one.passed_over):,} files hold gold labels and were not used as predictions."
    for message in [d["message"] for d in one.data.get("differences", ()) if d["kind"] != "count"]:
        yield f"{message}."
    for note in one.data.get("notes", ()):
        yield f"{note}."
