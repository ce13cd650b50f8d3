"""Merges what is heard, what is seen and the subtitle into one description, with a chat model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from affectgpt.annotate.describe.asking import SMOLLM2, ask_about, find_chat_model, identity_of_asking, text_answer
from affectgpt.annotate.describe.published_prompts import find_prompt
from affectgpt.annotate.stage import Answer, ClipRecord, Stage
from affectgpt.chat.sampling import get_sampling
from affectgpt.chat.server import ServerModel
from affectgpt.errors import ConfigError


class MergeStage(Stage):
    """Writes ``description``, or another field, from the fields that its prompt names.

    Args:
        model: Name on the server, on the hub, or a folder; ``smollm2-135m-instruct`` is the packaged one.
        base_url: Address of an OpenAI-compatible server; without one the model runs here.
        api_key_env: Environment variable with the server's key.
        revision: Commit on the hub, or what tells versions apart on a server.
        prompt: Name of a published prompt, or a text with ``{field}`` in it.
        sampling: ``greedy``, or ``published`` (temperature 0.7).
        max_tokens: Longest answer in tokens.
        most_characters: A longer answer is cut at the end of a sentence.
        writes: The field that gets the text.
        backend: Further arguments of ``ServerModel`` (limits, prices) or ``LocalModel``.

    Raises:
        ConfigError: If an argument does not fit.
        CheckpointError: If the packaged model is not installed.
    """

    def __init__(
        self,
        model: str = SMOLLM2,
        base_url: str | None = None,
        api_key_env: str | None = None,
        revision: str | None = None,
        prompt: str = "merge",
        sampling: str = "greedy",
        max_tokens: int = 400,
        most_characters: int | None = 2000,
        writes: str = "description",
        backend: Mapping[str, Any] | None = None,
    ) -> None:
        if most_characters is not None and most_characters < 1:
            raise ConfigError(f"most_characters is {most_characters}; give a number from 1, or leave it out")
        self._chat = find_chat_model(model, base_url, api_key_env, revision, backend)
        self._prompt = find_prompt(prompt)
        self._sampling = get_sampling(sampling, max_tokens)
        self._most, self._field = most_characters, writes
        # a transcript stands in for a subtitle that the clip does not have
        self.reads = (*self._prompt.fields, *(["transcript"] if "subtitle" in self._prompt.fields else []))
        self.optional = ("transcript",)
        self.writes = (writes,)
        if isinstance(self._chat, ServerModel):
            self.server = self._chat

    def identity(self) -> dict[str, Any]:
        """Model, revision, prompt, sampling and bound."""
        return identity_of_asking(self._chat, self._prompt, self._sampling, self._field, self._most)

    def answer(self, record: ClipRecord) -> Answer:
        """The text for one clip."""
        ((_, answer),) = self.answers([record])
        return answer

    def answers(self, records: Iterable[ClipRecord]) -> Iterator[tuple[int, Answer]]:
        """The texts, as they come in."""
        return ask_about(
            records,
            self._prompt_of,
            self._chat,
            self._sampling,
            lambda reply: text_answer(reply, self._field, self._most),
        )

    def _prompt_of(self, record: ClipRecord) -> str:
        fields = dict(record.fields)
        fields["subtitle"] = record.text("subtitle") or record.text("transcript") or None
        return self._prompt.fill(fields)
