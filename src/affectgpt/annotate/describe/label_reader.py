"""Reads labels and a sentiment out of a description, with the readers of the benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from affectgpt.annotate.stage import Answer, ClipRecord, Stage, answer_or_reason
from affectgpt.bench.extract import get_extractor, get_sentiment_reader
from affectgpt.errors import DataError

_AT_A_TIME = 64


class LabelsStage(Stage):
    """Writes ``labels`` and ``sentiment`` of ``description``.

    Args:
        extractor: What reads labels: ``lexicon``, ``llm`` or ``template``; see ``affectgpt.bench.extract``.
        sentiment: What reads the sentiment off the labels: ``lexicon``, ``wheel`` or ``llm``.
        extractor_args: Arguments of the extractor, such as the model of ``llm``.
        sentiment_args: Arguments of the sentiment reader.
        drop_empty: Whether a clip whose description names no emotion is dropped; it keeps ``labels: []`` otherwise.

    Raises:
        ConfigError: If there is no such reader, or an argument does not fit.
    """

    reads = ("description",)
    writes = ("labels", "sentiment")

    def __init__(
        self,
        extractor: str = "lexicon",
        sentiment: str = "lexicon",
        extractor_args: Mapping[str, Any] | None = None,
        sentiment_args: Mapping[str, Any] | None = None,
        drop_empty: bool = False,
    ) -> None:
        self._extractor = get_extractor(extractor, **(extractor_args or {}))
        self._sentiment = get_sentiment_reader(sentiment, **(sentiment_args or {}))
        self._drop_empty = drop_empty
        self._asks_server = extractor == "llm"

    def identity(self) -> dict[str, Any]:
        """Both readers with their settings and the digests of their data."""
        readers = {"extractor": self._extractor.record(), "sentiment": self._sentiment.record()}
        kept = {
            what: {name: value for name, value in record.items() if name != "counts"}
            for what, record in readers.items()
        }
        model = kept["extractor"]["settings"].get("model")
        return {**kept, "drop_empty": self._drop_empty} | ({"model": model} if model else {})

    def answer(self, record: ClipRecord) -> Answer:
        """Labels and sentiment of one description."""
        if not record.text("description"):
            return Answer.fail("the clip has no description to read labels from")
        (labels,) = self._extractor.extract([record.text("description")])
        (sentiment,) = self._sentiment.read([labels])
        found = {"labels": labels, "sentiment": sentiment}
        if not labels and self._drop_empty:
            return Answer.drop("its description names no emotion", found)
        return Answer(fields=found)

    def answers(self, records: Iterable[ClipRecord]) -> Iterator[tuple[int, Answer]]:
        """Several at a time, so that a server behind a reader is asked in parallel."""
        numbered = enumerate(records)
        while group := list(islice(numbered, _AT_A_TIME)):
            if self._asks_server:  # fills the reader's own store of answers, from which each is read below
                self._ask_together([record.text("description") or None for _, record in group])
            for position, record in group:
                yield position, answer_or_reason(self, record)

    def _ask_together(self, texts: list[str | None]) -> None:
        with suppress(DataError):  # one of them is at fault, and meets it once more by itself
            self._extractor.extract(texts)
