"""Writes the HTML report: one page that includes its style and plots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from string import Template

from affectgpt.bench.report.charts import draw_sets
from affectgpt.bench.report.content import Report, mean_title
from affectgpt.bench.report.degraded_section import degraded_sections
from affectgpt.bench.report.explanations import selection_head, selection_rows, settings_rows, single_checkpoints
from affectgpt.bench.report.figure_names import TITLES, between, percent
from affectgpt.bench.report.page_sets import set_section
from affectgpt.bench.report.page_tables import SIDEWAYS, main_table, plain_table
from affectgpt.bench.report.view_section import view_sections
from affectgpt.pages import style_sheet
from affectgpt.pages.escaping import for_html
from affectgpt.pages.plotting import data_url

NUM_BOXES = 3
"""Up to this many caveats have a box each; more of them form one list."""

REFERENCE = ("AffectGPT", "AVT")
"""The published row in the plot."""

PAGE = Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title><style>$style</style></head><body>
<header><h1>$title</h1><p>$lead</p></header>
<main>
<div class="cards">$cards</div>
$doubts
<section><h2>Beside the published rows</h2>
<p>In percent. Small figures are 95&nbsp;% intervals: they show the effect of the choice of clips, not of training
seeds or sampled answers.$dagger$runs</p>
$main_table
$sources</section>
$selection
<section><h2>Set by set</h2><p>Dots are scores, bars their 95&nbsp;% intervals.$hollow</p>
$sideways<div class="scroll"><img class="wide" alt="Scores by test set" src="$sets"></div></section>
$views
$degraded
$details
<section><h2>How to read the figures</h2><dl class="terms">$terms</dl></section>
<section><h2>Settings</h2><p>Everything that changes figures, with one hash: <code>$short_hash</code>. Reports with the
same hash are comparable; <code>affectgpt bench --diff A B</code> lists the differences between two.</p>
<details><summary>$num_settings settings</summary>$sideways$settings</details></section>
</main>
<footer><p>Made on $made with affectgpt $version. All figures are in report.json and report.csv beside this page.
Settings <code>$hash</code></p>
</footer></body></html>
""")

TERMS: Mapping[str, str] = {
    "hit rate": "share of clips whose one true label is among the predicted labels, by groups of an emotion wheel, "
    "mean over the wheels. Long answers are not penalised: naming every emotion scores 100.",
    "hit rate above chance": "the hit rate minus that of the same answers on shuffled true labels, as a share of the "
    "possible gain. Answers that are the same for every clip score 0.",
    "hit F1": "mean over clips of 2 &times; shared groups / (predicted + true groups).",
    "wheel F1": "F1 of mean precision and mean recall of the groups, mean over the wheels.",
    "weighted F1": "F1 of positive and negative, weighted by their true share; clips with a true score of 0 are left "
    "out.",
    "official, strict": "official reproduces the published scoring to the digit: it drops labels outside the "
    "vocabulary and neutral ones. Strict drops nothing: unknown words count as wrong, and neutral is a class of its "
    "own.",
}


def to_page(report: Report) -> str:
    """The report as an HTML page.

    Args:
        report: The report to show.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    reference = next((r for r in report.published if (r.system, r.inputs) == REFERENCE and r.scores), None)
    optimistic = any(row.optimistic for row in report.systems)
    return PAGE.substitute(
        title=for_html(report.title),
        style=style_sheet(),
        lead=_lead(report),
        cards=_cards(report),
        doubts=_doubts(report.doubts),
        dagger=" &dagger; marks a checkpoint that was chosen on the test set itself; the honest figure comes first."
        if optimistic
        else "",
        runs=" If a model answered several times, the figure is the mean of the runs, and &plusmn; their standard "
        "deviation, which shows the effect of sampling answers."
        if any(cell.spread is not None for row in report.systems for cell in row.cells.values())
        else "",
        hollow=" Hollow dots are checkpoints that were chosen on the test set." if optimistic else "",
        sideways=SIDEWAYS,
        main_table=main_table(report),
        sources=_sources(report),
        sets=data_url(draw_sets(report, reference), "image/png"),
        selection=_selection(report),
        views=view_sections(report),
        degraded=degraded_sections(report),
        details="".join(set_section(report, test_set) for test_set in report.sets),
        terms="".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in TERMS.items()),
        short_hash=report.settings_hash[:12],
        hash=report.settings_hash,
        num_settings=len(settings_rows(report)),
        settings=plain_table(["", "setting", "value"], settings_rows(report), (0, 1, 2), "choices"),
        made=report.made,
        version=for_html(report.version),
    )


def _lead(report: Report) -> str:
    systems = _listed([for_html(row.system) for row in report.systems])
    sets = _listed([for_html(test_set.title) for test_set in report.sets])
    return f"Scored by affectgpt on {sets}: {systems}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _cards(report: Report) -> str:
    """The cards at the top: the best system's honest figure first, then its optimistic one, marked as such."""
    best = max(report.systems, key=lambda row: (row.honest_mean or 0, row.mean or 0))
    many, one = len(report.systems) > 1, len(report.sets) == 1
    what = TITLES[report.sets[0].metric] if one else mean_title(report)
    what += f", {best.system}" if many else ""
    cards = []
    if best.honest_mean is not None:
        how = ", by an honest choice of checkpoint" if best.optimistic else ""
        cards.append(("main", percent(best.honest_mean), what + how))
        cell = next(iter(best.cells.values()))
        ends = between(cell.honest_low, cell.honest_high)
        if one and ends:
            cards.append(("text", ends, "95 % interval"))
    if best.optimistic and best.mean is not None:
        cards.append(("optimistic", f"{percent(best.mean)} †", "best on the test set: optimistic"))
    results = [found.result for found in report.results]
    coverage = [r.coverage for r in results if r.coverage is not None and r.metric != "weighted_f1"]
    if coverage:
        cards.append(("", f"{100 * min(coverage):.1f} %", "labels in the vocabulary" + ("" if one else ", at least")))
    answers = sum(r.gold_samples or 0 for r in results)
    if answers:
        cards.append(("", f"{answers:,}", "answers scored"))
    modes = _listed(sorted({r.mode for r in results}))
    cards.append(("text", _listed(sorted({r.wheel for r in results})), f"wheel, mode {modes}"))
    return "".join(
        f'<div class="card {kind}"><b>{for_html(value)}</b><span>{for_html(text)}</span></div>'
        for kind, value, text in cards
    )


def _doubts(doubts: Sequence[str]) -> str:
    if len(doubts) > NUM_BOXES:
        return f'<div class="note"><ul>{"".join(f"<li>{for_html(doubt)}</li>" for doubt in doubts)}</ul></div>'
    return "".join(f'<p class="note">{for_html(doubt)}</p>' for doubt in doubts)


def _sources(report: Report) -> str:
    lines: Iterable[str] = (
        f"<li>{for_html(s.citation)}, {for_html(s.place)}. {for_html(s.note)}</li>" for s in report.sources
    )
    return f'<ul class="sources">{"".join(lines)}</ul>'


def _selection(report: Report) -> str:
    rows = selection_rows(report)
    if not rows:
        return ""
    single = "".join(f'<p class="after">{for_html(line)}</p>' for line in single_checkpoints(report))
    return (
        "<section><h2>Which checkpoint</h2><p>Choosing the best of several checkpoints on the test set, as the "
        "published row does, adds points that a user of the model does not "
        f"get.</p>{SIDEWAYS}{plain_table(selection_head(), rows, (0, 1, 3, 4, 5), 'choices')}{single}</section>"
    )
