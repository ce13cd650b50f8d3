"""Notes what a training is while it runs, for the model's history: data, settings, steps, and the last validation."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Any

import lightning
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging

import affectgpt
from affectgpt.checkpoints.history import trained_parts
from affectgpt.training.validation_overlap import shared_clips
from affectgpt.training.weight_average import WeightAverage
from affectgpt.web import strip_secrets

LIBRARIES = ("torch", "lightning", "transformers", "peft")
OF_THE_DATA = ("task", "batch_size", "batch_tokens", "seed")
"""Arguments of a datamodule that decide what is learnt from its sets."""
LEFT_OUT = ("slot_dropout", "modality_dropout")
"""What a model that learns from given answers may leave out of its samples."""


class TrainingNote(lightning.Callback):
    """Keeps ``model.record`` up to date; Lightning calls it before the callbacks that write checkpoints."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note the data and the settings."""
        model: Any = pl_module
        model.record.begin(facts_of(trainer, model), trainer.global_step, trainer.current_epoch)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        """Note how far it is."""
        model: Any = pl_module
        model.record.count(trainer.global_step, trainer.current_epoch)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note the figures of a validation of the training."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        model: Any = pl_module
        found = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        figures = {name: round(value, 6) for name, value in sorted(found.items()) if math.isfinite(value)}
        model.record.validated(figures, trainer.global_step)


def facts_of(trainer: lightning.Trainer, model: Any) -> dict[str, Any]:
    """What is known of a training before its first step, as plain JSON.

    Args:
        trainer: The trainer.
        model: An ``AffectGPT``.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    told: Callable[[str], list[dict[str, Any]]] = getattr(data, "sets_told", lambda stage: [])
    objective = model.steps.objective
    origin, first = model.record.origin, trainer.is_global_zero  # one rank is enough to read a large file
    facts = {
        "objective": "answers" if objective is None else type(objective).__name__,
        "learns": f"cross-entropy of the given answers, a mean over {model.hparams['loss']}"
        if objective is None
        else objective.learns,
        "start": None if origin is None or not first else origin.to_json(),
        "sets": told("train"),
        "validated_on": told("val"),
        "validation_limit": _limit(trainer, model),
        "wheel": model.steps.scores.wheel,
        "trained": trained_parts(model),
        "settings": _settings(trainer, model, data),
        "versions": {"affectgpt": affectgpt.__version__, **_versions()},
    }
    plain: dict[str, Any] = strip_secrets(_plain(facts))
    return {**plain, "shared_clips": _num_shared(model.record.resumed, plain, data) if first else None}


def _num_shared(last: Mapping[str, Any] | None, facts: Mapping[str, Any], data: Any) -> int:
    """Validation clips that are training clips too; a training that goes on with the same sets has counted them."""
    is_same = last is not None and all(last.get(name) == facts[name] for name in ("sets", "validated_on"))
    known = last.get("shared_clips") if last is not None and is_same else None
    return known if isinstance(known, int) else len(shared_clips(data)[0])


def note_pretraining(trainer: lightning.Trainer, model: Any, learns: str, settings: Mapping[str, Any]) -> None:
    """Add to a model's history that its encoders were trained inside another module.

    Args:
        trainer: The trainer of that, which is done.
        model: An ``AffectGPT`` whose encoders are not frozen yet.
        learns: What they learnt from, in words.
        settings: What decided how, as plain JSON; what the trainer and the datamodule add is added here.
    """
    facts = facts_of(trainer, model)
    of_the_model = ("objective", "optim", *LEFT_OUT)
    kept = {name: value for name, value in facts["settings"].items() if name not in of_the_model}
    trained = {name: count for name, count in facts["trained"].items() if name.startswith("encoder ")}
    about = {"objective": "pretraining", "learns": learns, "trained": trained, "settings": {**settings, **kept}}
    model.record.begin({**facts, **about, "validated_on": [], "shared_clips": 0}, 0, 0)
    model.record.count(trainer.global_step, trainer.fit_loop.epoch_progress.current.ready - 1)


def _settings(trainer: lightning.Trainer, model: Any, data: Any) -> dict[str, Any]:
    """What decides how it learns, besides the model and the data; what is not used is left out."""
    given = getattr(data, "hparams", {})
    objective = model.steps.objective
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    averagers = (WeightAverage, WeightAveraging, StochasticWeightAveraging)
    found = {
        "objective": {} if objective is None else objective.settings(),
        "optim": model.optim.to_json(),
        **{name: given.get(name) for name in OF_THE_DATA},
        "ranks": trainer.world_size,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "gradient_clip_val": trainer.gradient_clip_val,
        "precision": trainer.precision,
        **{name: model.hparams.get(name) for name in (LEFT_OUT if objective is None else objective.uses)},
        "averaging": [type(one).__name__ for one in callbacks if isinstance(one, averagers)],
        "seed_everything": os.environ.get("PL_GLOBAL_SEED"),
    }
    return {name: value for name, value in found.items() if value not in (None, {}, [], 0.0)}


def _limit(trainer: lightning.Trainer, model: Any) -> str | None:
    """Which share of the validation set the figures are of, in words; ``None``: all of it."""
    said = []
    batches = trainer.limit_val_batches  # a float is a share of them, and 1 a single one
    if isinstance(batches, int):
        said.append("the first batch" if batches == 1 else f"the first {batches} batches")
    elif batches != 1.0:
        said.append(f"{batches:.0%} of the batches")
    if model.steps.answered_val_batches is not None:
        said.append(f"scores of the first {model.steps.answered_val_batches} batches of each rank")
    return ", ".join(said) or None


def _plain(value: Any) -> Any:
    """Plain JSON without what tells of the machine: of absolute paths only the last name stays."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, PurePath) or (isinstance(value, str) and PurePath(value).is_absolute()):
        return PurePath(value).name
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
