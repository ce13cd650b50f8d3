"""Compiles the layers of encoders and language model, and the fusion, when a training begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning
from torch import nn

from affectgpt.errors import ConfigError, did_you_mean

PARTS = ("encoders", "fusion", "llm")


class CompileParts(lightning.Callback):
    """Has ``torch.compile`` translate parts of the model, layer by layer, so that equal layers are translated once.

    Names of tensors, checkpoints and what is computed stay as they are, but for rounding. Encoders see one shape a run;
    the language model sees another number of tokens in each step, for which ``dynamic`` is meant.

    Args:
        parts: Which of ``PARTS``.
        dynamic: Whether code is made for shapes that change; ``None`` finds out.
        mode: See ``torch.compile``; ``"reduce-overhead"`` uses CUDA graphs and needs shapes that stay.
        backend: See ``torch.compile``.

    Raises:
        ConfigError: If there is no such part.
    """

    def __init__(
        self,
        parts: Sequence[str] = PARTS,
        dynamic: bool | None = None,
        mode: str | None = None,
        backend: str = "inductor",
    ) -> None:
        for part in parts:
            if part not in PARTS:
                raise ConfigError(
                    f"CompileParts: there is no part {part!r}.{did_you_mean(part, PARTS)} Known: {', '.join(PARTS)}"
                )
        self.parts = tuple(parts)
        self.options: dict[str, Any] = {"dynamic": dynamic, "mode": mode, "backend": backend}

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Mark the modules; each is translated at its first use."""
        if stage != "fit":
            return
        for module in units(pl_module, self.parts):
            module.compile(**self.options)


def units(model: Any, parts: Sequence[str]) -> list[nn.Module]:
    """What is compiled one by one: layers where a part names them, else the part as a whole."""
    network = model.network
    wholes: dict[str, list[Any]] = {
        "encoders": list(network.encoders.values()),
        "fusion": [*network.poolings.values(), network.prefusion, *network.projectors.values()],
        "llm": [network.llm],
    }
    chosen = [part for name in PARTS if name in parts for part in wholes[name]]
    return [unit for part in chosen for unit in (part.shard_units() or [part])]
