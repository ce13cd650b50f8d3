"""What writes answers to prompts: the contract, and the model's own network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.model.network import Network
from affectgpt.model.slot_content import SlotContent
from affectgpt.prompts.render import PromptIds


class Written(NamedTuple):
    """One answer.

    Attributes:
        text: The text, without what ended it.
        num_tokens: Tokens that were written, those that ended it included.
        ended: ``False`` if it was cut at the longest length.
    """

    text: str
    num_tokens: int
    ended: bool


class PromptWriter(Protocol):
    """Writes answers to prompts with media in them."""

    def __call__(
        self, prompt: PromptIds, content: SlotContent, max_new_tokens: int, sampling: AnswerSampling
    ) -> Sequence[Written]:
        """One answer to each prompt.

        Args:
            prompt: The prompts, padded on the left.
            content: What is in their slots.
            max_new_tokens: Longest answer.
            sampling: How answers are drawn.
        """


class NetworkWriter:
    """Writes with the model's own language model.

    Args:
        network: The model's network.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def __call__(
        self, prompt: PromptIds, content: SlotContent, max_new_tokens: int, sampling: AnswerSampling
    ) -> list[Written]:
        """One answer to each prompt; see ``PromptWriter``."""
        found = self._network.write(prompt, content, max_new_tokens, sampling)
        counts: list[int] = found.keep.sum(1).tolist()
        return [Written(*one) for one in zip(found.texts, counts, found.ended.tolist(), strict=True)]
