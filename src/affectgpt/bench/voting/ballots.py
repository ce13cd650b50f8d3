"""Reads the answers of several systems as ranked lists of words, numbered and side by side."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from affectgpt.bench.extract import LabelExtractor, get_extractor
from affectgpt.bench.predictions import Answers, read_predictions
from affectgpt.errors import ConfigError, DataError, first_few
from affectgpt.files import digest_of_file
from affectgpt.metrics.labels import is_missing, parse_labels

MIN_SYSTEMS, MAX_SYSTEMS = 2, 50

Ints = npt.NDArray[np.int32]

# A list whose words can be read one by one: nothing in it spans a comma but a sentence, which needs one of these words.
_PLAIN_LIST = re.compile(r"\[[A-Za-z ,-]*\]")
_SENTENCE = re.compile("emotion|feeling|mood", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Ballot:
    """The words of one system, one after the other.

    Attributes:
        samples: int32 ``[N]``: position of each word's sample in ``Ballots.names``, ascending.
        words: int32 ``[N]``: the word, see ``Ballots.words``.
        ranks: int32 ``[N]``: 0 for the first word of an answer.
        record: Where it comes from, as plain JSON: name, file, digest, column, and how many samples it lacks or leaves
            empty.
    """

    samples: Ints
    words: Ints
    ranks: Ints
    record: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Ballots:
    """The answers of several systems to the same samples.

    Attributes:
        names: The samples, in the order of the result.
        words: Every word that a system said, sorted.
        systems: One ballot a system.
        near_words: What the table of near words changed, as plain JSON; ``None`` where it was not used.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    systems: tuple[Ballot, ...]
    near_words: Mapping[str, Any] | None = None


class _Words:
    """Numbers words in the order in which they are met; what was read once is not read again."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self._read: dict[str, list[int]] = {}

    def of_answer(self, value: Any) -> list[int]:
        """The numbers of an answer's words, each once, as ``parse_labels`` reads them."""
        if type(value) is list and {str}.issuperset(map(type, value)):
            return self._of_texts(value)
        if not isinstance(value, str):
            return [self._number(label) for label in parse_labels(value, mode="strict")]
        if _PLAIN_LIST.fullmatch(value) and not _SENTENCE.search(value):
            return self._of_texts(value[1:-1].split(","))
        return self._of_text(value)

    def _of_texts(self, texts: Iterable[str]) -> list[int]:
        """The words of texts that are read one by one."""
        return list(dict.fromkeys(number for text in texts for number in self._of_text(text)))

    def _of_text(self, text: str) -> list[int]:
        found = self._read.get(text)
        if found is None:
            found = self._read[text] = [self._number(label) for label in parse_labels(text, mode="strict")]
        return found

    def _number(self, word: str) -> int:
        return self.numbers.setdefault(word, len(self.numbers))


