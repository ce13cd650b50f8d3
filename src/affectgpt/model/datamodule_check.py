"""Compares what feeds a model with what the model expects, before a trainer starts."""

from __future__ import annotations

from typing import Any

import lightning

from affectgpt.errors import ConfigError
from affectgpt.features.feeding import check_datamodule
from affectgpt.media.profile import MediaProfile


class DatamoduleCheck(lightning.Callback):
    """Refuses a datamodule that decodes or asks otherwise than the model, or that gives features of other encoders.

    The model brings it along (``AffectGPT.configure_callbacks``). It looks at ``profile``, ``style`` and ``indexes`` of
    the datamodule; what the datamodule does not have is not compared.
    """

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Compare the media profile and the wording.

        Raises:
            ConfigError: If either is another.
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
        if wording != model.style:
            raise ConfigError(
                f"the datamodule asks in the style {wording.name!r}, the model in {model.style.name!r}; "
                "give both the same style"
            )

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare stored features with the encoders, whose weights a checkpoint may just have brought."""
        self._check_features(trainer, pl_module, "fit")

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare stored features with the encoders, where the trainer does nothing but validate."""
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
            model.features_in_use = keys  # a checkpoint says which features the model was trained on
