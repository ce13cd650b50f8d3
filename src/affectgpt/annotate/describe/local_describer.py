"""Describes what is seen or heard with a multimodal model of transformers, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from affectgpt.annotate.describe.asking import text_answer
from affectgpt.annotate.describe.published_prompts import find_prompt
from affectgpt.annotate.stage import Answer, ClipRecord, Stage
from affectgpt.chat.local import LocalModel
from affectgpt.chat.reply import Reply, is_refusal
from affectgpt.errors import ConfigError, DataError
from affectgpt.media.speech.base import SAMPLE_RATE_HZ


class LocalDescriber(Stage):
    """Writes a field with a captioner or an audio language model of transformers.

    The model is one that ``AutoModelForMultimodalLM`` or ``AutoModelForImageTextToText`` knows, with a processor that
    has a chat template; its own code is never run. It answers greedily, one clip at a time.

    Args:
        model: A folder, or a name on the hub.
        prompt: Name of a published prompt, or a text with ``{field}`` in it.
        writes: The field that gets the answer.
        revision: Commit, tag or branch on the hub.
        num_frames: Pictures that the model sees; 0 for none.
        sound: Whether it hears the sound.
        longest_seconds: Sound beyond this is not heard.
        max_tokens: Longest answer in tokens.
        most_characters: A longer answer is cut at the end of a sentence.
        device: ``auto``, ``cpu``, ``cuda``, ...
        dtype: Name of a torch dtype; ``auto`` as the weights were saved.

    Raises:
        ConfigError: If an argument does not fit.
    """

    def __init__(
        self,
        model: str,
        prompt: str = "visual-clues",
        writes: str = "visual_clues",
        revision: str | None = None,
        num_frames: int = 8,
        sound: bool = False,
        longest_seconds: float = 30.0,
        max_tokens: int = 400,
        most_characters: int | None = 2000,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        if num_frames < 0 or max_tokens < 1 or longest_seconds <= 0 or not (num_frames or sound):
            raise ConfigError(
                f"num_frames={num_frames}, sound={sound}, longest_seconds={longest_seconds}, max_tokens={max_tokens}: "
                "show frames or sound, and ask for a token at least"
            )
        self._model, self._revision = model, revision
        self._named = LocalModel(model, revision)
        self._prompt = find_prompt(prompt)
        self._num_frames, self._sound, self._longest = num_frames, sound, longest_seconds
        self._max_tokens, self._most, self._field = max_tokens, most_characters, writes
        self._device, self._dtype = device, dtype
        self._loaded: tuple[Any, Any] | None = None
        self.reads, self.writes = self._prompt.fields, (writes,)

    def identity(self) -> dict[str, Any]:
        """Model, commit (or digest of a folder), prompt, what is shown and the bounds."""
        return {
            **self._named.identity(),
            "prompt": self._prompt.text,
            "prompt_source": self._prompt.source,
            "shown": {"num_frames": self._num_frames, "sound": self._sound, "longest_seconds": self._longest},
            "max_tokens": self._max_tokens,
            "most_characters": self._most,
            "dtype": self._dtype,
            "writes": self._field,
        }

    def answer(self, record: ClipRecord) -> Answer:
        """What the model says of one clip."""
        contents = [*self._pictures(record), *self._sounds(record)]
        if not contents:
            raise DataError("the clip has neither pictures nor sound to show")
        text = self._generate([*contents, {"type": "text", "text": self._prompt.fill(record.fields)}])
        refused = is_refusal(text)
        reply = Reply("refused" if refused else "answered", text, "the answer is a stock refusal" if refused else None)
        return text_answer(reply, self._field, self._most)

    def _pictures(self, record: ClipRecord) -> list[dict[str, Any]]:
        seen = record.media.see(record.key, num_frames=self._num_frames) if self._num_frames else None
        frames = None if seen is None else seen.frames
        return [] if frames is None else [{"type": "image", "image": frame} for frame in frames]

    def _sounds(self, record: ClipRecord) -> list[dict[str, Any]]:
        heard = record.media.hear(record.key) if self._sound else None
        if heard is None or heard.waveform is None:
            return []
        waveform: np.ndarray[Any, Any] = heard.waveform[: round(self._longest * SAMPLE_RATE_HZ)].numpy()
        return [{"type": "audio", "audio": waveform}]

    def _generate(self, contents: list[Mapping[str, Any]]) -> str:
        model, processor = self._load()
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": contents}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(model.device)
        with torch.inference_mode():
            made = model.generate(**inputs, max_new_tokens=self._max_tokens, do_sample=False)
        width = inputs["input_ids"].shape[1]
        (text,) = processor.batch_decode(made[:, width:], skip_special_tokens=True)
        return str(text)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from affectgpt.bench.answerers.transformers_loading import load_model

            device = self._device if self._device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
            shown = ["text", *(["video"] if self._num_frames else []), *(["audio"] if self._sound else [])]
            self._loaded = load_model(self._model, self._revision, device, self._dtype, shown)
        return self._loaded
