"""The sentences that the speakers of the synthetic corpus say, as templates."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

import numpy as np

from affectgpt.demo.corpus.states import WordsName

FILLERS: Mapping[str, tuple[str, ...]] = {
    "thing": ("letter", "car", "house", "painting", "project", "cake", "garden", "report"),
    "who": ("my brother", "our neighbour", "the doctor", "my boss", "Anna", "grandma", "the teacher", "Tom"),
    "when": ("today", "this morning", "last night", "on Monday", "just now"),
}

TEMPLATES: Mapping[WordsName, tuple[str, ...]] = {
    "open": (
        "So this is the {thing}.",
        "{who} called me {when}.",
        "I just heard about the {thing}.",
        "It was {who} all along.",
        "Well, here we are again.",
        "You really said that to {who}.",
        "I have seen the {thing}.",
        "They told {who} {when}.",
        "This is how it ends.",
        "I did not expect this {when}.",
        "Look at the {thing}.",
        "So you talked to {who}.",
        "That is what happened {when}.",
        "And then {who} came in.",
    ),
    "positive": (
        "{who} is safe and well.",
        "We won the first prize {when}.",
        "I got the job {when}.",
        "What a wonderful {thing}.",
        "{who} said yes {when}.",
        "I passed the exam {when}.",
        "You did a brilliant job on the {thing}.",
        "They saved the {thing} in time.",
        "The {thing} is perfect.",
        "Great news about {who}.",
        "We made it, we really made it.",
        "{who} came home {when}.",
    ),
    "negative": (
        "{who} had an accident {when}.",
        "They destroyed the {thing}.",
        "I lost the job {when}.",
        "What a terrible {thing}.",
        "{who} lied to us {when}.",
        "I failed the exam {when}.",
        "Somebody ruined the {thing}.",
        "The {thing} is gone for good.",
        "It is too late to save the {thing}.",
        "Bad news about {who}.",
        "We lost everything {when}.",
        "{who} left us {when}.",
    ),
}


def write_sentence(words: WordsName, rng: np.random.Generator) -> str:
    """Draw one sentence.

    Args:
        words: Kind of the sentence.
        rng: Source of randomness.

    Returns:
        One English sentence with a capital letter and a full stop.

    >>> write_sentence("positive", np.random.default_rng(0))
    'We made it, we really made it.'
    """
    template = TEMPLATES[words][rng.integers(len(TEMPLATES[words]))]
    fields = [field for _, field, _, _ in Formatter().parse(template) if field]
    chosen = {field: FILLERS[field][rng.integers(len(FILLERS[field]))] for field in fields}
    sentence = template.format(**chosen)
    return sentence[0].upper() + sentence[1:]
