"""How the tokens of an answer are drawn from a language model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from affectgpt.chat.sampling import LEAST_TEMPERATURE
from affectgpt.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class AnswerSampling:
    """How an ``LLMHead`` draws answers; greedy by default.

    A chat model behind a server has settings of its own, see ``affectgpt.chat.sampling``.

    Attributes:
        temperature: Divides the logits before a token is drawn; 0 always takes the most likely token, and so does any
            that is too small to divide by.
        top_p: Tokens are drawn from the smallest set that holds this share of the probability; 1 for all tokens.
        top_k: Tokens are drawn from this many of the most likely ones; 0 for all tokens.
        num_answers: Answers to each prompt.
        seed: Seed of the draws, so that a call can be repeated; torch's own generator then keeps its state. ``None``
            draws from torch's generator.
        seeds: A seed for each prompt of the call, in place of ``seed``: a prompt then draws the same whatever prompts
            share its batch.

    Raises:
        ConfigError: If a value is out of its range, several greedy answers are asked for (they would be the same), or
            several answers with a seed for each prompt.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    num_answers: int = 1
    seed: int | None = None
    seeds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        ranges = {
            "temperature": (math.isfinite(self.temperature) and self.temperature >= 0, "a number from 0"),
            "top_p": (0 < self.top_p <= 1, "a share above 0 and at most 1"),
            "top_k": (_is_whole(self.top_k, 0), "a whole number from 0"),
            "num_answers": (_is_whole(self.num_answers, 1), "a whole number from 1"),
            "seed": (self.seed is None or _is_whole(self.seed, 0), "a whole number from 0, or None"),
        }
        for name, (fits, wanted) in ranges.items():
            if not fits:
                raise ConfigError(f"sampling: {name} is {getattr(self, name)!r}, but must be {wanted}")
        if self.is_greedy and self.num_answers > 1:
            raise ConfigError(
                f"sampling: {self.num_answers} answers at temperature 0 would all be the same; "
                "raise the temperature, or ask for one answer"
            )
        if self.seeds is None:
            return
        object.__setattr__(self, "seeds", tuple(self.seeds))  # a list where they come from JSON
        if self.num_answers > 1 or not all(_is_whole(one, 0) for one in self.seeds):
            raise ConfigError(
                f"sampling: seeds are {self.seeds!r} with {self.num_answers} answers to each prompt; give whole "
                "numbers from 0, and ask for one answer"
            )

    @classmethod
    def of(cls, value: AnswerSampling | Mapping[str, Any] | None) -> AnswerSampling:
        """Read the settings from plain JSON; ``None`` is greedy.

        Raises:
            ConfigError: If a key is unknown, or a value out of its range.
        """
        if isinstance(value, AnswerSampling):
            return value
        known = [f.name for f in fields(cls)]
        for name in value or {}:
            if name not in known:
                raise ConfigError(
                    f"sampling: unknown key {name!r}.{did_you_mean(name, known)} It takes {', '.join(known)}"
                )
        return cls(**dict(value or {}))

    @property
    def is_greedy(self) -> bool:
        """Whether the most likely token is taken each time."""
        return self.temperature == 0

    @property
    def divisor(self) -> float:
        """What the logits are divided by."""
        return max(self.temperature, LEAST_TEMPERATURE)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the settings."""
        return asdict(self)

    def rows(self, rows: Sequence[int]) -> AnswerSampling:
        """The settings for some of the prompts."""
        return self if self.seeds is None else replace(self, seeds=tuple(self.seeds[row] for row in rows))

    def row_draws(self, num_prompts: int) -> RowDraws | None:
        """The draws of each prompt; ``None`` without ``seeds``.

        Raises:
            ConfigError: If the number of seeds differs from that of the prompts.
        """
        if self.seeds is None or self.is_greedy:
            return None
        if len(self.seeds) != num_prompts:
            raise ConfigError(f"sampling: {len(self.seeds)} seeds for {num_prompts} prompts; give one for each")
        return RowDraws(self.seeds)


class RowDraws:
    """Draws for each row from a generator of its own, on the CPU, so that neither device nor batch has a say.

    Args:
        seeds: A seed for each row.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def next(self, rows: Sequence[int] | None = None) -> Tensor:
        """The next draw of some rows, or of all: uniform in [0, 1), float64 ``[B]``, on the CPU."""
        chosen = self._generators if rows is None else [self._generators[row] for row in rows]
        return torch.stack([torch.rand((), dtype=torch.float64, generator=one) for one in chosen])


class DrawnTokens:
    """Draws with ``RowDraws`` inside ``generate`` of transformers: a logits processor that leaves one token a row.

    Args:
        sampling: The settings, with ``seeds``.
        draws: The draws of each prompt.
    """

    def __init__(self, sampling: AnswerSampling, draws: RowDraws) -> None:
        self._sampling, self._draws = sampling, draws

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores ``[B, V]`` with all but the drawn token at minus infinity."""
        del input_ids
        ids_B1 = next_tokens(scores, self._sampling, self._draws.next())[:, None]
        return torch.full_like(scores, -math.inf).scatter(1, ids_B1, 0.0)


def next_tokens(logits: Tensor, sampling: AnswerSampling, draws: Tensor | None = None) -> Tensor:
    """Choose one token per row.

    Args:
        logits: Float ``[B, V]``.
        sampling: The settings.
        draws: Float ``[B]``, uniform in [0, 1), see ``RowDraws``; by default torch's own generator draws, see
            ``seeded``.

    Returns:
        int64 ``[B]``.

    Examples:
        >>> logits = torch.tensor([[0.0, 3.0, 1.0]])
        >>> next_tokens(logits, AnswerSampling()), next_tokens(logits, AnswerSampling(temperature=1.0, top_p=0.5))
        (tensor([1]), tensor([1]))
    """
    if sampling.is_greedy:
        return logits.argmax(-1)
    logits_BV = logits.float() / sampling.divisor
    if 0 < sampling.top_k < logits_BV.shape[-1]:
        lowest_B1 = logits_BV.topk(sampling.top_k).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < lowest_B1, -math.inf)
    if sampling.top_p < 1:
        sorted_BV, order_BV = logits_BV.sort(-1, descending=True)
        probs_BV = sorted_BV.softmax(-1)
        # nucleus: token v, in order of falling probability, stays while the sum of the p before it is below top_p; so
        # the first one always stays
        least = max(
            sampling.top_p, torch.finfo(probs_BV.dtype).tiny
        )  # a share that rounds to 0 would drop the first too
        sorted_BV = sorted_BV.masked_fill(probs_BV.cumsum(-1) - probs_BV >= least, -math.inf)
        logits_BV = logits_BV.scatter(-1, order_BV, sorted_BV)
    if draws is None:
        return logits_BV.softmax(-1).multinomial(1).squeeze(-1)
    # the token in whose share of the probability the draw falls; the sum of a row may differ from 1 by rounding
    sums_BV = logits_BV.double().softmax(-1).cumsum(-1)
    draws_B1 = draws.to(sums_BV)[:, None] * sums_BV[:, -1:]
    return torch.searchsorted(sums_BV, draws_B1, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Draw from a generator with this seed; torch's own generators keep their state.

    Args:
        seed: The seed; ``None`` draws from torch's own generators.
        device: Device on which the draws are made.
    """
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
