"""The pieces of a prompt: fixed text, fields to fill, slots for feature tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Text:
    """Fixed text."""

    text: str


@dataclass(frozen=True)
class Field:
    """Text that differs from sample to sample.

    Attributes:
        name: ``"subtitle"`` or ``"question"``.
        may_cut: Whether it may be shortened when the prompt is too long.
    """

    name: str
    may_cut: bool = False


@dataclass(frozen=True)
class Slot:
    """Place of the feature tokens of one stream, or of the pre-fusion (``"multi"``)."""

    name: str


Segment = Text | Field | Slot


@dataclass(frozen=True)
class AnswerEnd:
    """Where a written answer ends, and what of it is read.

    Attributes:
        strings: Strings that end an answer; they are not part of it.
        pieces: The same as runs of whole tokens, for tokenizers that have each piece as one token: a string within
            another token then ends nothing. Answers are read by the published rule, see ``read``.
        mark: In answers that are read by the published rule, all up to the last such mark is left out.
    """

    strings: tuple[str, ...] = ()
    pieces: tuple[tuple[str, ...], ...] = ()
    mark: str = ""

    def read(self, text: str) -> str:
        """What comes before the first of the strings.

        Examples:
            >>> AnswerEnd(strings=("###",)).read(" calm ### sad")
            'calm'
        """
        for string in self.strings:
            text = text.split(string, 1)[0]
        return text.strip()

    def read_published(self, text: str, bos: str | None, eos: str | None) -> str:
        """The answer in a text with its special tokens, by the rule of the published inference.

        After the first ``bos`` and before the next, before ``eos``, before the last of the strings, after the last
        ``mark``. Other special tokens stay.

        Examples:
            >>> AnswerEnd(strings=("###",), mark="Assistant:").read_published("Assistant: calm ### sad###", None, None)
            'calm ### sad'
        """
        if bos and bos in text:
            text = text.split(bos)[1]
        if eos:
            text = text.split(eos, 1)[0]
        for string in self.strings:
            text = text.rsplit(string, 1)[0]
        return text.rsplit(self.mark, 1)[-1].strip() if self.mark else text.strip()


@dataclass(frozen=True)
class PromptStyle:
    """The wording of a prompt for every set of inputs.

    Attributes:
        name: Registered name of the style.
        opening: Text in front of everything.
        slots: Slot name to the text before and after its tokens, in the order of the prompt.
        other_slot: The same for a slot without wording of its own; ``{name}`` stands for the slot's name.
        subtitle: Text before and after the subtitle.
        closing: Text before and after the question.
        label_question: Asks for labels.
        description_question: Asks for a description.
        label_answer: Answer to the label question; ``{labels}`` stands for the labels, with commas between.
        answer_end: Text that is learnt at the end of every answer, before the end-of-sequence token.
        stop: What ends an answer when writing.
        train_bos: Whether a prompt to learn from starts with the tokenizer's beginning-of-sequence token.
        answer_bos: Whether a prompt to be answered does.
        combined: Wording that replaces that of a slot when a second slot is present too: ``{(slot, other): texts}``.
    """

    name: str
    opening: str
    slots: Mapping[str, tuple[str, str]]
    other_slot: tuple[str, str]
    subtitle: tuple[str, str]
    closing: tuple[str, str]
    label_question: str
    description_question: str
    label_answer: str
    answer_end: str = ""
    stop: AnswerEnd = AnswerEnd()
    train_bos: bool = True
    answer_bos: bool = True
    combined: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    def layout(self, slots: Sequence[str], *, subtitle: bool = True) -> tuple[Segment, ...]:
        """Segments of the prompt for a set of inputs.

        Args:
            slots: Slots that are filled, in any order.
            subtitle: Whether the words are known.

        Examples:
            >>> from affectgpt.prompts import get_style
            >>> [type(s).__name__ for s in get_style("brief").layout(["audio"], subtitle=False)]
            ['Slot', 'Field']
        """
        known = [name for name in self.slots if name in slots]
        order = known + [name for name in slots if name not in self.slots]
        pieces: list[Segment] = [Text(self.opening)]
        for name in order:
            before, after = self._wording(name, slots)
            pieces += [Text(before), Slot(name), Text(after)]
        if subtitle:
            pieces += [Text(self.subtitle[0]), Field("subtitle", may_cut=True), Text(self.subtitle[1])]
        pieces += [Text(self.closing[0]), Field("question"), Text(self.closing[1])]
        return _joined(pieces)

    def answer_of(self, labels: Sequence[str]) -> str:
        """The answer to the label question.

        Examples:
            >>> from affectgpt.prompts import get_style
            >>> get_style("official").answer_of(["happy", "relieved"])
            "The character's emotional state is happy, relieved."
        """
        return self.label_answer.replace("{labels}", ", ".join(labels))

    def digest(self) -> str:
        """Short hash of the wording; saved with a checkpoint and compared when it is loaded."""
        record = asdict(self)
        record["combined"] = {"+".join(pair): texts for pair, texts in self.combined.items()}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]

    def _wording(self, name: str, present: Sequence[str]) -> tuple[str, str]:
        for (slot, other), texts in self.combined.items():
            if slot == name and other in present:
                return texts
        before, after = self.slots.get(name, self.other_slot)
        if name in self.slots:
            return before, after
        return before.replace("{name}", name), after.replace("{name}", name)


def _joined(pieces: Sequence[Segment]) -> tuple[Segment, ...]:
    """Merge neighbouring texts and drop empty ones, so that text between slots is tokenised in one go."""
    joined: list[Segment] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, Text) and isinstance(last, Text):
            joined[-1] = Text(last.text + piece.text)
        elif not (isinstance(piece, Text) and not piece.text):
            joined.append(piece)
    return tuple(joined)
