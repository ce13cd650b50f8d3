"""The base classes of label extractors and sentiment readers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from affectgpt.errors import ConfigError
from affectgpt.metrics.final_answer import read_answer

UNKNOWN = "unknown"
"""The sentiment of an answer that could not be read; in both scoring modes it equals none of the three sentiments."""

_MAX_WORDS = 4


class Reader(ABC):
    """A step that turns answers into labels or sentiments, and can describe how it did so.

    Attributes:
        name: The name to choose it by.
        version: Version, raised whenever the same input may give a different output.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Every argument that changes the output, as plain JSON without secrets."""

    @abstractmethod
    def digest(self) -> str:
        """Sha256 of the data (word lists, prompts) that the output depends on, in hex."""

    def record(self) -> dict[str, Any]:
        """A record for reports, as plain JSON: name, version, settings, digest and the counts so far."""
        return {
            "name": self.name,
            "version": self.version,
            "settings": self.settings(),
            "digest": self.digest(),
            "counts": dict(sorted(self._counts.items())),
        }


class LabelExtractor(Reader):
    """Reads emotion labels from answers.

    Before any extractor reads an answer, thoughts (``<think>``) and surrounding tags, fences and JSON are removed; see
    ``affectgpt.metrics.final_answer``.
    """

    version = 2

    def extract(self, answers: Sequence[Any]) -> list[list[str]]:
        """The labels of every answer, lower-case, without repeats.

        Args:
            answers: For each sample a text, a list of labels, ``None`` or NaN; the last two have no labels.

        Raises:
            ConfigError: If a single text was passed.
            DataError: If an answer is something else.
        """
        found = self._extract([self._final(answer) for answer in _as_samples(answers)])
        self._counts.update(answers=len(found), empty=sum(not labels for labels in found))
        return found

    def _final(self, answer: Any) -> Any:
        """An answer without the thoughts before it; a list if it is written as JSON."""
        if not isinstance(answer, str):
            return answer
        reply = read_answer(answer)
        if reply.thoughts:
            self._counts["with_thoughts"] += 1
        if reply.items is None:
            return reply.text if reply.is_wrapped else answer
        # One long text in JSON is an answer that still has to be read; anything else is labels.
        is_text = len(reply.items) == 1 and len(reply.items[0].split()) > _MAX_WORDS
        return reply.items[0] if is_text else list(reply.items)

    @abstractmethod
    def _extract(self, answers: Sequence[Any]) -> list[list[str]]:
        """The labels of every answer; ``extract`` does the counting."""


class SentimentReader(Reader):
    """Derives the sentiment from lists of labels."""

    def read(self, labels: Sequence[Sequence[str]]) -> list[str]:
        """The sentiment of every list of labels: positive, negative, neutral or unknown; an empty list is neutral.

        Raises:
            ConfigError: If a single text was passed.
            DataError: If an item is not a list of strings.
        """
        found = self._read(_as_samples(labels))
        self._counts.update(answers=len(found), **{name: found.count(name) for name in sorted(set(found))})
        return found

    @abstractmethod
    def _read(self, labels: Sequence[Sequence[str]]) -> list[str]:
        """The sentiment of every list; ``read`` does the counting."""


def _as_samples(values: Sequence[Any]) -> Sequence[Any]:
    if isinstance(values, str):
        raise ConfigError(f"got the text {values[:60]!r}; expected a sequence with one answer per sample")
    return values
