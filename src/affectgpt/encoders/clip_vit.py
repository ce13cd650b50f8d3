"""CLIP's image tower: one vector per frame."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from affectgpt.encoders.base import Encoder, VisualSpec
from affectgpt.encoders.weights import load_config, load_network, read_preprocessor
from affectgpt.types import Features, Modality

# Radford et al. 2021 (arXiv 2103.00020): the statistics of CLIP's own training images.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ClipVitEncoder(Encoder):
    """A CLIP vision transformer; the feature is the image embedding, not normalised.

    The vector of a frame is ``visual_projection(post_layernorm(CLS))``. Only the image tower is read, from a checkpoint
    of the tower alone or of a whole CLIP. Frames are resized to the size that the network was trained on.

    Args:
        path: Local folder, or id on the hub.
        revision: Branch, tag or commit on the hub.
        dtype: Type of the weights: ``float32``, ``bfloat16`` or ``float16``.
        attention: ``auto``, ``flash_attention_2``, ``_3`` or ``_4``, ``sdpa``, ``flex`` or ``eager``.

    Raises:
        CheckpointError: If the weights cannot be read.
        ConfigError: If the network is not a CLIP model, or ``dtype`` is unknown.
    """

    modality = Modality.VISUAL

    def __init__(self, path: str, revision: str | None = None, dtype: str = "float32", attention: str = "auto") -> None:
        super().__init__()
        from transformers import CLIPVisionModelWithProjection

        owner = type(self).__name__
        config: Any = load_config(owner, path, revision, ("clip", "clip_vision_model"))
        if config.model_type == "clip":
            # The width of the embedding comes from the config of the whole model; the tower's own entry may be a stale
            # default.
            config.vision_config.projection_dim = config.projection_dim
            config = config.vision_config
        preprocessor = read_preprocessor(owner, path, revision)
        self.out_dim = int(config.projection_dim)
        self.input_spec = VisualSpec(
            height=int(config.image_size),
            width=int(config.image_size),
            mean=_three(preprocessor.get("image_mean", CLIP_MEAN)),
            std=_three(preprocessor.get("image_std", CLIP_STD)),
        )
        self.network = load_network(
            owner, CLIPVisionModelWithProjection, path, revision, dtype, attention, config=config
        )

    def forward(self, media: Tensor, keep: Tensor) -> Features:
        """Encode uint8 frames ``[B, T, 3, H, W]``; see ``Encoder.forward``."""
        embeds: Tensor = self.network(pixel_values=self.preprocess(media)).image_embeds
        return Features(embeds.unflatten(0, keep.shape), keep)

    def shard_units(self) -> list[nn.Module]:
        """The transformer's layers."""
        return list(self.network.vision_model.encoder.layers)

    def restored_prefixes(self) -> list[str]:
        """The whole network is read from ``path``."""
        return ["network."]


def clip_vit_large_14_openai(
    path: str = "openai/clip-vit-large-patch14",
    revision: str | None = None,
    dtype: str = "float32",
    attention: str = "auto",
) -> ClipVitEncoder:
    """The visual encoder of the published model: CLIP ViT-L/14 by OpenAI, 768 wide.

    Args:
        path: Local folder with the same weights, or id on the hub.
        revision: Branch, tag or commit on the hub.
        dtype: See ``ClipVitEncoder``.
        attention: See ``ClipVitEncoder``.

    Raises:
        CheckpointError: If the weights cannot be read.
    """
    return ClipVitEncoder(path, revision, dtype, attention)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
