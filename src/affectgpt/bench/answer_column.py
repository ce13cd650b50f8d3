"""Chooses the columns of a table that hold the answers and the gold labels, by one rule for every file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from affectgpt.errors import DataError, did_you_mean

Kind = Literal["labels", "text", "sentiment"]
"""What a column of answers holds: lists of labels, whole texts, or sentiments (positive, negative or neutral)."""

ITEM_COLUMNS = ("fileitems", "items")
UNDECIDED_COLUMNS = ("label", "labels")
"""Names that some tools use for answers and others for gold labels."""

LABEL_COLUMNS = ("openset", "prediction", "predictions", "pred", "preds", "predicted", *ITEM_COLUMNS)
TEXT_COLUMNS = (
    *("text", "answer", "reason", "response", "sentence", "description"),
    *("predict", "output", "model_output", "generated_text", "completion"),
)
SENTIMENT_COLUMNS = ("sentiment",)
GOLD_COLUMNS = ("label", "gold", "labels", "openset", "emotion", "score", "val")

_ANSWER_COLUMNS = (*LABEL_COLUMNS, *UNDECIDED_COLUMNS, *TEXT_COLUMNS)
_PREDICTION_KEYS = frozenset({"key", "text", "labels", "description", "sentiment", "used", "missing"})
"""The keys of a written ``affectgpt.types.Prediction``; its labels and sentiment were read from its text."""


def plain_name(column: str) -> str:
    """The name of a column in lower case and without the ``name2`` of the authors' files."""
    return column.strip().lower().removeprefix("name2")


def answer_columns(columns: Iterable[str]) -> list[str]:
    """The columns, by their plain names, that can hold answers of some kind."""
    names = set(map(plain_name, columns))
    return [name for name in (*_ANSWER_COLUMNS, *SENTIMENT_COLUMNS) if name in names]


def is_gold_only(columns: Iterable[str]) -> bool:
    """Whether a table has a column for gold labels and none for answers; ``labels`` may be either."""
    names = set(map(plain_name, columns))
    return not set(answer_columns(names)) - {"label"} and bool(names & {*GOLD_COLUMNS, "label"})


def choose_answer(columns: Collection[str], where: str, *, want_sentiment: bool, named: str | None = None) -> str:
    """Choose the column that holds the answers.

    It is the named column, or else the only column with a name that answers usually have. Columns of sentiments are
    chosen for sentiment sets; for other sets only if the file has nothing else, and the caller then refuses the file. A
    file that ``affectgpt predict`` wrote holds each answer in several forms.

    Args:
        columns: Plain names of the columns.
        where: The file, for messages.
        want_sentiment: Whether the set needs sentiments, or labels to derive them from.
        named: The column that the user named.

    Raises:
        DataError: If no column fits, or several do.
    """
    if named is not None:
        return _named(columns, where, named, "--column")
    if set(columns) >= _PREDICTION_KEYS:
        return "sentiment" if want_sentiment else "labels"
    found = answer_columns(columns)
    if not want_sentiment and len(found) > 1:
        found = [name for name in found if name not in SENTIMENT_COLUMNS]
    if not found:
        raise DataError(
            f"{where} has {', '.join(columns) or 'no rows'}; expected one of "
            f"{', '.join((*_ANSWER_COLUMNS, *SENTIMENT_COLUMNS))}, or name the column of the answers with --column"
        )
    return _only(found, where, "the answer", "--column")


def choose_gold(columns: Collection[str], where: str, *, named: str | None = None) -> str:
    """Choose the column that holds the gold labels: the named one, or the only one with a name that they usually have.

    Raises:
        DataError: If no column fits, or several do.
    """
    if named is not None:
        return _named(columns, where, named, "--gold-column")
    found = [name for name in GOLD_COLUMNS if name in columns]
    if not found:
        raise DataError(
            f"{where} has {', '.join(columns) or 'no rows'}; expected one of {', '.join(GOLD_COLUMNS)}, or name the "
            "column of the gold labels with --gold-column"
        )
    return _only(found, where, "the gold label", "--gold-column")


def kind_of(column: str, values: Mapping[str, Any]) -> Kind:
    """The kind of answers in a column; in a column with an unknown name, texts count as whole answers."""
    if column in SENTIMENT_COLUMNS:
        return "sentiment"
    if column in TEXT_COLUMNS:
        return "text"
    known = column in LABEL_COLUMNS or column in UNDECIDED_COLUMNS
    return "labels" if known or not any(isinstance(value, str) for value in values.values()) else "text"


def _only(found: list[str], where: str, what: str, option: str) -> str:
    if len(found) > 1:
        raise DataError(f"{where}: several columns could be {what}: {', '.join(found)}; name one with {option}")
    return found[0]


def _named(columns: Collection[str], where: str, named: str, option: str) -> str:
    if plain_name(named) not in columns:
        hint = did_you_mean(plain_name(named), columns)
        raise DataError(f"{where} has no column {named!r} ({option}).{hint} It has {', '.join(columns) or 'no rows'}")
    return plain_name(named)
