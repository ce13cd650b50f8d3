"""Where a clip stands in a pipeline: what is known of it, and whether it is still in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from affectgpt.annotate.clip_source import SourceClip
from affectgpt.annotate.stage import Answer, ClipRecord, Stage

Outcome = Literal["kept", "dropped", "person", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("kept", "dropped", "person", "failed")


@dataclass
class ClipState:
    """One clip on its way; changed by each answer.

    Attributes:
        clip: The clip.
        fields: What it brought along and what the stages wrote.
        ended_by: The stage that dropped it or failed, or ``None``.
        outcome: ``kept`` until a stage says otherwise; ``person`` where one asks for a person and none drops it.
        reasons: Stage to its reason, for every stage that gave one.
        passed: Stages that answered, in order, with what they said.
    """

    clip: SourceClip
    fields: dict[str, Any] = field(default_factory=dict)
    ended_by: str | None = None
    outcome: Outcome = "kept"
    reasons: dict[str, str] = field(default_factory=dict)
    passed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, clip: SourceClip) -> ClipState:
        """A clip before the first stage."""
        return cls(clip, dict(clip.given))

    @property
    def is_in(self) -> bool:
        """Whether later stages are asked."""
        return self.ended_by is None

    def record_for(self, stage: Stage) -> ClipRecord:
        """What a stage is told."""
        return ClipRecord(self.clip.key, self.inputs_of(stage), self.clip.media)

    def inputs_of(self, stage: Stage) -> dict[str, Any]:
        """The fields that a stage reads; those that nobody wrote are missing."""
        return {name: self.fields[name] for name in stage.reads if self.fields.get(name) is not None}

    def take(self, label: str, answer: Answer) -> None:
        """Go on with an answer."""
        self.fields |= answer.fields
        self.passed[label] = answer.status
        if answer.reason:
            self.reasons[label] = answer.reason
        if answer.status in ("dropped", "failed"):
            self.outcome = "dropped" if answer.status == "dropped" else "failed"
            self.ended_by = label
        elif answer.status == "person":
            self.outcome = "person"

    def to_json(self) -> Mapping[str, Any]:
        """Plain JSON of what was decided and why."""
        return {
            "key": self.clip.key,
            "clip": self.clip.digest,
            "outcome": self.outcome,
            "stage": self.ended_by or next((s for s, said in self.passed.items() if said == "person"), None),
            "reasons": dict(self.reasons),
        }
