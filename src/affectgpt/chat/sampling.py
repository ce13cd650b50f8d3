"""How a chat model picks its next token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from affectgpt.errors import ConfigError

LEAST_TEMPERATURE = 1e-30
"""What logits are divided by at least, in float32: by less they overflow; by this the most likely token is drawn."""


@dataclass(frozen=True)
class Sampling:
    """How a chat model picks its next token.

    Attributes:
        temperature: 0 always takes the most likely token (greedy).
        top_p: Tokens are drawn from the smallest set that holds this share of the probability.
        repetition_penalty: Divides the score of tokens that occurred before; 1 has no effect.
        max_tokens: Longest answer, in tokens.
        seed: Start of the draws; another one draws another answer to the same prompt.
    """

    temperature: float
    top_p: float
    repetition_penalty: float
    max_tokens: int = 512
    seed: int = 0

    def to_json(self) -> dict[str, float]:
        """The sampling as plain JSON; the seed only if it is not 0."""
        found = asdict(self)
        return found if self.seed else {name: value for name, value in found.items() if name != "seed"}


SAMPLINGS: Mapping[str, Sampling] = {
    "greedy": Sampling(temperature=0.0, top_p=1.0, repetition_penalty=1.0),
    "published": Sampling(temperature=0.7, top_p=0.8, repetition_penalty=1.05),
}
"""Named settings: the repeatable default, and those of the published figures."""


def get_sampling(name: str, max_tokens: int) -> Sampling:
    """Get a sampling by name, with answers of at most ``max_tokens``.

    Raises:
        ConfigError: If the name is unknown, or ``max_tokens`` is not a whole number from 1.
    """
    if name not in SAMPLINGS:
        raise ConfigError(f"sampling is {name!r}; choose one of {', '.join(SAMPLINGS)}")
    if not isinstance(max_tokens, int) or max_tokens < 1:
        raise ConfigError(f"max_tokens is {max_tokens!r}; it must be a whole number, at least 1")
    known = SAMPLINGS[name]
    return Sampling(known.temperature, known.top_p, known.repetition_penalty, max_tokens)
