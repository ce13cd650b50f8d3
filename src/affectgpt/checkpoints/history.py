"""What a model was trained on, and how: a record that its checkpoints keep and its card tells."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affectgpt.encoders.feature_key import FeatureKey
from affectgpt.files import digest_of, digest_of_file

_MOST_TRAININGS = 64
_LONGEST_LICENCE = 200
_COUNTS = ("steps", "epochs")
_TABLES: Mapping[str, tuple[type, ...]] = {"trained": (int,), "validation": (int, float), "versions": (str,)}
_SAME_RUN = ("objective", "sets", "trained", "settings")
"""What must be equal for a resumed run to count as one training; else it counts from there on as a further one."""


@dataclass(frozen=True)
class Origin:
    """The stored model that weights were read from.

    Attributes:
        name: The last names of its path, or its id on the hub.
        files: The files that hold the weights.
        licence: Licence of the weights, if it was named.
        anew: Parts of which it has no weights that fit, so that they begin as initialised.
    """

    name: str
    files: tuple[Path, ...]
    licence: str | None = None
    anew: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, source: str | Path, files: Sequence[Path], licence: str | None = None, anew: Sequence[str] = ()
    ) -> Origin:
        """The origin of weights that were read from a path or a hub id."""
        path = Path(source)
        name = "/".join(path.resolve().parts[-2:]) if path.exists() else str(source)
        return cls(name, tuple(files), licence, tuple(anew))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, with the sha256 of the file; of several files, that of their names and digests."""
        try:
            digests = [[file.name, digest_of_file(file)] for file in sorted(self.files)]
        except OSError:  # gone, or replaced by a folder
            digests = []
        digest = digests[0][1] if len(digests) == 1 else digest_of(digests) if digests else None
        return {"name": self.name, "digest": digest, "licence": self.licence, "anew": list(self.anew)}


@dataclass
class History:
    """The trainings of a model; not frozen, a training adds to it.

    Attributes:
        past: Trainings that are over, the first one first.
        now: The one that was begun last in this process; ``None`` if there was none.
        resumed: The last training of a checkpoint with which a trainer goes on, until it begins.
        origin: Where the weights come from, if they were read.
        licence: Licence of the weights as they are, if it was named.
        features: Stream name to the key of the stored features that it is being trained on, where it is.
    """

    past: list[dict[str, Any]] = field(default_factory=list)
    now: dict[str, Any] | None = None
    resumed: dict[str, Any] | None = None
    origin: Origin | None = None
    licence: str | None = None
    features: dict[str, FeatureKey] = field(default_factory=dict)

    def trainings(self) -> list[dict[str, Any]]:
        """All trainings as plain JSON, the first one first; one that has not made a step is left out."""
        resumed = [self.resumed] if self.resumed is not None else []
        now = [self.now] if self.now is not None and self.now["steps"] else []
        return copy.deepcopy([*self.past, *resumed, *now])

    def take(self, trainings: Sequence[dict[str, Any]], licence: str | None, *, resumes: bool = False) -> None:
        """Begin with the history of a stored model whose weights were read.

        Args:
            trainings: Its trainings.
            licence: Of its weights.
            resumes: Whether the training that wrote it goes on.
        """
        past = list(trainings)
        self.resumed = past.pop() if resumes and past and "averaged" not in past[-1] else None
        self.past, self.now, self.origin, self.licence = past, None, None, licence

    def begin(self, facts: Mapping[str, Any], step: int, epoch: int) -> None:
        """A training begins, or goes on.

        Args:
            facts: What is known of it before its first step, see ``affectgpt.model.training_note``.
            step: Optimiser steps that its trainer has made.
            epoch: Epochs that its trainer has finished.
        """
        last, self.resumed = self.resumed, None
        if last is not None and all(last.get(name) == facts.get(name) for name in _SAME_RUN):
            self.now = {**last, **facts, "start": last.get("start"), "continues": last.get("continues", False)}
            return
        if last is not None:
            self.past.append(last)
        elif self.now is not None and self.now["steps"]:
            self.past.append(self.now)
        counted = {"from_step": step, "from_epoch": epoch, "steps": 0, "epochs": 0}
        self.now = {**facts, "continues": last is not None, **counted, "validation": {}, "validation_step": None}
        self.origin, self.licence = None, None  # the weights become others

    def count(self, step: int, epoch: int) -> None:
        """Note how far the trainer is.

        Args:
            step: Optimiser steps that it has made.
            epoch: Number of the epoch that it is in.
        """
        if self.now is not None:
            self.now["steps"] = step - self.now.get("from_step", 0)
            self.now["epochs"] = epoch + 1 - self.now.get("from_epoch", 0)

    def validated(self, figures: Mapping[str, float], step: int) -> None:
        """Note the figures of a validation, and after which step of the training it was made."""
        if self.now is not None:
            self.now["validation"] = dict(figures)
            self.now["validation_step"] = step - self.now.get("from_step", 0)


