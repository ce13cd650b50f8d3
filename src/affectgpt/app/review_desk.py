"""What people do on the page of reviews: whose turn it is, which clip is shown, and what is written down of it."""

from __future__ import annotations

import copy
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from affectgpt.annotate.annotation_run import annotated_clips
from affectgpt.annotate.clip_source import SourceClip
from affectgpt.annotate.outcomes import ClipOutcome
from affectgpt.annotate.review import Desk
from affectgpt.annotate.review_log import Decision
from affectgpt.annotate.source_files import ClipMediaFiles, ShardFiles
from affectgpt.errors import ConfigError
from affectgpt.files import digest_of
from affectgpt.manifests.record import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from affectgpt.text import clean_name


@dataclass(frozen=True)
class ReviewPlan:
    """What is reviewed.

    Attributes:
        out: Folder that ``annotate`` wrote.
        clips: Where the clips are; by default where they were annotated.
        most: Clips to show to a person.
        only: Only clips with this outcome.
        seed: Of the choice of clips.
    """

    out: Path
    clips: str | None = None
    most: int = 20
    only: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class PlayedFile:
    """A file of a clip, for a browser.

    Attributes:
        content: The file, or its content.
        media_type: Such as ``video/mp4``.
    """

    content: Path | bytes
    media_type: str


@dataclass(frozen=True)
class Turn:
    """Where one person is in a review; travels as plain JSON.

    Attributes:
        who: The person's name.
        keys: The clips to look at.
        at: Position of the clip that is shown; as large as ``keys`` at the end.
        said: Clip to what this person said of it in this session.
    """

    who: str = ""
    keys: tuple[str, ...] = ()
    at: int = 0
    said: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str | None:
        """The clip that is shown; ``None`` at the end."""
        return self.keys[self.at] if 0 <= self.at < len(self.keys) else None

    def moved(self, by: int) -> Turn:
        """The same turn some clips further."""
        return replace(self, at=min(max(self.at + by, 0), len(self.keys)))


@dataclass(frozen=True)
class Form:
    """What a person may have changed on the page.

    Attributes:
        description: The text.
        labels: Labels with commas between them.
        subtitle: The spoken words.
        note: A remark.
    """

    description: str = ""
    labels: str = ""
    subtitle: str = ""
    note: str = ""

    @classmethod
    def of(cls, outcome: ClipOutcome) -> Form:
        """What stands there before anybody changes it."""
        fields = outcome.fields
        labels = ", ".join(map(str, fields.get("labels") or ()))
        return cls(str(fields.get("description") or ""), labels, str(fields.get("subtitle") or ""))


