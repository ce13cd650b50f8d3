"""Scores a judge of descriptions: its preferences against people's, in both orders, and the systems that wrote them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt.bench.external.measures import spearman
from affectgpt.bench.result import interval_json
from affectgpt.bench.submission.candidates import AskedRow, read_asked_rows
from affectgpt.bench.submission.challenge_tracks import TRACKS
from affectgpt.bench.submission.track_answers import read_pair_answers
from affectgpt.errors import ConfigError, DataError, first_few
from affectgpt.manifests.mer2026 import keyed_rows
from affectgpt.manifests.record import SampleError
from affectgpt.metrics.functional import (
    Interval,
    bootstrap_interval,
    bradley_terry,
    count_wins,
    parse_preference,
    preference_score,
    swap_consistency,
)
from affectgpt.metrics.functional.preference import PREFERENCES, preference_summands, read_target
from affectgpt.metrics.labels import check_mode

PAIR_TRACK = TRACKS[3]


@dataclass(frozen=True)
class RankedSystem:
    """A system that wrote descriptions.

    Attributes:
        name: Its name.
        pairs: Pairs with a description of it and one of another system.
        by_people: Natural logarithm of its Bradley-Terry strength by the true preferences; the mean is 0.
        by_answers: The same by the answers.
    """

    name: str
    pairs: int
    by_people: float
    by_answers: float


@dataclass(frozen=True)
class PairScores:
    """The scores of answers to pairs of descriptions.

    Attributes:
        mode: Mode of ``score``.
        score: Weighted F1 of two classes with its interval.
        figures: Mode to all figures of ``preference_score``; without ``official`` in mode ``strict``.
        swap: The figures of ``swap_consistency`` (strict); ``None`` without swapped answers.
        ranking: The systems, the one that people prefer most first; empty without their names.
        agreement: Spearman's correlation of the two rankings; NaN if it is undefined.
        prior: Wins that were added for each system of every pair.
        unread: Keys of the pairs whose answer names no preference (strict); they have no part in the ranking.
    """

    mode: str
    score: Interval
    figures: Mapping[str, Mapping[str, float]]
    swap: Mapping[str, float] | None
    ranking: tuple[RankedSystem, ...]
    agreement: float
    prior: float
    unread: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The scores as plain JSON."""
        return {
            "metric": "weighted_f1",
            "mode": self.mode,
            "score": self.score.value,
            "interval": interval_json(self.score),
            **{mode: dict(found) for mode, found in self.figures.items()},
            "swap": None if self.swap is None else dict(self.swap),
            "ranking": [vars(one) for one in self.ranking],
            "ranking_agreement": self.agreement if self.ranking else None,
            "prior": self.prior if self.ranking else None,
            "unread_answers": list(self.unread),
        }


