"""The section of the HTML report about one test set: figures, counts, classes and frequent labels."""

from __future__ import annotations

from collections.abc import Iterable

from affectgpt.bench.report.charts import draw_classes
from affectgpt.bench.report.content import Report
from affectgpt.bench.report.explanations import comparison_of, how_made
from affectgpt.bench.report.figure_names import TITLES, Figure, counts_of, figures_of, percent, shown, wheels_of
from affectgpt.bench.report.page_tables import plain_table
from affectgpt.bench.result import SetResult
from affectgpt.bench.system_result import SystemResult
from affectgpt.datamodules.unibench.sets import TestSet
from affectgpt.pages.escaping import for_html
from affectgpt.pages.plotting import data_url

NUM_WORDS, NUM_UNSEEN = 15, 20


def set_section(report: Report, test_set: TestSet) -> str:
    """The section of one set; with several systems, the first is open and the others are folded."""
    found = [one for one in report.results if one.result.dataset == test_set.name]
    blocks = [_block(one, test_set.task) for one in found]
    if len(found) > 1:
        blocks = [
            f"<details{' open' if i == 0 else ''}><summary>{for_html(one.system)}</summary>{block}</details>"
            for i, (one, block) in enumerate(zip(found, blocks, strict=True))
        ]
    return f"<section><h2>{for_html(test_set.title)}</h2>{''.join(blocks)}</section>"


def _block(one: SystemResult, task: str) -> str:
    result = one.result
    figures = figures_of(result, task)
    counts = [[title, f"{number:,}"] for title, number in counts_of(one)]
    wheels = [[f"{w}", percent(s), f"{kept:,}", f"{skipped:,}"] for w, s, kept, skipped in wheels_of(result, task)]
    tables = [_figure_table(figures)] if figures else []
    if counts:
        tables.append(plain_table(["counted", ""], counts))
    if wheels:
        tables.append(plain_table(["wheel", "score", "samples", "skipped"], wheels))
    pictures = [_classes(result), _words(result)]
    return (
        f"<p>{for_html('; '.join(how_made(one)))}. {for_html(comparison_of(one))}</p>"
        f"<div class='trio'>{''.join(f'<div>{t}</div>' for t in tables)}"
        f"</div><div class='pair'>{''.join(f'<div>{p}</div>' for p in pictures if p)}</div>{_unseen(result)}"
    )


def _figure_table(figures: Iterable[Figure]) -> str:
    rows = "".join(
        f'<tr><td>{for_html(f.title)}</td><td class="num">{percent(f.official)}<small>{f.official_ends}</small></td>'
        f'<td class="num">{percent(f.strict)}<small>{f.strict_ends}</small></td></tr>'
        for f in figures
    )
    head = '<th>figure</th><th class="num">official</th><th class="num">strict</th>'
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _classes(result: SetResult) -> str:
    if not result.per_class:
        return ""
    name = next(key for key in ("hit_rate", "f1", "recall") if key in result.per_class[0].figures)
    title = "F1" if name == "f1" else TITLES[name]
    picture = data_url(draw_classes(result.per_class, name, title), "image/png")
    image = f'<img class="classes" alt="Score of every true class" src="{picture}">'
    return f'<h3>By true class</h3><div class="scroll">{image}</div>'


def _words(result: SetResult) -> str:
    words = result.frequent_words[:NUM_WORDS]
    if not words:
        return ""
    unseen = {word for word, _ in result.unseen_words}
    # HTML bars instead of a plot, because labels come in any script and the plot's font covers few.
    longest, total = words[0][1], result.labels or sum(count for _, count in words)
    rows = "".join(
        f'<tr><th>{for_html(shown(word))}</th><td><i class="{"out" if word in unseen else ""}" '
        f'style="width:{100 * count / longest:.1f}%"></i></td><td class="num">{count:,}</td>'
        f'<td class="num">{100 * count / total:.1f}&nbsp;%</td></tr>'
        for word, count in words
    )
    key = '<p class="key"><i></i>in the vocabulary <i class="out"></i>not in it</p>' if unseen else ""
    return f'<h3>Most frequent labels</h3><table class="bars"><tbody>{rows}</tbody></table>{key}'


def _unseen(result: SetResult) -> str:
    words = result.unseen_words
    if not words:
        return ""
    chips = "".join(f'<span class="chip near">{for_html(shown(w))} {n:,}</span>' for w, n in words[:NUM_UNSEEN])
    return f'<h3>Most frequent labels outside the vocabulary</h3><p class="chips">{chips}</p>'
