"""Combines prediction files by vote, and writes the result with what it was made of beside it."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from affectgpt import __version__
from affectgpt.bench.extract import LabelExtractor
from affectgpt.bench.npz_writer import write_openset
from affectgpt.bench.voting.ballots import Ballots, read_ballots
from affectgpt.bench.voting.near_words import put_near_words
from affectgpt.bench.voting.rules import RULES, Constants, check_rule, choose_words
from affectgpt.errors import ConfigError
from affectgpt.files import digest_of_file, write_lines, write_whole
from affectgpt.metrics.wheel.emotion_wheel import EmotionWheel
from affectgpt.pages.escaping import for_json

TIES = "equal scores: more systems first, then the better best rank, then alphabetically"
SUFFIXES = (".npz", ".jsonl", ".csv")


@dataclass(frozen=True)
class Vote:
    """What a vote gave.

    Attributes:
        answers: Sample to its words, the best first.
        record: What it was made of, as plain JSON: rule, constants, tie rule, systems, near words.
    """

    answers: Mapping[str, Sequence[str]]
    record: Mapping[str, Any]

    def write(self, path: str | os.PathLike[str], scores: Mapping[str, Any] | None = None) -> tuple[Path, Path]:
        """Write the answers, and beside them their origin: ``answers.npz`` and ``answers.vote.json``.

        Args:
            path: ``.npz`` (the authors' layout), ``.jsonl`` or ``.csv`` (``name`` and ``openset``).
            scores: What is to stand in the record as ``scores``.

        Returns:
            Both paths.

        Raises:
            ConfigError: If the path ends otherwise.
        """
        path = check_out(path)
        if path.suffix == ".npz":
            write_openset(path, self.answers)
        elif path.suffix == ".jsonl":
            rows = ({"name": name, "openset": list(words)} for name, words in self.answers.items())
            write_lines(path, (json.dumps(row, ensure_ascii=False) for row in rows))
        else:
            text = io.StringIO(newline="")
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(["name", "openset"])
            writer.writerows([name, f"[{', '.join(words)}]"] for name, words in self.answers.items())
            write_whole(path, text.getvalue())
        beside = path.with_suffix(".vote.json")
        record = {"answers": path.name, "sha256": digest_of_file(path), **self.record}
        write_whole(beside, for_json(record if scores is None else record | {"scores": scores}) + "\n")
        return path, beside


def vote(
    files: Sequence[str | os.PathLike[str]],
    rule: str = "rank-decay",
    constants: Constants | None = None,
    wheel: EmotionWheel | None = None,
    *,
    near_words: bool = False,
    order: Sequence[str] | None = None,
    extractor: str | LabelExtractor = "template",
    column: str | None = None,
) -> Vote:
    """Combine the predictions of two to fifty systems.

    Args:
        files: One file a system (``.npz``, ``.jsonl`` or ``.csv``), see ``affectgpt.bench.read_predictions``.
        rule: ``rank-decay``, ``wheel``, ``majority`` or ``union``; see ``RULES``.
        constants: The constants of the rule; by default the published ones.
        wheel: The vocabulary of rule ``wheel`` and of ``near_words``; by default the built-in one.
        near_words: Put near words in place of those outside the wheel, before the vote; see ``put_near_words``.
        order: Names of all samples, in the order of the result; by default every sample that a system answered.
        extractor: What reads labels out of whole answers.
        column: The column of the answers, in every file.

    Returns:
        The answers with their origin. A sample that no system answered has no words.

    Raises:
        ConfigError: If there are too few or too many files, two are one file, or the rule does not exist.
        DataError: If a file cannot be read, holds sentiments, or has names that are not in ``order``.
    """
    check_rule(rule)
    constants = constants or Constants()
    wheel = wheel or EmotionWheel.builtin()
    ballots = read_ballots(files, order=order, extractor=extractor, column=column)
    if near_words:
        ballots = put_near_words(ballots, wheel)
    return vote_of(ballots, rule, constants, wheel)


def vote_of(ballots: Ballots, rule: str, constants: Constants, wheel: EmotionWheel) -> Vote:
    """The vote on answers that were read before; see ``vote``."""
    chosen = choose_words(ballots, rule, constants, wheel)
    empty = sum(not words for words in chosen)
    record = {
        "tool": f"affectgpt {__version__}",
        "rule": rule,
        "rule_says": RULES[rule],
        "constants": None if rule in ("union", "majority") else constants.to_json(),
        "ties": TIES,
        "wheel": wheel.name if rule == "wheel" or ballots.near_words is not None else None,
        "near_words": ballots.near_words,
        "samples": len(chosen),
        "empty": empty,
        "words_per_clip": round(sum(map(len, chosen)) / len(chosen), 4),
        "systems": [dict(one.record) for one in ballots.systems],
    }
    return Vote(dict(zip(ballots.names, chosen, strict=True)), record)


def check_out(path: str | os.PathLike[str]) -> Path:
    """The path of a file of answers, if its kind can be written.

    Raises:
        ConfigError: If it ends in something else.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path} ends in {path.suffix!r}; answers are written as {', '.join(SUFFIXES)}")
    return path


def with_constants(constants: Constants, changes: Mapping[str, float | int | None]) -> Constants:
    """The constants with some of them changed; that fitted ones were changed stands in their record."""
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    if given and constants.fitted is not None:
        given["fitted"] = {**constants.fitted, "changed_afterwards": sorted(given)}
    return replace(constants, **given)
