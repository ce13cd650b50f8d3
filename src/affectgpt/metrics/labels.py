"""The label parser: turns one answer, in any of many forms, into a list of emotion labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics.final_answer import read_answer
from affectgpt.text import clean_label

Mode = Literal["official", "strict"]

MODES: tuple[Mode, ...] = ("official", "strict")

_OFFICIAL_SPLIT = re.compile("['\",]")

# Typographic brackets, quotes and commas that NFKC leaves unchanged, with their ASCII counterparts.
_ASCII = str.maketrans(
    "\u3010\u3011\u3014\u3015\u300c\u300d\u300e\u300f\u3016\u3017\u3001\u3002\u2018\u2019\u201c\u201d\u201e",
    '[][][][][],.\'\'"""',
)

# The sentence that the model is trained to answer with, and close variants; the list of labels follows it.
_SENTENCE = re.compile(
    r"\b(?:emotional states?|emotional conditions?|emotions?|feelings?|moods?)\b[^.\n]{0,60}?"
    r"(?:\b(?:is|are|was|were|includes?|can be described as|(?:appears?|seems?) to be)\b\s*:?|:)\s*(.+)",
    re.IGNORECASE | re.DOTALL,
)
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)|\n\s*\n")
_SEPARATORS = re.compile(r"[,;|/\n&]|\s(?:and|or|as well as)\s|^(?:and|or)\s", re.IGNORECASE)
_ITEM_MARK = re.compile(r"^\s*(?:\d+\s*[.):]|[-*•·])\s*")
_EDGES = " \t\r\n'\"`[](){}<>.:!?*_\ufffd"  # the last one replaces an unpaired surrogate
# The result of one reading may need another, such as "- 1. happy"; answers of people and models need no more.
_MOST_READINGS = 8
_MOST_NESTED = 500  # levels of nested lists; a list that contains itself has no end
_NOTHING = frozenset({"", "none", "nan", "null", "n/a"})


def check_mode(mode: str) -> Mode:
    """Return the mode if it is valid.

    Raises:
        ConfigError: If it is neither ``official`` nor ``strict``.
    """
    for known in MODES:
        if mode == known:
            return known
    raise ConfigError(f"mode is {mode!r}; choose one of {', '.join(MODES)}")


def parse_labels(value: Any, mode: str = "strict") -> list[str]:
    """Read the emotion labels from one answer.

    ``strict`` understands the trained answer sentence ("The character's emotional state is happy, sad."), lists written
    as Python or JSON, nested lists, Chinese commas and brackets, numbered and bulleted lines, ``and``, and answers of
    reasoning models (thoughts, answer tags, fences, JSON objects: see ``final_answer.read_answer``). Its labels are in
    lower case, with single spaces, without invisible characters and repetitions, in order of appearance; what has no
    letter, such as ``#``, is none; ``None``, NaN and empty text give an empty list. Parsing its own labels again does
    not change them.

    ``official`` repeats the published scoring code of MER-UniBench: a list is returned unchanged; a text loses one
    leading ``[`` and one trailing ``]`` and is split at commas and at straight quotes of both kinds. Nothing else is
    cleaned.

    Args:
        value: A text, a sequence of texts, ``None`` or NaN.
        mode: ``strict`` or ``official``.

    Raises:
        ConfigError: If the mode is unknown.
        DataError: If the value is not an answer (a number, a mapping, hundreds of nested lists; in ``official`` also a
            tuple and the text ``[``, on which the published code fails).

    Examples:
        >>> parse_labels("The character's emotional state is anxious, a bit sad and surprised.")
        ['anxious', 'a bit sad', 'surprised']
        >>> parse_labels("【高兴，难过】"), parse_labels('["Happy", "sad"]'), parse_labels(None)
        (['高兴', '难过'], ['happy', 'sad'], [])
        >>> parse_labels("[happy].", mode="official")
        ['happy].']
    """
    return _official(value) if check_mode(mode) == "official" else list(dict.fromkeys(_strict(value)))


