"""From free text to labels, and from labels to a sentiment: readers that are chosen by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "EXTRACTORS": "affectgpt.bench.extract.table",
    "SENTIMENT_READERS": "affectgpt.bench.extract.table",
    "LLMExtractor": "affectgpt.bench.extract.llm",
    "LLMSentiment": "affectgpt.bench.extract.llm",
    "LabelExtractor": "affectgpt.bench.extract.base",
    "LexiconExtractor": "affectgpt.bench.extract.lexicon",
    "LexiconSentiment": "affectgpt.bench.extract.sentiment",
    "SentimentReader": "affectgpt.bench.extract.base",
    "TemplateExtractor": "affectgpt.bench.extract.template",
    "WheelSentiment": "affectgpt.bench.extract.sentiment",
    "get_extractor": "affectgpt.bench.extract.table",
    "get_sentiment_reader": "affectgpt.bench.extract.table",
}

if TYPE_CHECKING:
    from affectgpt.bench.extract.base import LabelExtractor, SentimentReader
    from affectgpt.bench.extract.lexicon import LexiconExtractor
    from affectgpt.bench.extract.llm import LLMExtractor, LLMSentiment
    from affectgpt.bench.extract.sentiment import LexiconSentiment, WheelSentiment
    from affectgpt.bench.extract.table import EXTRACTORS, SENTIMENT_READERS, get_extractor, get_sentiment_reader
    from affectgpt.bench.extract.template import TemplateExtractor

__all__ = [
    "EXTRACTORS",
    "SENTIMENT_READERS",
    "LLMExtractor",
    "LLMSentiment",
    "LabelExtractor",
    "LexiconExtractor",
    "LexiconSentiment",
    "SentimentReader",
    "TemplateExtractor",
    "WheelSentiment",
    "get_extractor",
    "get_sentiment_reader",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'affectgpt.bench.extract' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
