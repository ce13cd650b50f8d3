"""The optimiser and its learning-rate schedule, from plain JSON."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import nn

from affectgpt.errors import ConfigError

log = logging.getLogger(__name__)

SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class OptimSpec:
    """AdamW with a linear warm-up; the defaults are the published ones (paper, appendix B).

    Attributes:
        lr: Learning rate after the warm-up.
        lr_of: Learning rates of some parameters, by the prefix of their names: ``{"encoders": 1e-3}``.
        weight_decay: Weight decay of matrices; vectors, biases and norms are not decayed.
        betas: Averaging factors of AdamW.
        warmup_steps: Steps of the linear warm-up, counted in optimiser steps.
        warmup_lr_factor: Learning rate at the start of the warm-up, as a share of ``lr``.
        schedule: ``constant``, or ``cosine`` down to ``end_lr_factor``.
        total_steps: Optimiser steps of the whole run; needed by ``cosine``.
        end_lr_factor: Learning rate at the end of ``cosine``, as a share of ``lr``.
        fused: Whether the optimiser is one kernel; by default if all weights are on a GPU.
        train_only: Prefixes of the names of the only weights to train, ``["poolings", "prefusion", "projectors"]``;
            everything else is frozen, adapters too. By default all that is not frozen.
    """

    lr: float = 1e-5
    lr_of: dict[str, float] = field(default_factory=dict)
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    warmup_steps: int = 5000
    warmup_lr_factor: float = 0.1
    schedule: str = "constant"
    total_steps: int | None = None
    end_lr_factor: float = 0.1
    fused: bool | None = None
    train_only: list[str] | None = None

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ConfigError(f"optim: unknown schedule {self.schedule!r}; known: {', '.join(SCHEDULES)}")
        if self.schedule == "cosine" and not self.total_steps:
            raise ConfigError("optim: the cosine schedule needs total_steps, the optimiser steps of the whole run")

    @classmethod
    def of(cls, value: OptimSpec | Mapping[str, Any] | None) -> OptimSpec:
        """Read the spec from plain JSON.

        Raises:
            ConfigError: If a key is unknown.
        """
        if isinstance(value, OptimSpec):
            return value
        known = [f.name for f in fields(cls)]
        values = dict(value or {})
        unknown = [name for name in values if name not in known]
        if unknown:
            raise ConfigError(f"optim: unknown key {unknown[0]!r}; it takes {', '.join(known)}")
        if "betas" in values:
            values["betas"] = tuple(values["betas"])
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the spec."""
        return {**asdict(self), "betas": list(self.betas)}

    def factor(self, step: int) -> float:
        """Learning rate at an optimiser step, as a share of ``lr``.

        Examples:
            >>> spec = OptimSpec(warmup_steps=10, warmup_lr_factor=0.1)
            >>> round(spec.factor(0), 3), round(spec.factor(5), 3), spec.factor(10)
            (0.1, 0.55, 1.0)
        """
        if step < self.warmup_steps:
            return self.warmup_lr_factor + (1 - self.warmup_lr_factor) * step / self.warmup_steps
        if self.schedule == "constant" or self.total_steps is None:
            return 1.0
        done = min(1.0, (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))
        return self.end_lr_factor + (1 - self.end_lr_factor) * 0.5 * (1 + math.cos(math.pi * done))


def build_optimizer(
    named_parameters: Iterable[tuple[str, nn.Parameter]], spec: OptimSpec
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Build AdamW over the trainable parameters, and its schedule.

    Args:
        named_parameters: Names as in the model's state dict.
        spec: The settings.

    Raises:
        ConfigError: If nothing is trainable, or a prefix in ``lr_of`` matches no parameter; if it matches only frozen
            ones, a warning is logged.
    """
    named = list(named_parameters)
    trainable = [(name, p) for name, p in named if p.requires_grad]
    if not trainable:
        raise ConfigError("nothing is trainable: give the LLM adapters (lora), or set trainable: true for a part")
    unused = [start for start in spec.lr_of if not any(name.startswith(start) for name, _ in trainable)]
    for start in [start for start in unused if any(name.startswith(start) for name, _ in named)]:
        unused.remove(start)
        log.warning("optim.lr_of: %r is frozen, so its learning rate has no effect; set trainable: true for it", start)
    if unused:
        starts = sorted({name.split(".")[0] for name, _ in trainable})
        raise ConfigError(
            f"optim.lr_of: no trainable parameter starts with {unused[0]!r}; trainable are {', '.join(starts)}"
        )
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trainable:
        fitting = [start for start in spec.lr_of if name.startswith(start)]
        lr = spec.lr_of[max(fitting, key=len)] if fitting else spec.lr
        decay = 0.0 if parameter.ndim < 2 or name.endswith("bias") else spec.weight_decay
        groups.setdefault((lr, decay), []).append(parameter)
    on_gpu = all(parameter.is_cuda for _, parameter in trainable)
    optimizer = torch.optim.AdamW(
        [{"params": ps, "lr": lr, "weight_decay": decay} for (lr, decay), ps in groups.items()],
        betas=spec.betas,
        fused=True if spec.fused or (spec.fused is None and on_gpu) else None,
    )
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, spec.factor)
