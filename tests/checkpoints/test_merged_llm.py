"""An exported language model computes what the model computes, and transformers reads it without us."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from affectgpt import AffectGPT
from affectgpt.checkpoints.merged_llm import RECORD, check_mergeable, export_merged
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError
from gruhead import GruHead


def adapted(**lora) -> AffectGPT:
    """A model whose adapters, which begin at zero, were moved as training moves them."""
    torch.manual_seed(0)
    llm = {"name": "tiny", "args": {"lora": {"rank": 4, "alpha": 8} | lora, "trainable": False}}
    model = AffectGPT.from_config({"streams": {"audio": "tiny-audio"}, "llm": llm}).eval()
    for name, weight in model.llm.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.2)
    return model


def logits_of(network, embeds: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(inputs_embeds=embeds, use_cache=False).logits


@pytest.mark.parametrize("lora", [{}, {"rslora": True}, {"dora": True}], ids=["lora", "rslora", "dora"])
def test_the_folder_gives_the_models_logits_and_the_model_is_as_before(lora, tmp_path) -> None:
    model = adapted(**lora)
    embeds = torch.randn(2, 9, model.llm.hidden_dim, generator=torch.Generator().manual_seed(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = logits_of(model.llm.network, embeds)
    with model.llm.network.disable_adapter():
        assert (logits_of(model.llm.network, embeds) - expected).abs().max() > 0.01, "the adapters change nothing"
    facts = export_merged(model, tmp_path / "out")
    assert facts.adapters == 14
    assert facts.logit_difference < 1e-5
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out", trust_remote_code=False)
    assert not hasattr(loaded, "peft_config")
    assert (logits_of(loaded, embeds) - expected).abs().max() <= 1e-5
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=False)
    text = "She is fine.<eos>"
    ours = model.llm.tokenizer([text], add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tokenizer([text], add_special_tokens=False, split_special_tokens=True)["input_ids"] == ours
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".json", ".safetensors", ".md"}
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "14 adapters merged, in float32" in card
    assert "None is recorded" in card
    assert json.loads((tmp_path / "out" / RECORD).read_text())["hidden_dim"] == model.llm.hidden_dim


def test_adapters_are_merged_before_the_weights_are_rounded(tmp_path) -> None:
    model = adapted()
    whole, half = tmp_path / "whole", tmp_path / "half"
    export_merged(model, whole)
    facts = export_merged(model, half, dtype="bfloat16")
    assert facts.dtype == "bfloat16"
    assert facts.logit_difference < 0.1
    pair = [AutoModelForCausalLM.from_pretrained(folder, dtype="auto").state_dict() for folder in (whole, half)]
    assert all(torch.equal(pair[0][name].bfloat16(), value) for name, value in pair[1].items())


def test_a_model_without_adapters_is_exported_as_it_is(tmp_path) -> None:
    model = AffectGPT.from_config({"streams": {"audio": "tiny-audio"}, "llm": "tiny"}).eval()
    assert export_merged(model, tmp_path / "out").adapters == 0
    weights = AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in model.llm.network.state_dict().items())


def test_what_cannot_be_merged_is_refused_with_what_to_do(tmp_path) -> None:
    with pytest.raises(ConfigError, match="GruHead, which holds no model of transformers"):
        check_mergeable(GruHead())
    model = adapted()
    with pytest.raises(ConfigError, match="unknown dtype 'int8'"):
        export_merged(model, tmp_path / "out", dtype="int8")
    model.llm.network.get_base_model().config.quantization_config = SimpleNamespace(load_in_4bit=True)
    with pytest.raises(ConfigError, match="with quantize null"):
        export_merged(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_verb_writes_the_folder_and_says_what_it_wrote(tmp_path, capsys) -> None:
    model = adapted()
    model.save_checkpoint(tmp_path / "model.ckpt")
    folder = tmp_path / "merged"
    call = ["export", str(tmp_path / "model.ckpt"), str(folder)]
    assert main(call) == 1
    assert "say --merged" in capsys.readouterr().err
    assert main([*call, "--merged", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["adapters"] == 14
    assert set(told["written"]) == {str(path) for path in folder.iterdir()}
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    embeds = torch.randn(1, 5, model.llm.hidden_dim)
    assert (logits_of(loaded, embeds) - logits_of(model.llm.network, embeds)).abs().max() <= 1e-5
    assert main([*call, "--merged"]) == 1
    assert "exists already" in capsys.readouterr().err
