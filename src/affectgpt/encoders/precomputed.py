"""Stands in for an encoder whose feature vectors come with the batch."""

from __future__ import annotations

from torch import Tensor

from affectgpt.encoders.base import AudioSpec, Encoder, VisualSpec
from affectgpt.errors import ConfigError, DataError
from affectgpt.types import Features, Modality


class PrecomputedEncoder(Encoder):
    """Holds no network: says how wide the vectors in the batch are.

    Args:
        dim: Width of the feature vectors.
        modality: ``"visual"`` or ``"audio"``.

    Raises:
        ConfigError: If the modality is neither.
    """

    def __init__(self, dim: int, modality: str = "visual") -> None:
        super().__init__()
        known = [str(kind) for kind in Modality]
        if modality not in known:
            raise ConfigError(f"PrecomputedEncoder: modality must be one of {', '.join(known)}, but is {modality!r}")
        self.modality = Modality(modality)
        self.out_dim = dim
        self.input_spec = VisualSpec(224, 224) if self.modality is Modality.VISUAL else AudioSpec()

    def forward(self, media: Tensor, keep: Tensor) -> Features:
        """Refuse to encode.

        Raises:
            DataError: Always; the vectors belong into the batch's features.
        """
        raise DataError(
            f"the stream is 'precomputed', but the batch brought {self.modality} media {tuple(media.shape)} instead of "
            "feature vectors; put them into Batch.features, or configure a real encoder"
        )
