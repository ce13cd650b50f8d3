"""Tables of the names in released checkpoints: tensors with our names, prompt layouts, and networks."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import NamedTuple

from affectgpt.prompts.published_layouts import LAYOUTS as PUBLISHED

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
"""Prefix of our name, in a model with the streams ``video``, ``audio`` and ``image``, to that of the released name."""

QFORMER_TENSORS: tuple[tuple[str, str], ...] = (
    (".bert.layernorm.", ".bert.embeddings.LayerNorm."),
    (".attention.attention.", ".attention.self."),
    (".crossattention.attention.", ".crossattention.self."),
)
"""Differences within the names of a Q-Former: transformers' name to that of the released BERT."""

POSITION_IDS = "_Qformer.bert.embeddings.position_ids"
"""Suffix of the name of a buffer that counts from 0: int64 ``[1, 512]``, saved with every Q-Former but never used."""
NUM_POSITION_IDS = 512

NETWORKS: Mapping[str, Mapping[str, str]] = {
    "visual_encoder": {"CLIP_VIT_LARGE": "clip"},
    "acoustic_encoder": {"HUBERT_LARGE": "hubert"},
    "llama_model": {"Qwen25": "qwen2"},
}
"""Key of the released configuration to a table: the name there to the ``model_type`` of its network."""


class Layout(NamedTuple):
    """The inputs of a published prompt layout.

    Attributes:
        visual: The visual stream: ``face``, ``frame`` or ``image``; ``None`` for none.
        audio: Whether there is an audio stream.
        slots: What the prompt shows: streams, ``multi``, ``subtitle``.
    """

    visual: str | None
    audio: bool
    slots: tuple[str, ...]

    @property
    def multi(self) -> bool:
        """Whether the pre-fused tokens have a slot."""
        return "multi" in self.slots


def _layout(name: str, text: str) -> Layout | None:
    """The inputs of a layout, or ``None`` if there is no model for it here."""
    slots = tuple(field for _, field, _, _ in Formatter().parse(text) if field and field != "question")
    visual = [slot for slot in slots if slot in ("face", "frame", "image")]
    if "multi" in slots and not visual:
        visual = ["frame" if name.startswith("multiframe") else "face"]
    audio = "audio" in slots or "multi" in slots
    if len(visual) > 1 or not (visual or audio):
        return None
    return Layout(visual[0] if visual else None, audio, slots)


LAYOUTS: Mapping[str, Layout] = {
    name: layout for name, text in PUBLISHED.items() if (layout := _layout(name, text)) is not None
}
"""Values of ``face_or_frame`` in the released configurations that are read. Those with two visual inputs are not: they
share one set of weights between both."""


def official_name(name: str) -> str | None:
    """The released name of one of our tensors.

    Args:
        name: Name in a model whose streams are ``video``, ``audio`` and ``image``.

    Returns:
        The released name, or ``None`` if the released checkpoints do not have the tensor.

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
