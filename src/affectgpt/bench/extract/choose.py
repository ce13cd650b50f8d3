"""Chooses an extractor or a sentiment reader by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from affectgpt.bench.extract.base import LabelExtractor, SentimentReader
from affectgpt.errors import ConfigError, did_you_mean

_ROOM = "affectgpt.bench.extract"

EXTRACTORS: Mapping[str, str] = {
    "template": f"{_ROOM}.template:TemplateExtractor",
    "lexicon": f"{_ROOM}.lexicon:LexiconExtractor",
    "llm": f"{_ROOM}.llm:LLMExtractor",
}
"""Name to ``module:class`` of the label extractors; a class is imported when it is first used."""

SENTIMENT_READERS: Mapping[str, str] = {
    "lexicon": f"{_ROOM}.valence_reader:LexiconSentiment",
    "wheel": f"{_ROOM}.valence_reader:WheelSentiment",
    "llm": f"{_ROOM}.llm:LLMSentiment",
}
"""Name to ``module:class`` of the sentiment readers."""


def get_extractor(name: str, **args: Any) -> LabelExtractor:
    """Build a label extractor by name.

    Args:
        name: One of ``EXTRACTORS``.
        args: Arguments of its class.

    Raises:
        ConfigError: If the name is unknown, or an argument does not fit.

    Examples:
        >>> get_extractor("lexicon").extract(["In conclusion, she is not angry but deeply sad."])
        [['sad']]
    """
    return cast(LabelExtractor, _build("label extractor", name, EXTRACTORS, args))


def get_sentiment_reader(name: str, **args: Any) -> SentimentReader:
    """Build a sentiment reader by name.

    Args:
        name: One of ``SENTIMENT_READERS``.
        args: Arguments of its class.

    Raises:
        ConfigError: If the name is unknown, or an argument does not fit.

    Examples:
        >>> get_sentiment_reader("lexicon").read([["joyful", "surprised"], ["furious"], []])
        ['positive', 'negative', 'neutral']
    """
    return cast(SentimentReader, _build("sentiment reader", name, SENTIMENT_READERS, args))


def _build(kind: str, name: str, table: Mapping[str, str], args: Mapping[str, Any]) -> Any:
    if name not in table:
        hint = did_you_mean(name, table, most=2, cutoff=0.4)
        raise ConfigError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(table)}")
    module, _, attribute = table[name].partition(":")
    target = getattr(import_module(module), attribute)
    signature = inspect.signature(target)
    try:
        signature.bind(**args)
    except TypeError as error:
        takes = ", ".join(signature.parameters) or "no arguments"
        raise ConfigError(f"{kind} {name!r}: {error}. It takes: {takes}") from None
    return target(**args)
