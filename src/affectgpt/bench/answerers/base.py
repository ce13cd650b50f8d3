"""The questions of the benchmark, the answers, and the base class of answerers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

from affectgpt.chat.reply import Reply
from affectgpt.text import clean_text

AnswerKind = Literal["answered", "refused", "failed"]
KINDS: tuple[str, ...] = get_args(AnswerKind)


@dataclass(frozen=True)
class Asked:
    """A clip with its question, without the true label.

    Attributes:
        key: Name of the sample.
        question: The question.
        set_name: The test set.
        subtitle: Spoken words, or ``None`` if unknown.
        video: The clip, or ``None``.
        audio: A separate sound file, or ``None`` to use the clip's own track.
        faces: Face crops, or ``None``.
    """

    key: str
    question: str
    set_name: str = ""
    subtitle: str | None = None
    video: Path | None = None
    audio: Path | None = None
    faces: Path | None = None


@dataclass(frozen=True)
class Answer:
    """The answer to one clip.

    Attributes:
        key: Name of the sample.
        kind: ``answered``; ``refused`` if the model declines; or ``failed`` if there is no answer for another reason.
            Only the first has labels.
        text: The answer, or the words of the refusal.
        reason: Why there is no answer; ``None`` if there is one.
        prompt_tokens: Number of prompt tokens, if known.
        answer_tokens: Number of answer tokens, if known.
        seconds: Duration of the answer, if known.
        extra: Further facts to keep, as plain JSON.
    """

    key: str
    kind: AnswerKind = "answered"
    text: str = ""
    reason: str | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    seconds: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def failed(cls, key: str, reason: str) -> Self:
        """A clip without an answer."""
        return cls(key, "failed", reason=reason)

    @classmethod
    def of_reply(cls, key: str, reply: Reply, **extra: Any) -> Self:
        """The answer in a chat model's reply."""
        tokens = reply.prompt_tokens, reply.answer_tokens
        return cls(key, reply.kind, reply.text, reply.reason, *tokens, reply.seconds, extra)

    def to_json(self) -> dict[str, Any]:
        """The answer as a line of the answer log, without unknown values."""
        found: dict[str, Any] = {"key": self.key, "kind": self.kind}
        if self.kind != "failed" or self.text:
            found["text"] = clean_text(self.text)
        for name in ("reason", "prompt_tokens", "answer_tokens", "seconds"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        return {**self.extra, **found}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read a line of the answer log.

        Raises:
            KeyError: If it has no key.
            ValueError: If its kind is unknown.
        """
        kind = row.get("kind", "answered")
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
        counts = [row.get(name) for name in ("prompt_tokens", "answer_tokens")]
        prompt, answer = (one if type(one) is int else None for one in counts)
        seconds = row.get("seconds")
        names = {"run", "key", "kind", "text", "reason", "prompt_tokens", "answer_tokens"}
        extra = {name: value for name, value in row.items() if name not in names}
        took = float(extra.pop("seconds")) if type(seconds) in (int, float) else None
        text, reason = str(row.get("text", "")), row.get("reason")
        return cls(str(row["key"]), kind, text, None if reason is None else str(reason), prompt, answer, took, extra)


class Answerer(ABC):
    """Answers questions about clips.

    Attributes:
        name: The name to choose it by.
        target: The argument that ``--answerer NAME:TARGET`` gives; ``None`` for none.
    """

    name: ClassVar[str]
    target: ClassVar[str | None] = None

    @abstractmethod
    def title(self) -> str:
        """The name of the system in a report, such as the model's name."""

    @property
    def question(self) -> str:
        """The default question: the published one about all emotional states."""
        from affectgpt.prompts.wordings import OFFICIAL

        return OFFICIAL.label_question

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Everything that decides the answers, as plain JSON without secrets.

        Its digest marks the lines of the answer log, so that answers of another identity are never used for this one.
        """

    def shown_and_drawn(self) -> Mapping[str, Any]:
        """How clips are shown and answers drawn: the part of ``identity`` that is not the model itself."""
        return {}

    def settings(self) -> Mapping[str, Any]:
        """How it runs, without influence on the answers: URL, device, processes; plain JSON without secrets."""
        return {}

    @abstractmethod
    def answer(self, asked: Sequence[Asked], run: int = 0) -> Iterator[Answer]:
        """Yield an answer to every question, in any order, as soon as it is known; failed ones have the reason.

        The caller writes each answer to the disk before it asks for the next one.

        Args:
            asked: The questions.
            run: Number of the repetition, from 0; each repetition samples different answers.

        Raises:
            ConfigError: If it cannot answer at all, such as for a wrong name or key.
            DataError: If it cannot continue; earlier answers are kept.
        """

    def recall(self, answers: Iterable[Answer]) -> None:
        """Receive the answers of earlier runs, for example to count their cost; does nothing by default."""
        del answers

    def inputs(self) -> Mapping[str, Any]:
        """Facts about the shown inputs that are known once answering has started, as plain JSON."""
        return {}

    def taken_by(self, answers: Iterable[Answer]) -> Mapping[str, Any]:
        """What some answers took, as plain JSON: tokens, as far as they are known."""
        found: dict[str, Any] = {}
        listed = list(answers)
        for name in ("prompt_tokens", "answer_tokens"):
            known = [getattr(one, name) for one in listed if getattr(one, name) is not None]
            if known:
                found[name] = sum(known)
        return found
