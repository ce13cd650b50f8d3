"""A model for Inspect that answers by the bytes of the clip that it is sent; runs where the harness is installed."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from inspect_ai.model import ContentText, ContentVideo, ModelAPI, ModelOutput, ModelUsage, modelapi


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
        video, text = input[0].content
        assert isinstance(video, ContentVideo)
        assert isinstance(text, ContentText)
        key = base64.b64decode(video.video.partition(",")[2]).decode()
        answer = self.answers[key][self.turns[key]]
        self.turns[key] += 1
        with Path(os.environ["SCRIPTED_ASKED"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"clip": key, "text": text.text, "temperature": config.temperature}) + "\n")
        output = ModelOutput.from_content("scripted", answer)
        output.usage = ModelUsage()
        return output
