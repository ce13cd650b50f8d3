"""The attention of encoders and language models is chosen by name, and changes nothing but the speed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, HubertConfig, HubertModel, WavLMModel

from affectgpt.attention_backend import BACKENDS, attention_options, choose_attention
from affectgpt.encoders import ClipVitEncoder, SpeechEncoder
from affectgpt.encoders.feature_key import EncoderFacts
from affectgpt.errors import ConfigError

KEEP = torch.ones(1, 2, dtype=torch.bool)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("networks")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = CLIPVisionConfig(**small, image_size=32, patch_size=16, projection_dim=12)
    CLIPVisionModelWithProjection(vision).save_pretrained(path / "clip")
    speech = HubertConfig(
        **small, conv_dim=[8, 8], conv_kernel=[10, 8], conv_stride=[5, 4], num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2, feat_extract_norm="layer", do_stable_layer_norm=True,
    )  # fmt: skip
    HubertModel(speech).save_pretrained(path / "hubert")
    return path


@pytest.mark.parametrize("attention", ["sdpa", "eager", "flash_attention_2"])
def test_encoders_give_the_same_features_under_the_same_key(folder: Path, attention: str) -> None:
    frames = torch.randint(0, 255, (1, 2, 3, 32, 32), dtype=torch.uint8)
    for build, name, media in (
        (ClipVitEncoder, "clip", frames),
        (lambda path, **given: SpeechEncoder(path, 2, **given), "hubert", torch.randn(1, 2, 400)),
    ):
        plain, other = build(str(folder / name)), build(str(folder / name), attention=attention)
        ran = "sdpa" if attention.startswith("flash") and not torch.cuda.is_available() else attention
        assert other.network.config._attn_implementation == ran
        with torch.no_grad():
            expected, found = (encoder.freeze()(media, KEEP).hidden for encoder in (plain, other))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert EncoderFacts.of(plain) == EncoderFacts.of(other)


@pytest.mark.skipif(torch.cuda.is_available(), reason="flash-attention may run where there is a GPU")
def test_flash_attention_that_cannot_run_gives_way_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("flash_attention_2", "flash_attention_3", "flash_attention_4"):
        caplog.clear()
        assert choose_attention(name)[0] == "sdpa"
        assert f"{name} was asked for, but there is no CUDA device" in caplog.text
    assert choose_attention("auto") == ("sdpa", "there is no CUDA device")


def test_a_network_is_asked_only_for_what_it_can_run() -> None:
    assert attention_options("auto", torch.float32, WavLMModel) == {}
    with pytest.raises(ConfigError, match="WavLMModel cannot run 'flex'"):
        attention_options("flex", torch.float32, WavLMModel)
    with pytest.raises(ConfigError, match=r"'fash'.*Known: auto"):
        choose_attention("fash")
    assert {choose_attention(name)[0] for name in BACKENDS} >= {"sdpa", "flex_attention", "eager"}
