"""The data card as Markdown, for a repository or a hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from affectgpt.pages.escaping import for_markdown

OUTCOME_WORDS: Mapping[str, str] = {
    "kept": "kept",
    "dropped": "dropped",
    "person": "waiting for a person",
    "failed": "failed in a stage",
    "unreadable": "could not be listed",
}
_MOST_ROWS = 12


def to_markdown(card: Mapping[str, Any]) -> str:
    """The card as a page of Markdown."""
    lines = [f"# Data card: {for_markdown(card['name'])}", "", card["use"], ""]
    facts = {
        "made": f"{card['made']} with {card['tool']}",
        "source": card["source"] or "not told",
        "licence of the clips": card["licence"] or "not told",
        "clips": f"{card['clips']:,}",
        **{OUTCOME_WORDS[name]: f"{number:,}" for name, number in card["outcomes"].items() if number},
        **({"decided by people": decided_words(card["by_people"])} if card["by_people"] else {}),
        "kept rate": f"{100 * card['kept_rate']:.1f} %",
        "spent": spent_words(card["spent"]),
    }
    lines += _table(("what", ""), facts.items())
    lines += ["", "## Stage by stage", ""]
    columns = ("stage", "asked", "went on", "dropped", "to a person", "failed", "model")
    lines += _table(columns, map(_stage_row, card["stages"]))
    lines += ["", "### What the stages said", ""]
    for row in card["stages"]:
        lines += [f"- **{for_markdown(row['as'])}**: {n} x {for_markdown(r)}" for r, n in row["reasons"].items()]
    lines += ["", "Every clip that is not in the set stands in `left_out.jsonl` with its reason.", ""]
    lines += [
        "## Emotions before and after",
        "",
        f"Inner groups of wheel 1 ({card['wheel']}); a clip counts once in",
        "",
    ]
    lines[-2] += " each of its groups."
    rows = (
        (group, f"{card['before']['groups'].get(group, 0):,}", f"{card['after']['groups'].get(group, 0):,}")
        for group in groups_of(card)[:_MOST_ROWS]
    )
    lines += _table(("group", "described", "kept"), rows)
    prompts = [(row["as"], row["prompt"]) for row in card["stages"] if row.get("prompt")]
    if prompts:
        lines += ["", "## Prompts"]
        for name, prompt in prompts:
            quoted = [f"> {for_markdown(line)}" for line in str(prompt).splitlines()]
            lines += ["", f"`{name}`:", "", *quoted]
    licences = [(row["as"], row["licence"]) for row in card["stages"] if row.get("licence")]
    if licences:
        lines += ["", "## Licences of the models", "", *_table(("stage", "licence"), licences)]
    if card["people"]:
        lines += ["", "## People", "", people_words(card["people"])]
    if said := remarks_of(card):
        lines += ["", "## Remarks", "", *(f"- {for_markdown(remark)}" for remark in said)]
    return "\n".join(lines) + "\n"


def remarks_of(card: Mapping[str, Any]) -> list[str]:
    """What a person should know besides."""
    copies = card["copies"]
    same = f"{copies:,} clips have the same content as another one under another name."
    return [*map(str, card["remarks"]), *([same] if copies else [])]


def decided_words(by_people: Mapping[str, int]) -> str:
    """What people decided, in words."""
    words = {**OUTCOME_WORDS, "person": "left to one more person"}
    return ", ".join(f"{number:,} {words[outcome]}" for outcome, number in by_people.items())


def groups_of(card: Mapping[str, Any]) -> list[str]:
    """The emotion groups of both sides, the most frequent before filtering first."""
    return list(dict.fromkeys([*card["before"]["groups"], *card["after"]["groups"]]))


def spent_words(spent: Mapping[str, Any]) -> str:
    """What a run cost, in words."""
    money = "" if spent["money"] is None else f", {spent['money']:.2f} {spent['currency']}".rstrip()
    return f"{spent['seconds'] / 60:.1f} minutes in stages, {spent['tokens']:,} tokens{money}"


def people_words(people: Mapping[str, Any]) -> str:
    """What people said of the engine, in words."""
    alpha = people["alpha_with_engine"]
    among = people["alpha_of_people"]
    stages = "; ".join(
        f"{stage}: {row['shared']} of {row['reviewed']} decisions shared" for stage, row in people["by_stage"].items()
    )
    said = f"{looked_words(people)} and edited {people['edited']}. "
    said += "Krippendorff's alpha of people and engine: " + ("none" if alpha is None else f"{alpha:.2f}")
    said += ", of people alone: " + ("none" if among is None else f"{among:.2f}") + "."
    return for_markdown(f"{said} {stages}".strip())


def looked_words(people: Mapping[str, Any]) -> str:
    """How many people looked at how many clips, in words."""
    number, clips = len(people["people"]), people["clips"]
    return f"{number} {'person' if number == 1 else 'people'} looked at {clips:,} {'clip' if clips == 1 else 'clips'}"


def _stage_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = (f"{row[name]:,}" for name in ("asked", "done", "dropped", "person", "failed"))
    model = " ".join(str(row[name]) for name in ("model", "revision") if row.get(name))
    return (row["as"], *numbers, model)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    head = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return head + ["| " + " | ".join(for_markdown(cell) for cell in row) + " |" for row in rows]
