"""The media profile belongs to the model: it is named in a configuration, saved, and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.media import MediaProfile
from quiettrainer import save_as_trained

CONFIG: dict[str, Any] = {
    "streams": {"face": "tiny-vision", "audio": "tiny-audio"},
    "llm": {"name": "tiny", "args": {"dim": 32}},
    "style": "brief",
    "media": "official",
}


def test_a_named_profile_is_saved_with_the_weights(tmp_path: Path) -> None:
    model = AffectGPT.from_config(CONFIG)
    assert model.media == MediaProfile.named("official", sources=["face", "audio"])
    loaded = AffectGPT.from_checkpoint(save_as_trained(model, tmp_path / "model.ckpt"))
    assert loaded.media == model.media
    assert loaded.hparams["media"]["face_channels"] == "bgr"


def test_weights_of_another_profile_are_refused(tmp_path: Path) -> None:
    path = save_as_trained(AffectGPT.from_config(CONFIG), tmp_path / "model.ckpt")
    other = AffectGPT.from_config({**CONFIG, "media": "default"})
    with pytest.raises(CheckpointError, match=r"media\.visual_policy: 'official' in the checkpoint, 'default' here"):
        other.on_load_checkpoint(torch.load(path, weights_only=True))


def test_a_checkpoint_from_before_the_policies_still_loads(tmp_path: Path) -> None:
    path = save_as_trained(AffectGPT.from_config({**CONFIG, "media": None}), tmp_path / "model.ckpt")
    content = torch.load(path, weights_only=True)
    for name in ("visual_policy", "audio_policy", "face_channels"):
        del content["hyper_parameters"]["media"][name]
    torch.save(content, path)
    assert AffectGPT.from_checkpoint(path).media.visual_policy == "default"


def test_a_wrong_name_gets_a_near_match() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'official'"):
        AffectGPT.from_config({**CONFIG, "media": "offical"})
