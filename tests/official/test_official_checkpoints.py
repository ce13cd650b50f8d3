"""Released checkpoints: read, written back, and refused with every difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.checkpoints.official.convert import save_official
from affectgpt.checkpoints.official.released_file import read_official
from affectgpt.checkpoints.official.released_names import official_name
from affectgpt.errors import CheckpointError, ConfigError
from releasedmodel import FILE, folders, load, loaded

LAYOUT = {"A": "multiface_audio_face_text", "B": "multiframe_audio_frame_text", "C": "frame"}


@pytest.fixture(scope="module")
def oracle(shared: Path) -> Path:
    return shared / "oracle/model"


@pytest.fixture
def changed(oracle: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of a released checkpoint, after a change of its tensors or of its configuration."""

    def change(config: str, edit: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
        content = torch.load(oracle / config / FILE, weights_only=True)
        edit(content["model"], content["config"])
        torch.save(content, tmp_path / "changed.pth")
        return tmp_path / "changed.pth"

    return change


@pytest.mark.parametrize("config", "ABC")
def test_a_file_written_back_has_the_same_names_and_tensors(oracle, tmp_path, config):
    save_official(load(oracle, config, LAYOUT[config]), tmp_path / "back.pth")
    ours = torch.load(tmp_path / "back.pth", weights_only=True)
    theirs = torch.load(oracle / config / FILE, weights_only=True)
    assert ours["model"].keys() == theirs["model"].keys()
    for name, tensor in theirs["model"].items():
        assert ours["model"][name].dtype == tensor.dtype, name
        assert torch.equal(ours["model"][name], tensor), name
    assert ours["config"] == theirs["config"]
    assert ours["epoch"] == theirs["epoch"]


def test_a_model_built_for_one_input_keeps_the_weights_of_the_others(oracle, tmp_path):
    model = loaded(oracle, "A", "image")
    assert list(model.specs) == ["image"]
    save_official(model, tmp_path / "back.pth")
    ours, theirs = (torch.load(f, weights_only=True)["model"] for f in (tmp_path / "back.pth", oracle / "A" / FILE))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_trained_weights_are_written_back(oracle, tmp_path):
    model = load(oracle, "A", LAYOUT["A"])
    with torch.no_grad():
        model.projectors["face"].layers.bias += 1
    save_official(model, tmp_path / "back.pth")
    old, new = read_official(oracle / "A" / FILE), read_official(tmp_path / "back.pth")
    assert torch.equal(new.tensors["affectgpt_proj.bias"], old.tensors["affectgpt_proj.bias"] + 1)


def test_a_training_checkpoint_of_a_released_model_comes_back(oracle, tmp_path):
    model = loaded(oracle, "C", "frame")
    model.save_checkpoint(tmp_path / "model.ckpt")
    again = AffectGPT.from_checkpoint(tmp_path / "model.ckpt")
    assert again.hparams["official"]["layout"] == "frame"
    state = again.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_every_difference_of_the_tensors_is_listed(oracle, changed):
    def edit(tensors: dict[str, Any], config: dict[str, Any]) -> None:
        del tensors["fc_att.bias"]
        tensors["fc_att_2.bias"] = torch.zeros(2)
        tensors["affectgpt_proj.weight"] = torch.zeros(48, 25)

    with pytest.raises(CheckpointError) as refused:
        AffectGPT.from_official(changed("A", edit), layout=LAYOUT["A"], **folders(oracle))
    for part in ("1 missing: fc_att.bias", "1 unknown: fc_att_2.bias", "affectgpt_proj.weight is (48, 25)", "(48, 24)"):
        assert part in str(refused.value)


SWITCHES = [
    ("video_fusion_type", "qformer", "lacks 'video_query_tokens'"),
    ("video_fusion_type", "mean", "2 unknown: video_attention_mlp.bias"),
    ("multi_fusion_type", "none", "multi_fusion_type: 'none'"),
    ("audio_fusion_type", "transformer", "audio_fusion_type: 'transformer'"),
    ("image_fusion_type", "qformer", "image_fusion_type: 'qformer'"),
    ("num_audio_query_token", None, "num_audio_query_token: None, expected a number of tokens"),
    ("acoustic_encoder", "WHISPER_LARGE", "'WHISPER_LARGE', which is not supported; supported: HUBERT_LARGE"),
    ("llama_model", "vicuna", "'vicuna'"),
    ("lora_r", 8, r"the rank \[16\], its configuration says 8"),
]


@pytest.mark.parametrize(("key", "value", "message"), SWITCHES)
def test_switches_of_the_file_are_compared_with_its_tensors(oracle, changed, key, value, message):
    path = changed("A", lambda _, config: config["model"].update({key: value}))
    with pytest.raises(CheckpointError, match=message):
        AffectGPT.from_official(path, layout=LAYOUT["A"], **folders(oracle))


def test_networks_in_the_folders_are_compared_with_the_file(oracle):
    given = folders(oracle)
    with pytest.raises(CheckpointError, match=r"HUBERT_LARGE, a network of type hubert, but .* of type clip"):
        AffectGPT.from_official(oracle / "A" / FILE, layout=LAYOUT["A"], **{**given, "hubert": given["clip"]})
    with pytest.raises(CheckpointError, match="CLIP_VIT_LARGE from '/no/such"):
        AffectGPT.from_official(oracle / "A" / FILE, layout=LAYOUT["A"], **{**given, "clip": "/no/such"})
    del given["bert"]
    with pytest.raises(CheckpointError, match="48 wide, not 768 as bert-base; give bert="):
        AffectGPT.from_official(oracle / "B" / FILE, layout=LAYOUT["B"], **given)


def test_the_prompt_layout_is_that_of_the_file(oracle, changed):
    data = {"datasets": {"mercaptionplus": {"face_or_frame": "multiface_audio_face_text", "label_type": "hybird"}}}
    path = changed("A", lambda _, config: config.update(data))
    assert list(AffectGPT.from_official(path, **folders(oracle)).specs) == ["face", "audio"]
    with pytest.raises(CheckpointError, match="trained with the prompt layout multiface_audio_face_text, but frame"):
        AffectGPT.from_official(path, layout="frame", **folders(oracle))
    with pytest.raises(ConfigError, match=r"names none\. Give layout=.*multiframe_audio_frame_text"):
        AffectGPT.from_official(oracle / "A" / FILE, **folders(oracle))
    with pytest.raises(CheckpointError, match="'faceframe' is not supported"):
        AffectGPT.from_official(oracle / "A" / FILE, layout="faceframe", **folders(oracle))


def test_other_files_are_refused_by_what_they_are(oracle, tmp_path):
    class Attack:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "run",))

    torch.save({"model": Attack(), "config": {}}, tmp_path / "attack.pth")
    with pytest.raises(CheckpointError, match="more than tensors and plain values"):
        read_official(tmp_path / "attack.pth")
    assert not (tmp_path / "run").exists()
    loaded(oracle, "C", "frame").save_checkpoint(tmp_path / "ours.ckpt")
    with pytest.raises(CheckpointError, match="use from_checkpoint"):
        read_official(tmp_path / "ours.ckpt")
    with pytest.raises(CheckpointError, match="released one: affectgpt convert, or from_official"):
        AffectGPT.from_checkpoint(oracle / "A" / FILE)


def test_only_a_released_model_is_written_as_one(tmp_path):
    model = AffectGPT(streams={"frame": {"encoder": "tiny-vision"}}, llm="tiny")
    with pytest.raises(CheckpointError, match="only a model that came from a released checkpoint"):
        save_official(model, tmp_path / "back.pth")


def test_what_has_no_place_in_the_format_has_no_name():
    assert official_name("encoders.frame.network.weight") is None
