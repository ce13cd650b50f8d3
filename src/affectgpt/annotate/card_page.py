"""The data card as one page that holds its style and pictures itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any

from affectgpt.annotate.card_text import OUTCOME_WORDS, groups_of, looked_words, remarks_of, spent_words
from affectgpt.annotate.waterfall import STYLE as WATERFALL_STYLE
from affectgpt.annotate.waterfall import draw_waterfall
from affectgpt.pages import style_sheet
from affectgpt.pages.escaping import for_html

PAGE = Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data card: $name</title><style>$style
details pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--page); padding: 12px 14px;
  border-radius: 10px; font-size: 13.5px; } details { margin: 10px 0; } summary { cursor: pointer; font-weight: 600; }
td.bar { width: 34%; min-width: 110px; } td.bar i { display: block; height: 12px; border-radius: 6px; }
td.bar i.ends { margin-bottom: 3px; } td { overflow-wrap: break-word; } td.num { white-space: nowrap; }
main > .cards + .note { margin-top: 16px; }
$waterfall_style
@media (max-width: 560px) { th, td { padding: 8px 7px; font-size: 14px; } th { font-size: 12.5px; } }
@media (prefers-color-scheme: dark) { :root { color-scheme: dark; --ink: #e6e9f2; --soft: #a7afc4; --line: #323a4f;
  --card: #1b2130; --page: #121724; --accent: #a3adff; }
  header { background: linear-gradient(120deg, #2a2e6b, #4b4098 55%, #8a4c74); }
  .note { background: #33290f; border-color: #5e4d1c; color: #f0d998; } }
</style></head><body>
<header><h1>Data card: $name</h1><p>$lead</p></header>
<main>
<div class="cards">$cards</div>
<p class="note">$use</p>
<section><h2>Stage by stage</h2><p>How many clips each stage let go on, sent to a person, dropped or failed on.</p>
$waterfall
<details><summary>The same as a table</summary><div class="scroll">$stages</div></details>
<p class="after">Every clip that is not in the set is in left_out.jsonl with its reason.</p></section>
<section><h2>What the stages said</h2><p>The most frequent reasons of each; numbers in them are written as #.</p>
$reasons</section>
<section><h2>Emotions before and after</h2><p>The share of each emotion among the clips that were described (upper bar)
and among those that were kept (lower bar). Where the lower bar is shorter, the filters took more of this emotion than
of others. The emotions are the inner groups of the first wheel ($wheel); a clip counts once in each of its groups.</p>
<div class="scroll">$groups</div></section>
$people
<section><h2>Models and prompts</h2><p>What decided the answers; a change of any of it asks anew.</p>$models</section>
<section><h2>Cost</h2><p>$spent</p><div class="scroll">$costs</div></section>
$remarks
</main>
<footer><p>Made on $made with $tool. All figures are in card.json beside this page.</p></footer></body></html>
""")


def to_page(card: Mapping[str, Any]) -> str:
    """The page."""
    outcomes = card["outcomes"]
    return PAGE.substitute(
        name=for_html(card["name"]),
        style=style_sheet(),
        lead=f"{card['clips']:,} clips went in, {outcomes['kept']:,} came out. Source: "
        f"{for_html(card['source'] or 'not told')}. Licence of the clips: {for_html(card['licence'] or 'not told')}.",
        cards=_cards(card),
        use=for_html(card["use"]),
        waterfall=draw_waterfall(card["stages"], card["clips"] - outcomes["unreadable"], outcomes["kept"]),
        waterfall_style=WATERFALL_STYLE,
        stages=_stages(card["stages"]),
        reasons=_reasons(card["stages"]),
        wheel=for_html(card["wheel"]),
        groups=_groups(card),
        people=_people(card["people"]) if card["people"] else "",
        models=_models(card["stages"]),
        spent=for_html(spent_words(card["spent"])),
        costs=_costs(card["spent"]),
        remarks=_remarks(card),
        made=for_html(card["made"]),
        tool=for_html(card["tool"]),
    )


def _cards(card: Mapping[str, Any]) -> str:
    shown = [("main", f"{100 * card['kept_rate']:.1f} %", "of the clips kept")]
    shown += [("", f"{number:,}", OUTCOME_WORDS[name]) for name, number in card["outcomes"].items() if number]
    if card["by_people"]:
        shown.append(("", f"{sum(card['by_people'].values()):,}", "decided by people"))
    shown += [("", f"{card['after']['distinct_labels']:,}", "different labels kept")]
    return "".join(f'<div class="card {kind}"><b>{value}</b><span>{words}</span></div>' for kind, value, words in shown)


