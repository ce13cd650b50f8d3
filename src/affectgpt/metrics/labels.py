"""Turn one answer, in whatever shape it arrives, into a list of emotion labels."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics.final_answer import read_answer

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
_EDGES = " \t\r\n'\"`[](){}<>.:!?*_"
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
    labels are lower-case, single-spaced, without repeats, in order of appearance; ``None``, NaN and empty text give
    an empty list.

    ``official`` repeats the published scoring code of MER-UniBench: a list is returned untouched; from a text one
    leading ``[`` and one trailing ``]`` are dropped, and it is split at commas and at straight quotes of both kinds.
    Nothing else is cleaned.

    Args:
        value: A text, a sequence of texts, ``None`` or NaN.
        mode: ``strict`` or ``official``.

    Raises:
        ConfigError: If the mode is unknown.
        DataError: If the value is no answer (a number, a mapping; in ``official`` also a tuple and the text ``[``,
            on which the published code stops).

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
            f"labels are {value!r} ({type(value).__name__}); mode 'official' reads a text or a list of texts, "
            "mode 'strict' other sequences too"
        )
    text = value[1:] if value.startswith("[") else value
    if value and not text:
        raise DataError("labels are the text '[', on which the published scoring code stops; mode 'strict' reads it")
    text = text[:-1] if text.endswith("]") else text
    return [piece for piece in map(str.strip, _OFFICIAL_SPLIT.split(text)) if piece]


def is_missing(value: Any) -> bool:
    """Whether the value is ``None`` or NaN."""
    return value is None or (isinstance(value, float) and value != value)


def _strict(value: Any) -> Iterable[str]:
    if is_missing(value):
        return
    if isinstance(value, str):
        yield from _from_text(value)
    elif isinstance(value, Iterable) and not isinstance(value, (bytes, dict)):
        for item in value:
            yield from _strict(item)
    else:
        raise DataError(f"labels are {value!r} ({type(value).__name__}); expected a text or a sequence of texts")


def _from_text(text: str) -> Iterable[str]:
    text = unicodedata.normalize("NFKC", text.translate(_ASCII)).translate(_ASCII).strip()
    listed: Sequence[Any] | None = _from_json(text)
    if listed is None:
        reply = read_answer(text)
        if reply.is_wrapped:
            text, listed = reply.text, reply.items if reply.items is not None else _from_json(reply.text)
    if listed is not None:
        for item in listed:
            yield from _strict(item)
        return
    sentence = _SENTENCE.search(text)
    if sentence is not None:
        text = _SENTENCE_END.split(sentence.group(1), maxsplit=1)[0]
    for piece in _SEPARATORS.split(text):
        label = " ".join(_ITEM_MARK.sub("", piece).strip(_EDGES).lower().split())
        if label not in _NOTHING:
            yield label


def _from_json(text: str) -> list[Any] | None:
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # thousands of brackets are no list either
        return None
    return found if isinstance(found, list) and all(isinstance(x, (str, list, type(None))) for x in found) else None
