"""Writes the data card of an annotated set: JSON for programs, Markdown and one self-contained page for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectgpt import __version__
from affectgpt.annotate.card_counts import CardCounts
from affectgpt.annotate.card_page import to_page
from affectgpt.annotate.card_text import to_markdown
from affectgpt.annotate.outcomes import ClipOutcome, OutcomeFile
from affectgpt.annotate.pipeline import Step
from affectgpt.annotate.reliability import agreement
from affectgpt.annotate.review_log import ReviewLog
from affectgpt.files import digest_of, write_whole
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel
from affectgpt.pages.escaping import for_json
from affectgpt.web import strip_secrets

if TYPE_CHECKING:
    from affectgpt.annotate.clip_source import SourceClips
    from affectgpt.annotate.ledger import Ledger
    from affectgpt.annotate.walk import Walk

CARD_FILE, CARD_TEXT, CARD_PAGE = "card.json", "card.md", "card.html"
FORMAT = "affectgpt-data-card"
LIMITS = (
    "Do not decide anything about a person by it. What the licences of the clips and of the models forbid, the set may "
    "not be used for."
)


def write_card(
    out: Path,
    walk: Walk,
    outcomes: Iterable[ClipOutcome],
    engine: OutcomeFile,
    found: SourceClips,
    ledger: Ledger,
    review: ReviewLog,
) -> dict[str, Any]:
    """Write ``card.json``, ``card.md`` and ``card.html``.

    Args:
        out: The folder of the set.
        walk: The run, for its stages.
        outcomes: What became of every clip, people's decisions counted.
        engine: What the engine decided, before people did.
        found: The clips that were listed.
        ledger: What was spent.
        review: What people decided.

    Returns:
        The content of ``card.json``.
    """
    pipeline, wheel = walk.pipeline, EmotionWheel.builtin()
    counts = CardCounts([step.label for step in pipeline.steps])
    for outcome in outcomes:
        counts.add(outcome, wheel)
    latest = review.latest()
    reviewed = {key: engine[key] for key in latest if key in engine}
    total = sum(counts.outcomes.values()) + len(found.problems)
    inherited = dict(found.provenance)
    card: dict[str, Any] = {
        "format": FORMAT,
        "name": pipeline.name,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "tool": f"affectgpt {__version__}",
        "source": pipeline.source or inherited.get("source"),
        "licence": pipeline.licence or inherited.get("licence"),
        "inherited": inherited,
        "use": _use(counts),
        "clips": total,
        "outcomes": {
            "kept": counts.outcomes["kept"],
            "dropped": counts.outcomes["dropped"],
            "person": counts.outcomes["person"],
            "failed": counts.outcomes["failed"],
            "unreadable": len(found.problems),
        },
        "by_people": dict(counts.by_people),
        "kept_rate": round(counts.outcomes["kept"] / total, 4) if total else 0.0,
        "copies": counts.copies,
        "stages": [
            {**row, **_about(walk, next((s for s in pipeline.steps if s.label == row["as"]), None))}
            for row in counts.of_stages()
        ],
        "before": counts.before.to_json(),
        "after": counts.after.to_json(),
        "wheel": wheel.name,
        "spent": ledger.to_json(),
        "people": agreement(latest, reviewed) if latest else None,
        "remarks": list(found.remarks),
    }
    card = strip_secrets(card)
    write_whole(out / CARD_FILE, for_json(card) + "\n")
    write_whole(out / CARD_TEXT, to_markdown(card))
    write_whole(out / CARD_PAGE, to_page(card))
    return card


def _use(counts: CardCounts) -> str:
    """Who labelled the clips and who chose them, and what the set is good for."""
    written, given = counts.texts["written"], counts.texts["given"]
    said = []
    if written:
        said.append(f"Models, or people who corrected them, described or labelled {written:,} of the kept clips.")
        said.append("These labels are training data, not gold: do not report scores on them as accuracy.")
    if given:
        said.append(f"{given:,} of the kept clips have the labels and descriptions that they brought along.")
    people = sum(counts.by_people.values())
    said.append(f"Decisions of people about {people:,} clips count." if people else "No decision of a person counts.")
    return " ".join([*said, LIMITS])


def _about(walk: Walk, step: Step | None) -> Mapping[str, Any]:
    """What a stage is: its model, its prompt, and what else decides its answers."""
    if step is None:
        return {}
    identity = walk.identity_of(step)
    shown = {name: identity[name] for name in ("model", "revision", "prompt", "licence") if identity.get(name)}
    if "prompt" in shown:
        shown["prompt_sha256"] = digest_of(shown["prompt"])
    rest = {name: value for name, value in identity.items() if name not in ("stage", *shown)}
    return {"stage": step.spec.name, **shown, "identity": digest_of(identity), "settings": rest}
