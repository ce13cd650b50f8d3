"""A released model goes on training: what moves, what stays, and what its checkpoint holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.data import DataLoader

from affectgpt import AffectGPT
from affectgpt.checkpoints.official.convert import save_official
from affectgpt.checkpoints.official.released_file import read_official
from affectgpt.checkpoints.self_test import fixed_batch
from conftest import load_script
from quiettrainer import quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("tools/golden_released.py")


def test_released_weights_go_on_training(script, tmp_path: Path) -> None:
    folders = script.write_networks(tmp_path)
    script.write_checkpoint(tmp_path / "released.pth", "A", folders)
    layout = script.LAYOUTS["A"]
    model = AffectGPT.from_official(tmp_path / "released.pth", layout=layout, llm_dtype="float32", **folders).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batch = replace(fixed_batch(model), answers=("calm",))
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(model, DataLoader([batch, batch], batch_size=None))
    trainer.save_checkpoint(tmp_path / "last.ckpt")

    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == trained
    assert not any(name.startswith("carried.") for name in trained)
    assert model.carried, "the image projector has no place in this layout"

    again = AffectGPT.from_checkpoint(tmp_path / "last.ckpt")
    save_official(again, tmp_path / "back.pth")
    old, new = read_official(tmp_path / "released.pth"), read_official(tmp_path / "back.pth")
    assert old.tensors.keys() == new.tensors.keys()
    assert torch.equal(old.tensors["image_llama_proj.weight"], new.tensors["image_llama_proj.weight"])
    assert not torch.equal(old.tensors["affectgpt_proj.weight"], new.tensors["affectgpt_proj.weight"])


def test_the_output_layer_of_a_tied_language_model_is_in_released_files(script, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    folders = script.write_networks(tmp_path)
    config = AutoConfig.from_pretrained(folders["llm"])
    config.tie_word_embeddings = True
    network = AutoModelForCausalLM.from_config(config)
    network.save_pretrained(folders["llm"])
    script.write_checkpoint(tmp_path / "released.pth", "C", folders)
    content = torch.load(tmp_path / "released.pth", weights_only=True)
    content["model"]["llama_model.base_model.model.lm_head.weight"] = network.lm_head.weight.detach().clone()
    torch.save(content, tmp_path / "released.pth")

    model = AffectGPT.from_official(tmp_path / "released.pth", layout="frame", llm_dtype="float32", **folders)
    save_official(model, tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)["model"]
    assert back.keys() == content["model"].keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in content["model"].items())
