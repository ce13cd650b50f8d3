"""Write the report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from affectgpt.bench.report.figure_names import (
    ABSENT,
    TITLES,
    between,
    counts_of,
    figures_of,
    percent,
    shown,
    wheels_of,
)
from affectgpt.bench.selection import RULES

NUM_WORDS = 12


def to_markdown(content: Mapping[str, Any]) -> str:
    """The tables of the report, for a repository or a reply to reviewers."""
    parts = [f"# {content['title']}", f"Made on {content['made']} with affectgpt {content['affectgpt']}. Percent."]
    parts += [f"> **Note.** {warning}" for warning in content["warnings"]]
    parts += ["## Beside the published rows", _main_table(content)]
    parts += [f"- {s['citation']}, {s['place']}. {s['note']}" for s in content["sources"]]
    selected = [result for result in content["results"] if result.get("selection")]
    if selected:
        parts += ["## Which checkpoint", _table(selection_head(), selection_rows(content))]
        parts += single_checkpoints(content)
    for result in content["results"]:
        parts += _set_section(content, result)
    return "\n\n".join(_join_lists(parts)) + "\n"


def _join_lists(parts: Iterable[str]) -> list[str]:
    joined: list[str] = []
    for part in parts:
        if part.startswith("- ") and joined and joined[-1].startswith("- "):
            joined[-1] += "\n" + part
        else:
            joined.append(part)
    return joined


def _main_table(content: Mapping[str, Any]) -> str:
    sets = content["sets"]
    several = len(sets) > 1
    head = ["system", *(s["title"] for s in sets), *([mean_title(content)] if several else [])]
    rows = []
    for system in content["systems"]:
        cells = [system["cells"].get(s["dataset"]) for s in sets]
        rows.append(
            [f"**{system['system']}**", *map(_scored, cells), _optimistic(system["mean"], system["optimistic"])]
        )
        if any(cell and cell["low"] is not None for cell in cells):
            ends = [between(cell["low"], cell["high"]) if cell else "" for cell in cells]
            rows.append(["95 % interval", *ends, *([""] if several else [])])
        if system["optimistic"]:
            honest = [percent(cell["honest"]) if cell else "" for cell in cells]
            rows.append(["honest figure", *honest, *([percent(system["honest_mean"])] if several else [])])
    for row in content["published"]:
        inputs = f" ({row['inputs']})" if row["inputs"] else ""
        scores = [percent(row["scores"].get(s["dataset"])) for s in sets]
        rows.append([f"{row['system']}{inputs}", *scores, *([percent(row["mean"])] if several else [])])
    return _table(head, rows)


def mean_title(content: Mapping[str, Any]) -> str:
    """Heading of the column of means."""
    number = len(content["sets"])
    return "mean" if number == 9 else f"mean of {number}"


def _scored(cell: Mapping[str, Any] | None) -> str:
    return ABSENT if cell is None else _optimistic(cell["score"], cell["optimistic"])


def _optimistic(value: float | None, optimistic: bool) -> str:
    return percent(value) + (" †" if optimistic and value is not None else "")


def selection_head() -> list[str]:
    """Headings for ``selection_rows``."""
    return ["system", "set", "chosen", "by", "score", "all candidates", "honest figure", "gain by the choice"]


def selection_rows(content: Mapping[str, Any]) -> list[list[str]]:
    """Per result that was selected: what was chosen, by which rule, and what an honest rule gives."""
    rows = []
    for result in content["results"]:
        selection = result.get("selection")
        if not selection:
            continue
        cell = cell_of(content, result)
        candidates = [score for score in (selection.get("candidates") or {}).values() if score is not None]
        spread = (
            f"{len(candidates)}: {percent(min(candidates))} to {percent(max(candidates))}" if candidates else ABSENT
        )
        honest, gain = "the score itself", ""
        if cell["optimistic"]:
            known = selection.get("honest") or {}
            how = known.get("rule")
            honest = percent(cell["honest"])
            if known:
                honest += f" ({RULES.get(how, how) if how else known.get('chosen', 'not said how')})"
            if cell["honest"] is not None and cell["score"] is not None:
                gain = f"{100 * (cell['score'] - cell['honest']):+.2f}"
        rule = RULES[selection["rule"]] + (" †" if cell["optimistic"] else "")
        title = str(result.get("title", result["dataset"]))
        score = percent(result["score"])
        rows.append([result["system"], title, str(selection.get("chosen", ABSENT)), rule, score, spread, honest, gain])
    return rows


def single_checkpoints(content: Mapping[str, Any]) -> list[str]:
    """Per system with several checkpoints on all sets, what the mean is if one of them is used for all."""
    lines = []
    for system in content["systems"]:
        means = {name: mean for name, mean in system["one_checkpoint"].items() if mean is not None}
        if means:
            listed = ", ".join(f"{name} {percent(mean)}" for name, mean in means.items())
            best = max(means, key=lambda name: means[name])
            lines.append(f"{system['system']}, one checkpoint for all sets: {listed}; best on the test sets {best}.")
    return lines


def cell_of(content: Mapping[str, Any], result: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stands in the main table for a result."""
    system = next(s for s in content["systems"] if s["system"] == result["system"])
    cell: Mapping[str, Any] = system["cells"][result["dataset"]]
    return cell


