"""Replaces an encoder whose feature vectors come with the batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor

from affectgpt.encoders.base import AudioSpec, Encoder, VisualSpec
from affectgpt.encoders.feature_key import FeatureKey
from affectgpt.errors import ConfigError, DataError
from affectgpt.types import Features, Modality


class PrecomputedEncoder(Encoder):
    """Has no network, only the width of the vectors in the batch.

    Args:
        dim: Width of the feature vectors.
        modality: ``"visual"`` or ``"audio"``.
        key: Key of the vectors, as plain JSON, if it replaces a known encoder; see ``FeatureKey``.

    Raises:
        ConfigError: If the modality is neither.
    """

    def __init__(self, dim: int, modality: str = "visual", key: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        known = [str(kind) for kind in Modality]
        if modality not in known:
            raise ConfigError(f"PrecomputedEncoder: modality must be one of {', '.join(known)}, but is {modality!r}")
        self.modality = Modality(modality)
        self.out_dim = dim
        self.input_spec = VisualSpec(224, 224) if self.modality is Modality.VISUAL else AudioSpec()
        self.key = None if key is None else FeatureKey.from_json(key)

    @classmethod
    def standing_for(cls, key: FeatureKey) -> Self:
        """Make a stand-in for the encoder of a key."""
        return cls(key.encoder.width, str(key.modality), key.to_json())

    def forward(self, media: Tensor, keep: Tensor) -> Features:
        """Refuse to encode.

        Raises:
            DataError: Always; the vectors must be in the batch's features.
        """
        brought = f"the batch has {self.modality} media {tuple(media.shape)} instead of feature vectors"
        if self.key is not None:
            raise DataError(
                f"{self.key.encoder.kind} was not loaded, because the model was built for its features "
                f"({self.key.digest}), but {brought}; build the model without features=, or load its checkpoint with "
                "AffectGPT.from_checkpoint, to encode media"
            )
        raise DataError(
            f"the stream is 'precomputed', but {brought}; put them into Batch.features, or configure a real encoder"
        )
