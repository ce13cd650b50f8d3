"""Reads the json member of a sample, strictly, because its content is untrusted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from affectgpt.errors import DataError


def read_facts(key: str, members: Mapping[str, bytes]) -> dict[str, Any]:
    """Read the facts of a sample, and check the types of those that a model learns from.

    A text in place of a list of labels would be learnt letter by letter, and an unpaired surrogate makes tokenizers
    fail; so values of a wrong type are never converted.

    Args:
        key: The sample's key.
        members: Suffix to content.

    Returns:
        The object in the json member; ``subtitle``, ``labels``, ``description``, ``duration_seconds`` and ``extra`` may
        be missing or ``None``.

    Raises:
        DataError: If there is no json member, or a value in it has a wrong type; the message names the key and the
            value.
    """
    try:
        facts = json.loads(members["json"])
    except (KeyError, ValueError, RecursionError) as error:
        raise DataError(f"sample {key!r} has no readable json member ({error!r}); pack the set again") from error
    if not isinstance(facts, dict):
        raise DataError(f"sample {key!r}: its json member must be an object, but is {facts!r:.100}")
    for name, expected, fits in _FIELDS:
        if facts.get(name) is not None and not fits(facts[name]):
            raise DataError(
                f"sample {key!r}: {name!r} in its json member must be {expected}, but is {facts[name]!r:.100}; "
                "pack the set again"
            )
    return facts


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_labels(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(label) and label.strip() for label in value)


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


_FIELDS = (
    ("subtitle", "a text in UTF-8", _is_text),
    ("description", "a text in UTF-8", _is_text),
    ("labels", "a list of words in UTF-8", _is_labels),
    ("duration_seconds", "a number of seconds", _is_seconds),
    ("extra", "an object", _is_mapping),
    ("missing", "an object", _is_mapping),
    ("source_files", "a list of names of sources", _is_labels),
)
