"""Words of clips, short and long as in real sets: what the benchmarks that answer ask about."""

from __future__ import annotations

_WORDS = (
    "I really did not expect that.",
    "",
    "Why would you say such a thing to me, after all that we have been through together this year?",
    "Oh.",
    "We won! I cannot believe it, we have actually won!",
    "It is fine. Leave it.",
    "Nobody told me that the meeting had been moved, and I stood there for an hour waiting in the rain.",
    "Please, come in.",
)


def spoken_in(number: int) -> str:
    """The words of a clip, by its number; neighbours differ in length."""
    return _WORDS[number * 5 % len(_WORDS)]
