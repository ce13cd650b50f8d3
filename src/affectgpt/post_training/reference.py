"""The policy that a trained one is kept close to: the weights at the beginning, or the model without its adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

REFERENCES = ("start", "adapters-off")


class Reference:
    """The reference of a run.

    Args:
        kind: ``start``: a copy of the trained weights as they were when it was first used or restored; ranks that share
            the weights keep their own shards of it. ``adapters-off``: the language model without its adapters; the
            fusion is as it is.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._weights: dict[str, Tensor] = {}

    @contextmanager
    def in_place(self, model: Any) -> Iterator[None]:
        """Be the reference for a while; call it without gradients.

        Raises:
            ConfigError: If the model has no adapters to switch off.
        """
        if self.kind == "adapters-off":
            with model.llm.without_adapters():
                yield
            return
        self.remember(model)
        trained = [(p, self._weights[name].to(p.device)) for name, p in _trained(model)]
        current = [p.detach().clone() for p, _ in trained]
        try:
            for parameter, weight in trained:
                parameter.data.copy_(weight)
            yield
        finally:
            for (parameter, _), weight in zip(trained, current, strict=True):
                parameter.data.copy_(weight)

    def remember(self, model: Any) -> None:
        """Take the weights as they are for the reference, unless there is one already."""
        if self.kind == "start" and not self._weights:
            self._weights = {name: p.detach().clone() for name, p in _trained(model)}

    def state(self) -> dict[str, Tensor]:
        """Name to weight, for a checkpoint."""
        return self._weights

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Go on with a stored reference."""
        self._weights = dict(weights)


def _trained(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]
