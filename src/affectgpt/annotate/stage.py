"""The contract of a stage of annotation: a record of a clip in, fields out, or a reason."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from affectgpt.chat.costs import CostBoundError
from affectgpt.errors import AffectGPTError, CheckpointError, ConfigError

if TYPE_CHECKING:
    from affectgpt.annotate.source_files import ClipMediaFiles
    from affectgpt.chat.server import ServerModel

Status = Literal["done", "dropped", "person", "failed"]
STATUSES: tuple[Status, ...] = ("done", "dropped", "person", "failed")
GIVEN_FIELDS = ("subtitle", "description", "labels")
"""What a clip may bring along; a stage that writes one of them replaces it."""


@dataclass(frozen=True)
class Usage:
    """What an answer cost.

    Attributes:
        requests: Requests that were sent.
        input_tokens: Tokens that a chat model read.
        output_tokens: Tokens that a chat model wrote.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens, read and written."""
        return self.input_tokens, self.output_tokens

    def to_json(self) -> dict[str, int]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ClipRecord:
    """What a stage is told of a clip.

    Attributes:
        key: The clip's name, for messages; no answer may depend on it.
        fields: What the clip brought along and what earlier stages wrote, as plain JSON. Only those that the stage
            names in ``reads`` are here; one that nobody wrote is missing.
        media: Its files.
    """

    key: str
    fields: Mapping[str, Any]
    media: ClipMediaFiles

    def text(self, name: str) -> str:
        """A field as text; empty where there is none."""
        value = self.fields.get(name)
        return value.strip() if isinstance(value, str) else ""


@dataclass(frozen=True)
class Answer:
    """What a stage says of a clip.

    Attributes:
        status: ``done``: the clip goes on; ``dropped``: it is left out; ``person``: it goes on, and a person decides;
            ``failed``: the stage could not answer.
        fields: What the stage found out, as plain JSON; keys are among the stage's ``writes``.
        reason: Why the clip does not simply go on, in words.
        usage: What the answer cost.
    """

    status: Status = "done"
    fields: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    usage: Usage = Usage()

    @classmethod
    def drop(cls, reason: str, fields: Mapping[str, Any] | None = None) -> Self:
        """The clip is left out of the data set."""
        return cls("dropped", fields or {}, reason)

    @classmethod
    def ask_person(cls, reason: str, fields: Mapping[str, Any] | None = None) -> Self:
        """A person decides about the clip."""
        return cls("person", fields or {}, reason)

    @classmethod
    def fail(cls, reason: str, usage: Usage = Usage()) -> Self:
        """The stage has no answer; the clip ends here until the stage is asked again."""
        return cls("failed", {}, reason, usage)


class Stage(ABC):
    """One step of a pipeline; derive from it and register the class in ``affectgpt.registry.STAGES``.

    The same identity and the same fields of the same clip must give the same answer as far as the model behind it
    allows, for an answer is asked for once and then read from the journal.

    Attributes:
        reads: Names of the fields that the answer depends on.
        optional: Those of them that need not be written by an earlier stage.
        writes: Names of the fields that an answer may hold.
        isolated: Whether ``answer`` decodes media or may crash otherwise, and so runs in a process of its own where the
            run has such processes. The class and its arguments are sent there, not the object.
        surveys: Whether ``survey`` must see every clip before the first is answered.
        surveyed: What ``survey`` returned; the run gives it to the stage, in every process that is asked.
        server: The chat model on a server that the stage asks, or ``None``; a run bounds what it costs.

    Examples:
        >>> class Shout(Stage):
        ...     reads, writes = ("subtitle",), ("loud",)
        ...     def identity(self):
        ...         return {"version": 1}
        ...     def answer(self, record):
        ...         return Answer(fields={"loud": record.text("subtitle").upper()})
    """

    reads: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    isolated: ClassVar[bool] = False
    surveys: ClassVar[bool] = False
    surveyed: Mapping[str, Any] | None = None
    server: ServerModel | None = None

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """All that decides the answers, as plain JSON without secrets: model, revision, prompt, settings, version.

        Keys that the data card shows: ``model``, ``revision``, ``prompt`` (the text) and ``licence``.
        """

    @abstractmethod
    def answer(self, record: ClipRecord) -> Answer:
        """The answer for one clip.

        An exception is the clip's row with that reason, never the end of the run; but a ``ConfigError`` or a
        ``CheckpointError`` says that no clip can be answered, and ends it.
        """

    def answers(self, records: Iterable[ClipRecord]) -> Iterator[tuple[int, Answer]]:
        """Position and answer of every record, in any order, as the answers come in.

        Stages that ask several at a time write their own. What it raises ends the run; whatever was yielded before is
        kept.
        """
        for position, record in enumerate(records):
            yield position, answer_or_reason(self, record)

    def survey(self, records: Iterable[ClipRecord]) -> Mapping[str, Any]:
        """Facts about the whole set that the answers depend on beside the record, as plain JSON.

        Called before ``answer`` where ``surveys`` is true, with every clip that reaches the stage, in one process. What
        it returns is all that the stage may keep of them: ``answer`` finds it in ``surveyed``, and it
        becomes part of the identity.
        """
        raise NotImplementedError(f"{type(self).__name__} says that it surveys the set, but has no survey()")


def answer_or_reason(stage: Stage, record: ClipRecord) -> Answer:
    """The answer of a stage, or a failure with the reason where it raises.

    Raises:
        ConfigError: If the stage says that no clip can be answered.
        CheckpointError: See there.
        CostBoundError: If the answer could cost more than is left.
    """
    try:
        return stage.answer(record)
    except (ConfigError, CheckpointError, CostBoundError):
        raise
    except Exception as error:  # whatever one clip provokes is that clip's row
        return Answer.fail(failure_reason(error))


def failure_reason(error: Exception) -> str:
    """What an exception says, for a row; the class stands before what other libraries say."""
    said = str(error).strip() or type(error).__name__
    return said if isinstance(error, AffectGPTError) else f"{type(error).__name__}: {said}"