def score_pairs(
    answers: str | os.PathLike[str],
    gold: str | os.PathLike[str],
    *,
    swapped: str | os.PathLike[str] | None = None,
    systems: str | os.PathLike[str] | None = None,
    system_columns: Sequence[str] = ("model1", "model2"),
    prior: float = 0.5,
    mode: str = "official",
    column: str | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairScores:
    """Score answers to labelled pairs of descriptions, such as ``track3_emoprefer.csv``.

    Args:
        answers: An answer to each pair, keyed as ``affectgpt pack`` keys them, or with both descriptions.
        gold: The pairs with people's preferences.
        swapped: The answers to the same pairs with the two descriptions swapped; a ``.csv`` with descriptions has them
            swapped, too.
        systems: A table with the same rows as ``gold`` that names who wrote each description; ``gold`` itself may be
            it.
        system_columns: The columns that name who wrote a1 and who wrote a2.
        prior: See ``affectgpt.metrics.functional.bradley_terry``.
        mode: ``official`` gives the figures of both modes; ``strict`` its own alone, and takes a true ``tie``.
        column: The column of the answers.
        resamples: Resamples for the interval.
        seed: Seed of the resamples.

    Raises:
        ConfigError: If the prior is negative, or the mode unknown.
        DataError: If a file is damaged, a pair lacks its answer or its preference, a column is missing, or (``prior``
            0) no finite strengths fit.
    """
    rows = read_asked_rows(gold, PAIR_TRACK)
    unlabelled = [row.key for row in rows if not row.cells.get("preference")]
    if unlabelled:
        raise DataError(f"{gold}: {len(unlabelled)} rows have no preference: {first_few(unlabelled)}")
    target = [row.cells["preference"] for row in rows]
    given = _texts(answers, rows, column)
    figures: dict[str, Mapping[str, float]] = {
        one: {name: value.item() for name, value in preference_score(given, target, mode=one).items()}
        for one in dict.fromkeys([check_mode(mode), "strict"])
    }
    swap = None
    if swapped is not None:
        found = swap_consistency(given, _texts(swapped, [mirrored(row) for row in rows], column), mode="strict")
        swap = {name: value.item() for name, value in found.items()}
    read = [parse_preference(text) for text in given]
    ranking: tuple[RankedSystem, ...] = ()
    if systems is not None:
        names = _names(systems, rows, system_columns)
        ranking = rank_systems(names, [PREFERENCES[read_target(one, "strict")] for one in target], read, prior)
    return PairScores(
        mode=mode,
        score=bootstrap_interval(preference_summands(given, target, mode=mode), resamples, seed=seed),
        figures=figures,
        swap=swap,
        ranking=ranking,
        agreement=spearman([one.by_people for one in ranking], [one.by_answers for one in ranking]),
        prior=prior,
        unread=tuple(row.key for row, answer in zip(rows, read, strict=True) if answer is None),
    )


def rank_systems(
    names: Sequence[tuple[str, str]], people: Sequence[str], answers: Sequence[str | None], prior: float
) -> tuple[RankedSystem, ...]:
    """Rank the systems that wrote descriptions, by people's preferences and by answers.

    Args:
        names: Who wrote a1 and who wrote a2, one pair per row.
        people: ``a1``, ``a2`` or ``same`` per row.
        answers: The same, or ``None`` for rows to leave out.
        prior: See ``bradley_terry``.

    Returns:
        The systems, the one that people prefer most first.

    Raises:
        ConfigError: If the prior is negative.
        DataError: If fewer than two systems are compared, or no finite strengths fit.
    """
    first, second = [one for one, _ in names], [other for _, other in names]
    known, wins = count_wins(first, second, people)
    decided = [(*pair, answer) for pair, answer in zip(names, answers, strict=True) if answer is not None]
    said, answered = count_wins([row[0] for row in decided], [row[1] for row in decided], [row[2] for row in decided])
    if said != known:
        raise DataError(f"no answer compares {first_few(sorted({*known} - {*said}))}; answer pairs of every system")
    by_people, by_answers = (bradley_terry(table, prior).tolist() for table in (wins, answered))
    pairs = (wins + wins.T).sum(1).round().int().tolist()
    ranked = map(RankedSystem, known, pairs, by_people, by_answers)
    return tuple(sorted(ranked, key=lambda one: (-one.by_people, one.name)))


def _texts(path: str | os.PathLike[str], rows: Sequence[AskedRow], column: str | None) -> list[Any]:
    """The answer to each row, unchanged.

    Raises:
        DataError: If a row has no answer.
    """
    found = read_pair_answers(Path(path), rows, column)
    lacking = [row.key for row in rows if row.key not in found]
    if lacking:
        raise DataError(f"{path} does not answer {len(lacking)} of {len(rows)} pairs: {first_few(lacking)}")
    return [value if isinstance(value := found[row.key], str) else None for row in rows]


def mirrored(row: AskedRow) -> AskedRow:
    """The row with its two descriptions swapped."""
    return AskedRow(row.key, {**row.cells, "a1": row.cells["a2"], "a2": row.cells["a1"]})


def _names(path: str | os.PathLike[str], rows: Sequence[AskedRow], columns: Sequence[str]) -> list[tuple[str, str]]:
    """Who wrote the two descriptions of each row.

    Raises:
        ConfigError: If there are not two columns.
        DataError: If the table lacks a column, or a row of ``gold``.
    """
    if len(columns) != 2:
        raise ConfigError(f"the columns of the systems are {', '.join(columns)}; name two: that of a1, and that of a2")
    found: dict[tuple[str, ...], tuple[str, str]] = {}
    for location, key, row in keyed_rows(Path(path)):
        if isinstance(row, SampleError):
            raise row
        if any(not row.get(column) for column in columns):
            raise DataError(
                f"{location} has no {' or no '.join(columns)}, which name who wrote a1 and a2; it has "
                f"{', '.join(row)}; name the two columns (--system-columns)"
            )
        found[AskedRow(key, row).identity(PAIR_TRACK)] = row[columns[0]], row[columns[1]]
    lacking = [row.key for row in rows if row.identity(PAIR_TRACK) not in found]
    if lacking:
        raise DataError(f"{path} lacks {len(lacking)} of the pairs: {first_few(lacking)}; it must have the same rows")
    return [found[row.identity(PAIR_TRACK)] for row in rows]