def _stages(stages: Sequence[Mapping[str, Any]]) -> str:
    names = ("asked", "done", "person", "dropped", "failed")
    rows = (
        [f"<td>{for_html(row['as'])}</td>", *(f'<td class="num">{row[name]:,}</td>' for name in names)]
        for row in stages
    )
    head = "<th>stage</th>" + "".join(
        f'<th class="num">{word}</th>' for word in ("asked", "went on", "to a person", "dropped", "failed")
    )
    return _table(head, rows)


def _reasons(stages: Sequence[Mapping[str, Any]]) -> str:
    found = [(row["as"], reason, number) for row in stages for reason, number in row["reasons"].items()]
    if not found:
        return "<p>No stage gave a reason: every clip went through.</p>"
    rows = (
        [f"<td>{for_html(name)}</td>", f"<td>{for_html(reason)}</td>", f'<td class="num">{number:,}</td>']
        for name, reason, number in found
    )
    return f'<div class="scroll">{_table("<th>stage</th><th>reason</th><th class=num>clips</th>", rows)}</div>'


def _groups(card: Mapping[str, Any]) -> str:
    sides = card["before"], card["after"]
    shares = {
        group: [side["groups"].get(group, 0) / max(1, side["clips"]) for side in sides] for group in groups_of(card)
    }
    if not shares:
        return "<p>No clip has a label: no description names an emotion.</p>"
    largest = max(share for both in shares.values() for share in both) or 1.0
    rows = []
    for group, both in shares.items():
        before, after = (
            f'<i class="{css}" style="width:{100 * share / largest:.1f}%"></i>'
            for css, share in zip(("ends", "on"), both, strict=True)
        )
        numbers = [
            f'<td class="num">{side["groups"].get(group, 0):,} <small>{100 * share:.1f} %</small></td>'
            for side, share in zip(sides, both, strict=True)
        ]
        rows.append([f"<td>{for_html(group)}</td>", *numbers, f'<td class="bar">{before}{after}</td>'])
    return _table("<th>emotion</th><th class=num>described</th><th class=num>kept</th><th></th>", rows)


def _people(people: Mapping[str, Any]) -> str:
    alphas = (("people and engine", people["alpha_with_engine"]), ("people alone", people["alpha_of_people"]))
    said = " ".join(
        f"Krippendorff's alpha of {whose}: {'none, for want of pairs that vary' if alpha is None else f'{alpha:.2f}'}."
        for whose, alpha in alphas
    )
    rows = (
        [
            f"<td>{for_html(stage)}</td>",
            f'<td class="num">{row["reviewed"]:,}</td>',
            f'<td class="num">{row["shared"]:,}</td>',
            f'<td class="num">{100 * row["accuracy"]:.0f} %</td>',
        ]
        for stage, row in people["by_stage"].items()
    )
    head = "<th>decided by</th>" + "".join(
        f"<th class=num>{w}</th>" for w in ("looked at", "shared by people", "accuracy")
    )
    return (
        f"<section><h2>People</h2><p>{looked_words(people)} and edited "
        f'{people["edited"]:,}. {said}</p><div class="scroll">{_table(head, rows)}</div></section>'
    )


def _models(stages: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for row in stages:
        if "stage" not in row:
            continue
        part = "" if row["as"] == row["stage"] else f" ({for_html(row['stage'])})"
        facts = [f"{name}: {row[name]}" for name in ("model", "revision", "licence") if row.get(name)]
        facts += [f"identity: {row['identity'][:16]}"]
        settings = "\n".join(f"{name}: {value}" for name, value in row["settings"].items())
        prompt = f"<pre>{_lines(row['prompt'])}</pre>" if row.get("prompt") else ""
        parts.append(
            f"<details><summary>{for_html(row['as'])}{part}</summary><p>"
            f"{for_html(', '.join(facts))}</p>{prompt}<pre>{_lines(settings)}</pre></details>"
        )
    return "".join(parts)


def _costs(spent: Mapping[str, Any]) -> str:
    rows = (
        [
            f"<td>{for_html(name)}</td>",
            *(f'<td class="num">{row[key]:,}</td>' for key in ("requests", "input_tokens", "output_tokens")),
            f'<td class="num">{"" if row["money"] is None else format(row["money"], ".4f")}</td>',
            f'<td class="num">{row["seconds"]:,.1f}</td>',
        ]
        for name, row in spent["by_stage"].items()
    )
    head = "<th>stage</th>" + "".join(
        f"<th class=num>{word}</th>" for word in ("requests", "tokens read", "written", "money", "seconds")
    )
    return _table(head, rows)


def _remarks(card: Mapping[str, Any]) -> str:
    said = "".join(f"<li>{for_html(remark)}</li>" for remark in remarks_of(card))
    return f"<section><h2>Remarks</h2><ul>{said}</ul></section>" if said else ""


def _lines(text: object) -> str:
    return "\n".join(for_html(line) for line in str(text).splitlines())


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
