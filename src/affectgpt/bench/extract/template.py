"""Reads labels from the answer that the model is trained to give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affectgpt.bench.extract.base import LabelExtractor
from affectgpt.errors import DataError
from affectgpt.files import digest_of
from affectgpt.metrics.labels import parse_labels


class TemplateExtractor(LabelExtractor):
    """Reads "The character's emotional state is happy, sad." and plain lists, with ``metrics.parse_labels``.

    Examples:
        >>> TemplateExtractor().extract(["The character's emotional state is happy and a bit tired.", "[calm]", None])
        [['happy', 'a bit tired'], ['calm'], []]
    """

    name = "template"

    def settings(self) -> dict[str, Any]:
        """No settings."""
        return {}

    def digest(self) -> str:
        """The digest of the name alone: the rules are code, which ``version`` identifies."""
        return digest_of(self.name)

    def _extract(self, answers: Sequence[Any]) -> list[list[str]]:
        found = []
        for number, answer in enumerate(answers):
            try:
                found.append(parse_labels(answer))
            except DataError as error:
                raise DataError(f"answer {number}: {error}") from None
        return found
