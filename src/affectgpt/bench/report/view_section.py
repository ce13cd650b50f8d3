"""The section of the HTML report about views: the effect of leaving out sound, picture or words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from affectgpt.bench.report.content import Report, mean_title
from affectgpt.bench.report.evidence_rows import EVIDENCE_HEAD, EVIDENCE_MEANING, EVIDENCE_TITLE, evidence_rows
from affectgpt.bench.report.figure_names import ABSENT, TITLES, between, percent
from affectgpt.bench.report.page_tables import SIDEWAYS, plain_table
from affectgpt.bench.report.view_chart import draw_views
from affectgpt.bench.report.view_content import VIEWS, WHOLE, ViewCell, ViewTable, published_beside
from affectgpt.datamodules.unibench.sets import TEST_SETS, TestSet
from affectgpt.pages.escaping import for_html
from affectgpt.pages.plotting import data_url

INTRODUCTION = (
    "One checkpoint was shown the sound (A), the picture (V) and the words (T) of each clip, or some of them. Below a "
    "score is its difference to AVT on the same clips, in points, with the 95&nbsp;% interval of the difference: "
    "if it contains 0, these clips do not tell the two views apart. Below AVT is its own interval; those of the "
    "other views are in the plot."
)


def view_sections(report: Report) -> str:
    """The sections of all systems that were asked by views; empty if there are none."""
    return "".join(_section(report, table) for table in report.views)


def _section(report: Report, table: ViewTable) -> str:
    picture = data_url(draw_views(table, report.sets), "image/png")
    title = "By modality" + (f": {table.system}" if len(report.views) > 1 or len(report.systems) > 1 else "")
    return (
        f"<section><h2>{for_html(title)}</h2><p>{INTRODUCTION}</p>"
        f"{SIDEWAYS if len(report.sets) > 1 else ''}{_table(report, table)}"
        f"<h3>Scores and their 95&nbsp;% intervals, in percent</h3>{SIDEWAYS}"
        f'<div class="scroll"><img class="wide" alt="Scores by view" src="{picture}"></div>'
        f"{_evidence(report, table.system)}{_published(report.sets)}</section>"
    )


def _table(report: Report, table: ViewTable) -> str:
    rows = [
        form_row(report, view, cells, table.means.get(view), best=view == WHOLE) for view, cells in table.cells.items()
    ]
    return form_table(report, "shown", rows)


def form_table(report: Report, first: str, rows: Sequence[str]) -> str:
    """A table with a row for each form in which clips were shown, and a column for each set and for their mean.

    Args:
        report: The report.
        first: Title of the first column.
        rows: See ``form_row``.
    """
    sets = report.sets
    heads = "".join(
        f'<th class="num">{for_html(s.title)}<small>{for_html(TITLES[s.metric])}</small></th>' for s in sets
    )
    mean = f'<th class="num">{for_html(mean_title(report))}</th>' if len(sets) > 1 else ""
    head = f"<thead><tr><th>{first}</th>{heads}{mean}</tr></thead>"
    return f'<div class="scroll"><table class="scores views">{head}<tbody>{"".join(rows)}</tbody></table></div>'


def form_row(
    report: Report, name: str, cells: Mapping[str, ViewCell], mean: float | None, *, best: bool = False
) -> str:
    """One row of ``form_table``.

    Args:
        report: The report.
        name: The form, as HTML.
        cells: Set to its score.
        mean: Mean over the sets.
        best: Whether this is the form that the others are compared with.
    """
    line = "".join(view_cell(cells.get(s.name)) for s in report.sets)
    if len(report.sets) > 1:
        line += f'<td class="num">{percent(mean)}</td>'
    kind = ' class="best"' if best else ""
    return f"<tr{kind}><td>{name}</td>{line}</tr>"


def view_cell(cell: ViewCell | None) -> str:
    """One cell of a table: the score, and below it its difference with its interval, or its own interval."""
    if cell is None:
        return f'<td class="num">{ABSENT}</td>'
    lines = [between(cell.low, cell.high)]
    if cell.difference is not None:  # the score's own interval is in the plot
        lines = [f"{100 * cell.difference:+.2f}", between(cell.difference_low, cell.difference_high)]
    small = "".join(f"<small>{line.replace('-', '&minus;')}</small>" for line in lines if line)
    return f'<td class="num">{percent(cell.score)}{small}</td>'


def _evidence(report: Report, system: str) -> str:
    rows = evidence_rows(report, system)
    if not rows:
        return ""
    table = plain_table(EVIDENCE_HEAD, rows, (0,), "scores")
    return f"<h3>{EVIDENCE_TITLE}</h3><p>{for_html(EVIDENCE_MEANING)}</p>{SIDEWAYS}{table}"


def _published(sets: Sequence[TestSet]) -> str:
    rows = published_beside(sets)
    if not rows:
        return ""
    lines = [
        [row.title, "mean" if row.dataset == "mean" else TEST_SETS[row.dataset].title]
        + [percent(row.scores.get(view)) for view in VIEWS]
        for row in rows
    ]
    sources = {row.source.citation + row.source.place: row.source for row in rows}
    listed = "".join(
        f"<li>{for_html(one.citation)}, {for_html(one.place)}. {for_html(one.note)}</li>" for one in sources.values()
    )
    return (
        f"<h3>Published</h3>{SIDEWAYS}{plain_table(['system', 'set', *VIEWS], lines, (0, 1), 'scores')}"
        f'<ul class="sources">{listed}</ul>'
    )
