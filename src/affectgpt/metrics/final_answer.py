"""Splits a model's text into its thoughts and its final answer, which may be in tags, a code fence or JSON."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

LABEL_KEYS = (
    *("labels", "label", "emotions", "emotion", "emotion_labels", "emotion_label", "emotional_states"),
    *("emotional_state", "openset", "feelings", "feeling", "moods", "mood"),
)
"""Keys of a JSON object that hold emotion labels, the likeliest first."""

SENTIMENT_KEYS = ("sentiment", "polarity", "sentiments")
_ANSWER_KEYS = (
    *("answer", "answers", "final_answer", "final", "prediction", "predictions", "predict", "result", "output"),
    *("response", "name", "word", "text", "value"),
)
_THOUGHT_KEYS = (
    *("think", "thinking", "thought", "thoughts", "reason", "reasons", "reasoning", "rationale", "explanation"),
    *("explanations", "analysis", "evidence", "description", "clues", "justification", "chain_of_thought", "cot"),
)

_THOUGHT_TAG = r"(?:think|thinking|thought|thoughts|reasoning|analysis|reflection|scratchpad)"
# In square brackets, only the spelling of Mistral's models: "[thinking]" may be a list of labels.
_TAG = re.compile(
    rf"(?P<start>(?i:<{_THOUGHT_TAG}>)|\[THINK\]|\u25c1think\u25b7|<\|begin_of_thought\|>)|"
    rf"(?P<end>(?i:</{_THOUGHT_TAG}>)|\[/THINK\]|\u25c1/think\u25b7|<\|end_of_thought\|>)"
)
_CHANNEL = re.compile(r"<\|channel\|>\s*final\s*<\|message\|>", re.IGNORECASE)
_OTHER_CHANNEL = re.compile(r"<\|channel\|>")
_SPECIAL = re.compile(r"<\|(?!begin_of_thought|end_of_thought)[^|<>]{0,40}\|>")
_ANSWER_TAG = r"(?:answer|final_answer|final answer|final)"
_ANSWER = re.compile(rf"<{_ANSWER_TAG}>(.*?)(?:</?{_ANSWER_TAG}>|$)", re.DOTALL | re.IGNORECASE)
_ANSWER_END = re.compile(rf"</{_ANSWER_TAG}>.*", re.DOTALL | re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{\s*(?:\\text\w*\{)?([^{}]*)\}")
# A line that says so itself, as of models that are told to end with one: "**Final answer:** sad", "The answer is: sad"
_SAID = re.compile(r"(?im:^[\s*_#>]*(?:(?:the|my)\s+)?(?:final\s+)?answer(?:\s+is)?[\s*_]*[:\uff1a])[\s*_]*(?=\S)")
_FENCE = re.compile(r"```[ \t]*(?:[A-Za-z]\w*[ \t]*\n)?(.*?)(?:```|$)", re.DOTALL)
_MARKS = re.compile(r"[<{\u25c1]|```|\\boxed|\[/?THINK\]|(?i:answer(?:\s+is)?[\s*_]*[:\uff1a])")
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'")
_OPENING = re.compile(r"[\[{]")
_CUT = re.compile(r"(?:\[\s*)?\{\s*[\"']\w")
_NEXT_KEY = re.compile(r"[\"'][\w \-]+[\"']\s*:")
_QUOTES = str.maketrans("\u201c\u201d\u201e", '"""')
_LONGEST_JSON, _LONGEST_LITERAL, _MOST_TRIES = 100_000, 4_000, 200


@dataclass(frozen=True)
class FinalAnswer:
    """A model's text, split into thoughts and answer.

    Attributes:
        text: The answer, without thoughts, tags and fences.
        thoughts: The thoughts, or the text before a tagged answer; may be empty.
        items: The items that the JSON in the answer lists, with nested lists flattened; ``None`` if the answer is not
            JSON.
        is_wrapped: Whether the text was anything but a plain answer.
    """

    text: str
    thoughts: str = ""
    items: tuple[str, ...] | None = None
    is_wrapped: bool = False


def read_answer(text: str, keys: Sequence[str] = LABEL_KEYS) -> FinalAnswer:
    r"""Split a model's text into thoughts and final answer.

    Thoughts stand in tags (``<think>``, ``<reasoning>``, ...), of which either may be missing: what stands before a
    closing tag is thought, and so is all that follows an opening one that nothing closes. The answer is what stands in
    the last pair of answer tags or in the last box (``\boxed{}``), else what follows the last line that begins with
    "Answer:" or "Final answer:", else all but the thoughts; in it a fenced block
    counts, and a JSON object or list. Of an object the first of the keys counts that it has, and keys such as
    "reasoning" are thoughts; of labels with truth values the true ones count, of labels with scores those from 0.5.
    JSON that was cut off is read up to the cut. A text without any of this is returned as it is.

    Args:
        text: The model's text.
        keys: Keys of a JSON object that hold the answer; "answer" and similar keys are tried after them.

    Examples:
        >>> read_answer("<think>Sad? No.</think>\n<answer>happy, calm</answer>").text
        'happy, calm'
        >>> read_answer('Here it is:\n```json\n{"reasoning": "not sad", "emotions": ["happy"]}\n```').items
        ('happy',)
        >>> read_answer("<think>He is angry, no, wait").text
        ''
    """
    if _MARKS.search(text) is None:
        return FinalAnswer(text)
    rest, thoughts = _without_thoughts(text)
    answer = _tagged(rest)
    if answer is None and not rest.strip() and thoughts:
        # The thoughts hold the whole answer, or were not closed.
        answer = _tagged("\n".join(thoughts))
    elif answer is not None:
        before = re.split(rf"<{_ANSWER_TAG}>|\\boxed", rest, maxsplit=1, flags=re.IGNORECASE)[0]
        thoughts.append(before)
    if answer is None and (said_so := list(_SAID.finditer(rest))):
        thoughts.append(rest[: said_so[-1].start()])
        answer = rest[said_so[-1].end() :].strip().strip("*_")
    found = rest if answer is None else answer
    fenced = [block for block in _FENCE.finditer(found) if block.group(1).strip()]
    if fenced:
        thoughts.append(found[: fenced[-1].start()])
        found = fenced[-1].group(1)
    found = found.strip()
    value, said = _json_in(found, keys)
    items = None if value is None else tuple(value)
    kept = "\n".join(filter(None, (thought.strip() for thought in (*thoughts, *said))))
    is_wrapped = items is not None or bool(kept) or found != text.strip()
    return FinalAnswer(found, kept, items, is_wrapped)


