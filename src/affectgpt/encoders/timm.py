"""Any image network of timm as an encoder: one vector per frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from affectgpt.encoders.base import Encoder, VisualSpec
from affectgpt.errors import CheckpointError, ConfigError, did_you_mean, reason_of
from affectgpt.types import Features, Modality


class TimmEncoder(Encoder):
    """A timm network without its classifier; size, mean and standard deviation come from timm's own table.

    Args:
        model: Name in timm, with or without the weights after a dot (``vit_base_patch16_clip_224.openai``).
        pretrained: Whether timm fetches the weights; by default it does if the name has weights after a dot. A bare
            architecture has random weights.
        checkpoint_path: Local weight file (safetensors or a state dict, read without running any code), to use instead
            of ``pretrained``.

    Raises:
        CheckpointError: If the weights cannot be read or do not fit.
        ConfigError: If timm has no such network, or both sources of weights are given.
    """

    modality = Modality.VISUAL
    location_args = ("pretrained", "checkpoint_path")

    def __init__(self, model: str, pretrained: bool | None = None, checkpoint_path: str | None = None) -> None:
        super().__init__()
        import timm
        from timm.data import resolve_model_data_config

        if pretrained and checkpoint_path is not None:
            raise ConfigError(f"TimmEncoder {model!r}: give pretrained=True or checkpoint_path, not both")
        if pretrained is None:
            pretrained = "." in model and checkpoint_path is None
        if not timm.is_model(model):
            hint = did_you_mean(model, timm.list_models() + timm.list_pretrained(), most=3)
            raise ConfigError(f"timm has no network called {model!r}.{hint} timm.list_models() lists them")
        try:
            self.network: Any = timm.create_model(model, pretrained=pretrained, num_classes=0)
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"TimmEncoder: cannot build {model!r} ({type(error).__name__}: {reason_of(error)}); "
                "without a connection to the hub, give a local weight file as checkpoint_path"
            ) from error
        if checkpoint_path is not None:
            self._load(model, checkpoint_path)
        self._from_file = pretrained or checkpoint_path is not None
        self.out_dim = int(getattr(self.network, "head_hidden_size", None) or self.network.num_features)
        data = resolve_model_data_config(self.network)
        _, height, width = data["input_size"]
        self.input_spec = VisualSpec(height, width, tuple(data["mean"]), tuple(data["std"]))

    def forward(self, media: Tensor, keep: Tensor) -> Features:
        """Encode uint8 frames ``[B, T, 3, H, W]``; see ``Encoder.forward``."""
        vectors: Tensor = self.network(self.preprocess(media))
        return Features(vectors.unflatten(0, keep.shape), keep)

    def restored_prefixes(self) -> list[str]:
        """The whole network, if its weights come from a file."""
        return ["network."] if self._from_file else []

    def _load(self, model: str, file: str) -> None:
        from timm.models import load_state_dict

        if not Path(file).is_file():
            raise CheckpointError(f"TimmEncoder: no weight file for {model!r} at {file!r}; check checkpoint_path")
        try:
            # set explicitly, because older versions of timm unpickle the file and so run its code
            state = load_state_dict(file, weights_only=True)
            problems = self.network.load_state_dict(state, strict=False)
        except Exception as error:  # a broken file can make the readers raise anything
            raise CheckpointError(
                f"TimmEncoder: {file!r} does not fit {model!r}, or contains more than weights: {reason_of(error)}"
            ) from error
        classifier = tuple(f"{name}." for name in _classifier_names(self.network))
        foreign = [key for key in problems.unexpected_keys if not key.startswith(classifier)]
        if problems.missing_keys or foreign:
            key = (problems.missing_keys or foreign)[0]
            raise CheckpointError(
                f"TimmEncoder: {file!r} does not fit {model!r}: {len(problems.missing_keys)} tensors are missing and "
                f"{len(foreign)} are foreign, such as {key!r}; use weights of this network"
            )


def _classifier_names(network: Any) -> tuple[str, ...]:
    names = network.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)
