"""The ways in which a chat model picks its next token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from affectgpt.errors import ConfigError


@dataclass(frozen=True)
class Sampling:
    """How a chat model picks its next token.

    Attributes:
        temperature: 0 for the most likely token each time (greedy).
        top_p: Share of the probability that is drawn from.
        repetition_penalty: Factor against tokens that occurred before; 1 for none.
        max_tokens: Longest answer.
        seed: Start of the draws; another one draws another answer to the same prompt.
    """

    temperature: float
    top_p: float
    repetition_penalty: float
    max_tokens: int = 512
    seed: int = 0

    def to_json(self) -> dict[str, float]:
        """Plain JSON; the seed only where it is not 0."""
        found = asdict(self)
        return found if self.seed else {name: value for name, value in found.items() if name != "seed"}


SAMPLINGS: Mapping[str, Sampling] = {
    "greedy": Sampling(temperature=0.0, top_p=1.0, repetition_penalty=1.0),
    "published": Sampling(temperature=0.7, top_p=0.8, repetition_penalty=1.05),
}
"""By name: the repeatable default, and what the published figures were made with."""


def get_sampling(name: str, max_tokens: int) -> Sampling:
    """The sampling of that name, with answers of at most ``max_tokens``.

    Raises:
        ConfigError: If there is none, or ``max_tokens`` is no number from 1.
    """
    if name not in SAMPLINGS:
        raise ConfigError(f"sampling is {name!r}; choose one of {', '.join(SAMPLINGS)}")
    if not isinstance(max_tokens, int) or max_tokens < 1:
        raise ConfigError(f"max_tokens is {max_tokens!r}; it must be a whole number, at least 1")
    known = SAMPLINGS[name]
    return Sampling(known.temperature, known.top_p, known.repetition_penalty, max_tokens)