def _set_section(content: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    task = next(s["task"] for s in content["sets"] if s["dataset"] == result["dataset"])
    parts = [f"## {result.get('title', result['dataset'])}, {result['system']}", "; ".join(how_made(result)) + "."]
    parts += [text] if (text := comparison_of(result)) else []
    rows = [
        [f.title, percent(f.official), f.official_ends, percent(f.strict), f.strict_ends]
        for f in figures_of(result, task)
    ]
    parts.append(_table(["figure", "official", "95 % interval", "strict", "95 % interval"], rows))
    parts.append(", ".join(f"{title} {number:,}" for title, number in counts_of(result)) + ".")
    wheels = wheels_of(result, task)
    if wheels:
        rows = [[f"{w}", percent(score), f"{kept:,}", f"{skipped:,}"] for w, score, kept, skipped in wheels]
        parts.append(_table(["wheel", "score", "samples", "skipped"], rows))
    if result.get("per_class"):
        parts.append(_class_table(result["per_class"]))
    for key, what in (("frequent_words", "Most frequent labels"), ("unseen_words", "Outside the vocabulary")):
        if result.get(key):
            parts.append(f"{what}: " + ", ".join(f"{shown(word)} ({n:,})" for word, n in result[key][:NUM_WORDS]) + ".")
    return parts


def _class_table(classes: Sequence[Mapping[str, Any]]) -> str:
    names = [name for name in classes[0] if name not in ("label", "samples")]
    rows = [[shown(c["label"]), f"{c['samples']:,}", *(percent(c.get(name)) for name in names)] for c in classes]
    return _table(["class", "samples", *("F1" if name == "f1" else TITLES.get(name, name) for name in names)], rows)


def comparison_of(result: Mapping[str, Any]) -> str:
    """The difference to another system on the same resamples, in words; empty if none was compared."""
    found = result.get("comparison")
    if not found:
        return ""
    parts = []
    for name, one in ((found["metric"], found), ("hit_skill", found.get("hit_skill"))):
        if one:
            ends = between(one["interval"]["low"], one["interval"]["high"])
            parts.append(f"{TITLES[name]} {100 * one['difference']:+.2f} points ({ends})")
    return f"Against {found['b']['predictions']}, on the same resamples: {', '.join(parts)}."


def how_made(result: Mapping[str, Any]) -> list[str]:
    """Wheel, mode and readers of a result, as phrases."""
    phrases = [f"mode {result['mode']}"]
    if result["metric"] != "weighted_f1":
        phrases.append(f"wheel {result['wheel']}")
    elif not result.get("sentiment_reader"):
        phrases.append("sentiments as the file has them")
    for key, what in (("extractor", "labels read by"), ("sentiment_reader", "sentiment read by")):
        record = result.get(key)
        if isinstance(record, Mapping):
            phrases.append(f"{what} {record['name']} (version {record.get('version', '?')})")
        elif record:
            phrases.append(f"{what} {record}")
    interval = result.get("interval")
    if interval:
        phrases.append(f"interval of {interval['resamples']:,} resamples, seed {interval.get('seed', 0)}")
    return phrases


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
