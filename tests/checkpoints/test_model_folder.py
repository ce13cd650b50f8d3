"""Saved folders: written, read back, tested on load, refused when something has changed; and the hub, on localhost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from affectgpt import AffectGPT
from affectgpt.checkpoints import self_test
from affectgpt.errors import CheckpointError, ConfigError
from affectgpt.llm import TinyLM
from hubserver import COMMIT, serve_hub

STREAMS = {
    "frame": {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 8, "channels": 2}}},
    "audio": {
        "encoder": {"name": "tiny-audio", "args": {"dim": 8, "num_mels": 8, "channels": 4}},
        "pooling": {"name": "qformer", "args": {"num_tokens": 2, "hidden_dim": 8, "num_heads": 2}},
    },
}
FILES = {"config.json", "model.safetensors", "self_test.json", "README.md"}
TINY_LM = {"name": "tiny", "args": {"dim": 32}}
MEDIA = {"frame_height": 32, "frame_width": 32, "segment_seconds": 0.2}


def build(llm: object = TINY_LM, **options: object) -> AffectGPT:
    torch.manual_seed(3)
    return AffectGPT(streams=STREAMS, llm=llm, media=MEDIA, style="brief", **options)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    build().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="module")
def lm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    head, folder = TinyLM(dim=32), tmp_path_factory.mktemp("store") / "lm"
    head.network.save_pretrained(folder)
    head.tokenizer.save_pretrained(folder)
    return folder


def causal(folder: Path) -> dict:
    return {"name": "causal-lm", "args": {"path": str(folder), "lora": {"rank": 2, "targets": ["q_proj"]}}}


def test_a_saved_model_comes_back_with_its_settings(saved):
    model, again = build(), AffectGPT.from_pretrained(saved)
    assert not again.training
    assert again.media == model.media
    assert again.style == model.style
    assert again.hparams == model.hparams
    state = again.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert {file.name for file in saved.iterdir()} == FILES


def test_saving_leaves_the_mode_of_the_model_alone_and_is_the_same_twice(saved, tmp_path):
    model = build().train()
    model.save_pretrained(tmp_path / "again")
    assert model.training
    for name in ("config.json", "model.safetensors", "self_test.json"):
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_frozen_networks_are_read_from_their_own_place_and_tested(lm_folder, tmp_path):
    build(causal(lm_folder)).save_pretrained(tmp_path / "model", paths={"llm": "owner/base"})
    names = load_file(tmp_path / "model/model.safetensors")
    assert any("lora_A" in name for name in names)
    assert not any("base_layer" in name for name in names)
    assert json.loads((tmp_path / "model/config.json").read_text())["model"]["llm"]["args"]["path"] == "owner/base"
    AffectGPT.from_pretrained(tmp_path / "model", paths={"llm": str(lm_folder)})

    torch.manual_seed(1)  # the same shapes, other weights: only the self-test sees it
    other = TinyLM(dim=32)
    other.network.save_pretrained(tmp_path / "other")
    other.tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"self-test failed: logits differs by .* self_test=False"):
        AffectGPT.from_pretrained(tmp_path / "model", paths={"llm": str(tmp_path / "other")})
    AffectGPT.from_pretrained(tmp_path / "model", paths={"llm": str(tmp_path / "other")}, self_test=False)
    with pytest.raises(ConfigError, match="no part 'frame' reads weights from a path; those that do: llm"):
        AffectGPT.from_pretrained(tmp_path / "model", paths={"frame": "x"})


@pytest.mark.parametrize(
    "name", ["projectors.frame.layers.weight", "encoders.audio.head.1.weight", "llm.network.lm_head.weight"]
)
def test_a_changed_tensor_fails_the_self_test(saved, name):
    tensors = load_file(saved / "model.safetensors")
    tensors[name] = tensors[name] * 1.1
    save_file(tensors, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="self-test failed"):
        AffectGPT.from_pretrained(saved)


def test_a_changed_setting_that_no_weight_shows_fails_the_self_test(saved):
    record = json.loads((saved / "config.json").read_text())
    record["model"]["streams"]["frame"]["pooling"]["name"] = "attention-softmax"
    (saved / "config.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="self-test failed: frame differs"):
        AffectGPT.from_pretrained(saved)


@pytest.mark.parametrize(("setting", "value"), [("face_channels", "bgr"), ("visual_policy", "official")])
def test_a_changed_setting_in_front_of_the_tensors_fails_the_self_test(saved, setting, value):
    record = json.loads((saved / "config.json").read_text())
    assert record["model"]["media"][setting] != value
    record["model"]["media"][setting] = value
    (saved / "config.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"self-test failed: the settings in config\.json"):
        AffectGPT.from_pretrained(saved)
    AffectGPT.from_pretrained(saved, self_test=False)


def test_a_setting_that_changes_no_result_may_be_another(saved):
    record = json.loads((saved / "config.json").read_text())
    record["model"]["streams"]["frame"]["trainable"] = True
    record["model"]["optim"]["lr"] = 1e-3
    (saved / "config.json").write_text(json.dumps(record))
    AffectGPT.from_pretrained(saved)


def test_other_names_of_tensors_wordings_and_formats_are_refused(saved):
    original = (saved / "config.json").read_text()
    record = json.loads(original)
    (saved / "config.json").write_text(json.dumps({**record, "style_digest": "0"}))
    with pytest.raises(CheckpointError, match="the prompt style 'brief' has changed"):
        AffectGPT.from_pretrained(saved)
    (saved / "config.json").write_text(json.dumps({**record, "format": 9}))
    with pytest.raises(CheckpointError, match="has format 9, but this version of affectgpt reads 1"):
        AffectGPT.from_pretrained(saved)
    record["model"]["llm"] = {"name": "os:system", "args": {}}
    (saved / "config.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="names code to import, 'os:system'"):
        AffectGPT.from_pretrained(saved)
    (saved / "config.json").write_text(original)
    tensors = load_file(saved / "model.safetensors")
    tensors["more"] = tensors.pop("projectors.frame.layers.bias")
    save_file(tensors, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 tensors are missing .*1 are unknown \(more\)"):
        AffectGPT.from_pretrained(saved)
    (saved / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.safetensors"):
        AffectGPT.from_pretrained(saved)
    (saved / "self_test.json").unlink()
    with pytest.raises(CheckpointError, match=r"self_test\.json"):
        AffectGPT.from_pretrained(saved)


def test_the_self_test_allows_for_half_precision_where_there_is_any():
    wanted = {"inputs": "x", "values": {"frame": [1.0], "logits": [1.0, -2.0]}, "half": []}
    near = {**wanted, "values": {"frame": [1.01], "logits": [1.01, -2.0]}}
    assert "frame differs by 0.01" in str(self_test.compare(wanted, near))
    assert "frame differs by 0.01" in str(self_test.compare(wanted, {**near, "half": ["logits"]}))
    assert self_test.compare(wanted, {**near, "half": ["frame", "logits"]}) is None
    assert self_test.compare({**wanted, "half": ["frame", "logits"]}, near) is None
    assert self_test.compare(wanted, {**wanted, "values": {"frame": [1.0], "logits": [float("nan"), -2.0]}})
    assert "another hash" in str(self_test.compare(wanted, {**near, "inputs": "y"}))


def test_streams_whose_features_come_with_the_batch_are_tested_too(tmp_path):
    streams = {**STREAMS, "frame": {"encoder": {"name": "precomputed", "args": {"dim": 8}}}}
    model = AffectGPT(streams=streams, llm=TINY_LM, media=MEDIA, style="brief")
    model.save_pretrained(tmp_path / "model")
    assert "frame" in json.loads((tmp_path / "model/self_test.json").read_text())["values"]
    AffectGPT.from_pretrained(tmp_path / "model")


def test_load_takes_whatever_holds_a_model(saved, tmp_path):
    build().save_checkpoint(tmp_path / "model.ckpt")
    states = [AffectGPT.load(source).state_dict() for source in (saved, tmp_path / "model.ckpt")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        AffectGPT.load(tmp_path / "none.ckpt")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from huggingface_hub import constants

    with serve_hub() as (address, held):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.utils._headers.get_token_to_send", lambda _token: None)
        yield held


def test_push_and_pull_through_the_hub(hub):
    model = build()
    address = model.push_to_hub("someone/tiny-affect")
    assert address.endswith(f"someone/tiny-affect/commit/{COMMIT}")
    assert set(hub.files["someone/tiny-affect"]) >= FILES
    again = AffectGPT.from_pretrained("someone/tiny-affect")
    state = again.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    with pytest.raises(CheckpointError, match="no stored model at 'someone/else'"):
        AffectGPT.from_pretrained("someone/else")


def test_a_model_over_a_local_folder_is_not_pushed_as_it_is(hub, lm_folder):
    with pytest.raises(ConfigError, match=r"folders that others do not have \(llm: .*give paths="):
        build(causal(lm_folder)).push_to_hub("someone/tiny-affect")
    assert not hub.calls
    build(causal(lm_folder)).push_to_hub("someone/tiny-affect", paths={"llm": "owner/base"})
    assert b'"path": "owner/base"' in hub.files["someone/tiny-affect"]["config.json"]
    assert str(lm_folder).encode() not in b"".join(hub.files["someone/tiny-affect"].values())
