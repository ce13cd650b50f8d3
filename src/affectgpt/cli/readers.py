"""The options of the verbs that score: the wheel, the readers of labels and sentiments, and lists of names."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from affectgpt.errors import ConfigError

if TYPE_CHECKING:
    from affectgpt.bench.extract import LabelExtractor, SentimentReader
    from affectgpt.metrics import EmotionWheel

# Arguments of the llm readers that are not texts.
_JSON = {"max_tokens": "a number, such as 256", "backend": """JSON, such as {"batch_size": 4}"""}


def names_in(text: str | None) -> list[str]:
    """The names in an option such as ``meld,mosi``; none where it is not given."""
    return [name.strip() for name in text.split(",") if name.strip()] if text else []


def add_readers(parser: argparse._ActionsContainer) -> None:
    """Add ``--extractor``, ``--sentiment`` and ``--llm``."""
    add = parser.add_argument
    add("--extractor", default="template", help="extractor of labels from answers: template, lexicon or llm")
    add("--sentiment", default="lexicon", help="reader of sentiments from labels: lexicon, wheel or llm")
    add(
        "--llm", action="append", default=[], metavar="KEY=VALUE", help="argument of the llm readers, such as model=..."
    )


def chosen_wheel(name: str) -> EmotionWheel:
    """The vocabulary that ``--wheel`` names: ``builtin``, ``official``, or the folder of the official tables.

    Raises:
        ConfigError: If a required package is not installed.
        DataError: If the tables are missing, damaged or altered.
    """
    from affectgpt.metrics import EmotionWheel

    if name == "builtin":
        return EmotionWheel.builtin()
    return EmotionWheel.official(None if name == "official" else name)


def make_readers(args: argparse.Namespace, wheel: EmotionWheel) -> tuple[LabelExtractor, SentimentReader]:
    """Build the readers that the options name.

    Raises:
        ConfigError: If a name is unknown, or an argument does not fit.
    """
    from affectgpt.bench.extract import get_extractor, get_sentiment_reader

    llm: dict[str, Any] = dict(map(_pair, args.llm))
    if llm and "llm" not in (args.extractor, args.sentiment):
        raise ConfigError(
            "--llm configures the reader llm, which is not in use; add --extractor llm or --sentiment llm"
        )
    own = {"llm": llm, "wheel": {"wheel": wheel}}
    extractor = get_extractor(args.extractor, **(llm if args.extractor == "llm" else {}))
    return extractor, get_sentiment_reader(args.sentiment, **own.get(args.sentiment, {}))


def _pair(text: str) -> tuple[str, Any]:
    key, found, value = text.partition("=")
    if not found:
        raise ConfigError(f"--llm takes KEY=VALUE, such as model=Qwen2.5-7B-Instruct, but got {text!r}")
    if key not in _JSON:
        return key, value
    try:
        return key, json.loads(value)
    except ValueError as error:
        raise ConfigError(f"--llm {key} takes {_JSON[key]}, but got {value!r}") from error
