"""Reads a chat model's answers to the label and the sentiment prompt, with or without wrapping."""

from __future__ import annotations

import re

from affectgpt.metrics.final_answer import SENTIMENT_KEYS, read_answer
from affectgpt.metrics.labels import parse_labels

_LIST = re.compile(r"[\[\u3010]([^\[\]\u3010\u3011]*)[\]\u3011]")
_CUT_LIST = re.compile(r"[\[\u3010]([^\[\]\u3010\u3011]+)$")
# A form that small models often answer in: "The main character is happy and excited."
_SENTENCE = re.compile(r"^(?:the )?(?:main )?(?:character|person|speaker|he|she|they)\s+(?:is|are|feels?)\s+(.+)", re.I)
_SENTIMENT = re.compile(r"\b(positive|negative|neutral)\b")
_BRACKETS = frozenset("[]{}() \u3010\u3011")
_MAX_WORDS = 4
_MAX_LABELS = 30


def read_label_answer(text: str) -> list[str] | None:
    """Parse the labels of an answer; ``None`` if it is not a list of labels.

    The first list in square brackets counts, whatever is around it; if it was cut off, its last word is dropped.
    Without brackets, the first line counts if all of its items are as short as labels; a leading "The character is" is
    removed.

    Examples:
        >>> read_label_answer("Sure! Output: [Happy, 'a bit sad']. The clues are ..."), read_label_answer("[]")
        (['happy', 'a bit sad'], [])
        >>> read_label_answer("[calm, relaxed, cal"), read_label_answer("angry, upset")
        (['calm', 'relaxed'], ['angry', 'upset'])
        >>> read_label_answer("I am only a language model and so I cannot feel what this person feels") is None
        True
    """
    reply = read_answer(text)
    text = reply.text.strip()
    if reply.items is not None:
        return _if_labels(parse_labels(list(reply.items)))
    if not text:
        return None
    listed = _LIST.search(text)
    if listed is not None:
        return _if_labels(parse_labels(f"[{listed.group(1)}]"))
    cut = _CUT_LIST.search(text)
    if cut is not None:
        return _if_labels(parse_labels(f"[{cut.group(1)}]")[:-1]) or None
    first_line = text.rpartition("Output:")[2].strip().split("\n")[0]
    sentence = _SENTENCE.match(first_line)
    first_line = first_line if sentence is None else sentence.group(1)
    # The answer of a model that repeats itself may end in a run of brackets.
    return _if_labels(parse_labels(first_line)) if first_line and not set(first_line) <= _BRACKETS else None


def read_sentiment_answer(text: str) -> str | None:
    """Parse the one sentiment that an answer names; ``None`` if it names none, or several in its first line.

    Examples:
        >>> read_sentiment_answer("Output: **Positive**."), read_sentiment_answer("positive or negative") is None
        ('positive', True)
    """
    reply = read_answer(text, SENTIMENT_KEYS)
    text = (reply.text if reply.items is None else " ".join(reply.items)).strip().lower()
    for part in (text.split("\n")[0], text):
        named = set(_SENTIMENT.findall(part))
        if named:
            return named.pop() if len(named) == 1 else None
    return None


def _if_labels(labels: list[str]) -> list[str] | None:
    short = all(len(label.split()) <= _MAX_WORDS for label in labels)
    return labels if short and len(labels) <= _MAX_LABELS else None
