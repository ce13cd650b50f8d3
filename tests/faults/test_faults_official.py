"""Checkpoints that belong to something else (failure 30), and files that would run code (failure 31)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.checkpoints.official.convert import save_official
from affectgpt.errors import CheckpointError, ConfigError
from conftest import load_script

LAYOUT = "multiface_audio_face_text"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("tools/golden_released.py")


@pytest.fixture(scope="module")
def released(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A tiny checkpoint in the released format, and the folders of its networks."""
    root = tmp_path_factory.mktemp("released")
    folders = script.write_networks(root)
    script.write_checkpoint(root / "released.pth", "A", folders)
    return SimpleNamespace(path=root / "released.pth", folders=folders)


def load(released: SimpleNamespace, path: Path | None = None, **other: str) -> AffectGPT:
    return AffectGPT.from_official(
        path or released.path, layout=LAYOUT, llm_dtype="float32", **{**released.folders, **other}
    )


@pytest.fixture(scope="module")
def model(released: SimpleNamespace) -> AffectGPT:
    return load(released)


@pytest.fixture
def edited(released: SimpleNamespace, tmp_path: Path) -> Callable[..., Path]:
    def edit(change: Callable[[dict[str, Any]], None]) -> Path:
        content = torch.load(released.path, weights_only=True)
        change(content)
        torch.save(content, tmp_path / "edited.pth")
        return tmp_path / "edited.pth"

    return edit


def other_language_model(released: SimpleNamespace, folder: Path, **changes: Any) -> str:
    from transformers import AutoConfig, AutoModelForCausalLM

    shutil.copytree(released.folders["llm"], folder)
    config = AutoConfig.from_pretrained(folder)
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return str(folder)


def test_a_language_model_of_another_width_is_refused_before_it_is_read(released, tmp_path):
    other = other_language_model(released, tmp_path / "wide", hidden_size=32)
    (tmp_path / "wide/model.safetensors").unlink()  # the refusal comes from the shapes alone
    with pytest.raises(CheckpointError, match=r"of another shape: .*expected \(32,"):
        load(released, llm=other)


def test_a_language_model_with_more_layers_is_refused(released, tmp_path):
    other = other_language_model(released, tmp_path / "deep", num_hidden_layers=3, layer_types=["full_attention"] * 3)
    with pytest.raises(CheckpointError, match=r"14 missing: .*layers\.2\..*lora_A"):
        load(released, llm=other)


def test_another_language_model_of_the_same_shape_shows_in_the_self_test(released, model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    other = other_language_model(released, tmp_path / "same")
    with pytest.raises(CheckpointError, match="self-test failed: logits differs"):
        AffectGPT.from_pretrained(tmp_path / "saved", paths={"llm": other})


def test_a_tokenizer_that_is_larger_than_the_embedding_is_refused(released, tmp_path):
    other = other_language_model(released, tmp_path / "small", vocab_size=200)
    with pytest.raises(CheckpointError, match="has 261 tokens, but the network's embedding has 200 rows"):
        load(released, llm=other)


def test_a_tokenizer_without_the_published_tokens_is_refused(released, tmp_path):
    from affectgpt.llm.tiny import byte_tokenizer

    shutil.copytree(released.folders["llm"], tmp_path / "llm")
    byte_tokenizer().save_pretrained(tmp_path / "llm")
    with pytest.raises(ConfigError, match=r"no token '<\|im_start\|>' to use as bos"):
        load(released, llm=str(tmp_path / "llm"))


def test_adapters_of_another_rank_and_other_fusions_are_refused(released, edited):
    def halve_one(content: dict[str, Any]) -> None:
        name = next(name for name in content["model"] if "lora_A" in name)
        content["model"][name] = content["model"][name][:2]

    with pytest.raises(CheckpointError, match=r"adapters have the rank \[2, 4\]"):
        load(released, edited(halve_one))
    path = edited(lambda content: content["config"]["model"].update(audio_fusion_type="mean"))
    with pytest.raises(CheckpointError, match=r"2 unknown: audio_attention_mlp\.bias, audio_attention_mlp\.weight"):
        load(released, path)
    path = edited(lambda content: content["config"]["model"].update(multi_fusion_type="qformer"))
    with pytest.raises(CheckpointError, match="lacks 'multi_query_tokens'"):
        load(released, path)


def test_a_cut_file_is_refused_as_such(released, tmp_path):
    (tmp_path / "cut.pth").write_bytes(released.path.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match=r"cut\.pth cannot be read as a checkpoint .*it is cut"):
        load(released, tmp_path / "cut.pth")


class Attack:
    """What unpickling would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("ending", [".pth", ".ckpt"])
def test_no_code_in_a_file_is_run(released, tmp_path, ending):
    mark, path = tmp_path / "ran", tmp_path / f"attack{ending}"
    torch.save({"model": {}, "config": Attack(mark), "state_dict": {}, "hyper_parameters": {}}, path)
    with pytest.raises(CheckpointError, match="contains more than tensors and plain values"):
        load(released, path) if ending == ".pth" else AffectGPT.from_checkpoint(path)
    assert not mark.exists()


def test_a_part_that_names_code_is_refused_in_every_form(model, tmp_path):
    model.save_checkpoint(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    content["hyper_parameters"]["streams"]["audio"]["encoder"] = {"name": "os.path:join", "args": {}}
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"names code to import, 'os\.path:join'"):
        AffectGPT.load(tmp_path / "a.ckpt")


def test_a_crash_while_writing_leaves_what_was_there(model, tmp_path, monkeypatch):
    save_official(model, tmp_path / "out.pth")
    before = (tmp_path / "out.pth").read_bytes()

    def die(*_args: Any, **_kwargs: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", die)
    with pytest.raises(OSError, match="No space left"):
        save_official(model, tmp_path / "out.pth")
    assert [file.name for file in tmp_path.iterdir()] == ["out.pth"]
    assert (tmp_path / "out.pth").read_bytes() == before
