"""The pieces of a prompt: fixed text, fields to fill, slots for feature tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from string import Formatter


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
    """Slot for the feature tokens of one stream, or of the pre-fusion (``"multi"``)."""

    name: str


Segment = Text | Field | Slot


@dataclass(frozen=True)
class AnswerEnd:
    """What ends a generated answer, and which text of it counts.

    Attributes:
        strings: Strings that end an answer; they are not part of it.
        pieces: The same strings as sequences of whole tokens, for tokenizers that have each piece as one token: a
            string inside another token then ends nothing. Such answers are read by the published rule, see
            ``read_published``.
        mark: The published rule drops all text up to the last such mark.
    """

    strings: tuple[str, ...] = ()
    pieces: tuple[tuple[str, ...], ...] = ()
    mark: str = ""

    def read(self, text: str) -> str:
        """The text before the first of the strings.

        Examples:
            >>> AnswerEnd(strings=("###",)).read(" calm ### sad")
            'calm'
        """
        for string in self.strings:
            text = text.split(string, 1)[0]
        return text.strip()

    def read_published(self, text: str, bos: str | None, eos: str | None) -> str:
        """The answer in a text with special tokens, by the rule of the published inference code.

        It is the text after the first ``bos`` and before the next, before ``eos``, before the last of the strings, and
        after the last ``mark``. Other special tokens stay.

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
        name: Name of the style, see ``get_style``.
        opening: Text at the beginning of the prompt.
        slots: Slot name to the text before and after its tokens, in the order of the prompt.
        other_slot: The same for a slot without text of its own; ``{name}`` stands for the slot's name.
        subtitle: Text before and after the subtitle.
        closing: Text before and after the question.
        label_question: The question that asks for labels.
        description_question: The question that asks for a description.
        label_answer: Answer to the label question; ``{labels}`` stands for the labels, with commas between.
        answer_end: Text that is learnt at the end of every answer, before the end-of-sequence token.
        stop: What ends a generated answer.
        train_bos: Whether a training prompt starts with the tokenizer's beginning-of-sequence token.
        answer_bos: Whether a prompt for generation does.
        layouts: Whole prompts that replace the composed one for the inputs that they name: name of the layout to its
            text, which contains ``{slot}``, ``{subtitle}`` and ``{question}``.
        empty_subtitle: Whether an unknown subtitle appears as an empty one, if a layout has a subtitle with the other
            inputs.
        former_digests: Digests of earlier versions of the style whose checkpoints may use this one.
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
    layouts: Mapping[str, str] = field(default_factory=dict)
    empty_subtitle: bool = False
    former_digests: tuple[str, ...] = ()

    def extended(self, wordings: Mapping[str, Mapping[str, tuple[str, str]]]) -> PromptStyle:
        """The style with the wording of slots that it does not know, after its own in the order of the prompt.

        Args:
            wordings: Slot to, for each name of a style, the text before and after its tokens.

        Examples:
            >>> from affectgpt.prompts import get_style
            >>> gaze = get_style("official").extended({"gaze": {"official": ("The gaze: <Gaze>", "</Gaze>. ")}})
            >>> gaze.slots["gaze"][0]
            'The gaze: <Gaze>'
        """
        new = {
            slot: given[self.name] for slot, given in wordings.items() if slot not in self.slots and self.name in given
        }
        return (
            replace(self, slots={**self.slots, **{slot: (text[0], text[1]) for slot, text in new.items()}})
            if new
            else self
        )

    def layout(self, slots: Sequence[str], *, subtitle: bool = True) -> tuple[Segment, ...]:
        """Segments of the prompt for a set of inputs: the layout for exactly these inputs, or a composed one.

        Args:
            slots: Slots to fill, in any order.
            subtitle: Whether the prompt has a subtitle, see ``has_words``.

        Examples:
            >>> from affectgpt.prompts import get_style
            >>> [type(s).__name__ for s in get_style("brief").layout(["audio"], subtitle=False)]
            ['Slot', 'Field']
        """
        whole = self._whole.get(frozenset((*slots, *(["subtitle"] if subtitle else []))))
        if whole is not None:
            return whole
        known = [name for name in self.slots if name in slots]
        order = known + [name for name in slots if name not in self.slots]
        pieces: list[Segment] = [Text(self.opening)]
        for name in order:
            before, after = self._wording(name)
            pieces += [Text(before), Slot(name), Text(after)]
        if subtitle:
            pieces += [Text(self.subtitle[0]), Field("subtitle", may_cut=True), Text(self.subtitle[1])]
        pieces += [Text(self.closing[0]), Field("question"), Text(self.closing[1])]
        return _joined(pieces)

    def has_words(self, slots: Sequence[str], words: str | None) -> bool:
        """Whether the prompt of a sample has a subtitle.

        Args:
            slots: Slots to fill.
            words: The subtitle: empty if it is unknown, ``None`` if it is left out on purpose.

        Examples:
            >>> from affectgpt.prompts import get_style
            >>> [get_style("official").has_words(["audio", "face"], words) for words in ("Hi.", "", None)]
            [True, True, False]
        """
        if words or words is None:
            return bool(words)
        return self.empty_subtitle and frozenset((*slots, "subtitle")) in self._whole

    def answer_of(self, labels: Sequence[str]) -> str:
        """The answer to the label question.

        Examples:
            >>> from affectgpt.prompts import get_style
            >>> get_style("official").answer_of(["happy", "relieved"])
            "The character's emotional state is happy, relieved."
        """
        return self.label_answer.replace("{labels}", ", ".join(labels))

    def digest(self) -> str:
        """Short hash of the style; saved with a checkpoint and compared when it is loaded."""
        record = asdict(self)
        del record["former_digests"]
        # styles that do not use later fields keep the digest that older checkpoints hold
        for name in ("layouts", "empty_subtitle"):
            if not record[name]:
                del record[name]
        if self.stop == AnswerEnd():
            record["stop"] = []
        record["combined"] = {}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]

    def accepts(self, digest: str | None) -> bool:
        """Whether a checkpoint with this digest may use this style; ``None`` is an unknown digest and is accepted."""
        return digest in (None, self.digest(), *self.former_digests)

    @cached_property
    def _whole(self) -> dict[frozenset[str], tuple[Segment, ...]]:
        """Sets of inputs, ``"subtitle"`` among them, to the layout for exactly these."""
        parsed = [_parse(text) for text in self.layouts.values()]
        named = [{piece.name for piece in pieces if not isinstance(piece, Text)} for pieces in parsed]
        return {frozenset(names - {"question"}): pieces for names, pieces in zip(named, parsed, strict=True)}

    def _wording(self, name: str) -> tuple[str, str]:
        before, after = self.slots.get(name, self.other_slot)
        if name in self.slots:
            return before, after
        return before.replace("{name}", name), after.replace("{name}", name)


def _parse(text: str) -> tuple[Segment, ...]:
    pieces: list[Segment] = []
    for before, name, _, _ in Formatter().parse(text):
        pieces.append(Text(before))
        if name in ("subtitle", "question"):
            pieces.append(Field(name, may_cut=name == "subtitle"))
        elif name:
            pieces.append(Slot(name))
    return _joined(pieces)


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
