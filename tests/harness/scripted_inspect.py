"""A model for Inspect that answers by the bytes of the clip that it is sent; runs where the harness is installed."""

from __future__ import annotations

import base64
import io
import json
import os
import wave
from collections import Counter
from pathlib import Path
from typing import Any

from inspect_ai.model import (
    ContentAudio,
    ContentImage,
    ContentText,
    ContentVideo,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from PIL import Image


@modelapi(name="scripted")
def scripted() -> type[ModelAPI]:
    return Scripted


class Scripted(ModelAPI):
    """Gives the answers of a JSON file, those of one clip in turn, and notes what it was asked."""

    def __init__(self, model_name: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(model_name, *args, **kwargs)
        self.answers = json.loads(Path(os.environ["SCRIPTED_ANSWERS"]).read_text("utf-8"))
        self.turns: Counter[str] = Counter()

    async def generate(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:  # noqa: A002
        *shown, text = input[0].content
        assert isinstance(text, ContentText)
        key = _shade_of(shown) if isinstance(shown[0], ContentImage) else _text_of(shown)
        sounds = [_bytes_of(one.audio) for one in shown if isinstance(one, ContentAudio)]
        answer = self.answers[key][self.turns[key]]
        self.turns[key] += 1
        with Path(os.environ["SCRIPTED_ASKED"]).open("a", encoding="utf-8") as file:
            facts = {"clip": key, "text": text.text, "temperature": config.temperature}
            rates = [_rate_of(sound) for sound in sounds]
            pictures = sum(isinstance(one, ContentImage) for one in shown)
            file.write(json.dumps({**facts, "pictures": pictures, "rates": rates}) + "\n")
        output = ModelOutput.from_content("scripted", answer)
        output.usage = ModelUsage()
        return output


def _bytes_of(address: str) -> bytes:
    return base64.b64decode(address.partition(",")[2])


def _text_of(shown: list[Any]) -> str:
    (video,) = shown
    assert isinstance(video, ContentVideo)
    return _bytes_of(video.video).decode()


def _shade_of(shown: list[Any]) -> str:
    """The shade of the clip, to the next ten: all of its pictures have it."""
    pictures = [Image.open(io.BytesIO(_bytes_of(one.image))) for one in shown if isinstance(one, ContentImage)]
    shades = {round(sum(picture.convert("L").resize((1, 1)).tobytes()) / 10) * 10 for picture in pictures}
    (shade,) = shades
    return str(shade)


def _rate_of(sound: bytes) -> int:
    with wave.open(io.BytesIO(sound)) as file:
        assert file.getnframes() > 1000
        return file.getframerate()
