"""Describes what is seen and heard with a multimodal model behind an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from affectgpt.annotate.describe.asking import ask_about, identity_of_asking, text_answer
from affectgpt.annotate.describe.clip_pictures import ShowClip, ShownClip, check_shown, crashed
from affectgpt.annotate.describe.published_prompts import find_prompt
from affectgpt.annotate.stage import Answer, ClipRecord, Stage
from affectgpt.chat.messages import Message, Prompt, Text
from affectgpt.chat.sampling import get_sampling
from affectgpt.chat.server import ServerModel
from affectgpt.errors import ConfigError
from affectgpt.media.isolation import map_in_order


class ServerDescriber(Stage):
    """Writes a field from frames (as image parts), sound (as ``input_audio``) and a prompt.

    Args:
        model: The model's name on the server.
        base_url: Such as ``http://localhost:8000/v1``.
        prompt: Name of a published prompt, or a text with ``{field}`` in it.
        writes: The field that gets the answer, such as ``visual_clues`` or ``audio_clues``.
        api_key_env: Environment variable with the server's key.
        revision: What tells versions of the model apart.
        num_frames: Pictures that are sent; 0 for none.
        longest_side: Of a picture, in pixels.
        sound: Whether the sound is sent.
        longest_seconds: Sound beyond this is not sent.
        sampling: ``greedy``, or ``published``.
        max_tokens: Longest answer in tokens.
        most_characters: A longer answer is cut at the end of a sentence.
        decoders: Processes that decode clips; 0 decodes in this one, where a file that kills the decoder ends the run.
        backend: Further arguments of ``ServerModel``: limits, prices, ``num_parallel``.

    Raises:
        ConfigError: If an argument does not fit, or nothing would be sent.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        prompt: str = "visual-clues",
        writes: str = "visual_clues",
        api_key_env: str | None = None,
        revision: str | None = None,
        num_frames: int = 8,
        longest_side: int = 512,
        sound: bool = False,
        longest_seconds: float = 30.0,
        sampling: str = "greedy",
        max_tokens: int = 400,
        most_characters: int | None = 2000,
        decoders: int = 1,
        backend: Mapping[str, Any] | None = None,
    ) -> None:
        if num_frames < 0 or longest_side < 16 or longest_seconds <= 0 or decoders < 0 or not (num_frames or sound):
            raise ConfigError(
                f"num_frames={num_frames}, sound={sound}, longest_side={longest_side}, "
                f"longest_seconds={longest_seconds}, decoders={decoders}: send frames or sound, sides of 16 pixels or "
                "more, and no negative numbers"
            )
        try:
            self._chat = ServerModel(model, base_url, api_key_env=api_key_env, revision=revision, **(backend or {}))
        except TypeError as error:
            raise ConfigError(f"backend of the model {model!r}: {error}") from None
        self._prompt = find_prompt(prompt)
        self._sampling = get_sampling(sampling, max_tokens)
        self._show = ShowClip(num_frames, longest_side, sound, longest_seconds)
        self._field, self._most, self._decoders = writes, most_characters, decoders
        self.reads, self.writes = self._prompt.fields, (writes,)
        self.server = self._chat

    def identity(self) -> dict[str, Any]:
        """Model, revision, prompt, what is sent, sampling and bound."""
        asked = identity_of_asking(self._chat, self._prompt, self._sampling, self._field, self._most)
        return {**asked, "sent": asdict(self._show)}

    def answer(self, record: ClipRecord) -> Answer:
        """The answer for one clip."""
        ((_, answer),) = self.answers([record])
        return answer

    def answers(self, records: Iterable[ClipRecord]) -> Iterator[tuple[int, Answer]]:
        """The answers, as they come in; clips are decoded while the server works."""
        ready: list[ShownClip] = []

        def shown() -> Iterator[ClipRecord]:
            for clip in map_in_order(self._show, records, self._decoders, crashed):
                ready.append(clip)
                yield clip.record

        def prompt_of(record: ClipRecord) -> Prompt:
            contents = check_shown(ready.pop())
            return [Message((*contents, Text(self._prompt.fill(record.fields))))]

        return ask_about(
            shown(), prompt_of, self._chat, self._sampling, lambda reply: text_answer(reply, self._field, self._most)
        )
