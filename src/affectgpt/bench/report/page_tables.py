"""The tables of the HTML report: ours beside the published rows, and plain ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from affectgpt.bench.report.content import PublishedLine, Report, SystemRow, mean_title
from affectgpt.bench.report.figure_names import ABSENT, TITLES, between, percent
from affectgpt.datamodules.unibench.sets import TestSet
from affectgpt.pages.escaping import for_html

NEAR = (("AffectGPT", "AVT"), ("AffectGPT", "VT"), ("AffectGPT", "AT"), ("Emotion-LLaMA", "AVT"), ("mPLUG-Owl", "VT"))
"""Number of published rows that are not folded."""


SIDEWAYS = '<p class="sideways">&harr; scrolls sideways</p>'
"""The hint above everything that is too wide for a narrow screen."""


def main_table(report: Report) -> str:
    """Our systems beside published rows, most of which are folded."""
    sets = report.sets
    mean = f'<th class="num">{for_html(mean_title(report))}</th>' if len(sets) > 1 else ""
    heads = "".join(
        f'<th class="num">{for_html(s.title)}<small>{for_html(TITLES[s.metric])}</small></th>' for s in sets
    )
    head = f"<thead><tr><th>system</th>{heads}{mean}</tr></thead>"
    own = "".join(_own_row(row, sets) for row in report.systems)
    lines = {(line.system, line.inputs): _published_row(line, sets) for line in report.published}
    near = "".join(lines.pop(name) for name in NEAR if name in lines)
    rest, number = "".join(lines.values()), len(lines)
    hint = SIDEWAYS if len(sets) > 1 else ""
    return (
        f'{hint}<div class="scroll"><table class="scores">{head}<tbody>{own}{near}</tbody></table></div>'
        f'<details><summary>{number} more published rows</summary><div class="scroll"><table class="scores">{head}'
        f"<tbody>{rest}</tbody></table></div></details>"
    )


def _own_row(row: SystemRow, sets: Sequence[TestSet]) -> str:
    cells = []
    for test_set in sets:
        cell = row.cells.get(test_set.name)
        if cell is None:
            cells.append(f'<td class="num">{ABSENT}</td>')
            continue
        ends = between(cell.honest_low, cell.honest_high)
        small = f"<small>{ends}</small>" if ends else ""
        if cell.spread is not None:
            small += f"<small>&plusmn;&nbsp;{percent(cell.spread)}, {cell.runs}&nbsp;runs</small>"
        cells.append(f'<td class="num">{percent(cell.honest)}{small}{_best(cell.score, cell.optimistic)}</td>')
    if len(sets) > 1:
        cells.append(f'<td class="num">{percent(row.honest_mean)}{_best(row.mean, row.optimistic)}</td>')
    return f'<tr class="best"><td>{for_html(row.system)}</td>{"".join(cells)}</tr>'


def _best(score: float | None, optimistic: bool) -> str:
    """The figure of a checkpoint that was chosen with test labels, below the honest one."""
    if not optimistic or score is None:
        return ""
    return f'<small class="optimistic" title="chosen on the test set">best {percent(score)}&nbsp;&dagger;</small>'


def _published_row(line: PublishedLine, sets: Sequence[TestSet]) -> str:
    scores = "".join(f'<td class="num">{percent(line.scores.get(s.name))}</td>' for s in sets)
    mean = f'<td class="num">{percent(line.mean)}</td>' if len(sets) > 1 else ""
    inputs = f" <small>{for_html(line.inputs)}</small>" if line.inputs else ""
    return f'<tr><td title="{for_html(line.source)}">{for_html(line.system)}{inputs}</td>{scores}{mean}</tr>'


def plain_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: Sequence[int] = (0,), kind: str = "plain"
) -> str:
    """A table with its own scroll bar; columns other than text are right-aligned."""
    kinds = ["" if i in text_columns else ' class="num"' for i in range(len(head))]
    top = "".join(f"<th{kind}>{for_html(cell)}</th>" for kind, cell in zip(kinds, head, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{for_html(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
