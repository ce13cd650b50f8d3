"""The pretrained encoders against recorded outputs of the published code, and their errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchaudio
from safetensors.torch import load_file
from transformers import BertConfig, CLIPVisionConfig, CLIPVisionModelWithProjection, HubertConfig, HubertModel

import partcases
from affectgpt.encoders import ClipVitEncoder, PrecomputedEncoder, SpeechEncoder, TimmEncoder, TorchaudioEncoder
from affectgpt.encoders.base import AudioSpec, VisualSpec
from affectgpt.errors import CheckpointError, ConfigError, DataError

KEEP = torch.ones(1, 8, dtype=torch.bool)
HUBERT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "conv_dim": [8, 8],
    "conv_kernel": [10, 8],
    "conv_stride": [5, 4],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16,
        projection_dim=12,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def hubert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hubert")
    HubertModel(HubertConfig(**HUBERT, feat_extract_norm="layer", do_stable_layer_norm=True)).save_pretrained(folder)
    return folder


def test_clip_equals_the_published_features(shared):
    oracle = shared / "oracle/model"
    encoder = ClipVitEncoder(str(oracle / "models/clip-vit-large-patch14"))
    encoder.freeze()
    frames = torch.from_numpy(np.load(oracle / "preproc.npz")["sample_00000000.raw_frame_uint8"])
    hidden = encoder(frames.transpose(0, 1)[None], KEEP).hidden
    wanted = load_file(oracle / "A/case_frame.safetensors")["frame_hidden"]
    torch.testing.assert_close(hidden, wanted, rtol=1e-5, atol=1e-5)


def test_hubert_equals_the_published_features_on_the_same_waveform(shared):
    oracle = shared / "oracle/model"
    encoder = SpeechEncoder(str(oracle / "models/chinese-hubert-large"), normalize="none")
    encoder.freeze()
    stored = np.load(oracle / "preproc.npz")
    clips = stored["sample_00000000.audio_as_loaded"] - stored["sample_00000000.audio_clip_mean"][..., None]
    waveform = torch.from_numpy(clips[:, 0])
    # The published code normalises all segments as one utterance.
    waveform = (waveform - waveform.mean()) / (waveform.var(unbiased=False) + 1e-7).sqrt()
    hidden = encoder(waveform[None], KEEP).hidden
    wanted = load_file(oracle / "A/case_frame.safetensors")["audio_hidden"]
    torch.testing.assert_close(hidden, wanted, rtol=1e-5, atol=2e-5)


def test_clip_reads_statistics_and_falls_back_to_clips_own(clip_folder, tmp_path):
    spec = ClipVitEncoder(str(clip_folder)).input_spec
    assert isinstance(spec, VisualSpec)
    assert (spec.height, spec.width) == (32, 32)
    assert spec.mean[0] == pytest.approx(0.48145466)
    network = CLIPVisionModelWithProjection.from_pretrained(clip_folder)
    network.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1] * 3, "image_std": [0.2] * 3}))
    assert ClipVitEncoder(str(tmp_path)).input_spec == VisualSpec(32, 32, (0.1,) * 3, (0.2,) * 3)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_last_hidden_states_are_averaged(hubert_folder, layers):
    encoder = SpeechEncoder(str(hubert_folder), layers=layers, normalize="none").eval()
    segments = torch.randn(1, 2, 600)
    hidden = encoder(segments, KEEP[:, :2]).hidden
    assert not any(layer._forward_hooks for layer in encoder.network.encoder.layers), "hooks stay behind"
    # transformers 5 gives the last of hidden_states before the closing layer norm, version 4 gave it after.
    output = encoder.network(segments[0], output_hidden_states=True)
    states = [*output.hidden_states[1:-1], output.last_hidden_state][-layers:]
    torch.testing.assert_close(hidden[0], torch.stack(states).mean(0).mean(1), rtol=1e-5, atol=1e-6)


def test_layer_drop_never_loses_a_layer_in_training(hubert_folder):
    encoder = SpeechEncoder(str(hubert_folder), layers=3).train()
    assert encoder.network.config.layerdrop == 0
    assert encoder.network.config.apply_spec_augment is False


def test_normalisation_follows_the_folder_and_makes_loudness_irrelevant(hubert_folder):
    encoder = SpeechEncoder(str(hubert_folder), layers=2).eval()
    assert isinstance(encoder.input_spec, AudioSpec)
    assert encoder.input_spec.normalize == "segment"
    segments = torch.randn(1, 1, 600)
    quiet, loud = (encoder(segments * gain, KEEP[:, :1]).hidden for gain in (1.0, 5.0))
    torch.testing.assert_close(quiet, loud, rtol=1e-4, atol=1e-5)


def test_shortest_segment_gives_a_vector(hubert_folder):
    encoder = SpeechEncoder(str(hubert_folder), layers=2).eval()
    assert encoder(torch.randn(1, 1, 3), KEEP[:, :1]).hidden.isfinite().all()


def test_other_network_types_are_refused_by_name(tmp_path, hubert_folder):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"'bert'.*hubert"):
        SpeechEncoder(str(tmp_path))
    with pytest.raises(ConfigError, match=r"'hubert'.*clip"):
        ClipVitEncoder(str(hubert_folder))
    with pytest.raises(ConfigError, match="from 1 to 3"):
        SpeechEncoder(str(hubert_folder), layers=9)
    with pytest.raises(ConfigError, match="float8"):
        SpeechEncoder(str(hubert_folder), layers=1, dtype="float8")


def test_unreadable_folders_say_what_to_do(tmp_path, clip_folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"'no/such-model'.*hf download"):
        ClipVitEncoder("no/such-model")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        SpeechEncoder(str(tmp_path))
    (tmp_path / "config.json").write_text((clip_folder / "config.json").read_text())
    with pytest.raises(CheckpointError, match="weights"):
        ClipVitEncoder(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="cannot read"):
        ClipVitEncoder(str(tmp_path))


def test_incomplete_weights_are_refused(tmp_path, clip_folder):
    network = CLIPVisionModelWithProjection.from_pretrained(clip_folder)
    state = {k: v for k, v in network.state_dict().items() if "visual_projection" not in k}
    network.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(CheckpointError, match="visual_projection"):
        ClipVitEncoder(str(tmp_path))


def test_half_precision_weights_take_float_media(clip_folder):
    encoder = ClipVitEncoder(str(clip_folder), dtype="bfloat16")
    assert encoder(torch.zeros(1, 8, 3, 40, 30, dtype=torch.uint8), KEEP).hidden.dtype == torch.bfloat16


def test_timm_names_weights_and_files(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'test_vit"):
        TimmEncoder("test_vitt")
    with pytest.raises(CheckpointError, match="no weight file"):
        TimmEncoder("test_vit", checkpoint_path="no.pt")
    with_head = timm.create_model("test_vit", num_classes=5)
    torch.save(with_head.state_dict(), tmp_path / "weights.pt")
    encoder = TimmEncoder("test_vit", checkpoint_path=str(tmp_path / "weights.pt"))
    assert encoder.restored_prefixes() == ["network."]
    assert TimmEncoder("test_vit").restored_prefixes() == []
    torch.testing.assert_close(encoder.network.cls_token, with_head.cls_token)
    torch.save({"other": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="does not fit"):
        TimmEncoder("test_vit", checkpoint_path=str(tmp_path / "foreign.pt"))


def test_torchaudio_reads_a_local_state_dict(tmp_path, tiny_bundle):
    source = TorchaudioEncoder(tiny_bundle, weights="random", layers=2)
    torch.save(source.network.state_dict(), tmp_path / "weights.pt")
    encoder = TorchaudioEncoder(tiny_bundle, weights=str(tmp_path / "weights.pt"), layers=2)
    assert (encoder.restored_prefixes(), source.restored_prefixes()) == (["network."], [])
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), encoder.parameters(), strict=True))
    (tmp_path / "cut.pt").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="weights='random'"):
        TorchaudioEncoder(tiny_bundle, weights=str(tmp_path / "cut.pt"))
    with pytest.raises(CheckpointError, match="no weight file"):
        TorchaudioEncoder(tiny_bundle, weights="no.pt")
    with pytest.raises(ConfigError, match="HUBERT_BASE"):
        TorchaudioEncoder("HUBRT_BASE")


@pytest.fixture
def tiny_bundle(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(torchaudio.pipelines, "TINY", partcases.tiny_bundle(), raising=False)
    return "TINY"


def test_precomputed_refuses_media():
    encoder = PrecomputedEncoder(8, modality="audio")
    with pytest.raises(DataError, match="audio media"):
        encoder(torch.zeros(1, 8, 400), KEEP)
    with pytest.raises(ConfigError, match="a modality is a name in lower case"):
        PrecomputedEncoder(8, modality="a smell")
