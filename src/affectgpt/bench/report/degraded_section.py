"""The section of the HTML report about degraded clips: what noise, blur, loss and mix-ups cost."""

from __future__ import annotations

from affectgpt.bench.degradations import KINDS
from affectgpt.bench.report.content import Report, mean_title
from affectgpt.bench.report.degraded_chart import draw_degraded
from affectgpt.bench.report.degraded_content import CurvePoint, DegradedCurves
from affectgpt.bench.report.figure_names import TITLES, percent
from affectgpt.bench.report.page_tables import SIDEWAYS
from affectgpt.bench.report.view_section import view_cell
from affectgpt.pages.escaping import for_html
from affectgpt.pages.plotting import data_url

INTRODUCTION = (
    "The same checkpoint answered the same clips with something done to them after decoding, before its encoders. "
    "Below a score is its difference to the clips as they are, in points, with the 95&nbsp;% interval of the "
    "difference: if it contains 0, these clips do not show an effect. A clip that is changed at one strength is "
    "changed at every larger one."
)


def degraded_sections(report: Report) -> str:
    """The sections of all systems that were asked about degraded clips; empty if there are none."""
    return "".join(_section(report, curves) for curves in report.degraded)


def _section(report: Report, curves: DegradedCurves) -> str:
    picture = data_url(draw_degraded(curves, report.sets), "image/png")
    title = "Degraded clips" + (f": {curves.system}" if len(report.degraded) > 1 or len(report.systems) > 1 else "")
    several = "; the thick line is the mean of the sets" if len(report.sets) > 1 else ""
    return (
        f"<section><h2>{for_html(title)}</h2><p>{INTRODUCTION}</p>"
        f'<h3>Scores over the strength, in percent{several}</h3>{SIDEWAYS}<div class="scroll">'
        f'<img class="wide" alt="Scores on degraded clips" src="{picture}"></div>'
        f"{SIDEWAYS if len(report.sets) > 1 else ''}{_table(report, curves)}</section>"
    )


def _table(report: Report, curves: DegradedCurves) -> str:
    sets = report.sets
    heads = "".join(
        f'<th class="num">{for_html(s.title)}<small>{for_html(TITLES[s.metric])}</small></th>' for s in sets
    )
    mean = f'<th class="num">{for_html(mean_title(report))}</th>' if len(sets) > 1 else ""
    rows = [_row(report, "as they are", curves.clean, best=True)]
    for kind, points in curves.curves.items():
        name, unit = for_html(KINDS[kind].title), for_html(KINDS[kind].unit)
        for point in points:
            rows.append(_row(report, f"{name} {point.strength:g}<br><small>{unit}</small>", point))
    head = f"<thead><tr><th>clips</th>{heads}{mean}</tr></thead>"
    return f'<div class="scroll"><table class="scores views">{head}<tbody>{"".join(rows)}</tbody></table></div>'


def _row(report: Report, name: str, point: CurvePoint, *, best: bool = False) -> str:
    line = "".join(view_cell(point.cells.get(s.name)) for s in report.sets)
    if len(report.sets) > 1:
        line += f'<td class="num">{percent(point.mean)}</td>'
    kind = ' class="best"' if best else ""
    return f"<tr{kind}><td>{name}</td>{line}</tr>"
