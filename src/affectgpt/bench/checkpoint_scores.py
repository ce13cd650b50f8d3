"""Reads the validation scores that Lightning's ``ModelCheckpoint`` left in checkpoints."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from affectgpt.errors import ConfigError

_CALLBACK = "ModelCheckpoint"


def scores_in_checkpoints(paths: Sequence[Path]) -> dict[str, float]:
    """The monitored score at the time of each checkpoint, by its name; higher is better.

    A monitored figure that should be low, such as a loss, is returned with its sign changed.

    Args:
        paths: ``.ckpt`` files of one training run.

    Raises:
        CheckpointError: If a file cannot be read.
        ConfigError: If a checkpoint has no such score, or they monitored different figures.
    """
    from affectgpt.bench.answerers.checkpoint import name_of
    from affectgpt.checkpoints.io import load_checkpoint

    scores: dict[str, float] = {}
    monitored: dict[tuple[str, str], Path] = {}
    for path in paths:
        found = None if path.is_dir() else _score(load_checkpoint(path, allow_import=True).get("callbacks") or {})
        if found is None:
            raise ConfigError(
                f"{path} holds no validation score: train with a ModelCheckpoint with a monitor, such as val/f1, or "
                "give the scores as a JSON file (--validation)"
            )
        monitor, mode, score = found
        monitored.setdefault((monitor, mode), path)
        scores[name_of(path)] = score if mode == "max" else -score
    if len(monitored) > 1:
        told = " and ".join(f"{monitor} ({mode}) in {path}" for (monitor, mode), path in monitored.items())
        raise ConfigError(f"the checkpoints monitored different figures: {told}; give the scores as a JSON file")
    return scores


def _score(callbacks: Mapping[str, Any]) -> tuple[str, str, float] | None:
    """The monitor, ``min`` or ``max``, and the score of the first callback that has a score."""
    for key, state in callbacks.items():
        if not key.startswith(_CALLBACK) or not isinstance(state, Mapping):
            continue
        try:
            settings = ast.literal_eval(key[len(_CALLBACK) :])
        except (ValueError, SyntaxError):  # a time interval is not a literal; without its mode a score is useless
            continue
        score = state.get("current_score")
        if settings.get("monitor") and "mode" in settings and score is not None and math.isfinite(float(score)):
            return str(settings["monitor"]), str(settings["mode"]), float(score)
    return None
