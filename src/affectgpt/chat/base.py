"""The contract of a chat model, and the questions put to it through a cache."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from affectgpt.chat.answer_cache import AnswerCache
from affectgpt.chat.messages import Prompt, prompt_record
from affectgpt.chat.sampling import Sampling
from affectgpt.files import digest_of
from affectgpt.text import clean_text


class ChatModel(ABC):
    """Answers prompts, each in a separate conversation."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """``model``, ``revision`` and everything else that decides the answers, for the cache's key."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Where and how the model runs, as plain JSON without secrets."""

    @abstractmethod
    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, str]]:
        """Yield the position and answer of every prompt as the answers arrive; a missing answer ends the run.

        Raises:
            ConfigError: If the model or the server does not exist, or refuses.
            DataError: If the model gives no answer.
        """


class Asker:
    """Asks a chat model the questions that its cache cannot answer.

    Args:
        model: The chat model.
        template: The prompt, with ``{input}`` where the text goes.
        sampling: How the model draws its answer.
        cache: The store of the answers.
    """

    def __init__(self, model: ChatModel, template: str, sampling: Sampling, cache: AnswerCache) -> None:
        self.model, self.template, self.sampling, self.cache = model, template, sampling, cache
        self.num_asked = 0
        self.num_cached = 0

    def ask(self, texts: Sequence[str]) -> list[str]:
        """Answer every text; each answer is stored as soon as it arrives, and equal texts are asked once.

        Raises:
            ConfigError: See ``ChatModel.complete``.
            DataError: See ``ChatModel.complete`` and ``AnswerCache``.
        """
        texts = [clean_text(text) for text in texts]  # an unpaired surrogate can neither be sent nor stored
        key_of = {text: self._key(text) for text in dict.fromkeys(texts)}
        answers = self.cache.get(key_of.values())
        self.num_cached += sum(key in answers for key in key_of.values())
        new = [text for text, key in key_of.items() if key not in answers]
        prompts = [fill(self.template, text) for text in new]
        for position, answer in self.model.complete(prompts, self.sampling) if prompts else ():
            key = key_of[new[position]]
            answers[key] = self.cache.put(key, clean_text(answer))
            self.num_asked += 1
        return [answers[key_of[text]] for text in texts]

    def _key(self, text: str) -> str:
        parts = {**self.model.identity(), "prompt": self.template, "input": text, "sampling": self.sampling.to_json()}
        return digest_of(parts)


def fill(template: str, text: str) -> str:
    """Put a text into a prompt; braces in the text are kept."""
    return template.replace("{input}", text)


def seed_of(prompt: Prompt, start: int = 0) -> int:
    """A seed that depends only on the prompt and a start, so that sampling repeats if the model uses seeds."""
    content = prompt if isinstance(prompt, str) else digest_of(prompt_record(prompt))
    found = int.from_bytes(hashlib.sha256(clean_text(content).encode()).digest()[:4], "big") >> 1
    return (found + start) % 2**31
