"""Write the report as one page that holds its style and pictures itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from affectgpt.bench.report.charts import draw_classes, draw_sets
from affectgpt.bench.report.figure_names import (
    TITLES,
    Figure,
    between,
    counts_of,
    figures_of,
    percent,
    shown,
    wheels_of,
)
from affectgpt.bench.report.markdown import (
    comparison_of,
    how_made,
    mean_title,
    selection_head,
    selection_rows,
    single_checkpoints,
)
from affectgpt.pages import style_sheet
from affectgpt.pages.plotting import data_address

NUM_WORDS, NUM_UNSEEN = 15, 20
NUM_BOXES = 3
"""So many warnings have a box each; more of them are one list."""

REFERENCE = ("AffectGPT", "AVT")
"""The published row that stands in the plot."""

NEAR = (REFERENCE, ("AffectGPT", "VT"), ("AffectGPT", "AT"), ("Emotion-LLaMA", "AVT"), ("mPLUG-Owl", "VT"))
"""Published rows that are shown without a click."""

PAGE = Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title><style>$style</style></head><body>
<header><h1>$title</h1><p>$lead</p></header>
<main>
<div class="cards">$cards</div>
$warnings
<section><h2>Beside the published rows</h2>
<p>In percent. Small figures are 95&nbsp;% intervals: they say how much the choice of clips matters, nothing about
training seeds or sampled answers.$dagger</p>
$main_table
$sources</section>
<section><h2>Set by set</h2><p>Dots are scores, bars their 95&nbsp;% intervals.</p>
<div class="scroll"><img class="wide" alt="Scores by test set" src="$sets"></div></section>
$selection
$details
<section><h2>How to read the figures</h2><dl class="terms">$terms</dl></section>
</main>
<footer><p>Made on $made with affectgpt $version. All figures are in report.json and report.csv beside this page.</p>
</footer></body></html>
""")

TERMS: Mapping[str, str] = {
    "hit rate": "share of clips whose one true label is among the answer's, by groups of an emotion wheel, mean over "
    "the wheels. Long answers are not punished: naming everything scores 100.",
    "hit rate above chance": "what is left of the hits after those that the same answers would score on shuffled true "
    "labels, as a share of what is possible. Any answer that is the same for every clip scores 0.",
    "hit F1": "mean over clips of 2 &times; shared groups / (predicted + true groups).",
    "wheel F1": "F1 of mean precision and mean recall of the groups, mean over the wheels.",
    "weighted F1": "F1 of positive and negative, weighted by their true share; clips with a true score of 0 are left "
    "out.",
    "official, strict": "official repeats the published scoring to the digit: labels outside the vocabulary, and "
    "neutral ones, are dropped. Strict drops nothing: unknown words count as wrong, neutral is a class of its own.",
}


