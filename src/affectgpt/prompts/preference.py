"""How a model is asked which of two descriptions fits a clip better, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from affectgpt.prompts.template import PromptStyle
from affectgpt.text import clean_text


@dataclass(frozen=True)
class PreferenceWording:
    """The wording of a preference question.

    Attributes:
        question: With ``{a1}`` and ``{a2}`` where the descriptions stand.
        answer: With ``{preference}`` where ``a1``, ``a2`` or ``same`` stands.
    """

    question: str
    answer: str

    def ask(self, a1: str, a2: str) -> str:
        r"""The question about two descriptions; line breaks and runs of white space in them become one space.

        Examples:
            >>> PREFERENCE_WORDINGS["brief"].ask("He is glad.", "He is\ntired.")
            'A1: He is glad.\nA2: He is tired.\nBetter:'
        """
        texts = {"a1": a1, "a2": a2}
        # in one pass: a description may hold "{a2}" itself
        return re.sub(r"\{(a[12])\}", lambda found: " ".join(clean_text(texts[found[1]]).split()), self.question)

    def asks(self, question: str) -> bool:
        """Whether a question is of this wording, whatever the descriptions."""
        fixed = re.split(r"\{a1\}|\{a2\}", self.question)
        return question.startswith(fixed[0]) and question.endswith(fixed[-1]) and fixed[1] in question

    def answer_of(self, preference: str) -> str:
        """The answer to learn."""
        return self.answer.replace("{preference}", preference)


PREFERENCE_WORDINGS: Mapping[str, PreferenceWording] = {
    # what the baseline of MER2026, Track 3, asks in its plain form (S1, "normal")
    "official": PreferenceWording(
        question=(
            'We provide two descriptions for a given input: a1: "{a1}". a2: "{a2}". Please determinate which one is '
            "better aligned with the input content. If both of them equally align with the input content, please "
            "output 'same'. Therefore, the output should be a1, a2, or same. Please direct output the answer without "
            "additional reasoning process."
        ),
        answer="{preference}",
    ),
    "brief": PreferenceWording(question="A1: {a1}\nA2: {a2}\nBetter:", answer=" {preference}"),
}
"""Name of a prompt style to its wording; other styles take the official one."""


def preference_wording(style: PromptStyle) -> PreferenceWording:
    """The wording of a prompt style."""
    return PREFERENCE_WORDINGS.get(style.name, PREFERENCE_WORDINGS["official"])
