"""Puts near words in place of words outside the wheels, by an open table that gives the reason of each line."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from affectgpt.bench.voting.ballots import Ballot, Ballots, Ints
from affectgpt.files import digest_of_file
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel

TABLE = Path(__file__).with_name("near_words.tsv")
VERSION = 1
"""Raised whenever a line of the table changes."""


@dataclass(frozen=True)
class NearWord:
    """A line of the table.

    Attributes:
        word: A word that a wheel may lack.
        near: The word that stands for it.
        reason: Why.
    """

    word: str
    near: str
    reason: str


@lru_cache(maxsize=1)
def read_table() -> tuple[NearWord, ...]:
    """The lines of the table that the library ships."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
        return tuple(NearWord(row["word"], row["near"], row["reason"]) for row in rows)


def put_near_words(ballots: Ballots, wheel: EmotionWheel) -> Ballots:
    """Replace words that a wheel lacks by near ones that it has; a word that comes twice then counts once.

    A line of the table applies where the wheel lacks its word and has the near one: what the wheel places stays.

    Args:
        ballots: The answers.
        wheel: The vocabulary.

    Returns:
        The same ballots with the words replaced, and in ``near_words`` the table's version and digest, the wheel, and
        which words were replaced how often, with the reasons.
    """
    lines = {line.word: line for line in read_table() if not wheel.knows(line.word) and wheel.knows(line.near)}
    near = [lines[word].near if word in lines else word for word in ballots.words]
    words = tuple(sorted(set(near)))
    place = {word: i for i, word in enumerate(words)}
    numbers = np.array([place[word] for word in near], dtype=np.int32)
    times = sum((np.bincount(one.words, minlength=len(near)) for one in ballots.systems), np.zeros(len(near), np.int64))
    replaced = [(int(times[i]), lines[word]) for i, word in enumerate(ballots.words) if word in lines and times[i]]
    record = {
        "table": TABLE.name,
        "version": VERSION,
        "sha256": digest_of_file(TABLE),
        "wheel": wheel.name,
        "words": sum(count for count, _ in replaced),
        "of_words": int(times.sum()),
        "replaced": [
            {"word": line.word, "near": line.near, "times": count, "reason": line.reason}
            for count, line in sorted(replaced, key=lambda one: (-one[0], one[1].word))
        ],
    }
    systems = tuple(_renumbered(one, numbers, len(words)) for one in ballots.systems)
    return Ballots(ballots.names, words, systems, record)


def _renumbered(ballot: Ballot, numbers: Ints, num_words: int) -> Ballot:
    """The ballot with other words; of equal ones in an answer the first stays, and later ranks move up."""
    words: Ints = numbers[ballot.words] if len(numbers) else ballot.words
    keys = ballot.samples.astype(np.int64) * num_words + words
    _, first = np.unique(keys, return_index=True)
    kept = np.sort(first)
    samples = ballot.samples[kept]
    starts = np.searchsorted(samples, samples)
    ranks = (np.arange(len(samples)) - starts).astype(np.int32)
    answered = max(int(ballot.record["answered"]), 1)
    record = {**ballot.record, "words_per_clip": round(len(samples) / answered, 4)}
    return Ballot(samples, words[kept], ranks, record)
