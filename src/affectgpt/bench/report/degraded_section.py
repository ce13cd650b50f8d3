"""The section of the HTML report about degraded clips: what noise, blur, loss and mix-ups cost."""

from __future__ import annotations

from affectgpt.bench.degradations import KINDS
from affectgpt.bench.report.content import Report
from affectgpt.bench.report.degraded_chart import draw_degraded
from affectgpt.bench.report.degraded_content import DegradedCurves
from affectgpt.bench.report.page_tables import SIDEWAYS
from affectgpt.bench.report.view_section import form_row, form_table
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
    rows = [form_row(report, "as they are", curves.clean.cells, curves.clean.mean, best=True)]
    for kind, points in curves.curves.items():
        name, unit = for_html(KINDS[kind].title), for_html(KINDS[kind].unit)
        for point in points:
            title = f"{name} {point.strength:g}<br><small>{unit}</small>"
            rows.append(form_row(report, title, point.cells, point.mean))
    return form_table(report, "clips", rows)
