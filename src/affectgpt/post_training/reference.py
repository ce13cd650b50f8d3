"""The policy that a trained one is kept close to: the weights at the beginning, or the model without its adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from affectgpt.errors import ConfigError

REFERENCES = ("start", "adapters-off")


class Reference:
    """The reference of a run.

    Args:
        kind: ``start``: a copy of the trained weights as they were when it was first used or restored; ranks that share
            the weights keep their own shards of it. ``adapters-off``: the language model without its adapters; the
            fusion is as it is.

    Raises:
        ConfigError: If there is no such reference.
    """

    def __init__(self, kind: str) -> None:
        if kind not in REFERENCES:
            raise ConfigError(f"reference is {kind!r}; choose one of {', '.join(REFERENCES)}")
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
        _let_go(model)
        trained = _trained(model)
        current = {name: p.detach().clone() for name, p in trained}
        try:
            for name, parameter in trained:
                self._weights[name] = _like(parameter, self._weights[name])
                parameter.data.copy_(self._weights[name])
            yield
        finally:
            _let_go(model)
            for name, parameter in trained:
                parameter.data.copy_(current[name])

    def remember(self, model: Any) -> None:
        """Take the weights as they are for the reference, unless there is one already."""
        if self.kind == "start" and not self._weights:
            _let_go(model)
            self._weights = {name: p.detach().clone() for name, p in _trained(model)}

    def state(self) -> dict[str, Tensor]:
        """Name to whole weight, for a checkpoint; every rank must call it."""
        return {name: w.full_tensor().cpu() if isinstance(w, DTensor) else w for name, w in self._weights.items()}

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Go on with a stored reference."""
        self._weights = dict(weights)


def _trained(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


class ReferenceState(lightning.Callback):
    """Notes the reference before the first step, and keeps it in checkpoints.

    Args:
        reference: The reference of the run; ``None`` if it has none.
    """

    def __init__(self, reference: Reference | None) -> None:
        self.reference = reference

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take the weights for the reference, unless a checkpoint brought one."""
        if self.reference is not None:
            self.reference.remember(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The reference's weights."""
        return {} if self.reference is None else self.reference.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if self.reference is not None:
            self.reference.restore(state_dict)


def _like(parameter: torch.nn.Parameter, weight: Tensor) -> Tensor:
    """A weight where its parameter is: on its device, and as a share if ranks share it."""
    if isinstance(parameter, DTensor) and not isinstance(weight, DTensor):
        return distribute_tensor(weight.to(parameter.device), parameter.device_mesh, parameter.placements)
    return weight.to(parameter.device)


def _let_go(model: Any) -> None:
    """Have the ranks hold no more than their shares: after a pass, FSDP2 leaves the outermost weights gathered."""
    if isinstance(model, FSDPModule):
        model.reshard()