def to_page(content: Mapping[str, Any]) -> str:
    """The page.

    Args:
        content: From ``build_content``.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    published = content["published"]
    reference = next((r for r in published if (r["system"], r["inputs"]) == REFERENCE and r["scores"]), None)
    optimistic = any(system["optimistic"] for system in content["systems"])
    return PAGE.substitute(
        title=escape(content["title"]),
        style=style_sheet(),
        lead=_lead(content),
        cards=_cards(content),
        warnings=_warnings(content["warnings"]),
        dagger=" &dagger; marks a checkpoint chosen on the test set itself." if optimistic else "",
        main_table=_main_table(content),
        sources=_sources(content["sources"]),
        sets=data_address(draw_sets(content, reference), "image/png"),
        selection=_selection(content),
        details="".join(_set_section(content, test_set) for test_set in content["sets"]),
        terms="".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in TERMS.items()),
        made=content["made"],
        version=escape(content["affectgpt"]),
    )


def _lead(content: Mapping[str, Any]) -> str:
    systems = _listed([escape(system["system"]) for system in content["systems"]])
    sets = _listed([escape(test_set["title"]) for test_set in content["sets"]])
    return f"Scored by affectgpt on {sets}: {systems}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _cards(content: Mapping[str, Any]) -> str:
    best = max(content["systems"], key=lambda system: system["mean"] or 0)
    results, many = content["results"], len(content["systems"]) > 1
    one = len(content["sets"]) == 1
    cards = []
    if best["mean"] is not None:
        what = TITLES[content["sets"][0]["metric"]] if one else mean_title(content)
        cards.append(("main", percent(best["mean"]), what + (f", {best['system']}" if many else "")))
        cell = next(iter(best["cells"].values()))
        if one and cell["low"] is not None:
            cards.append(("text", between(cell["low"], cell["high"]), "95 % interval"))
    if best["optimistic"] and best["honest_mean"] is not None:
        cards.append(("", percent(best["honest_mean"]), "by an honest choice of checkpoint"))
    coverage = [r["coverage"] for r in results if r.get("coverage") is not None and r["metric"] != "weighted_f1"]
    if coverage:
        cards.append(("", f"{100 * min(coverage):.1f} %", "labels in the vocabulary" + ("" if one else ", at least")))
    answers = sum(r.get("gold_samples") or 0 for r in results)
    if answers:
        cards.append(("", f"{answers:,}", "answers scored"))
    cards.append(("text", _listed(sorted({r["wheel"] for r in results})), f"wheel, mode {_modes(results)}"))
    return "".join(
        f'<div class="card {kind}"><b>{escape(value)}</b><span>{escape(text)}</span></div>'
        for kind, value, text in cards
    )


def _modes(results: Iterable[Mapping[str, Any]]) -> str:
    return _listed(sorted({r["mode"] for r in results}))


def _warnings(warnings: Sequence[str]) -> str:
    if len(warnings) > NUM_BOXES:
        return f'<div class="note"><ul>{"".join(f"<li>{escape(warning)}</li>" for warning in warnings)}</ul></div>'
    return "".join(f'<p class="note">{escape(warning)}</p>' for warning in warnings)


def _main_table(content: Mapping[str, Any]) -> str:
    sets = content["sets"]
    mean = f'<th class="num">{escape(mean_title(content))}</th>' if len(sets) > 1 else ""
    head = "".join(
        f'<th class="num">{escape(s["title"])}<small>{escape(TITLES[s["metric"]])}</small></th>' for s in sets
    )
    head = f"<thead><tr><th>system</th>{head}{mean}</tr></thead>"
    own = "".join(_own_row(system, sets) for system in content["systems"])
    lines = {(row["system"], row["inputs"]): _published_row(row, sets) for row in content["published"]}
    near = "".join(lines.pop(name) for name in NEAR if name in lines)
    rest, number = "".join(lines.values()), len(lines)
    return (
        f'<div class="scroll"><table class="scores">{head}<tbody>{own}{near}</tbody></table></div>'
        f'<details><summary>{number} more published rows</summary><div class="scroll"><table class="scores">{head}'
        f"<tbody>{rest}</tbody></table></div></details>"
    )


def _own_row(system: Mapping[str, Any], sets: Sequence[Mapping[str, Any]]) -> str:
    cells = []
    for test_set in sets:
        cell = system["cells"].get(test_set["dataset"])
        if cell is None:
            cells.append('<td class="num">-</td>')
            continue
        lines = [f"<small>{between(cell['low'], cell['high'])}</small>" if cell["low"] is not None else ""]
        if cell["optimistic"]:
            lines.append(f"<small>honest {percent(cell['honest'])}</small>")
        cells.append(f'<td class="num">{percent(cell["score"])}{_dagger(cell["optimistic"])}{"".join(lines)}</td>')
    if len(sets) > 1:
        optimistic = system["optimistic"] and system["mean"] is not None
        honest = f"<small>honest {percent(system['honest_mean'])}</small>" if optimistic else ""
        cells.append(f'<td class="num">{percent(system["mean"])}{_dagger(optimistic)}{honest}</td>')
    return f'<tr class="best"><td>{escape(system["system"])}</td>{"".join(cells)}</tr>'


def _dagger(optimistic: bool) -> str:
    return '<span class="dagger" title="chosen on the test set">&dagger;</span>' if optimistic else ""


def _published_row(row: Mapping[str, Any], sets: Sequence[Mapping[str, Any]]) -> str:
    scores = "".join(f'<td class="num">{percent(row["scores"].get(s["dataset"]))}</td>' for s in sets)
    mean = f'<td class="num">{percent(row["mean"])}</td>' if len(sets) > 1 else ""
    inputs = f" <small>{escape(row['inputs'])}</small>" if row["inputs"] else ""
    return f'<tr><td title="{escape(row["source"])}">{escape(row["system"])}{inputs}</td>{scores}{mean}</tr>'


def _sources(sources: Iterable[Mapping[str, str]]) -> str:
    lines = "".join(f"<li>{escape(s['citation'])}, {escape(s['place'])}. {escape(s['note'])}</li>" for s in sources)
    return f'<ul class="sources">{lines}</ul>'


def _selection(content: Mapping[str, Any]) -> str:
    rows = selection_rows(content)
    if not rows:
        return ""
    single = "".join(f'<p class="after">{escape(line)}</p>' for line in single_checkpoints(content))
    return (
        "<section><h2>Which checkpoint</h2><p>Choosing the best of several checkpoints on the test set, as the "
        "published row does, adds points that a user of the model does not get.</p>"
        f"{_table(selection_head(), rows, text_columns=(0, 1, 2, 3, 5, 6))}{single}</section>"
    )


def _set_section(content: Mapping[str, Any], test_set: Mapping[str, Any]) -> str:
    found = [result for result in content["results"] if result["dataset"] == test_set["dataset"]]
    blocks = [_block(result, test_set["task"]) for result in found]
    if len(found) > 1:
        blocks = [
            f"<details{' open' if i == 0 else ''}><summary>{escape(result['system'])}</summary>{block}</details>"
            for i, (result, block) in enumerate(zip(found, blocks, strict=True))
        ]
    return f"<section><h2>{escape(test_set['title'])}</h2>{''.join(blocks)}</section>"


def _block(result: Mapping[str, Any], task: str) -> str:
    figures = figures_of(result, task)
    counts = [[title, f"{number:,}"] for title, number in counts_of(result)]
    wheels = [[f"{w}", percent(s), f"{kept:,}", f"{skipped:,}"] for w, s, kept, skipped in wheels_of(result, task)]
    tables = [_figure_table(figures)] if figures else []
    if counts:
        tables.append(_table(["counted", ""], counts))
    if wheels:
        tables.append(_table(["wheel", "score", "samples", "skipped"], wheels, text_columns=(0,)))
    pictures = [_classes(result), _words(result)]
    return (
        f"<p>{escape('; '.join(how_made(result)))}. {escape(comparison_of(result))}</p>"
        f"<div class='trio'>{''.join(f'<div>{t}</div>' for t in tables)}"
        f"</div><div class='pair'>{''.join(f'<div>{p}</div>' for p in pictures if p)}</div>{_unseen(result)}"
    )


def _figure_table(figures: Iterable[Figure]) -> str:
    rows = "".join(
        f'<tr><td>{f.title}</td><td class="num">{percent(f.official)}<small>{f.official_ends}</small></td>'
        f'<td class="num">{percent(f.strict)}<small>{f.strict_ends}</small></td></tr>'
        for f in figures
    )
    head = '<th>figure</th><th class="num">official</th><th class="num">strict</th>'
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _classes(result: Mapping[str, Any]) -> str:
    classes = result.get("per_class") or []
    if not classes:
        return ""
    name = next(key for key in ("hit_rate", "f1", "recall") if key in classes[0])
    title = "F1" if name == "f1" else TITLES[name]
    picture = data_address(draw_classes(classes, name, title), "image/png")
    return f'<h3>By true class</h3><img alt="Score of every true class" src="{picture}">'


def _words(result: Mapping[str, Any]) -> str:
    words = [(str(word), int(count)) for word, count in (result.get("frequent_words") or [])[:NUM_WORDS]]
    if not words:
        return ""
    unseen = {str(word) for word, _ in result.get("unseen_words") or []}
    # Bars of the page itself, as labels come in any script, and a plot's font has few.
    longest, total = words[0][1], int(result.get("labels") or 0) or sum(count for _, count in words)
    rows = "".join(
        f'<tr><th>{escape(shown(word))}</th><td><i class="{"out" if word in unseen else ""}" '
        f'style="width:{100 * count / longest:.1f}%"></i></td><td class="num">{count:,}</td>'
        f'<td class="num">{100 * count / total:.1f}&nbsp;%</td></tr>'
        for word, count in words
    )
    key = '<p class="key"><i></i>in the vocabulary <i class="out"></i>not in it</p>' if unseen else ""
    return f'<h3>Most frequent labels</h3><table class="bars"><tbody>{rows}</tbody></table>{key}'


def _unseen(result: Mapping[str, Any]) -> str:
    words = result.get("unseen_words") or []
    if not words:
        return ""
    chips = "".join(f'<span class="chip near">{escape(shown(w))} {n:,}</span>' for w, n in words[:NUM_UNSEEN])
    return f'<h3>Most frequent labels outside the vocabulary</h3><p class="chips">{chips}</p>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: Sequence[int] = (0,)) -> str:
    kinds = ["" if i in text_columns else ' class="num"' for i in range(len(head))]
    top = "".join(f"<th{kind}>{escape(cell)}</th>" for kind, cell in zip(kinds, head, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{escape(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
