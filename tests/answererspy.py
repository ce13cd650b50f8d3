"""Looks at what a model behind the answerer ``transformers`` is given, and collects its answers."""

from __future__ import annotations

from typing import Any

import torch

from affectgpt.bench.answerers import Answer, Asked
from affectgpt.bench.answerers.transformers_model import TransformersAnswerer


def answers(answerer: TransformersAnswerer, asked: list[Asked], run: int = 0) -> dict[str, Answer]:
    return {one.key: one for one in answerer.answer(asked, run)}


def spy(answerer: TransformersAnswerer) -> list[dict[str, torch.Tensor]]:
    """What the model is given, batch by batch."""
    model, _ = answerer._load()
    seen, generate = [], model.generate

    def watching(**inputs: Any) -> Any:
        seen.append({name: value.clone() for name, value in inputs.items() if torch.is_tensor(value)})
        return generate(**inputs)

    model.generate = watching
    return seen
