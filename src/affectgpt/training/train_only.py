"""Restricts training to some parts of a model, such as the fusion alone in front of a frozen, adapted LLM."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from affectgpt.errors import ConfigError, did_you_mean
from affectgpt.part import Part


def freeze_all_but(model: nn.Module, prefixes: Sequence[str] | None) -> None:
    """Freeze every weight whose name begins with none of these prefixes.

    Weights that are frozen anyway stay so. A part of which nothing is left to train is frozen as a whole, which also
    switches its dropout off: adapters then do what they do in an answer.

    Args:
        model: The model.
        prefixes: Beginnings of names in its state dict, such as ``poolings``, ``prefusion`` and ``projectors.multi``;
            ``None`` freezes nothing.

    Raises:
        ConfigError: If no weight has such a name, or all that have are frozen.
    """
    if prefixes is None:
        return
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in trained):
            starts = sorted({".".join(name.split(".")[:depth]) for name in trained for depth in (1, 2)})
            raise ConfigError(
                f"optim.train_only: no trainable weight begins with {prefix!r}.{did_you_mean(prefix, starts)} "
                f"Trainable are {', '.join(sorted({name.split('.')[0] for name in trained}))}"
            )
    for name, weight in model.named_parameters():
        weight.requires_grad_(weight.requires_grad and name.startswith(tuple(prefixes)))
    for part in model.modules():
        if part is not model and isinstance(part, Part) and not any(p.requires_grad for p in part.parameters()):
            part.freeze()
