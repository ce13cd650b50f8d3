"""The poolings and pre-fusions against recorded outputs of the published code, and their errors."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import linear

from affectgpt.errors import ConfigError, DataError
from affectgpt.fusion import (
    AttentionPooling,
    AttentionPreFusion,
    LinearProjector,
    MeanPooling,
    NoPreFusion,
    QFormerPooling,
    QFormerPreFusion,
    SoftmaxAttentionPooling,
    SoftmaxAttentionPreFusion,
)
from affectgpt.types import Features

TIGHT = {"rtol": 1e-5, "atol": 1e-5}


def features(batch: int, steps: int, dim: int, seed: int = 0) -> Features:
    hidden = torch.randn(batch, steps, dim, generator=torch.Generator().manual_seed(seed))
    return Features(hidden, torch.ones(batch, steps, dtype=torch.bool))


def whole(hidden: torch.Tensor) -> Features:
    return Features(hidden, torch.ones(hidden.shape[:2], dtype=torch.bool))


def put(layer: torch.nn.Linear, weights: dict[str, torch.Tensor], name: str) -> None:
    layer.load_state_dict({"weight": weights[f"{name}.weight"], "bias": weights[f"{name}.bias"]})


def put_qformer(part: torch.nn.Module, weights: dict[str, torch.Tensor], stream: str, positions: str) -> None:
    """The published names of one Q-Former, renamed to ours; every tensor must find its place."""
    prefix = f"{stream}_Qformer.bert."
    state = {
        "query_tokens": weights[f"{stream}_query_tokens"],
        "position_embedding.weight": weights[f"{positions}_position_embedding.weight"],
    }
    for key, value in weights.items():
        if key.startswith(prefix) and not key.endswith("position_ids"):
            key = key.removeprefix(prefix).replace("embeddings.LayerNorm", "layernorm").replace(".self.", ".attention.")
            state[f"network.{key}"] = value
    part.load_state_dict(state)


def test_attention_equals_the_published_numbers(shared):
    case = load_file(shared / "oracle/model/A/case_frame.safetensors")
    weights = load_file(shared / "oracle/model/A/trainable.safetensors")
    video, audio = whole(case["frame_hidden"]), whole(case["audio_hidden"])
    for stream, name, projector, wanted in (
        (video, "video_attention_mlp", "affectgpt_proj", "frame_llm"),
        (audio, "audio_attention_mlp", "audio_llama_proj", "audio_llm"),
    ):
        pooling = AttentionPooling(stream.hidden.shape[-1])
        put(pooling.score, weights, name)
        tokens = linear(pooling(stream), weights[f"{projector}.weight"], weights[f"{projector}.bias"])
        torch.testing.assert_close(tokens, case[wanted], **TIGHT)
    fusion = AttentionPreFusion((24, 40))
    put(fusion.embeds[0], weights, "multi_video_embs")
    put(fusion.embeds[1], weights, "multi_audio_embs")
    put(fusion.mix, weights, "attention_mlp")
    put(fusion.score, weights, "fc_att")
    torch.testing.assert_close(fusion([video, audio])[:, 0], case["multi_hidden"], **TIGHT)


def test_qformer_equals_the_published_numbers(shared):
    case = load_file(shared / "oracle/model/B/case_frame.safetensors")
    weights = load_file(shared / "oracle/model/B/trainable.safetensors")
    frozen = load_file(shared / "oracle/model/A/case_frame.safetensors")
    video, audio = whole(frozen["frame_hidden"]), whole(frozen["audio_hidden"])
    heads = {"hidden_dim": 48, "num_heads": 4, "feedforward_dim": 96}
    for stream, name, positions, count, longest in (
        (video, "video", "video_frame", 32, 32),
        (audio, "audio", "audio", 8, 8),
    ):
        pooling = QFormerPooling(stream.hidden.shape[-1], count, max_steps=longest, **heads).eval()
        put_qformer(pooling.qformer, weights, name, positions)
        torch.testing.assert_close(pooling(stream), case[f"mod.{name}_Qformer.bert"], **TIGHT)
    fusion = QFormerPreFusion((24, 40), **heads).eval()
    put(fusion.embeds[0], weights, "multi_video_embs")
    put(fusion.embeds[1], weights, "multi_audio_embs")
    put_qformer(fusion.qformer, weights, "multi", "multi")
    torch.testing.assert_close(fusion([video, audio]), case["mod.multi_Qformer.bert"], **TIGHT)


def test_attention_is_not_normalised_and_its_sibling_is():
    stream = features(2, 5, 6)
    plain, softmax = AttentionPooling(6), SoftmaxAttentionPooling(6)
    softmax.load_state_dict(plain.state_dict())
    doubled = Features(stream.hidden.repeat(1, 2, 1), stream.keep.repeat(1, 2))
    torch.testing.assert_close(plain(doubled), 2 * plain(stream), **TIGHT)
    torch.testing.assert_close(softmax(doubled), softmax(stream), **TIGHT)


def test_a_missing_stream_adds_nothing():
    video, audio = features(2, 3, 4), features(2, 5, 6, seed=1)
    gone = Features(audio.hidden, torch.zeros_like(audio.keep))
    fusion = SoftmaxAttentionPreFusion((4, 6))
    torch.testing.assert_close(fusion([video, gone])[:, 0], fusion.embeds[0](video.hidden.mean(1)), **TIGHT)
    assert AttentionPreFusion((4, 6))([Features(video.hidden, video.keep & False), gone]).abs().max() == 0


def test_tokens_are_repeats_of_the_pooled_vector():
    stream = features(2, 3, 4)
    torch.testing.assert_close(MeanPooling(4, 3)(stream), stream.hidden.mean(1)[:, None].repeat(1, 3, 1))
    assert LinearProjector(4, 7)(MeanPooling(4, 3)(stream)).shape == (2, 3, 7)
    assert LinearProjector(4, 7, hidden_dim=5)(MeanPooling(4)(stream)).shape == (2, 1, 7)


def test_a_half_precision_stream_is_pooled_in_the_poolings_own_type():
    stream = Features(features(2, 3, 4).hidden.bfloat16(), torch.ones(2, 3, dtype=torch.bool))
    assert AttentionPooling(4)(stream).dtype == torch.float32


def test_what_does_not_fit_is_refused():
    stream = features(1, 9, 4)
    small = {"hidden_dim": 8, "num_heads": 2}
    with pytest.raises(DataError, match=r"9 steps.*ends at 8"):
        QFormerPooling(4, 2, max_steps=8, **small)(stream)
    with pytest.raises(ConfigError, match="not a multiple"):
        QFormerPooling(4, 2, hidden_dim=8, num_heads=3)
    with pytest.raises(DataError, match="time, 5"):
        MeanPooling(5)(stream)
    with pytest.raises(DataError, match="2 streams, but got 1"):
        AttentionPreFusion((4, 4))([stream])
    with pytest.raises(ConfigError, match="at least one stream"):
        AttentionPreFusion(())
    with pytest.raises(ConfigError, match="num_tokens"):
        MeanPooling(4, 0)
    assert NoPreFusion((4,))([stream]).shape == (1, 0, 4)
    with pytest.raises(DataError, match="batch size"):
        NoPreFusion()([])
