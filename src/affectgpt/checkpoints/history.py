"""What a model was trained on, and how: a record that its checkpoints keep and its card tells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import affectgpt

LIBRARIES = ("torch", "lightning", "transformers", "peft")
_MOST_TRAININGS = 64


def history_of(model: Any) -> list[dict[str, Any]]:
    """The trainings of a model, the first one first; the one that its trainer is at, if any, is the last.

    Args:
        model: An ``AffectGPT``.
    """
    now = _training_now(model)
    return [*model.history, *([now] if now is not None else [])]


def read_history(stored: Any, *, resumes: bool = False) -> list[dict[str, Any]]:
    """The history in a checkpoint or a saved folder; what cannot be one is left out.

    Args:
        stored: What the file holds, unread.
        resumes: Whether the training that wrote the file goes on; it is then told by its trainer, with all its steps.
    """
    found = [dict(one) for one in stored if _is_training(one)] if isinstance(stored, list) else []
    return found[-_MOST_TRAININGS:][: -1 if resumes else None]


def trainer_of(model: Any) -> Any:
    """The trainer that a model is attached to, or ``None``."""
    try:
        return model.trainer
    except RuntimeError:  # Lightning's way to say that there is none
        return None


def trained_parts(model: Any) -> dict[str, int]:
    """Each part of a model that training changes, and how many weights of it."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            first, _, rest = name.partition(".")
            part = f"encoder {rest.partition('.')[0]}" if first == "encoders" else first
            counts[part] = counts.get(part, 0) + parameter.numel()
    return counts


def _training_now(model: Any) -> dict[str, Any] | None:
    trainer = trainer_of(model)
    if trainer is None or not trainer.global_step:
        return None
    told = getattr(trainer.datamodule, "training_sets", list)
    objective = model.steps.objective
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
    return {
        "objective": "answers" if objective is None else type(objective).__name__,
        "sets": told(),
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch + (0 if trainer.current_epoch == trainer.max_epochs else 1),
        "trained": trained_parts(model),
        "validation": {name: round(value, 6) for name, value in sorted(metrics.items()) if math.isfinite(value)},
        "versions": {"affectgpt": affectgpt.__version__, **_versions()},
    }


def _is_training(one: Any) -> bool:
    """Whether a stored value has the form of ``_training_now``."""
    if not isinstance(one, Mapping) or not isinstance(one.get("objective"), str):
        return False
    numbers = all(isinstance(one.get(name), int) for name in ("steps", "epochs"))
    tables = (("trained", int), ("validation", (int, float)), ("versions", str))
    typed = all(
        isinstance(one.get(name), Mapping) and all(isinstance(value, kind) for value in one[name].values())
        for name, kind in tables
    )
    sets = one.get("sets")
    return numbers and typed and isinstance(sets, list) and all(isinstance(found, Mapping) for found in sets)


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
