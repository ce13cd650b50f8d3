"""Read labels out of the answer that the model is trained to give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affectgpt.bench.extract.base import LabelExtractor
from affectgpt.errors import DataError
from affectgpt.files import digest_of
from affectgpt.metrics.labels import parse_labels


class TemplateExtractor(LabelExtractor):
    """Labels of "The character's emotional state is happy, sad.", and of plain lists, by ``metrics.parse_labels``.

    Examples:
        >>> TemplateExtractor().extract(["The character's emotional state is happy and a bit tired.", "[calm]", None])
        [['happy', 'a bit tired'], ['calm'], []]
    """

    name = "template"

    def settings(self) -> dict[str, Any]:
        """None: there is nothing to set."""
        return {}

    def digest(self) -> str:
        """Of nothing but the name: the rules are code, and ``version`` stands for them."""
        return digest_of(self.name)

    def _extract(self, answers: Sequence[Any]) -> list[list[str]]:
        found = []
        for number, answer in enumerate(answers):
            try:
                found.append(parse_labels(answer))
            except DataError as error:
                raise DataError(f"answer {number}: {error}") from None
        return found
