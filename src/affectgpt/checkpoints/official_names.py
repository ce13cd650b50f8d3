"""Names in the released checkpoints: of their tensors beside ours, and of their prompt layouts and networks; data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

TENSORS: tuple[tuple[str, str], ...] = (
    ("llm.network.", "llama_model."),
    ("projectors.video.layers.", "affectgpt_proj."),
    ("projectors.audio.layers.", "audio_llama_proj."),
    ("projectors.image.layers.", "image_llama_proj."),
    ("projectors.multi.layers.", "multi_llama_proj."),
    ("poolings.video.score.", "video_attention_mlp."),
    ("poolings.audio.score.", "audio_attention_mlp."),
    ("prefusion.embeds.0.", "multi_video_embs."),
    ("prefusion.embeds.1.", "multi_audio_embs."),
    ("prefusion.mix.", "attention_mlp."),
    ("prefusion.score.", "fc_att."),
    ("poolings.video.qformer.query_tokens", "video_query_tokens"),
    ("poolings.audio.qformer.query_tokens", "audio_query_tokens"),
    ("prefusion.qformer.query_tokens", "multi_query_tokens"),
    ("poolings.video.qformer.position_embedding.", "video_frame_position_embedding."),
    ("poolings.audio.qformer.position_embedding.", "audio_position_embedding."),
    ("prefusion.qformer.position_embedding.", "multi_position_embedding."),
    ("poolings.video.qformer.network.", "video_Qformer.bert."),
    ("poolings.audio.qformer.network.", "audio_Qformer.bert."),
    ("prefusion.qformer.network.", "multi_Qformer.bert."),
)
"""Start of a name here, in a model with the streams ``video``, ``audio`` and ``image``, and of the released name."""

QFORMER_TENSORS: tuple[tuple[str, str], ...] = (
    (".bert.layernorm.", ".bert.embeddings.LayerNorm."),
    (".attention.attention.", ".attention.self."),
    (".crossattention.attention.", ".crossattention.self."),
)
"""What differs within the names of a Q-Former: transformers' name, and that of the released BERT."""

POSITION_IDS = "_Qformer.bert.embeddings.position_ids"
"""End of the name of a buffer that counts from 0: int64 ``[1, 512]``, saved with every Q-Former and never used."""
NUM_POSITION_IDS = 512

NETWORKS: Mapping[str, Mapping[str, str]] = {
    "visual_encoder": {"CLIP_VIT_LARGE": "clip"},
    "acoustic_encoder": {"HUBERT_LARGE": "hubert"},
    "llama_model": {"Qwen25": "qwen2"},
}
"""Key of the released configuration, then the name there to the ``model_type`` of the network behind it."""


class Layout(NamedTuple):
    """The inputs of a released prompt layout.

    Attributes:
        visual: ``face``, ``frame`` or ``image``; ``None`` for none.
        audio: Whether the audio tokens have a place.
        multi: Whether the pre-fused tokens have one.
    """

    visual: str | None
    audio: bool
    multi: bool


LAYOUTS: Mapping[str, Layout] = {
    "multiface_audio_face_text": Layout("face", audio=True, multi=True),
    "multiframe_audio_frame_text": Layout("frame", audio=True, multi=True),
    "face": Layout("face", audio=True, multi=False),
    "frame": Layout("frame", audio=True, multi=False),
    "audio_text": Layout(None, audio=True, multi=False),
    "face_text": Layout("face", audio=False, multi=False),
    "frame_text": Layout("frame", audio=False, multi=False),
    "image": Layout("image", audio=False, multi=False),
}
"""Values of ``face_or_frame`` in the released configurations. Those with two visual inputs share one set of weights
between both and are not read."""


def official_name(name: str) -> str | None:
    """The released name of one of our tensors.

    Args:
        name: Name in a model whose streams are ``video``, ``audio`` and ``image``.

    Returns:
        The released name, or ``None`` for what the released checkpoints have no place for.

    Examples:
        >>> official_name("poolings.video.qformer.network.encoder.layer.0.attention.attention.query.bias")
        'video_Qformer.bert.encoder.layer.0.attention.self.query.bias'
    """
    for ours, theirs in TENSORS:
        if name.startswith(ours):
            found = theirs + name[len(ours) :]
            if theirs.endswith("_Qformer.bert."):
                for inner, released in QFORMER_TENSORS:
                    found = found.replace(inner, released)
            return found
    return None
