"""Lets people's decisions count: over what the engine decided, and where they disagree among each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from affectgpt.annotate.outcomes import ClipOutcome
from affectgpt.annotate.review_log import Verdict

REVIEW = "review"
"""The name under which people's decisions stand beside the stages."""


def decided(outcome: ClipOutcome, verdicts: Mapping[str, Verdict] | None) -> ClipOutcome:
    """What becomes of a clip after people looked at it.

    The majority counts: accept and edit keep the clip, reject drops it; a tie goes to a person once more. Of several
    edits the last one is taken. A decision about other content under the same name does not count.

    Args:
        outcome: What the engine decided.
        verdicts: Person to decision; see ``ReviewLog.latest``.
    """
    counted = [v for v in (verdicts or {}).values() if v.clip == outcome.clip]
    if not counted:
        return outcome
    who = ", ".join(sorted(v.who for v in counted))
    votes = Counter(v.decision != "reject" for v in counted)
    if votes[True] == votes[False]:
        return outcome.with_outcome("person", REVIEW, f"people disagree ({who})")
    if votes[False] > votes[True]:
        notes = "; ".join(v.note for v in counted if v.note)
        return outcome.with_outcome("dropped", REVIEW, f"rejected by {who}" + (f": {notes}" if notes else ""))
    by_time = sorted(counted, key=lambda v: v.when)
    edits = [v for v in by_time if v.decision == "edit"]
    told = edits or [v for v in by_time if v.decision == "accept" and v.changes]
    kept = outcome.with_outcome("kept", REVIEW, f"{'edited' if edits else 'accepted'} by {who}")
    return replace(kept, fields={**outcome.fields, **(told[-1].changes if told else {})})
