"""Turn one answer, in whatever shape it arrives, into a list of emotion labels."""

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

# Typographic brackets, quotes and commas that NFKC leaves alone, as their ASCII counterparts.
_ASCII = str.maketrans(
    "\u3010\u3011\u3014\u3015\u300c\u300d\u300e\u300f\u3016\u3017\u3001\u3002\u2018\u2019\u201c\u201d\u201e",
    '[][][][][],.\'\'"""',
)

# The sentence that the model is trained to answer with, and near relatives of it; what follows is the list of labels.
_SENTENCE = re.compile(
    r"\b(?:emotional states?|emotional conditions?|emotions?|feelings?|moods?)\b[^.\n]{0,60}?"
    r"(?:\b(?:is|are|was|were|includes?|can be described as|(?:appears?|seems?) to be)\b\s*:?|:)\s*(.+)",
    re.IGNORECASE | re.DOTALL,
)
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)|\n\s*\n")
_SEPARATORS = re.compile(r"[,;|/\n&]|\s(?:and|or|as well as)\s|^(?:and|or)\s", re.IGNORECASE)
_ITEM_MARK = re.compile(r"^\s*(?:\d+\s*[.):]|[-*•·])\s*")
_EDGES = " \t\r\n'\"`[](){}<>.:!?*_\ufffd"  # the last stands for half an emoji
# What one reading leaves may have to be read again, such as "- 1. happy"; no answer of a person or a model needs more.
_MOST_READINGS = 8
_MOST_NESTED = 500  # lists within lists; a list that holds itself has no end
_NOTHING = frozenset({"", "none", "nan", "null", "n/a"})


def check_mode(mode: str) -> Mode:
    """The mode, if it is one.

    Raises:
        ConfigError: If it is neither ``official`` nor ``strict``.
    """
    for known in MODES:
        if mode == known:
            return known
    raise ConfigError(f"mode is {mode!r}; choose one of {', '.join(MODES)}")


def parse_labels(value: Any, mode: str = "strict") -> list[str]:
    """Read the emotion labels out of one answer.

    ``strict`` understands the trained answer sentence ("The character's emotional state is happy, sad."), lists
    written as Python or JSON, nested lists, Chinese commas and brackets, numbered and bulleted lines, ``and``, and what
    reasoning models write (thoughts, answer tags, fences, JSON objects: see ``final_answer.read_answer``). Its
    labels are lower-case, single-spaced, without invisible characters and repeats, in order of appearance; ``None``,
    NaN and empty text give an empty list. Labels that were read once are read again as they are.

    ``official`` repeats the published scoring code of MER-UniBench: a list is returned untouched; from a text one
    leading ``[`` and one trailing ``]`` are dropped, and it is split at commas and at straight quotes of both kinds.
    Nothing else is cleaned.

    Args:
        value: A text, a sequence of texts, ``None`` or NaN.
        mode: ``strict`` or ``official``.

    Raises:
        ConfigError: If the mode is unknown.
        DataError: If the value is no answer (a number, a mapping, hundreds of lists within lists; in ``official``
            also a tuple and the text ``[``, on which the published code stops).

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
            "texts, mode 'strict' other sequences too"
        )
    text = value[1:] if value.startswith("[") else value
    if value and not text:
        raise DataError("labels are the text '[', on which the published scoring code stops; mode 'strict' reads it")
    text = text[:-1] if text.endswith("]") else text
    return [piece for piece in map(str.strip, _OFFICIAL_SPLIT.split(text)) if piece]


def is_missing(value: Any) -> bool:
    """Whether the value is ``None`` or NaN."""
    return value is None or (isinstance(value, (float, np.floating)) and bool(value != value))


def _strict(value: Any) -> Iterable[str]:
    open_lists = [iter([value])]  # a stack and no recursion, whose limit is Python's and not ours
    while open_lists:
        for item in open_lists[-1]:
            if isinstance(item, str):
                yield from _from_text(item)
            elif not is_missing(item):
                open_lists.append(_members(item))
                if len(open_lists) > _MOST_NESTED:
                    raise DataError(f"labels are more than {_MOST_NESTED} lists within lists; give one list of texts")
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
    """Whether reading the label again gives the label."""
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
        if label not in _NOTHING:
            yield label


def _one_spelling(text: str) -> str:
    """The text with one spelling of each letter, bracket, quote and comma, and without what nobody sees."""
    if text.isascii() and text.isprintable():
        return text.strip()
    return "\n".join(map(clean_label, text.translate(_ASCII).splitlines())).translate(_ASCII).strip()


def _answer_in(text: str) -> tuple[str, Sequence[Any] | None]:
    """What a reasoning model answers in the end: a text, or what its JSON lists."""
    try:
        reply = read_answer(text)
    except RecursionError:  # hundreds of brackets are no JSON
        return text, None
    if not reply.is_wrapped:
        return text, None
    return reply.text, reply.items if reply.items is not None else _from_json(reply.text)


def _from_json(text: str) -> list[Any] | None:
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # thousands of brackets are no list either
        return None
    return found if isinstance(found, list) and all(isinstance(x, (str, list, type(None))) for x in found) else None
