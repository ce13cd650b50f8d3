"""Scores several systems and their vote on one labelled set, with what such a score is worth beside each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt.bench.gold import Gold, read_labels
from affectgpt.bench.match_samples import Reading, read_pairing
from affectgpt.bench.result import interval_json
from affectgpt.bench.scoring import default_readers
from affectgpt.bench.voting.constant_answer import best_constant_answer
from affectgpt.datamodules.unibench.sets import TestSet, get_test_set
from affectgpt.errors import ConfigError
from affectgpt.metrics.functional import (
    Interval,
    Summands,
    bootstrap_difference,
    bootstrap_interval,
    hit_rate_summands,
    wheel_f1_summands,
)
from affectgpt.metrics.labels import MODES, Mode, check_mode
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel

_SAME_LENGTH = 1.02
"""How much longer answers may be before a gain is laid to their length."""


@dataclass(frozen=True)
class SystemScore:
    """One system on the set.

    Attributes:
        name: Of the system.
        is_vote: Whether it combines the others.
        score: The set's own figure, with its interval.
        other_mode: The same figure in the other mode.
        words_per_clip: Mean number of words in an answer.
        coverage: Share of its words that the vocabulary has.
        empty: Samples without a word.
        constant: The best answer of the same number of words (rounded) that is the same for every sample.
        constant_score: What it scores.
        gain: The difference to the best single system, with its paired interval; ``None`` for that system itself.
        better: Share of the resamples in which it is ahead of that system.
    """

    name: str
    is_vote: bool
    score: Interval
    other_mode: float
    words_per_clip: float
    coverage: float
    empty: int
    constant: tuple[str, ...]
    constant_score: float
    gain: Interval | None = None
    better: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        found: dict[str, Any] = {
            "name": self.name,
            "is_vote": self.is_vote,
            "score": self.score.value,
            "interval": interval_json(self.score),
            "other_mode": self.other_mode,
            "words_per_clip": self.words_per_clip,
            "coverage": self.coverage,
            "empty": self.empty,
            "constant_answer": list(self.constant),
            "constant_answer_score": self.constant_score,
        }
        if self.gain is not None:
            found |= {"gain": self.gain.value, "gain_interval": interval_json(self.gain), "better": self.better}
        return found


@dataclass(frozen=True)
class SystemScores:
    """All systems on the set, the vote last.

    Attributes:
        dataset: Name of the set; and its figure, mode, wheel and number of samples.
        systems: One record a system.
        best: Name of the best single system. It is chosen on this gold, which favours it.
        warnings: What a reader must know, one sentence each.
    """

    dataset: str
    metric: str
    mode: Mode
    wheel: str
    samples: int
    systems: tuple[SystemScore, ...]
    best: str
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        head = {name: getattr(self, name) for name in ("dataset", "metric", "mode", "wheel", "samples", "best")}
        return head | {"systems": [one.to_json() for one in self.systems], "warnings": list(self.warnings)}


def score_systems(
    files: Mapping[str, str | os.PathLike[str]],
    voted: str | os.PathLike[str],
    gold: str | os.PathLike[str],
    dataset: str = "ovmerdplus",
    wheel: EmotionWheel | None = None,
    mode: str = "official",
    *,
    resamples: int = 10_000,
    seed: int = 0,
    column: str | None = None,
    gold_column: str | None = None,
    extractor: str = "template",
) -> SystemScores:
    """Score the systems and the vote as ``affectgpt score`` does, each from its file.

    Args:
        files: Name of a system to its predictions.
        voted: The predictions that the vote wrote.
        gold: The true labels, see ``affectgpt.bench.score``.
        dataset: What they are scored as; one that is scored on emotion words.
        wheel: The vocabulary; by default the built-in one.
        mode: ``official`` or ``strict``.
        resamples: How many resamples the intervals are made of.
        seed: Of the resamples.
        column: The column of the systems' answers.
        gold_column: The column of the gold labels.
        extractor: What reads labels out of whole answers.

    Raises:
        ConfigError: If set or mode do not exist, or the set is scored on sentiments.
        DataError: As in ``score``.
    """
    test_set, known_mode = get_test_set(dataset), check_mode(mode)
    if test_set.task == "sentiment":
        raise ConfigError(f"{test_set.title} is scored on sentiments, and a vote combines emotion words; use score")
    wheel = wheel or EmotionWheel.builtin()
    labels = Gold(Path(gold), read_labels(test_set, gold, gold_column))
    other: Mode = next(one for one in MODES if one != known_mode)
    readers = default_readers(extractor, wheel=wheel)
    paths = [*((name, path, column) for name, path in files.items()), ("vote", voted, None)]
    read: list[tuple[str, Reading, Reading]] = []
    for name, path, named in paths:
        pairing = read_pairing(test_set, path, labels, known_mode, named)
        reading = pairing.read(wheel, known_mode, *readers)
        read.append((name, reading, pairing.read(wheel, other, *readers, before=reading)))
    summands = [reading.summands() for _, reading, _ in read]
    best = max(range(len(files)), key=lambda i: (_value(summands[i]), -i))
    constants = _Constants(read[0][1], test_set, wheel, known_mode)
    systems = []
    for place, (name, reading, in_other) in enumerate(read):
        words = sum(map(len, reading.labels))
        constant, constant_score = constants.of(max(1, round(words / len(reading.labels))))
        gain, better = None, None
        if place != best:
            found = bootstrap_difference(summands[place], summands[best], resamples, seed=seed)
            gain, better = found.difference, found.first_better
        known = sum(wheel.knows(word) for answer in reading.labels for word in answer)
        systems.append(
            SystemScore(
                name=name,
                is_vote=place == len(files),
                score=bootstrap_interval(summands[place], resamples, seed=seed),
                other_mode=_value(in_other.summands()),
                words_per_clip=words / len(reading.labels),
                coverage=known / words if words else 0.0,
                empty=sum(not answer for answer in reading.labels),
                constant=constant,
                constant_score=constant_score,
                gain=gain,
                better=better,
            )
        )
    return SystemScores(
        dataset=test_set.name,
        metric=test_set.metric,
        mode=known_mode,
        wheel=wheel.name,
        samples=len(read[0][1].target),
        systems=tuple(systems),
        best=read[best][0],
        warnings=_warnings(systems, systems[best]),
    )


class _Constants:
    """The best constant answers of a set and what they score, each found once."""

    def __init__(self, reading: Reading, test_set: TestSet, wheel: EmotionWheel, mode: Mode) -> None:
        self._target, self._task, self._wheel, self._mode = reading.target, test_set.task, wheel, mode
        self._found: dict[int, tuple[tuple[str, ...], float]] = {}

    def of(self, num_words: int) -> tuple[tuple[str, ...], float]:
        if num_words not in self._found:
            words = best_constant_answer(self._target, self._wheel, num_words, self._task)
            make = hit_rate_summands if self._task == "discrete" else wheel_f1_summands
            summands = make([words] * len(self._target), self._target, self._wheel, mode=self._mode)
            self._found[num_words] = (tuple(words), _value(summands))
        return self._found[num_words]


def _value(summands: Summands) -> float:
    return float(summands.figure(summands.rows.sum(0)))


def _warnings(systems: Sequence[SystemScore], best: SystemScore) -> tuple[str, ...]:
    found = []
    for one in systems:
        if one.gain is None or not one.gain.value > 0:  # also where it is NaN
            continue
        if one.words_per_clip > _SAME_LENGTH * best.words_per_clip:
            found.append(
                f"{one.name} gains {100 * one.gain.value:.2f} points over {best.name}, with {one.words_per_clip:.2f} "
                f"words a clip against {best.words_per_clip:.2f}: the figure rewards longer answers, and the constant "
                f"answer {', '.join(one.constant)!r} scores {100 * one.constant_score:.2f} without seeing a clip"
            )
        if one.gain.low <= 0:
            found.append(f"{one.name} may be ahead of {best.name} by chance: the interval of its gain holds 0")
    found += [
        f"{one.name} scores no more than a constant answer of the same length ({100 * one.constant_score:.2f})"
        for one in systems
        if one.score.value <= one.constant_score
    ]
    return tuple(found)
