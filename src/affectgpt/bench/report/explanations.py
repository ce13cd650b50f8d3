"""Explains how a figure was made and which checkpoint it belongs to, for the HTML page and Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from affectgpt.bench.report.content import Report
from affectgpt.bench.report.figure_names import ABSENT, TITLES, between, percent
from affectgpt.bench.selection import RULES
from affectgpt.bench.settings import GROUPS, flat
from affectgpt.bench.system_result import SystemResult


def how_made(one: SystemResult) -> list[str]:
    """The checkpoint, wheel, mode, columns and readers of a result, as phrases."""
    result, phrases = one.result, []
    if one.selection is not None:
        choice = f"checkpoint {one.selection.chosen}, {RULES[one.selection.rule]}"
        phrases.append(f"{choice}: these figures are optimistic" if one.selection.optimistic else choice)
    if one.repeats is not None:
        listed = ", ".join(map(percent, one.repeats.scores))
        phrases.append(f"all figures are of the first of {len(one.repeats.scores)} runs ({listed})")
    phrases.append(f"mode {result.mode}")
    if result.metric != "weighted_f1":
        phrases.append(f"wheel {result.wheel}")
    elif not result.sentiment_reader:
        phrases.append("sentiments from the file")
    media = (one.answered_by or {}).get("media")
    if isinstance(media, Mapping):  # of a checkpoint, to which it belongs
        phrases.append(f"clips shown as in training: {_media_in_words(media)}")
    if result.answers:
        phrases.append(f"answers in column {result.answers}")
    for record, what in ((result.extractor, "labels read by"), (result.sentiment_reader, "sentiment read by")):
        if record:
            phrases.append(f"{what} {record['name']} (version {record.get('version', '?')})")
    if one.taken:
        counts = {"prompt_tokens": "tokens read", "answer_tokens": "tokens written"}
        phrases += [f"{one.taken[name]:,} {words}" for name, words in counts.items() if name in one.taken]
        phrases += [f"cost {one.taken['cost']:.4g}"] if "cost" in one.taken else []
    if result.interval is not None:
        phrases.append(f"interval of {result.interval.resamples:,} resamples, seed {result.seed}")
    return phrases


def _media_in_words(media: Mapping[str, Any]) -> str:
    """A media profile in words, from its JSON."""
    found = []
    if {"frame", "face"} & {*media["sources"]}:
        found.append(f"{media['num_frames']} frames of {media['frame_height']} x {media['frame_width']} pixels")
    if "audio" in media["sources"]:
        found.append(f"{media['num_segments']} segments of sound of {media['segment_seconds']:g} s")
    return " and ".join(found) or "words alone"


def comparison_of(one: SystemResult) -> str:
    """The difference to another system on the same resamples, in words; empty without a comparison."""
    found = one.comparison
    if found is None:
        return ""
    sides = [(found.metric, found.difference)]
    sides += [] if found.hit_skill is None else [("hit_skill", found.hit_skill.difference)]
    parts = [f"{TITLES[name]} {100 * d.value:+.2f} points ({between(d.low, d.high)})" for name, d in sides]
    return f"Against {found.b.predictions}, on the same resamples: {', '.join(parts)}."


def selection_head() -> list[str]:
    """The headings for ``selection_rows``."""
    return ["system", "set", "honest figure", "by", "all candidates", "chosen", "score", "gain by the choice"]


def selection_rows(report: Report) -> list[list[str]]:
    """One row per selected result: the honest figure and its rule, and the gain of a choice on the test set."""
    rows = []
    for one in report.results:
        selection = one.selection
        if selection is None:
            continue
        cell = report.cell_of(one)
        known = [score for score in selection.candidates.values() if math.isfinite(score)]
        spread = f"{len(known)}: {percent(min(known))} to {percent(max(known))}" if known else ABSENT
        by, chosen, gain = RULES[selection.rule], selection.chosen, ""
        if selection.optimistic:
            honest = selection.honest
            by = ABSENT if honest is None else f"{RULES.get(honest.rule, honest.rule)}: {honest.chosen}"
            chosen = f"{selection.chosen}, {RULES[selection.rule]} †"
            if cell.honest is not None and cell.score is not None:
                gain = f"{100 * (cell.score - cell.honest):+.2f}"
        title = one.result.title or one.result.dataset
        score = percent(cell.score) + (" †" if cell.optimistic else "")
        rows.append([one.system, title, percent(cell.honest), by, spread, chosen, score, gain])
    return rows


def single_checkpoints(report: Report) -> list[str]:
    """One line per system with several checkpoints on all sets: the means with one checkpoint for all sets."""
    lines = []
    for row in report.systems:
        means = {name: mean for name, mean in row.one_checkpoint.items() if math.isfinite(mean)}
        if means:
            listed = ", ".join(f"{name} {percent(mean)}" for name, mean in means.items())
            best = max(means, key=lambda name: means[name])
            lines.append(f"{row.system}, one checkpoint for all sets: {listed}; best on the test sets {best}.")
    return lines


def settings_rows(report: Report) -> list[list[str]]:
    """The group, name and value of every setting that changes figures."""
    rows = []
    for group, words in GROUPS.items():
        listed = list(flat(report.settings.get(group, {})))
        rows += [[words if not i else "", name, _in_words(value)] for i, (name, value) in enumerate(listed)]
    return rows


def _in_words(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    text = str(value)
    is_digest = len(text) == 64 and not set(text) - set("0123456789abcdef")
    return f"{text[:12]}..." if is_digest else text
