"""Scores answers on local labelled clips, without those that the system was trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affectgpt.bench.result import interval_json
from affectgpt.bench.submission.candidates import read_asked_rows
from affectgpt.bench.submission.challenge_tracks import Track
from affectgpt.bench.submission.track_answers import read_track_answers
from affectgpt.errors import DataError, first_few
from affectgpt.metrics.functional import (
    Interval,
    Summands,
    bootstrap_interval,
    emotion_class_score,
    emotion_wheel_score,
    preference_score,
    wheel_f1_summands,
)
from affectgpt.metrics.functional.emotion_classes import emotion_class_summands
from affectgpt.metrics.functional.preference import preference_summands
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel
from affectgpt.shards.leak import list_set

_RANKED_BY = {1: "weighted_f1", 2: "f1", 3: "weighted_f1"}
_SHOWN: Mapping[int, Sequence[str]] = {
    1: ("accuracy", "macro_f1"),
    2: ("precision", "recall", "coverage"),
    3: ("accuracy", "weighted_f1_3way", "dropped", "same_answers"),
}


@dataclass(frozen=True)
class LocalScore:
    """The score on a local split.

    Attributes:
        metric: The figure that ranks the track.
        score: Value of that figure with its interval, in mode ``official``.
        strict: The same figure in mode ``strict``.
        figures: Other figures, in mode ``official``.
        samples: Number of scored rows.
        left_out: Names of the training clips of the system, which are left out.
        told: Whether the training sets of the system are known.
        wheel: Name of the vocabulary (Track 2).
    """

    metric: str
    score: Interval
    strict: float
    figures: Mapping[str, float]
    samples: int
    left_out: tuple[str, ...]
    told: bool
    wheel: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The score as plain JSON."""
        return {
            "metric": self.metric,
            "score": self.score.value,
            "interval": interval_json(self.score),
            "strict": self.strict,
            **self.figures,
            "samples": self.samples,
            "left_out": list(self.left_out),
            "training_sets_told": self.told,
            "wheel": self.wheel,
        }


def score_local_split(
    track: Track,
    predictions: str | os.PathLike[str],
    gold: str | os.PathLike[str],
    wheel: EmotionWheel | None = None,
    *,
    trained_on: Sequence[str | os.PathLike[str]] = (),
    column: str | None = None,
    extractor: str = "template",
    resamples: int = 10_000,
    seed: int = 0,
) -> LocalScore:
    """Score answers to a labelled table as the track does, on clips that the system was not trained on.

    Args:
        track: The track.
        predictions: Answers to every row of the table.
        gold: A table of the release with labels: ``track1_train.csv``, ``track2_train_human.csv``,
            ``track3_emoprefer.csv``, or one like it.
        wheel: The vocabulary of Track 2; by default the built-in one.
        trained_on: Sets that the system was trained on, see ``affectgpt.shards.leak.list_set``.
        column: The column of the answers.
        extractor: The extractor that reads words from whole answers (Track 2).
        resamples: Number of resamples for the interval.
        seed: Seed of the resamples.

    Raises:
        DataError: If a file is damaged, a row lacks its answer or its label, or every clip is a training clip.
    """
    wheel = wheel or EmotionWheel.builtin()
    rows = read_asked_rows(gold, track)
    unlabelled = [row.key for row in rows if not row.cells.get(track.column)]
    if unlabelled:
        raise DataError(f"{gold}: {len(unlabelled)} rows have no {track.column}: {first_few(unlabelled)}")
    seen = {clip.name for location in trained_on for clip in list_set(os.fspath(location)).clips}
    kept = [row for row in rows if row.cells["name"] not in seen]
    if not kept:
        raise DataError(f"all {len(rows)} rows of {gold} are training clips of the system; none is left to score")
    answers = read_track_answers(predictions, track, rows, column=column, extractor=extractor)
    lacking = {what: keys for what, keys in answers.problems.items() if not what.startswith("answers")}
    if lacking:
        told = "; ".join(f"{len(keys)} {what}: {first_few(keys)}" for what, keys in lacking.items())
        raise DataError(f"{predictions} does not answer {gold}: {told}")
    target = [row.cells[track.column] for row in kept]
    given = [answers.values.get(row.key) for row in kept]
    official, strict = (_score(track, given, target, wheel, mode) for mode in ("official", "strict"))
    figures, summands = official
    metric = _RANKED_BY[track.number]
    return LocalScore(
        metric=metric,
        score=bootstrap_interval(summands, resamples, seed=seed),
        strict=float(strict[0][metric]),
        figures={name: figures[name].item() for name in _SHOWN[track.number]},
        samples=len(kept),
        left_out=tuple(sorted({row.cells["name"] for row in rows} & seen)),
        told=bool(trained_on),
        wheel=wheel.name if track.number == 2 else None,
    )


def _score(
    track: Track, given: Sequence[Any], target: Sequence[str], wheel: EmotionWheel, mode: str
) -> tuple[Mapping[str, Any], Summands]:
    """All figures of the track, and each row's contribution to the one that ranks it."""
    if track.number == 2:
        labels = [words or [] for words in given]
        # if no answer is correct, the published code of 2026 returns 0
        figures = emotion_wheel_score(labels, target, wheel, mode=mode, zero_division=0.0)
        return figures, wheel_f1_summands(labels, target, wheel, mode=mode, zero_division=0.0)
    make: Callable[..., Summands] = emotion_class_summands if track.number == 1 else preference_summands
    if track.number == 3:
        return preference_score(given, target, mode=mode), make(given, target, mode=mode)
    # an answer other than the six emotions stops the published code; here it counts as wrong
    reading = "official" if mode == "official" and all(given) else "strict"
    return emotion_class_score(given, target, mode=reading), make(given, target, mode=reading)
