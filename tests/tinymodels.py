"""Tiny models of transformers that see or hear, with random weights and a tokenizer made here, as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
    WhisperFeatureExtractor,
)

SEEN, HEARD = "<|vision_start|><|image_pad|><|vision_end|>", "<|AUDIO|>"
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {% for c in m.content %}{% if c.type == 'KIND' %}MARK{% else %}"
    "{{ c.text }}{% endif %}{% endfor %}<end>{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
PICTURE_TEMPLATE = TEMPLATE.replace("KIND", "image").replace("MARK", SEEN)
SOUND_TEMPLATE = TEMPLATE.replace("KIND", "audio").replace("MARK", HEARD)


def make_tokenizer(
    *special: str, pad: str = "<pad>", end: str = "<end>", named: dict[str, str] | None = None
) -> PreTrainedTokenizerFast:
    """One token a byte, and the special ones, of which some have names of attributes."""
    named = named or {}
    bytes_of = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={one: number for number, one in enumerate(bytes_of)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([pad, end, *special, *named.values()])
    more = {"extra_special_tokens": named} if named else {}
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=pad, eos_token=end, **more)


def save(model: Any, processor: Any, folder: Path) -> Path:
    model.generation_config = GenerationConfig(eos_token_id=processor.tokenizer.eos_token_id)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_seeing_model(folder: Path) -> Path:
    """A Qwen2-VL of two layers: pictures and text."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    torch.manual_seed(0)
    names = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    tokenizer = make_tokenizer(*names)
    size = {"patch_size": 4, "merge_size": 2, "min_pixels": 64, "max_pixels": 1024}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessorPil(**size), tokenizer, Qwen2VLVideoProcessor(**size), chat_template=PICTURE_TEMPLATE
    )
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{name}_pad|>") for name in ("image", "video")}
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e4},
        },
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "patch_size": 4},
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        **ids,
    )  # fmt: skip
    return save(Qwen2VLForConditionalGeneration(config), processor, folder)


def make_hearing_model(folder: Path) -> Path:
    """A Qwen2-Audio of two layers: one sound and text."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
    processor = Qwen2AudioProcessor(
        WhisperFeatureExtractor(feature_size=16, chunk_length=4), tokenizer, chat_template=SOUND_TEMPLATE
    )
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder", "num_mel_bins": 16, "d_model": 32, "encoder_layers": 2,
            "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "max_source_positions": 200,
        },
        text_config={
            "model_type": "qwen2", "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        },
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )  # fmt: skip
    return save(Qwen2AudioForConditionalGeneration(config), processor, folder)