def _without_thoughts(text: str) -> tuple[str, list[str]]:
    thoughts: list[str] = []
    channels = _CHANNEL.split(text)
    if len(channels) > 1 or _OTHER_CHANNEL.search(text):  # the channel named final holds the answer
        thoughts.append(_SPECIAL.sub(" ", "\n".join(channels[:-1]) if len(channels) > 1 else text))
        text = channels[-1] if len(channels) > 1 else ""
    text = _SPECIAL.sub(" ", text)
    rest: list[str] = []
    is_thought, at = False, 0
    for tag in _TAG.finditer(text):
        (thoughts if is_thought else rest).append(text[at : tag.start()])
        at = tag.end()
        # a closing tag without an opening one: all text before it was thought
        if tag.lastgroup == "end" and not is_thought:
            thoughts, rest = [*thoughts, *rest], []
        is_thought = tag.lastgroup == "start"
    (thoughts if is_thought else rest).append(text[at:])
    return " ".join(rest), thoughts


def _tagged(text: str) -> str | None:
    tagged = _ANSWER.findall(text)
    filled = [found for found in tagged if found.strip()] or _BOXED.findall(text)
    if filled or tagged:
        return str(filled[-1]) if filled else ""
    closed = _ANSWER_END.sub("", text)
    return closed if closed != text else None


def _json_in(text: str, keys: Sequence[str]) -> tuple[list[str] | None, list[str]]:
    """The items that the last JSON value in a text lists, and the thoughts in it."""
    thoughts: list[str] = []
    if "{" not in text and not text.startswith("["):
        return None, thoughts
    text = text.translate(_QUOTES)
    for start, value in reversed(list(_values_in(text[:_LONGEST_JSON]))):
        found = _items_of(value, keys, thoughts)
        if found is not None:
            return found, [text[:start], *thoughts]
    if _CUT.match(text):
        thoughts += [said for key in _THOUGHT_KEYS for said in _texts_under(key, text) or ()]
        listed = (_texts_under(key, text) for key in (*keys, *_ANSWER_KEYS))
        return next((texts for texts in listed if texts is not None), []), thoughts
    return None, thoughts


def _values_in(text: str) -> Iterator[tuple[int, Any]]:
    """Every JSON object or list in a text, or a Python literal of one, with its position, from left to right."""
    decoder = json.JSONDecoder()
    at = 0
    for _ in range(_MOST_TRIES):
        opening = _OPENING.search(text, at)
        if opening is None:
            return
        start = opening.start()
        try:
            value, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = text.find("}" if text[start] == "{" else "]", start)
            value = _python_value(text[start : end + 1]) if start < end < start + _LONGEST_LITERAL else None
            at = start + 1 if value is None else end + 1
        if value is not None:
            yield start, value


def _python_value(text: str) -> Any:
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, (dict, list)) else None


def _items_of(value: Any, keys: Sequence[str], thoughts: list[str]) -> list[str] | None:
    """The texts that a JSON value gives as its answer; ``None`` if it holds none."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        parts = [_items_of(item, keys, thoughts) for item in value]
        known = [part for part in parts if part is not None]
        return [text for part in known for text in part] if known or not value else None
    if not isinstance(value, dict):
        return None
    named = {re.sub(r"[\s\-]+", "_", str(key).strip().lower()): item for key, item in value.items()}
    thoughts += [str(item) for key, item in named.items() if key in _THOUGHT_KEYS]
    answers = {key: item for key, item in named.items() if key not in _THOUGHT_KEYS}
    for key in (*keys, *_ANSWER_KEYS):
        if key in answers and (found := _items_of(answers[key], keys, thoughts)) is not None:
            return found
    weights = [item for item in answers.values() if isinstance(item, (bool, int, float))]
    if answers and len(weights) == len(answers):
        return [str(key).strip() for key, item in value.items() if _is_chosen(item)]
    return _items_of(next(iter(answers.values())), keys, thoughts) if len(answers) == 1 else None


def _is_chosen(weight: Any) -> bool:
    return isinstance(weight, (bool, int, float)) and weight >= 0.5


def _texts_under(key: str, text: str) -> list[str] | None:
    """The complete texts under a key of a truncated object; ``None`` if the object ends before them."""
    found = re.search(rf"[\"']{re.escape(key)}[\"']\s*:\s*", text, re.IGNORECASE)
    if found is None:
        return None
    value = _NEXT_KEY.split(text[found.end() :], maxsplit=1)[0].partition("]")[0]
    return [double or single for double, single in _QUOTED.findall(value)]