def _official(value: Any) -> list[str]:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return value
    if is_missing(value):
        return []
    if not isinstance(value, str):
        raise DataError(
            f"labels are {repr(value)[:200]} ({type(value).__name__}); mode 'official' reads a text or a list of "
            "texts, mode 'strict' also other sequences"
        )
    text = value[1:] if value.startswith("[") else value
    if value and not text:
        raise DataError("labels are the text '[', on which the published scoring code fails; mode 'strict' reads it")
    text = text[:-1] if text.endswith("]") else text
    return [piece for piece in map(str.strip, _OFFICIAL_SPLIT.split(text)) if piece]


def is_missing(value: Any) -> bool:
    """Whether the value is ``None`` or NaN."""
    return value is None or (isinstance(value, (float, np.floating)) and bool(value != value))


def _strict(value: Any) -> Iterable[str]:
    open_lists = [iter([value])]  # a stack instead of recursion, whose depth Python limits
    while open_lists:
        for item in open_lists[-1]:
            if isinstance(item, str):
                yield from _from_text(item)
            elif not is_missing(item):
                open_lists.append(_members(item))
                if len(open_lists) > _MOST_NESTED:
                    raise DataError(f"labels are nested more than {_MOST_NESTED} lists deep; give one list of texts")
                break
        else:
            open_lists.pop()


def _members(value: Any) -> Iterator[Any]:
    try:
        if not isinstance(value, (bytes, bytearray, Mapping)):
            return iter(np.atleast_1d(value).tolist() if isinstance(value, np.ndarray) else value)
    except TypeError:  # a number
        pass
    raise DataError(f"labels are {repr(value)[:200]} ({type(value).__name__}); expected a text or a sequence of texts")


def _from_text(text: str, readings: int = 1) -> Iterable[str]:
    if _is_word(text):  # most are
        if (word := text.lower()) not in _NOTHING:
            yield word
        return
    for label in _read_once(text):
        if readings == _MOST_READINGS or _is_word(label) or _is_settled(label):
            yield label
        else:
            yield from _from_text(label, readings + 1)


def _is_word(text: str) -> bool:
    return text.isascii() and text.isalpha()


@lru_cache(maxsize=1 << 16)  # labels repeat
def _is_settled(label: str) -> bool:
    """Whether reading the label again does not change it."""
    return list(_read_once(label)) == [label]


def _read_once(text: str) -> Iterable[str]:
    text = _one_spelling(text)
    listed: Sequence[Any] | None = _from_json(text)
    if listed is None:
        text, listed = _answer_in(text)
    if listed is not None:
        for item in listed:
            yield from _strict(item)
        return
    sentence = _SENTENCE.search(text)
    if sentence is not None:
        text = _SENTENCE_END.split(sentence.group(1), maxsplit=1)[0]
    for piece in _SEPARATORS.split(text):
        label = clean_label(_ITEM_MARK.sub("", piece).strip(_EDGES).lower())
        if label not in _NOTHING and any(map(str.isalpha, label)):
            yield label


def _one_spelling(text: str) -> str:
    """The text with one spelling of each letter, bracket, quote and comma, and without invisible characters."""
    if text.isascii() and text.isprintable():
        return text.strip()
    return "\n".join(map(clean_label, text.translate(_ASCII).splitlines())).translate(_ASCII).strip()


def _answer_in(text: str) -> tuple[str, Sequence[Any] | None]:
    """The final answer of a reasoning model: a text, or the items that its JSON lists."""
    try:
        reply = read_answer(text)
    except RecursionError:  # hundreds of brackets are not JSON
        return text, None
    if not reply.is_wrapped:
        return text, None
    return reply.text, reply.items if reply.items is not None else _from_json(reply.text)


def _from_json(text: str) -> list[Any] | None:
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # thousands of brackets are not a list either
        return None
    return found if isinstance(found, list) and all(isinstance(x, (str, list, type(None))) for x in found) else None