def read_ballots(
    files: Sequence[str | os.PathLike[str]],
    *,
    order: Sequence[str] | None = None,
    extractor: str | LabelExtractor = "template",
    column: str | None = None,
) -> Ballots:
    """Read prediction files, one system each; see ``affectgpt.bench.read_predictions``.

    A word counts once in an answer, at its first rank. Samples are told apart by name: the result has those of
    ``order``, or else every sample that a system answered, in the order of the first file and then of the others.

    Args:
        files: Two to fifty.
        order: Names of the samples, such as those of the list of candidates; a system's name that is none of them is
            refused.
        extractor: What reads labels out of whole answers.
        column: The column of the answers, in every file.

    Raises:
        ConfigError: If there are too few or too many files, two are one file, or there is no such extractor.
        DataError: If a file cannot be read, holds sentiments, or has names that are not in ``order``.
    """
    paths = [Path(path) for path in files]
    if not MIN_SYSTEMS <= len(paths) <= MAX_SYSTEMS:
        raise ConfigError(f"{len(paths)} files of predictions; a vote takes {MIN_SYSTEMS} to {MAX_SYSTEMS} systems")
    if isinstance(extractor, str):
        extractor = get_extractor(extractor)
    digests: dict[str, Path] = {}
    places = {name: i for i, name in enumerate(order or ())}
    words = _Words()
    read = []
    for path, name in zip(paths, _names_of(paths), strict=True):
        answers = read_predictions(path, column=column)
        if answers.is_sentiment:
            raise DataError(f"{path} holds sentiments; a vote combines lists of emotion words")
        digest = digest_of_file(path)
        if digest in digests:
            raise ConfigError(f"{path} is the same file as {digests[digest]}; every system has one vote")
        digests[digest] = path
        read.append(_read(answers, places, words, extractor, frozen=order is not None))
        read[-1].update(name=name, sha256=digest)
    if not places:
        raise DataError("the files answer no sample")
    ranking = {word: i for i, word in enumerate(sorted(words.numbers))}
    renumbered = np.array([ranking[word] for word in words.numbers], dtype=np.int32)
    ballots = tuple(_ballot(one, renumbered, len(places)) for one in read)
    return Ballots(tuple(places), tuple(ranking), ballots)


def _read(
    answers: Answers,
    places: dict[str, int],
    words: _Words,
    extractor: LabelExtractor,
    *,
    frozen: bool,
) -> dict[str, Any]:
    """The words of one file, by the numbers of samples and words."""
    if frozen:
        strangers = [name for name in answers.values if name not in places]
        if strangers:
            raise DataError(
                f"{answers.source}: {len(strangers)} names are not in the list of samples: {first_few(strangers)}"
            )
    numbers = np.fromiter((places.setdefault(n, len(places)) for n in answers.values), np.int32, len(answers.values))
    lists = []
    for name, value in zip(answers.values, _labels(answers, extractor), strict=True):
        try:
            lists.append(words.of_answer(value))
        except DataError as error:
            raise DataError(f"{answers.source}, sample {name!r}: {error}") from None
    sizes = np.fromiter(map(len, lists), np.int64, len(lists))
    flat = np.fromiter((word for one in lists for word in one), np.int32, int(sizes.sum()))
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    ranks = (np.arange(len(flat)) - starts).astype(np.int32)
    samples = np.repeat(numbers, sizes)
    order = np.argsort(samples, kind="stable")
    return {
        "samples": samples[order],
        "words": flat[order],
        "ranks": ranks[order],
        "file": answers.source,
        "column": answers.column,
        "answered": len(lists),
        "empty": int((sizes == 0).sum()),
    }


def _labels(answers: Answers, extractor: LabelExtractor) -> Iterable[Any]:
    """What each answer says, to be read by ``parse_labels``."""
    if not answers.is_free_text:
        return answers.values.values()
    for name, value in answers.values.items():
        if not isinstance(value, str) and not is_missing(value):
            raise DataError(f"{answers.source}, sample {name!r}: the answer is {value!r}; expected a text")
    return extractor.extract(list(answers.values.values()))


def _ballot(read: dict[str, Any], renumbered: Ints, num_samples: int) -> Ballot:
    words: Ints = renumbered[read.pop("words")] if len(renumbered) else read.pop("words")
    samples, ranks = read.pop("samples"), read.pop("ranks")
    answered = int(read.pop("answered"))
    record = {
        **{key: read[key] for key in ("name", "file", "sha256", "column")},
        "answered": answered,
        "missing": num_samples - answered,
        "empty": read["empty"],
        "words_per_clip": round(len(words) / max(answered, 1), 4),
    }
    return Ballot(samples, words, ranks, record)


def _names_of(paths: Sequence[Path]) -> list[str]:
    """A name for each system: its file's, with as many folders as it takes to tell them apart."""
    for depth in range(1, max(len(path.absolute().parts) for path in paths) + 1):
        names = ["/".join([*path.absolute().parts[-depth:-1], path.stem]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]  # the same stem twice in one folder: a.npz and a.jsonl