class ReviewDesk:
    """The decisions of a folder, with the clips that they are about.

    Args:
        plan: What is reviewed.

    Raises:
        DataError: If nothing was annotated there, or the clips are not there.
    """

    def __init__(self, plan: ReviewPlan) -> None:
        self.plan = plan
        self._desk = Desk(plan.out, "")
        self._clips = annotated_clips(plan.out, plan.clips)
        self._by_digest = {clip.digest: clip for clip in self._clips.values()}

    def begin(self, who: str) -> Turn:
        """The turn of a person: the clips that this person has not decided yet.

        Raises:
            ConfigError: If the name is empty.
        """
        who = clean_name(who)
        if not who:
            raise ConfigError("say who you are: decisions are written down with a name")
        chosen = self._of(who).sample(self.plan.most, self.plan.only, self.plan.seed)
        return Turn(who, tuple(outcome.key for outcome in chosen))

    def outcome(self, turn: Turn) -> ClipOutcome | None:
        """What the engine decided about the clip that is shown."""
        return None if turn.key is None else self._desk.outcomes[turn.key]

    def clip(self, key: str) -> SourceClip | None:
        """The files of a clip; ``None`` where they are gone, or are others now."""
        found = self._clips.get(key)
        same = found is not None and key in self._desk.outcomes and found.digest == self._desk.outcomes[key].clip
        return found if same else None

    def played(self, digest: str) -> dict[str, PlayedFile]:
        """The files of a clip, found by the digest of its content: ``video`` (or a picture) and ``sound``."""
        clip = self._by_digest.get(digest)
        return {} if clip is None else played_files(clip.media)

    def decide(self, turn: Turn, decision: Decision, form: Form) -> Turn:
        """Write a decision down, and go on to the next clip.

        Raises:
            ConfigError: If the decision does not fit: an edit that changes nothing, or changes that would be lost.
        """
        outcome = self._shown(turn)
        changes = {} if decision == "reject" else _changes(Form.of(outcome), form)
        if decision == "edit" and not changes:
            raise ConfigError("you changed nothing: accept the clip as it is, or change a field first")
        if decision == "accept" and changes:
            raise ConfigError(f"you changed the {' and the '.join(changes)}: keep your changes, or undo them first")
        self._of(turn.who).decide(outcome.key, decision, changes, form.note.strip())
        return replace(turn, said={**turn.said, outcome.key: decision}).moved(1)

    def pair(self, outcome: ClipOutcome) -> tuple[str, str] | None:
        """Two descriptions in an order that does not say which is the engine's; ``None`` where there is only one."""
        try:
            first, second = self._desk.pair(outcome)
        except ConfigError:
            return None
        return (second, first) if int(digest_of(["order", outcome.clip])[:2], 16) % 2 else (first, second)

    def prefer(self, turn: Turn, preferred: str, note: str = "") -> None:
        """Write down which of two descriptions is better; the clip still waits for a decision.

        Raises:
            ConfigError: If there are not two, or nothing was chosen.
        """
        outcome = self._shown(turn)
        pair = self.pair(outcome)
        if pair is None:
            raise ConfigError("this clip has one description")
        if preferred not in ("a", "b", "same"):
            raise ConfigError("choose which description is better, or that they are equally good")
        changes = {"a": pair[0], "b": pair[1], "preferred": preferred}
        self._of(turn.who).decide(outcome.key, "prefer", changes, note.strip())

    def agreement(self) -> dict[str, Any]:
        """How far people and engine agree; see ``affectgpt.annotate.reliability.agreement``."""
        return self._desk.agreement()

    def _shown(self, turn: Turn) -> ClipOutcome:
        outcome = self.outcome(turn)
        if outcome is None:
            raise ConfigError("there is no clip to decide about; begin with your name")
        return outcome

    def _of(self, who: str) -> Desk:
        desk = copy.copy(self._desk)
        desk.who = who
        return desk


def played_files(media: ClipMediaFiles) -> dict[str, PlayedFile]:
    """The files of a clip that a browser may play; see ``ReviewDesk.played``."""
    found = {}
    members = media.members() if isinstance(media, ShardFiles) else {}
    for name, content, known in (("video", media.video(), VIDEO_SUFFIXES), ("sound", media.audio(), AUDIO_SUFFIXES)):
        if content is None:
            continue
        member = next((one for one in members if one in known), "")
        path = content if isinstance(content, Path) else Path(f"member.{member}")
        media_type = mimetypes.guess_type(path.name.lower())[0]
        found[name] = PlayedFile(content, media_type or "application/octet-stream")
    return found


def _changes(before: Form, after: Form) -> dict[str, Any]:
    """The fields that differ, as the log takes them.

    Raises:
        ConfigError: If a field was emptied, which would say nothing.
    """
    changes: dict[str, Any] = {}
    for name in ("description", "labels", "subtitle"):
        old, new = getattr(before, name).strip(), getattr(after, name).strip()
        if name == "labels":
            split = [one.strip() for one in new.split(",") if one.strip()]
            if split != [one.strip() for one in old.split(",") if one.strip()]:
                changes[name] = split
        elif old != new:
            if not new:
                raise ConfigError(f"the {name} is empty now: write one, or reject the clip")
            changes[name] = new
    return changes
