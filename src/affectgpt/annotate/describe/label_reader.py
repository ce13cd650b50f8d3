"""Reads labels and a sentiment out of a description, with the readers of the benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any

from affectgpt.annotate.stage import Answer, ClipRecord, Stage, Usage, answer_or_reason
from affectgpt.bench.extract import get_extractor, get_sentiment_reader
from affectgpt.bench.extract.llm import LLMExtractor, LLMSentiment
from affectgpt.chat.server import ServerModel
from affectgpt.errors import ConfigError, DataError

_AT_A_TIME = 64
_ASKS = (LLMExtractor, LLMSentiment)


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
        self._askers = [one.asker for one in (self._extractor, self._sentiment) if isinstance(one, _ASKS)]
        self._asks_server = extractor == "llm"
        servers = [asker.model for asker in self._askers if isinstance(asker.model, ServerModel)]
        if servers:
            self.server = servers[0]
        if len(servers) > 1:
            if servers[0].budget.prices != servers[1].budget.prices:
                raise ConfigError("the extractor and the sentiment reader ask servers with different prices; give one")
            servers[1].budget = servers[0].budget

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
        counted = self._used()
        while group := list(islice(numbered, _AT_A_TIME)):
            if self._asks_server:  # fills the reader's own store of answers, from which each is read below
                self._ask_together([record.text("description") or None for _, record in group])
            for position, record in group:
                answer = answer_or_reason(self, record)
                used = self._used()  # what was asked together counts for the first of the group
                yield (
                    position,
                    replace(answer, usage=Usage(*(now - then for now, then in zip(used, counted, strict=True)))),
                )
                counted = used

    def _used(self) -> tuple[int, int, int]:
        """Requests and tokens, read and written, of both readers so far."""
        budgets = {id(a.model.budget): a.model.budget for a in self._askers if isinstance(a.model, ServerModel)}
        return (
            sum(asker.num_asked for asker in self._askers),
            sum(budget.prompt_tokens for budget in budgets.values()),
            sum(budget.answer_tokens for budget in budgets.values()),
        )

    def _ask_together(self, texts: list[str | None]) -> None:
        with suppress(DataError):  # one of them is at fault, or beyond the bound on the cost, and meets it by itself
            self._extractor.extract(texts)
