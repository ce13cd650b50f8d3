"""Writes the report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from affectgpt.bench.degradations import KINDS
from affectgpt.bench.report.content import Cell, Report, mean_title
from affectgpt.bench.report.degraded_content import DegradedCurves
from affectgpt.bench.report.evidence_rows import EVIDENCE_HEAD, EVIDENCE_MEANING, EVIDENCE_TITLE, evidence_rows
from affectgpt.bench.report.explanations import (
    comparison_of,
    how_made,
    selection_head,
    selection_rows,
    settings_rows,
    single_checkpoints,
)
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
from affectgpt.bench.report.view_content import WHOLE, ViewCell, ViewTable
from affectgpt.bench.result import ClassFigures
from affectgpt.bench.system_result import SystemResult
from affectgpt.pages.escaping import for_markdown

NUM_WORDS = 12


def to_markdown(report: Report) -> str:
    """The report as Markdown tables, for a repository or a reply to reviewers."""
    parts = [f"# {for_markdown(report.title)}", f"Made on {report.made} with affectgpt {report.version}. Percent."]
    parts += [f"> **Note.** {for_markdown(doubt)}" for doubt in report.doubts]
    parts += ["## Beside the published rows", _main_table(report)]
    parts += [f"- {for_markdown(s.citation)}, {for_markdown(s.place)}. {for_markdown(s.note)}" for s in report.sources]
    if any(one.selection for one in report.results):
        parts += ["## Which checkpoint", _table(selection_head(), selection_rows(report))]
        parts += [for_markdown(line) for line in single_checkpoints(report)]
    for table in report.views:
        parts += [f"## By modality: {for_markdown(table.system)}", _view_table(report, table)]
        if kept := evidence_rows(report, table.system):
            parts += [f"### {EVIDENCE_TITLE}", for_markdown(EVIDENCE_MEANING), _table(EVIDENCE_HEAD, kept)]
    for curves in report.degraded:
        parts += [f"## Degraded clips: {for_markdown(curves.system)}", _degraded_table(report, curves)]
    for one in report.results:
        parts += _set_section(report, one)
    parts += ["## Settings", f"Hash `{report.settings_hash}`: reports with the same hash are comparable."]
    parts.append(_table(["", "setting", "value"], settings_rows(report)))
    return "\n\n".join(_join_lists(parts)) + "\n"


def _view_table(report: Report, table: ViewTable) -> str:
    """The scores of each view, and the differences to the whole view with their intervals."""
    rows = []
    for view, cells in table.cells.items():
        mean = [percent(table.means.get(view))] if len(report.sets) > 1 else []
        rows.append([view, *(percent(cells[s.name].score if s.name in cells else None) for s in report.sets), *mean])
        if view != WHOLE:
            changes = [_change(cells.get(s.name)) for s in report.sets]
            rows.append(["against AVT", *changes, *([""] if mean else [])])
    head = ["shown", *(s.title for s in report.sets), *([mean_title(report)] if len(report.sets) > 1 else [])]
    return _table(head, rows)


def _degraded_table(report: Report, curves: DegradedCurves) -> str:
    """The scores at each strength, and the differences to the clips as they are with their intervals."""
    several = len(report.sets) > 1
    rows = []
    for kind, points in {"": (curves.clean,), **curves.curves}.items():
        for point in points:
            name = f"{KINDS[kind].title} {point.strength:g} ({KINDS[kind].unit})" if kind else "as they are"
            scores = [point.cells[s.name].score if s.name in point.cells else None for s in report.sets]
            rows.append([name, *map(percent, scores), *([percent(point.mean)] if several else [])])
            if kind:
                changes = [_change(point.cells.get(s.name)) for s in report.sets]
                rows.append(["against the clips as they are", *changes, *([""] if several else [])])
    head = ["clips", *(s.title for s in report.sets), *([mean_title(report)] if several else [])]
    return _table(head, rows)


def _change(cell: ViewCell | None) -> str:
    if cell is None or cell.difference is None:
        return ABSENT
    ends = between(cell.difference_low, cell.difference_high)
    return f"{100 * cell.difference:+.2f}" + (f" [{ends}]" if ends else "")


def _join_lists(parts: Iterable[str]) -> list[str]:
    joined: list[str] = []
    for part in parts:
        if part.startswith("- ") and joined and joined[-1].startswith("- "):
            joined[-1] += "\n" + part
        else:
            joined.append(part)
    return joined


def _main_table(report: Report) -> str:
    sets = report.sets
    several = len(sets) > 1
    head = ["system", *(s.title for s in sets), *([mean_title(report)] if several else [])]
    lines = []
    for row in report.systems:
        cells = [row.cells.get(s.name) for s in sets]
        mean = [percent(row.honest_mean)] if several else []
        lines.append([f"**{for_markdown(row.system)}**", *(percent(cell.honest) if cell else ABSENT for cell in cells)])
        lines[-1] += mean
        ends = [between(cell.honest_low, cell.honest_high) if cell else "" for cell in cells]
        if any(ends):
            lines.append(["95 % interval", *ends, *([""] if several else [])])
        spreads = ["" if c is None or c.spread is None else f"± {percent(c.spread)}, {c.runs} runs" for c in cells]
        if any(spreads):
            lines.append(["spread over runs", *spreads, *([""] if several else [])])
        if row.optimistic:
            best = [_optimistic(cell) for cell in cells]
            lines.append(["best on the test set †", *best, *([f"{percent(row.mean)} †"] if several else [])])
    for line in report.published:
        name = f"{for_markdown(line.system)} ({line.inputs})" if line.inputs else for_markdown(line.system)
        scores = [percent(line.scores.get(s.name)) for s in sets]
        lines.append([name, *scores, *([percent(line.mean)] if several else [])])
    return _rows([[for_markdown(cell) for cell in head], ["---"] * len(head), *lines])


def _optimistic(cell: Cell | None) -> str:
    return f"{percent(cell.score)} †" if cell is not None and cell.optimistic else ""


def _set_section(report: Report, one: SystemResult) -> list[str]:
    result = one.result
    task = next(s.task for s in report.sets if s.name == result.dataset)
    title = f"{result.title or result.dataset}, {one.system}"
    parts = [f"## {for_markdown(title)}", for_markdown("; ".join(how_made(one)) + ".")]
    parts += [for_markdown(text)] if (text := comparison_of(one)) else []
    rows = [
        [f.title, percent(f.official), f.official_ends, percent(f.strict), f.strict_ends]
        for f in figures_of(result, task)
    ]
    parts.append(_table(["figure", "official", "95 % interval", "strict", "95 % interval"], rows))
    parts.append(", ".join(f"{title} {number:,}" for title, number in counts_of(one)) + ".")
    wheels = wheels_of(result, task)
    if wheels:
        rows = [[f"{w}", percent(score), f"{kept:,}", f"{skipped:,}"] for w, score, kept, skipped in wheels]
        parts.append(_table(["wheel", "score", "samples", "skipped"], rows))
    if result.per_class:
        parts.append(_class_table(result.per_class))
    for words, what in (
        (result.frequent_words, "Most frequent labels"),
        (result.unseen_words, "Outside the vocabulary"),
    ):
        if words:
            parts.append(
                f"{what}: " + ", ".join(f"{for_markdown(shown(w))} ({n:,})" for w, n in words[:NUM_WORDS]) + "."
            )
    return parts


def _class_table(classes: Sequence[ClassFigures]) -> str:
    names = list(classes[0].figures)
    rows = [[shown(c.label), f"{c.samples:,}", *(percent(c.figures.get(name)) for name in names)] for c in classes]
    return _table(["class", "samples", *("F1" if name == "f1" else TITLES.get(name, name) for name in names)], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [[for_markdown(cell) for cell in line] for line in (head, *rows)]
    return _rows([cells[0], ["---"] * len(head), *cells[1:]])


def _rows(lines: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
