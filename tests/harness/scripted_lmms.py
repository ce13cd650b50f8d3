"""A model for lmms-eval that answers by the bytes of the clip that it is shown; runs where the harness is installed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest

MANIFEST = ModelManifest(model_id="scripted", simple_class_path="scripted_lmms.Scripted")


class Scripted(lmms):
    """Gives the answers of a JSON file, and notes what it was asked."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.answers = json.loads(Path(os.environ["SCRIPTED_ANSWERS"]).read_text("utf-8"))

    def generate_until(self, requests: list[Any]) -> list[str]:
        texts = []
        with Path(os.environ["SCRIPTED_ASKED"]).open("a", encoding="utf-8") as file:
            for context, settings, doc_to_visual, doc_id, task, split in (request.args for request in requests):
                (shown,) = doc_to_visual(self.task_dict[task][split][doc_id])
                key = Path(shown).read_text("utf-8")
                texts.append(self.answers[key][0])
                file.write(json.dumps({"clip": key, "text": context, "settings": settings}) + "\n")
        return texts

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        raise NotImplementedError

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        raise NotImplementedError
