"""Puts together what a run logged before and after it was stopped and resumed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Figures = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Leg:
    """What one start of a run logged.

    Attributes:
        folder: Where its figures lie.
        figures: Name of a figure to its values by step, in order.
        settings: Its configuration, empty where none was written.
        starts: From how many starts this was put together.
    """

    folder: Path
    figures: Figures
    settings: Mapping[str, Any]
    starts: int = 1


def joined(legs: Sequence[Leg]) -> list[Leg]:
    """The runs: a start that resumed from a checkpoint of an earlier one goes on with its figures.

    Args:
        legs: In the order of their starts.
    """
    runs: list[Leg] = []
    wrote: list[set[str]] = []  # folders of checkpoints of each run
    for leg in legs:
        resumed = leg.settings.get("ckpt_path")
        source = os.path.normpath(Path(str(resumed)).parent) if resumed else None
        number = next((number for number in reversed(range(len(runs))) if source in wrote[number]), None)
        if number is None:
            runs.append(leg)
            wrote.append(set(_checkpoint_folders(leg)))
        else:
            before = runs[number]
            figures = continued(before.figures, leg.figures)
            runs[number] = Leg(before.folder, figures, leg.settings, before.starts + leg.starts)
            wrote[number] |= set(_checkpoint_folders(leg))
    return runs


def _checkpoint_folders(leg: Leg) -> Iterator[str]:
    """Where a start kept checkpoints: what its callbacks say, or beside its log."""
    yield os.path.normpath(leg.folder / "checkpoints")
    trainer = leg.settings.get("trainer")
    callbacks = trainer.get("callbacks") if isinstance(trainer, Mapping) else None
    for callback in callbacks if isinstance(callbacks, list) else []:
        arguments = callback.get("init_args") if isinstance(callback, Mapping) else None
        folder = arguments.get("dirpath") if isinstance(arguments, Mapping) else None
        if isinstance(folder, str):
            yield os.path.normpath(folder)


def continued(before: Figures, after: Figures) -> dict[str, dict[int, float]]:
    """Figures of a run that was resumed: steps that were made again count as made the last time."""
    first = min((step for values in after.values() for step in values), default=None)
    found: dict[str, dict[int, float]] = {}
    for name, values in before.items():
        found[name] = {step: value for step, value in values.items() if first is None or step < first}
    for name, values in after.items():
        found.setdefault(name, {}).update(values)
    return found
