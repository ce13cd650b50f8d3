"""Keys of stored features: equal for the same vectors, different for anything that changes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from affectgpt.encoders import SpeechEncoder, TinyVisionEncoder
from affectgpt.encoders.build import build_encoder, facts_of_file
from affectgpt.encoders.feature_key import EncoderFacts, FeatureKey, weights_digest
from affectgpt.errors import DataError
from affectgpt.media.profile import MediaProfile
from affectgpt.registry import Spec
from tinyencoders import save_clip, save_hubert


def key_of(spec: dict[str, Any], source: str = "frame", **media: Any) -> FeatureKey:
    return FeatureKey.of(EncoderFacts.of(build_encoder(Spec.of(spec))), source, MediaProfile.of(media), spec)


def clip(path: Path, **args: Any) -> dict[str, Any]:
    return {"name": "clip", "args": {"path": str(path), **args}}


def test_the_same_weights_in_another_folder_have_the_same_key(networks, tmp_path):
    shutil.copytree(networks[0], tmp_path / "moved")
    here, there = key_of(clip(networks[0])), key_of(clip(tmp_path / "moved"))
    assert here == there
    assert here.digest == there.digest
    assert here.differences(there) == []
    assert here.spec != there.spec


def test_a_key_is_plain_json_and_reads_back(networks):
    key = key_of(clip(networks[0]))
    again = FeatureKey.from_json(json.loads(json.dumps(key.to_json())))
    assert again == key
    assert again.digest == key.digest
    assert len(key.digest) == 12
    with pytest.raises(DataError, match="not the key of a feature stream"):
        FeatureKey.from_json({"source": "frame"})


def test_whatever_changes_the_vectors_changes_the_key_and_is_named(networks, tmp_path):
    key = key_of(clip(networks[0]))
    shutil.copytree(networks[0], tmp_path / "other")
    (tmp_path / "other/preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1] * 3}))
    changed = {
        "encoder.weights": key_of(clip(save_clip(tmp_path / "seed2", seed=2))),
        "encoder.args.dtype": key_of(clip(networks[0], dtype="bfloat16")),
        "encoder.input_spec.mean": key_of(clip(tmp_path / "other")),
        "media.num_frames": key_of(clip(networks[0]), num_frames=4),
        "media.frame_height": key_of(clip(networks[0]), frame_height=100, frame_width=100),
        "source": key_of(clip(networks[0]), source="face"),
        "encoder.kind": key_of({"name": "tiny-vision", "args": {}}),
    }
    assert len({other.digest for other in [key, *changed.values()]}) == 1 + len(changed)
    for name, other in changed.items():
        lines = key.differences(other, "in the model", "in the features")
        assert any(line.startswith(f"{name}: ") and "in the model" in line for line in lines), name


def test_settings_of_the_other_modality_do_not_matter(networks):
    assert key_of(clip(networks[0])) == key_of(clip(networks[0]), num_segments=3, segment_seconds=1.0)
    hubert = {"name": "hubert", "args": {"path": str(networks[1]), "layers": 2}}
    assert key_of(hubert, "audio") == key_of(hubert, "audio", num_frames=3)
    assert key_of(hubert, "audio") != key_of(hubert, "audio", num_segments=3)
    assert key_of(clip(networks[0])) == key_of(clip(networks[0]), sources=["frame"])


def test_a_version_of_the_code_is_part_of_the_key(monkeypatch):
    torch.manual_seed(0)
    before = EncoderFacts.of(TinyVisionEncoder(size=32))
    monkeypatch.setattr(TinyVisionEncoder, "feature_version", 2)
    torch.manual_seed(0)
    assert EncoderFacts.of(TinyVisionEncoder(size=32)) != before


def test_the_digest_follows_every_byte_of_the_weights():
    torch.manual_seed(0)
    encoder = TinyVisionEncoder(size=32)
    before = weights_digest(encoder)
    weight = encoder.head[0].weight
    with torch.no_grad():
        kept = weight[0, 0].item()
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(1e9))
        assert weights_digest(encoder) != before
        weight[0, 0] = kept
    assert weights_digest(encoder) == before
    assert weights_digest(encoder.to(torch.bfloat16)) != before


def test_a_tensor_without_influence_does_not_count(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save_hubert(tmp_path / "hubert")
    tensors = load_file(folder / "model.safetensors")
    del tensors["masked_spec_embed"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    first, second = (SpeechEncoder(str(folder), layers=2) for _ in range(2))
    assert not torch.equal(first.network.masked_spec_embed, second.network.masked_spec_embed)
    assert weights_digest(first) == weights_digest(second)


def test_weights_from_a_file_take_nothing_from_the_random_generator(networks):
    torch.manual_seed(3)
    build_encoder(Spec.of({"name": "hubert", "args": {"path": str(networks[1]), "layers": 2}}))
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(3)
    build_encoder("tiny-vision")  # its weights are random
    assert not torch.equal(after, torch.rand(1))


def test_facts_of_a_file_are_read_once_and_again_after_a_change(tmp_path, monkeypatch):
    folder = save_clip(tmp_path / "clip")
    spec = Spec.of(clip(folder))
    facts = facts_of_file(spec)
    assert facts is not None
    assert facts == EncoderFacts.of(build_encoder(spec))
    assert facts.from_file

    def refuse(_spec: Spec) -> None:
        raise AssertionError("built")

    with monkeypatch.context() as patch:
        patch.setattr("affectgpt.encoders.build.build_encoder", refuse)
        assert facts_of_file(spec) == facts
        save_clip(folder, seed=2)
        with pytest.raises(AssertionError, match="built"):
            facts_of_file(spec)
    renewed = facts_of_file(spec)
    assert renewed is not None
    assert renewed.weights != facts.weights
    assert facts_of_file(clip(tmp_path / "nowhere")) is None
