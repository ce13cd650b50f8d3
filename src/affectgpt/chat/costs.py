"""Counts the cost of a run's tokens, and enforces a bound on it."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from affectgpt.chat.messages import Picture, Prompt, Sound, Text, Video, as_messages
from affectgpt.errors import ConfigError, DataError

_CHARACTERS_A_TOKEN = 2  # fewer than the average of English, about that of Chinese
_TOKENS_A_PICTURE, _TOKENS_A_VIDEO = 1_500, 20_000
_BYTES_A_SOUND_TOKEN = 640  # 50 tokens for a second of 16-bit sound at 16 kHz


@dataclass(frozen=True)
class Prices:
    """The prices of a server, in any currency.

    Attributes:
        prompt: Price of a million prompt tokens.
        answer: Price of a million answer tokens.

    Raises:
        ConfigError: If a price is negative or not a number.
    """

    prompt: float
    answer: float

    def __post_init__(self) -> None:
        for name in ("prompt", "answer"):
            price = getattr(self, name)
            if not math.isfinite(price) or price < 0:
                raise ConfigError(f"the price of a million {name} tokens is {price!r}; it must be a number from 0")

    def of(self, prompt_tokens: int, answer_tokens: int) -> float:
        """The cost of one request."""
        return (self.prompt * prompt_tokens + self.answer * answer_tokens) / 1e6


class CostBoundError(DataError):
    """The next request could cost more than the rest of the budget."""


class Reserved(float):
    """The largest possible cost of a request, in money.

    Attributes:
        tokens: The largest possible number of tokens.
    """

    tokens: int = 0


class Budget:
    """Counts the cost of requests, and starts none that could exceed the bound.

    A running request counts with its largest possible cost. If its tokens remain unknown (it was cut off, or the server
    does not report them), that count stays.

    Args:
        prices: Prices of tokens; ``None`` counts tokens only.
        most: The bound; ``None`` for none.
        most_tokens: The bound on tokens, read and written together; ``None`` for none.

    Raises:
        ConfigError: If there is a bound without prices, or one is negative.
    """

    def __init__(self, prices: Prices | None = None, most: float | None = None, most_tokens: int | None = None) -> None:
        if most is not None and prices is None:
            raise ConfigError("a bound on the cost needs prices: give prompt_price and answer_price, a million tokens")
        if most is not None and not most >= 0:
            raise ConfigError(f"the bound on the cost is {most!r}; it must be a number from 0")
        if most_tokens is not None and most_tokens < 0:
            raise ConfigError(f"the bound on tokens is {most_tokens!r}; it must be a whole number from 0")
        self.prices, self.most, self.most_tokens = prices, most, most_tokens
        self.prompt_tokens = self.answer_tokens = self.num_estimated = 0
        self._spent = self._reserved = 0.0
        self._tokens = self._reserved_tokens = 0
        self._largest_prompt = 0
        self._changed = threading.Condition()

    @property
    def spent(self) -> float:
        """The cost of finished requests."""
        return self._spent

    def estimate(self, prompt: Prompt) -> int:
        """An upper estimate of the tokens of a prompt."""
        return max(_tokens_of(prompt), self._largest_prompt)

    def reserve(self, prompt_tokens: int, answer_tokens: int) -> Reserved:
        """Reserve the largest possible cost of a request; wait if running requests decide whether it fits.

        Raises:
            CostBoundError: If the rest of the budget is too small.
        """
        wanted = Reserved(0.0 if self.prices is None else self.prices.of(prompt_tokens, answer_tokens))
        wanted.tokens = prompt_tokens + answer_tokens
        with self._changed:
            while not self.take(wanted):
                self._changed.wait(1.0)
        return wanted

    def take(self, wanted: Reserved) -> bool:
        """Reserve an amount if it fits; ``False`` where running requests decide whether it will.

        Raises:
            CostBoundError: If the rest of the budget is too small.
        """
        with self._changed:
            if self._lacks(wanted, self._spent + self._reserved, self._tokens + self._reserved_tokens) is None:
                self._reserved += wanted
                self._reserved_tokens += wanted.tokens
                return True
            lack = self._lacks(wanted, self._spent, self._tokens)
            if lack is not None:  # whatever the running requests cost
                raise CostBoundError(
                    f"the next request can {lack} is spent; the answers so far are kept: raise the bound and run "
                    "again to resume"
                )
            return False

    def settle(self, reserved: Reserved, prompt_tokens: int | None, answer_tokens: int | None) -> None:
        """Count a finished request; unknown tokens cost the reserved amount."""
        with self._changed:
            if prompt_tokens is None or answer_tokens is None:
                self.num_estimated += 1
                self.pay(reserved, reserved, reserved.tokens)
                return
            self._largest_prompt = max(self._largest_prompt, prompt_tokens)
            self.prompt_tokens += prompt_tokens
            self.answer_tokens += answer_tokens
            cost = 0.0 if self.prices is None else self.prices.of(prompt_tokens, answer_tokens)
            self.pay(reserved, cost, prompt_tokens + answer_tokens)

    def pay(self, reserved: Reserved, cost: float, tokens: int) -> None:
        """Count what a request cost instead of what was reserved for it."""
        with self._changed:
            self._free(reserved)
            self._spent += cost
            self._tokens += tokens
            self._changed.notify_all()

    def give_back(self, reserved: Reserved) -> None:
        """Free the reserved amount of a request that the server rejected."""
        self.pay(reserved, 0.0, 0)

    def _free(self, reserved: Reserved) -> None:
        self._reserved = max(0.0, self._reserved - reserved)
        self._reserved_tokens = max(0, self._reserved_tokens - reserved.tokens)

    def _lacks(self, wanted: Reserved, cost: float, tokens: int) -> str | None:
        """By how much a request would exceed a bound, in words; ``None`` if it fits."""
        if self.most is not None and cost + wanted > self.most:
            return f"cost {wanted:.4f}, and of the bound of {self.most:g} {cost:.4f}"
        if self.most_tokens is not None and tokens + wanted.tokens > self.most_tokens:
            return f"take {wanted.tokens:,} tokens, and of the bound of {self.most_tokens:,} {tokens:,}"
        return None

    def count(self, prompt_tokens: int, answer_tokens: int) -> None:
        """Count paid tokens, such as those of an earlier run."""
        self.settle(Reserved(0.0), prompt_tokens, answer_tokens)


def _tokens_of(prompt: Prompt) -> int:
    number = 0
    for message in as_messages(prompt):
        for content in message.contents:
            match content:
                case Text():
                    number += len(content.text) // _CHARACTERS_A_TOKEN + 8
                case Picture():
                    number += _TOKENS_A_PICTURE
                case Sound():
                    number += len(content.content) // _BYTES_A_SOUND_TOKEN
                case Video():
                    number += _TOKENS_A_VIDEO
    return number
