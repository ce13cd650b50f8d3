"""Counts for the data card: what each stage did with the clips, and how the set looks before and after."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from affectgpt.annotate.outcomes import ClipOutcome
from affectgpt.annotate.people import REVIEW
from affectgpt.annotate.stage import STATUSES
from affectgpt.metrics.wheel.emotion_wheel import NEUTRAL, EmotionWheel

MOST_LABELS, MOST_REASONS = 30, 5
UNPLACED = "in no group"
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass
class Side:
    """A set of clips, counted: all that were described, or those that were kept.

    Attributes:
        clips: Clips that have labels or a description.
        labels: Label to clips.
        groups: Inner group of the first wheel to clips; a clip counts once in each of its groups.
        lengths: Length of a description in characters to clips.
    """

    clips: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)

    def add(self, outcome: ClipOutcome, wheel: EmotionWheel) -> None:
        """Count a clip."""
        labels = {str(label) for label in outcome.fields.get("labels") or ()}
        description = outcome.fields.get("description")
        if not (labels or description):
            return
        self.clips += 1
        self.labels.update(labels)
        self.groups.update({_group(label, wheel) for label in labels})
        if isinstance(description, str):
            self.lengths[len(description)] += 1

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "clips": self.clips,
            "distinct_labels": len(self.labels),
            "labels_per_clip": round(sum(self.labels.values()) / self.clips, 3) if self.clips else 0.0,
            "labels": dict(self.labels.most_common(MOST_LABELS)),
            "groups": dict(sorted(self.groups.items(), key=lambda item: (-item[1], item[0]))),
            "description_characters": {
                "mean": round(sum(n * c for n, c in self.lengths.items()) / max(1, sum(self.lengths.values())), 1),
                **{f"p{round(100 * q)}": quantile(self.lengths, q) for q in (0.05, 0.5, 0.95)},
            },
        }


@dataclass
class CardCounts:
    """All counts.

    Args:
        stages: The stages, in order.
        by_people: What people decided: outcome to clips.
        texts: Where labels and description of the kept clips come from, ``given`` or ``written``, to clips.
    """

    stages: Sequence[str]
    outcomes: Counter[str] = field(default_factory=Counter)
    passed: dict[str, Counter[str]] = field(default_factory=dict)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    before: Side = field(default_factory=Side)
    after: Side = field(default_factory=Side)
    copies: int = 0
    by_people: Counter[str] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)
    _seen: set[str] = field(default_factory=set)

    def add(self, outcome: ClipOutcome, wheel: EmotionWheel) -> None:
        """Count a clip."""
        self.outcomes[outcome.outcome] += 1
        self.copies += outcome.clip in self._seen
        self._seen.add(outcome.clip)
        for stage, status in outcome.passed.items():
            self.passed.setdefault(stage, Counter())[status] += 1
        extra = outcome.stage not in outcome.passed  # people's decisions, and faults of writing
        if extra and outcome.stage is not None:
            status = {"kept": "done", "person": "person", "failed": "failed"}.get(outcome.outcome, "dropped")
            self.passed.setdefault(outcome.stage, Counter())[status] += 1
        for stage, reason in outcome.reasons.items():
            self.reasons.setdefault(stage, Counter())[_NUMBER.sub("#", reason)[:200]] += 1
        if REVIEW in outcome.reasons and outcome.outcome != "failed":
            self.by_people[outcome.outcome] += 1
        self.before.add(outcome, wheel)
        if outcome.outcome == "kept":
            same = all(outcome.fields.get(name) == outcome.given.get(name) for name in ("labels", "description"))
            self.texts["given" if same else "written"] += 1
            self.after.add(outcome, wheel)

    def of_stages(self) -> list[dict[str, Any]]:
        """Each stage with what it said, and its most frequent reasons; numbers in reasons stand as ``#``."""
        names = [*self.stages, *(name for name in self.passed if name not in self.stages)]
        return [
            {
                "as": name,
                "asked": sum(self.passed.get(name, Counter()).values()),
                **{status: self.passed.get(name, Counter())[status] for status in STATUSES},
                "reasons": dict(self.reasons.get(name, Counter()).most_common(MOST_REASONS)),
            }
            for name in names
        ]


def quantile(counts: Counter[int], share: float) -> int | None:
    """The smallest value that at least this share of a counted set does not exceed; ``None`` of an empty one.

    Examples:
        >>> quantile(Counter({10: 1, 20: 2, 30: 1}), 0.5)
        20
    """
    wanted, seen = share * sum(counts.values()), 0
    for value, count in sorted(counts.items()):
        seen += count
        if seen >= wanted:
            return value
    return None


def _group(label: str, wheel: EmotionWheel) -> str:
    return wheel.group(label) or (NEUTRAL if label.lower() == NEUTRAL else UNPLACED)
