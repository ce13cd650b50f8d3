"""Reads the answers to the questions of other benchmarks: by the published rule, and tolerantly."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from affectgpt.metrics.final_answer import read_answer

_BRACES = re.compile(r"\{[^}]*\}")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d\u201e\uff1a", '\'\'""":')


def plain(text: str) -> str:
    """Lower case, one space between words, no punctuation at the ends; spellings with -ise are those with -ize."""
    folded = unicodedata.normalize("NFKC", text).translate(_QUOTES).lower()
    words = " ".join(folded.split()).strip(" \t.,;:!?'\"`*_[](){}<>")
    return re.sub(r"([a-z]{3,})ise\b", r"\1ize", words)


def match_label(text: str, labels: Sequence[str]) -> str | None:
    """The label that equals a text, else the only label that the text names.

    Examples:
        >>> match_label("**apologize**", ["Apologise", "Thank"]), match_label("I would say: thank.", ["Thank", "Joke"])
        ('Apologise', 'Thank')
    """
    by_plain = {plain(label): label for label in labels}
    said = plain(text)
    if said in by_plain:
        return by_plain[said]
    named = {label for key, label in by_plain.items() if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", said)}
    return named.pop() if len(named) == 1 else None


def final_answer(text: str) -> str:
    """The content of the last pair of answer tags, else the text without the thoughts.

    Examples:
        >>> final_answer("<think>A or B?</think><answer>Valence: 0.7</answer>")
        'Valence: 0.7'
    """
    return read_answer(text).text.strip()


def read_mapping(text: str) -> Mapping[str, Any] | None:
    """The first mapping in braces, written as Python or JSON, with straight or curly quotes."""
    return next(
        (found for found in map(_evaluate, _BRACES.findall(text.translate(_QUOTES))) if found is not None), None
    )


def _evaluate(text: str) -> Mapping[str, Any] | None:
    for read in (ast.literal_eval, json.loads):
        try:
            found = read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return found if isinstance(found, Mapping) else None
    return None


def emotion_official(text: str, labels: Sequence[str]) -> str | None:
    """The label by HitEmotion's script for EER: ``{'emotion': label}`` spelt exactly, or the bare label in any case."""
    if "{'emotion':" in text or '{"emotion":' in text:
        braces = _BRACES.search(text.strip())
        found = _evaluate(braces.group() if braces else text.strip())
        if found is None:
            return None
        if isinstance(found.get("emotion"), str):
            label = found["emotion"].strip()
            return label if label in labels else None
    return next((label for label in labels if text.strip().lower() == label.lower()), None)


def sentiment_official(text: str, labels: Sequence[str]) -> str | None:
    """The label by HitEmotion's script for FESD: the first of three patterns whose first match is a label."""
    patterns = (
        r"['\"]emotion['\"]:\s*['\"](\w+)['\"]",
        r"emotion['\"]?\s*:\s*['\"]?(\w+)['\"]?",
        r"\b(positive|negative|neutral)\b",
    )
    for pattern in patterns:
        found = re.search(pattern, text.lower())
        if found and found.group(1) in labels:
            return found.group(1)
    return None


def emotion_tolerant(text: str, labels: Sequence[str]) -> str | None:
    """The label in any spelling: in a mapping, or the only one that the final answer names."""
    text = final_answer(text)
    mapping = read_mapping(text) or {}
    stated = next((value for key, value in mapping.items() if plain(str(key)) == "emotion"), None)
    return match_label(stated if isinstance(stated, str) else text, labels)


def techniques_official(text: str, labels: Sequence[str]) -> list[str] | None:
    """The labels by HitEmotion's script for DPTM: ``{'techniques': [...]}``, each one spelt exactly."""
    if "{'techniques':" not in text and '{"techniques":' not in text:
        return None
    cleaned = text.strip()
    if not cleaned.startswith("{"):
        braces = _BRACES.search(cleaned)
        cleaned = braces.group() if braces else cleaned
    found = (_evaluate(cleaned) or {}).get("techniques")
    if not isinstance(found, list) or not all(isinstance(one, str) and one.strip() in labels for one in found):
        return None
    return [one.strip() for one in found]


def techniques_tolerant(text: str, labels: Sequence[str]) -> list[str] | None:
    """Every label that the final answer names, in any spelling; none of a list that is empty; ``None`` otherwise."""
    answer = final_answer(text)
    said = plain(answer.replace("\\'", "'"))
    # The longest first, so that no label counts for standing in another.
    found = []
    for label in sorted(labels, key=len, reverse=True):
        pattern = rf"(?<!\w){re.escape(plain(label))}(?!\w)"
        if re.search(pattern, said):
            found.append(label)
            said = re.sub(pattern, " ", said)
    if found:
        return [label for label in labels if label in found]
    return [] if re.search(r"\[\s*\]|\bnone\b", answer, re.IGNORECASE) else None


def option_of(text: str, options: Mapping[str, str], *, last: bool = False) -> str | None:
    """The letter of the one option that an answer names: by its letter, or by its words.

    Args:
        text: The answer.
        options: Letter to words.
        last: Whether the last letter counts if the answer names several; otherwise none does.

    Examples:
        >>> options = {"A": "Yes.", "B": "No."}
        >>> option_of("B: No.", options), option_of("Yes, a person smiles.", options), option_of("A: 1. B: 2.", options)
        ('B', 'A', None)
    """
    said = final_answer(text)
    letters = "".join(options)
    alone = re.fullmatch(rf"\W*([{letters}])\W*", said)
    if alone:
        return alone.group(1)
    marked = rf"(?<![\w'])([{letters}])\s*[:.)](?=\s|$|\w)"
    stated = rf"\b(?:[Oo]ption|[Aa]nswer(?: is)?)\s*:?\s*([{letters}])(?![\w'])"
    named = [one[0] or one[1] for one in re.findall(f"{marked}|{stated}", said)]
    if named:
        return named[-1] if last or len(set(named)) == 1 else None
    words = match_label(said, list(options.values()))
    return next((letter for letter, option in options.items() if option == words), None)


def ranking_of(text: str, labels: Sequence[str]) -> list[str] | None:
    """The emotions that an answer lists, in order, at most three; ``None`` if it names none."""
    said = final_answer(text).lower()
    starts = {label: found.start() for label in labels if (found := re.search(rf"\b{label}\b", said))}
    return sorted(starts, key=lambda label: starts[label])[:3] or None


def number_of(value: Any) -> float | None:
    """Parse a number: the value itself, or the last number after a colon in the final answer, or else the first number.

    Examples:
        >>> number_of("Valence: 0.7 (on a scale from 0 to 1)"), number_of("0.7 of 1")
        (0.7, 0.7)
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value) if value == value else None
    said = final_answer(str(value))
    stated = re.findall(rf":\s*({_NUMBER.pattern})", said)
    first = _NUMBER.search(said)
    return float(stated[-1]) if stated else float(first.group()) if first else None
