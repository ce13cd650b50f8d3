"""Which of two descriptions of a clip people prefer: reading answers, and scoring them (Track 3 of MER2026)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from affectgpt.errors import DataError, first_few
from affectgpt.metrics.final_answer import read_answer
from affectgpt.metrics.functional.bootstrap import Floats, Summands
from affectgpt.metrics.functional.class_table import table_scores
from affectgpt.metrics.labels import Mode, check_mode, is_missing
from affectgpt.metrics.wheel.emotion_wheel import as_samples
from affectgpt.text import clean_label

PREFERENCES = ("a1", "a2", "same")
"""The first description, the second, or neither; an answer without a preference is ``None``."""

MIRRORED = {"a1": "a2", "a2": "a1", "same": "same"}
"""The meaning of an answer after the two descriptions are swapped."""

_A1, _A2, _SAME, _OTHER = range(4)
_TIES = frozenset(("same", "tie", "equal", "equally", "both", "neither"))
_NAMED = re.compile(r"\ba\s?([12])\b|\b(same|tie|equal|equally|both|neither)\b", re.IGNORECASE)


def parse_preference(text: Any, mode: str = "strict") -> str | None:
    """Read which description an answer prefers.

    Args:
        text: The answer, or ``None``.
        mode: ``official`` is the rule of the published code: in lower case, the preference at the start of the text, or
            else the first of ``a1``, ``a2`` and ``same`` that occurs anywhere, even within words, or else ``same``.
            ``strict`` reads whole words in the final answer (without thoughts and tags), reads ``tie``, ``equal``,
            ``both`` and ``neither`` as ``same``, and returns ``None`` if the answer names no preference or two
            different ones.

    Raises:
        ConfigError: If the mode is unknown.
        DataError: If the answer is not a string.

    Examples:
        >>> parse_preference("A2 is closer."), parse_preference("<think>a1?</think>a2"), parse_preference("Hm.")
        ('a2', 'a2', None)
        >>> parse_preference("I prefer a2 to a1", mode="official"), parse_preference("Hm.", mode="official")
        ('a2', 'same')
    """
    known_mode = check_mode(mode)
    if is_missing(text):
        return "same" if known_mode == "official" else None
    if not isinstance(text, str):
        raise DataError(f"an answer is {text!r}; expected a text that names a1, a2 or same")
    if known_mode == "official":
        plain = text.lower()
        started = next((name for name in PREFERENCES if plain.startswith(name)), None)
        positions = {name: position for name in PREFERENCES if (position := plain.find(name)) >= 0}
        return started or min(positions, key=lambda name: positions[name], default="same")
    plain = clean_label(read_answer(text).text).lower()
    if plain.strip(" .'\"[]") in PREFERENCES:
        return plain.strip(" .'\"[]")
    named = {f"a{found[1]}" if found[1] else "same" for found in _NAMED.finditer(plain)}
    first = _NAMED.match(plain)
    if first is not None and len(named) > 1 and first[1]:  # "a2, as a1 misses the smile": the answer comes first
        return f"a{first[1]}"
    return named.pop() if len(named) == 1 else None


def preference_score(preds: Sequence[Any], target: Sequence[str], mode: str = "official") -> dict[str, Tensor]:
    """Score preferences as MER2026 does for Track 3: two classes, weighted F1 and accuracy.

    Samples whose true preference is ``same`` are left out of the two-class figures.

    Args:
        preds: An answer per sample, see ``parse_preference``; ``None`` for a missing one.
        target: ``a1``, ``a2`` or ``same`` per sample.
        mode: ``official`` follows the published code: an answer of ``same``, or one that cannot be read, counts as
            ``a1``; a true ``tie`` is rejected, because the published code stops there. ``strict`` counts such answers
            as wrong, whichever description comes first, and reads a true ``tie`` as ``same``.

    Returns:
        float64 ``weighted_f1``, ``accuracy``, ``weighted_f1_3way``, ``accuracy_3way`` (true ``same`` kept, as a
        class); int64 ``samples`` (of two classes), ``dropped`` (true ``same``), ``same_answers``, ``unknown_answers``.

    Raises:
        ConfigError: If the mode is unknown.
        DataError: If lengths differ, an answer is not a string, or a target is not a preference.

    Examples:
        >>> answers, gold = ["a1", "same", "a2"], ["a1", "a1", "a2"]
        >>> float(preference_score(answers, gold)["accuracy"])
        1.0
        >>> round(float(preference_score(answers, gold, mode="strict")["accuracy"]), 3)
        0.667
    """
    known_mode = check_mode(mode)
    return preference_score_of(preference_counts(preds, target, known_mode), known_mode)


def preference_summands(preds: Sequence[Any], target: Sequence[str], mode: str = "official") -> Summands:
    """Each sample as one cell of the table of true preference by answer; the figure is ``weighted_f1``.

    Arguments and errors: ``preference_score``.
    """
    known_mode = check_mode(mode)
    cells = _cells(preds, target, known_mode)

    def figure(sums: Floats) -> Floats:
        tables = torch.from_numpy(np.ascontiguousarray(sums)).unflatten(-1, (3, 4))
        found: Floats = _two_class(tables, known_mode)[0].numpy()
        return found

    return Summands(np.eye(12)[cells.numpy()], figure)


def preference_counts(preds: Sequence[Any], target: Sequence[str], mode: Mode) -> Tensor:
    """Samples by true preference (a1, a2, same) and answer (these, or another), int64 ``[3, 4]`` on the CPU.

    Raises:
        DataError: If lengths differ, an answer is not a string, or a target is not a preference.
    """
    return torch.bincount(_cells(preds, target, mode), minlength=12).reshape(3, 4)


def preference_score_of(counts: Tensor, mode: Mode) -> dict[str, Tensor]:
    """The scores that follow from summed counts; see ``preference_score``."""
    table = counts.double()
    weighted_f1, accuracy = _two_class(table, mode)
    # Three classes as published: an answer that cannot be read is "same" there, and already counted as such.
    weighted_f1_3way, accuracy_3way = table_scores(table)
    return {
        "weighted_f1": weighted_f1,
        "accuracy": accuracy,
        "weighted_f1_3way": weighted_f1_3way,
        "accuracy_3way": accuracy_3way,
        "samples": counts[:_SAME].sum(),
        "dropped": counts[_SAME].sum(),
        "same_answers": counts[:, _SAME].sum(),
        "unknown_answers": counts[:, _OTHER].sum(),
    }


def _cells(preds: Sequence[Any], target: Sequence[str], mode: Mode) -> Tensor:
    """The cell of the table into which each sample falls, row by row, int64 ``[N]`` on the CPU."""
    preds, target = as_samples(preds), as_samples(target)
    if len(preds) != len(target):
        raise DataError(f"{len(preds)} predictions, but {len(target)} targets; pass one of each per sample")
    gold = [read_target(value, mode) for value in target]
    answers = [_answer(value, mode) for value in preds]
    return torch.tensor([4 * g + a for g, a in zip(gold, answers, strict=True)], dtype=torch.int64)


def _two_class(tables: Tensor, mode: Mode) -> tuple[Tensor, Tensor]:
    """Weighted F1 and accuracy of tables ``[..., 3, 4]``, with true ``same`` dropped."""
    decided = tables[..., :_SAME, :]
    undecided = decided[..., _SAME:].sum(-1)
    first, second = decided[..., _A1], decided[..., _A2]
    if mode == "official":
        return table_scores(torch.stack([first + undecided, second], dim=-1))
    return table_scores(torch.stack([first, second, undecided], dim=-1))


def read_target(value: Any, mode: Mode) -> int:
    """The position of a true preference in ``PREFERENCES``.

    Raises:
        DataError: If it is not a preference; ``official`` also rejects ``tie``, on which the published code stops.
    """
    plain = value if mode == "official" or not isinstance(value, str) else clean_label(value).lower()
    if mode == "strict" and plain in _TIES:
        plain = "same"
    if plain not in PREFERENCES:
        advice = "; the published code stops there, and mode 'strict' reads it as 'same'" if value == "tie" else ""
        raise DataError(f"a true preference is {value!r}, but must be one of {first_few(PREFERENCES)}{advice}")
    return PREFERENCES.index(plain)


def _answer(value: Any, mode: Mode) -> int:
    found = parse_preference(value, mode)
    return _OTHER if found is None else PREFERENCES.index(found)