def history_of(model: Any) -> list[dict[str, Any]]:
    """The trainings of a model, the first one first.

    Args:
        model: An ``AffectGPT``.
    """
    found: list[dict[str, Any]] = model.record.trainings()
    return found


def read_history(stored: Any) -> list[dict[str, Any]]:
    """The history in a checkpoint or a saved folder; what cannot be one is left out."""
    found = [dict(one) for one in stored if _is_training(one) or _is_mean(one)] if isinstance(stored, list) else []
    return found[-_MOST_TRAININGS:]


def read_licence(stored: Any) -> str | None:
    """The licence in a checkpoint or a saved folder, if it is one short line."""
    return stored if isinstance(stored, str) and stored.isprintable() and len(stored) <= _LONGEST_LICENCE else None


def parts_anew(kept: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """The parts of a model whose tensors are not those of the stored model that training starts from.

    Args:
        kept: The tensors with which the model starts.
        stored: Those of the stored model.
    """
    return sorted({name.split(".")[0] for name, tensor in kept.items() if stored.get(name) is not tensor})


def mean_of_checkpoints(names: Sequence[str], histories: Sequence[Any]) -> dict[str, Any]:
    """The entry of a history that tells that weights were averaged.

    Args:
        names: Of the checkpoints.
        histories: What each of them notes, unread.
    """
    steps = [sum(one.get("steps", 0) for one in read_history(history)) for history in histories]
    return {"averaged": [{"name": name, "steps": number} for name, number in zip(names, steps, strict=True)]}


def trained_parts(model: Any) -> dict[str, int]:
    """Each part of a model that training changes, and how many weights of it."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            first, _, rest = name.partition(".")
            part = f"encoder {rest.partition('.')[0]}" if first == "encoders" else first
            counts[part] = counts.get(part, 0) + parameter.numel()
    return counts


def _is_training(one: Any) -> bool:
    """Whether a stored value has the form of a training."""
    if not isinstance(one, Mapping) or not isinstance(one.get("objective"), str):
        return False
    numbers = all(type(one.get(name)) is int for name in _COUNTS)
    optional = all(type(one.get(name, 0)) is int for name in ("from_step", "from_epoch"))
    typed = all(
        isinstance(one.get(name), Mapping) and all(isinstance(value, kinds) for value in one[name].values())
        for name, kinds in _TABLES.items()
    )
    sets = all(
        isinstance(one.get(name, []), list) and all(isinstance(found, Mapping) for found in one.get(name, []))
        for name in ("sets", "validated_on")
    )
    told = isinstance(one.get("settings", {}), Mapping) and isinstance(one.get("start"), Mapping | None)
    return numbers and optional and typed and sets and told


def _is_mean(one: Any) -> bool:
    """Whether a stored value has the form of ``mean_of_checkpoints``."""
    found = one.get("averaged") if isinstance(one, Mapping) else None
    return isinstance(found, list) and all(
        isinstance(each, Mapping) and isinstance(each.get("name"), str) and type(each.get("steps")) is int
        for each in found
    )
