"""Tiny models of the Qwen-Omni families and SmolVLM: their real classes and processors, random weights, as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
    Qwen2_5OmniProcessor,
    Qwen2AudioProcessor,
    Qwen3OmniMoeConfig,
    Qwen3OmniMoeForConditionalGeneration,
    Qwen3OmniMoeProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMProcessor,
    WhisperFeatureExtractor,
)

from tinymodels import make_hearing_model, make_tokenizer, save

MARKS = {
    "image_token": "<|IMAGE|>",
    "audio_token": "<|AUDIO|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}
# In the form of the templates that the Qwen-Omni models carry: media by type or by key, a system turn by default.
OMNI_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content %}<|vision_bos|><|IMAGE|><|vision_eos|>"
    "{% elif content['type'] == 'audio' or 'audio' in content %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% elif content['type'] == 'video' or 'video' in content %}<|vision_bos|><|VIDEO|><|vision_eos|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MROPE = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e4}
TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}


def _omni_processor(kind: type, patch: int) -> Any:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    tokenizer = make_tokenizer("<|im_start|>", pad="<|endoftext|>", end="<|im_end|>", named=MARKS)
    size = {"patch_size": patch, "merge_size": 2, "min_pixels": 64, "max_pixels": 1024}
    pictures, videos = Qwen2VLImageProcessorPil(**size), Qwen2VLVideoProcessor(**size)
    sound = WhisperFeatureExtractor(feature_size=16, chunk_length=4)
    return kind(pictures, videos, sound, tokenizer, chat_template=OMNI_TEMPLATE)


def make_omni_model(folder: Path) -> Path:
    """A whole Qwen2.5-Omni, which sees, hears and writes, and has a part that speaks."""
    torch.manual_seed(0)
    processor = _omni_processor(Qwen2_5OmniProcessor, 4)
    words = processor.tokenizer
    thinker = {
        "audio_config": {
            "num_mel_bins": 16, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "d_model": 32,
            "max_source_positions": 200, "n_window": 10, "output_dim": 32,
        },
        "vision_config": {
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "patch_size": 4, "window_size": 16,
            "out_hidden_size": 32, "fullatt_block_indexes": [1],
        },
        "text_config": {**TEXT, "vocab_size": len(words), "num_hidden_layers": 2, "rope_parameters": MROPE},
        "audio_start_token_id": words.audio_bos_token_id, "audio_end_token_id": words.audio_eos_token_id,
        "vision_start_token_id": words.vision_bos_token_id, "vision_end_token_id": words.vision_eos_token_id,
        **{f"{name}_token_index": getattr(words, f"{name}_token_id") for name in ("image", "audio", "video")},
    }  # fmt: skip
    talker = {
        **TEXT, "vocab_size": 64, "embedding_size": 32, "num_hidden_layers": 1, "head_dim": 8, "rope_parameters": MROPE,
    }  # fmt: skip
    voice = {
        "dit_config": {
            "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "ff_mult": 1, "emb_dim": 16,
            "head_dim": 16, "block_size": 4, "look_ahead_layers": [0], "look_backward_layers": [0], "num_embeds": 70,
            "mel_dim": 8, "enc_emb_dim": 8, "enc_dim": 16, "enc_channels": [16, 16, 16, 16, 48],
            "enc_attention_channels": 8, "enc_res2net_scale": 2, "enc_se_channels": 8,
        },
        "bigvgan_config": {
            "mel_dim": 8, "upsample_initial_channel": 16, "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [[1, 3, 5]], "upsample_rates": [2], "upsample_kernel_sizes": [4],
        },
    }  # fmt: skip
    config = Qwen2_5OmniConfig(thinker_config=thinker, talker_config=talker, token2wav_config=voice)
    return save(Qwen2_5OmniForConditionalGeneration(config), processor, folder)


def make_moe_omni_model(folder: Path) -> Path:
    """A whole Qwen3-Omni with experts, which sees, hears and writes, and has a part that speaks."""
    torch.manual_seed(0)
    processor = _omni_processor(Qwen3OmniMoeProcessor, 4)
    words = processor.tokenizer
    experts = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
    thinker = {
        "audio_config": {
            "num_mel_bins": 16, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "d_model": 32,
            "max_source_positions": 200, "output_dim": 32, "downsample_hidden_size": 8,
        },
        "vision_config": {
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "patch_size": 4,
            "out_hidden_size": 32, "num_position_embeddings": 64, "deepstack_visual_indexes": [0],
        },
        "text_config": {
            **TEXT, **experts, "vocab_size": len(words), "num_hidden_layers": 2, "rope_parameters": MROPE,
        },
        "audio_start_token_id": words.audio_bos_token_id, "vision_start_token_id": words.vision_bos_token_id,
        "vision_end_token_id": words.vision_eos_token_id,
        **{f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("image", "audio", "video")},
    }  # fmt: skip
    talker = {
        "text_config": {
            **TEXT, **experts, "vocab_size": 64, "num_hidden_layers": 1, "rope_parameters": MROPE,
            "shared_expert_intermediate_size": 16,
        },
        "code_predictor_config": {
            **TEXT, "vocab_size": 64, "num_hidden_layers": 1, "head_dim": 8, "num_code_groups": 2,
        },
        "num_code_groups": 2, "thinker_hidden_size": 32, "accept_hidden_layer": 1, "spatial_merge_size": 2,
        "speaker_id": {"chelsie": 1},
    }  # fmt: skip
    voice = {
        "codebook_size": 64, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 4,
        "intermediate_size": 32, "num_hidden_layers": 1, "num_quantizers": 2, "upsample_rates": [2],
        "upsampling_ratios": [2], "decoder_dim": 16,
    }  # fmt: skip
    config = Qwen3OmniMoeConfig(
        thinker_config=thinker, talker_config=talker, code2wav_config=voice, enable_audio_output=True
    )
    return save(Qwen3OmniMoeForConditionalGeneration(config), processor, folder)


def make_smolvlm(folder: Path) -> Path:
    """A SmolVLM of two layers: pictures, each cut into tiles, and text."""
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
    from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE
    from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

    torch.manual_seed(0)
    marks = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    tiles = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    tokenizer = make_tokenizer("<|im_start|>", *tiles, pad="<|endoftext|>", end="<|im_end|>", named=marks)
    size = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    videos = SmolVLMVideoProcessor(
        **size, video_sampling={"fps": 1, "max_frames": 8, "video_size": {"longest_edge": 32}}
    )
    processor = SmolVLMProcessor(
        SmolVLMImageProcessorPil(**size), tokenizer, videos, image_seq_len=4, chat_template=DEFAULT_CHAT_TEMPLATE
    )
    config = SmolVLMConfig(
        image_token_id=tokenizer.image_token_id,
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "image_size": 32, "patch_size": 8,
        },
        text_config={"model_type": "llama", **TEXT, "vocab_size": len(tokenizer), "num_hidden_layers": 2},
    )  # fmt: skip
    return save(SmolVLMForConditionalGeneration(config), processor, folder)


def make_audio_model(folder: Path) -> Path:
    """A Qwen2-Audio with the chat template of its processor's class."""
    make_hearing_model(folder)
    processor = Qwen2AudioProcessor.from_pretrained(folder)
    plain = Qwen2AudioProcessor(processor.feature_extractor, processor.tokenizer)
    plain.save_pretrained(folder)
    return folder
