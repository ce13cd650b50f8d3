"""Replaces an encoder whose feature vectors come with the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from affectgpt.encoders.base import Encoder, InputSpec
from affectgpt.encoders.feature_key import FeatureKey
from affectgpt.errors import DataError
from affectgpt.types import Features, Modality


@dataclass(frozen=True)
class NoInput(InputSpec):
    """Media that are not read."""

    modality: Modality  # type: ignore[misc]  # of the stream that the vectors stand for

    def prepare(self, media: Tensor, owner: str, keep: Tensor | None) -> Tensor:
        """Refuse; see ``PrecomputedEncoder.forward``."""
        raise DataError(f"{owner} takes no media")


class PrecomputedEncoder(Encoder):
    """Has no network, only the width of the vectors in the batch.

    Args:
        dim: Width of the feature vectors.
        modality: ``"visual"``, ``"audio"``, or that of a source from a plug-in.
        key: Key of the vectors, as plain JSON, if it replaces a known encoder; see ``FeatureKey``.

    Raises:
        ConfigError: If the modality cannot be a name.
    """

    def __init__(self, dim: int, modality: str = "visual", key: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.modality = Modality(modality)
        self.out_dim = dim
        self.input_spec = NoInput(self.modality)
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
