"""The released model, number for number: states, tokens, logits, loss, gradients and answers of the authors' code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from affectgpt.checkpoints.official.released_file import official_state
from affectgpt.checkpoints.official.released_names import LAYOUTS
from releasedmodel import batch, loaded, off

CASES = [("A", "frame"), ("A", "face"), ("A", "image"), ("B", "frame"), ("C", "frame")]


@pytest.fixture(scope="module")
def oracle(shared: Path) -> Path:
    return shared / "oracle/model"


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest, oracle: Path) -> SimpleNamespace:
    config, name = request.param
    facts = json.loads((oracle / config / f"case_{name}.json").read_text("utf-8"))
    tensors = load_file(oracle / config / f"case_{name}.safetensors")
    model = loaded(oracle, config, facts["face_or_frame"])
    return SimpleNamespace(
        model=model, facts=facts, tensors=tensors, batch=batch(oracle, model, facts), name=name, config=config
    )


def load_grads(folder: Path) -> dict[str, Tensor]:
    return {name.removeprefix("grad::"): g for name, g in load_file(folder / "case_frame_grads.safetensors").items()}


def rendered(case: SimpleNamespace, *, learn: bool = True):
    model, sample = case.model, case.batch
    used = [tuple(model.network.num_tokens)]
    answers = sample.answers if learn else None
    return model.network.renderer(used, model.network.num_tokens, sample.questions, sample.subtitles, answers)


def embeds(case: SimpleNamespace, prompt) -> Tensor:
    from affectgpt.llm import scatter_slots

    tokens = case.model.network.slot_tokens(case.batch)
    present = {name: [True] for name in tokens}
    return scatter_slots(case.model.llm.embed(prompt.ids), prompt.slot_index, prompt.slots, tokens, present)


def test_token_ids_and_labels_are_equal(case):
    prompt = rendered(case)
    ids = torch.tensor(case.facts["input_ids"])
    places = torch.isin(ids, torch.tensor([622, 623, 624, 625, 626]))
    assert torch.equal(prompt.slot_index > 0, places)
    assert torch.equal(prompt.ids[~places], ids[~places])
    assert torch.equal(prompt.labels, torch.tensor(case.facts["labels"]))
    asked = rendered(case, learn=False).ids
    assert asked.shape[1] == int((prompt.labels == -100).sum()) - 1, "a prompt to be answered has no bos"
    assert torch.equal(asked[0], prompt.ids[0, 1 : 1 + asked.shape[1]])


@torch.no_grad()
def test_hidden_states_of_the_encoders(case):
    for name in case.model.specs:
        if f"{name}_hidden" in case.tensors:
            hidden = case.model.network.encode(name, case.batch).hidden
            assert off(hidden, case.tensors[f"{name}_hidden"]) < 1e-5


@torch.no_grad()
def test_projected_tokens_of_every_slot(case):
    tokens = case.model.network.slot_tokens(case.batch)
    assert {f"{name}_llm" for name in tokens} == {name for name in case.tensors if name.endswith("_llm")}
    for name, value in tokens.items():
        assert off(value, case.tensors[f"{name}_llm"]) < 1e-5


@torch.no_grad()
def test_fused_state_in_front_of_the_projector(case):
    if "multi_hidden" not in case.tensors:
        pytest.skip("this layout has no pre-fused token")
    features = [case.model.network.encode(name, case.batch) for name in case.model.network.prefusion_inputs]
    fused = case.model.prefusion(features)
    wanted = case.tensors["multi_hidden"]
    assert off(fused, wanted if wanted.ndim == 3 else wanted[:, None]) < 1e-5


@torch.no_grad()
def test_input_embeddings_and_logits(case):
    prompt = rendered(case)
    given = embeds(case, prompt)
    assert off(given, case.tensors["inputs_embeds"]) < 1e-5
    # the authors mask the last token, since their padding is the end-of-sequence token; nothing is learnt from there
    logits = case.model.llm(given, case.tensors["llm_attention_mask"]).logits
    ours = case.model.llm(given, prompt.keep).logits
    torch.testing.assert_close(ours[:, :-1], logits[:, :-1], rtol=1e-5, atol=1e-5)
    if "logits" in case.tensors:
        assert off(logits, case.tensors["logits"]) < 5e-5
    else:
        learnt = prompt.labels[0, 1:] != -100
        assert off(logits[0, :-1][learnt], case.tensors["logits_supervised"]) < 5e-5


def test_loss_and_gradient_of_every_trained_tensor(case, oracle):
    model = case.model
    model.zero_grad()
    loss = model(case.batch).loss
    loss.backward()
    assert loss.item() == pytest.approx(case.facts["loss"], rel=1e-5)
    layout = LAYOUTS[case.facts["face_or_frame"]]
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = {
        theirs: gradient
        for name, p in trained.items()
        for theirs, gradient in official_state({name: p.grad}, {name}, layout, tied=False).items()
        if not theirs.endswith("position_ids")
    }
    wanted = case.facts["grad_norm"]
    carried = {name.replace("/", ".") for name in model.carried}
    assert {name for name, norm in wanted.items() if norm is None} == carried
    assert found.keys() == wanted.keys() - carried
    full = load_grads(oracle / case.config) if case.name == "frame" else {}
    for name, gradient in found.items():
        # a softmax does not feel the bias of its keys: their gradient is rounding noise, of 1e-8
        assert gradient.double().norm().item() == pytest.approx(wanted[name], rel=1e-3, abs=1e-6), name
        if name in full:
            torch.testing.assert_close(
                gradient, full[name], rtol=1e-3, atol=1e-3 * float(full[name].abs().max()) + 1e-6
            )
    assert not full or found.keys() <= full.keys()
    model.zero_grad()


@torch.no_grad()
def test_greedy_tokens_with_stop_rules(case):
    if "generation" not in case.facts:
        pytest.skip("not recorded for this case")
    prompt = rendered(case, learn=False)
    assert prompt.ids.shape[1] == case.facts["generation"]["prompt_len"]
    given = embeds(case, prompt)
    ids = case.model.llm.write(given, prompt.keep, 20, case.model.style.stop).ids
    assert ids[0].tolist() == case.facts["generation"]["token_ids"]
    answer = case.model.generate(replace(case.batch, answers=None), 20)
    assert answer == [case.facts["generation"]["response"]]


@torch.no_grad()
def test_twenty_greedy_tokens_and_their_logits(case):
    if "gen20_logits" not in case.tensors:
        pytest.skip("not recorded for this case")
    prompt = rendered(case, learn=False)
    ids = torch.tensor([case.facts["generation20"]["token_ids"]])
    given = torch.cat([embeds(case, prompt), case.model.llm.embed(ids)], 1)
    logits = case.model.llm(given, torch.ones(given.shape[:2], dtype=torch.bool)).logits[0]
    logits = logits[prompt.ids.shape[1] - 1 : -1]
    assert off(logits, case.tensors["gen20_logits"]) < 5e-5
    logits[:, [600, 602]] = -torch.inf  # they kept the end of the answer out
    assert logits.argmax(-1).tolist() == ids[0].tolist()


@torch.no_grad()
@pytest.mark.parametrize("ending", ["###", "eos"])
def test_both_ends_of_an_answer(oracle, ending):
    facts = json.loads((oracle / "A/case_frame.json").read_text("utf-8"))
    model = loaded(oracle, "A", facts["face_or_frame"])
    wanted = facts["generation_stop"][ending]
    asked = batch(oracle, model, facts, question=wanted["user_message"], learn=False)
    assert model.generate(asked, wanted["max_new_tokens"]) == [wanted["response"]]
