"""Compares a datamodule with the model that it feeds, before a trainer starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightning

from affectgpt.errors import ConfigError
from affectgpt.features.feeding import check_datamodule
from affectgpt.media.profile import MediaProfile


class DatamoduleCheck(lightning.Callback):
    """Refuses a datamodule whose media profile, prompt style or stored features do not match the model.

    ``AffectGPT.configure_callbacks`` adds it to the trainer. It compares the datamodule's ``profile``, ``style`` and
    ``indexes``, as far as the datamodule has them.
    """

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Compare the media profile and the wording.

        Raises:
            ConfigError: If either differs from the model's.
        """
        model: Any = pl_module
        datamodule = getattr(trainer, "datamodule", None)
        theirs = getattr(datamodule, "profile", None)
        if isinstance(theirs, MediaProfile) and theirs != model.media:
            raise ConfigError(
                f"the datamodule decodes clips with {theirs.to_json()}, the model expects {model.media.to_json()}; "
                "give both the same media profile"
            )
        wording = getattr(datamodule, "style", model.style)
        # the model's style may have words for the slots of plug-ins, which the datamodule does not need
        if replace(wording, slots={}) != replace(model.style, slots={}):
            raise ConfigError(
                f"the datamodule asks in the style {wording.name!r}, the model expects {model.style.name!r}; give both "
                "the same style"
            )

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare stored features with the encoders, whose weights may just have come from a checkpoint."""
        self._check_features(trainer, pl_module, "fit")

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare stored features with the encoders if the trainer only validates."""
        if trainer.state.fn == "validate":
            self._check_features(trainer, pl_module, "validate")

    def on_test_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare stored features with the encoders."""
        self._check_features(trainer, pl_module, "test")

    def on_predict_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare stored features with the encoders."""
        self._check_features(trainer, pl_module, "predict")

    def _check_features(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        model: Any = pl_module
        keys = check_datamodule(model.network, getattr(trainer, "datamodule", None), stage)
        if stage == "fit":
            model.record.features = keys  # checkpoints record which features the model was trained on
