"""Learning from preferences: one step against a plain reference, both tasks, undecided pairs, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from affectgpt import AffectGPT
from affectgpt.datamodules.collate import collate
from affectgpt.datamodules.questions import question_and_answer
from affectgpt.errors import ConfigError
from affectgpt.manifests.record import SampleError
from affectgpt.model.objective import learn_by
from affectgpt.post_training.dpo import Dpo, finds_better_likelier, pairs_of
from affectgpt.prompts import get_style
from affectgpt.types import Batch, Clip, PreferencePair
from quiettrainer import quiet_trainer
from rewardrun import CONFIG, Noted, clips_of

BRIEF = get_style("brief")


def model_that_has_learnt() -> AffectGPT:
    """A model whose adapters change something, in eval mode."""
    torch.manual_seed(1)
    model = AffectGPT.from_config(CONFIG)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    return model.eval()


def fit(objective: Dpo, model: AffectGPT, batches: list[Batch], **options: Any) -> Noted:
    torch.set_num_threads(1)
    learn_by(model, objective)
    noted = Noted()
    trainer = quiet_trainer(callbacks=[noted], **{"max_epochs": 1, **options})
    trainer.fit(model, DataLoader(batches, batch_size=None))
    return noted


def slow_logprob(model: AffectGPT, clip: Batch, text: str) -> torch.Tensor:
    """Sum of the log-probabilities of an answer's tokens, from all logits."""
    content = model.network.look(clip)
    prompt = model.network.render(content, clip.questions, clip.subtitles)
    answer = torch.tensor([model.network.renderer.answer_ids([text])[0]])
    embeds = torch.cat([model.network.place(prompt, content), model.llm.embed(answer)], 1)
    seen = torch.cat([prompt.keep, torch.ones_like(answer, dtype=torch.bool)], 1)
    logits = model.llm(embeds, seen).logits[0, -answer.shape[1] - 1 : -1]
    return logits.log_softmax(-1).gather(1, answer[0][:, None]).sum()


@pytest.mark.parametrize("kind", ["start", "adapters-off"])
def test_one_step_has_the_loss_and_gradients_of_a_plain_reference(kind: str) -> None:
    model, batch = model_that_has_learnt(), clips_of(range(5))
    total, losses = torch.zeros(()), []
    for row, pair in enumerate(batch.pairs):
        assert pair is not None
        if not pair.is_decided:
            continue
        clip = batch.rows([row])
        new = [slow_logprob(model, clip, text) for text in (pair.better, pair.worse)]
        anchors = [one.detach() for one in new]
        if kind == "adapters-off":
            with torch.no_grad(), model.llm.without_adapters():
                anchors = [slow_logprob(model, clip, text) for text in (pair.better, pair.worse)]
        margin = 0.2 * ((new[0] - anchors[0]) - (new[1] - anchors[1]))
        losses.append(-torch.log(1 / (1 + torch.exp(-margin))))
    assert len(losses) == 3
    total = torch.stack(losses).mean()
    total.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    noted = fit(Dpo(beta=0.2, reference=kind, pairs_per_pass=2, clip_norm=None), model, [batch])
    assert noted.figures["train/loss"] == pytest.approx(float(total), abs=1e-5)
    assert noted.figures["train/undecided_pairs"] == 2
    if kind == "start":
        assert float(total) == pytest.approx(math.log(2), abs=1e-6)
    assert noted.gradients.keys() == expected.keys()
    assert max(float(g.abs().max()) for g in expected.values()) > 1e-3
    for name, gradient in expected.items():
        torch.testing.assert_close(noted.gradients[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_the_better_answer_becomes_likelier_than_the_worse_one() -> None:
    model, batch = model_that_has_learnt(), clips_of(range(4))
    noted = fit(Dpo(beta=0.5), model, [batch] * 10)
    assert noted.figures["dpo/margin"] == pytest.approx(0, abs=1e-5)
    model.eval()
    start = model_that_has_learnt()
    for row, pair in enumerate(batch.pairs):
        assert pair is not None
        clip = batch.rows([row])
        with torch.no_grad():
            better, worse = (
                slow_logprob(model, clip, text) - slow_logprob(start, clip, text) for text in (pair.better, pair.worse)
            )
        assert not pair.is_decided or better > worse + 1


def test_the_likelier_answer_is_that_of_all_logits() -> None:
    model, batch = model_that_has_learnt(), clips_of(range(6))
    with torch.no_grad():
        worth = [
            [slow_logprob(model, batch.rows([row]), text) for text in (pair.better, pair.worse)]
            for row, pair in enumerate(batch.pairs)
        ]
    found = finds_better_likelier(model, batch)
    assert found == [bool(better > worse) for better, worse in worth]
    assert {True, False} == {*found}


def test_a_batch_without_a_preference_leaves_the_weights_alone() -> None:
    model = model_that_has_learnt()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    batch = clips_of(range(2))
    noted = fit(Dpo(), model, [replace(batch, pairs=tuple(PreferencePair("a", "b", False) for _ in batch.pairs))])
    assert noted.gradients == {}
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_pairs_are_descriptions_or_verdicts() -> None:
    clip = Clip("c", {"audio": torch.ones(1, 1600)}, extra={"pair": {"a1": "Sad.", "a2": "Glad.", "preference": "a2"}})
    asked = {
        task: collate([clip], *([one] for one in question_and_answer(task, clip, seed=0, epoch=0, style=BRIEF)))
        for task in ("preferred", "preference_as_given", "preference_swapped")
    }
    assert asked["preferred"].answers == ("Glad.",)
    assert pairs_of(asked["preferred"], BRIEF) == [PreferencePair("Glad.", "Sad.", True)]
    assert pairs_of(asked["preference_as_given"], BRIEF) == [PreferencePair(" a2", " a1", True)]
    assert pairs_of(asked["preference_swapped"], BRIEF) == [PreferencePair(" a1", " a2", True)]
    same = replace(clip, extra={"pair": {"a1": "Sad.", "a2": "Glad.", "preference": "same"}})
    for task in ("preferred", "preference_as_given"):
        batch = collate([same], *([one] for one in question_and_answer(task, same, seed=0, epoch=0, style=BRIEF)))
        assert [pair.is_decided for pair in pairs_of(batch, BRIEF)] == [False]
    with pytest.raises(SampleError, match="'bare' has no two descriptions"):
        question_and_answer("preferred", Clip("bare"), seed=0, epoch=0)
    with pytest.raises(ConfigError, match="sample 'c' brings no pair of answers"):
        pairs_of(replace(asked["preferred"], pairs=()), BRIEF)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": 0.0}, "beta is 0.0"),
        ({"reference": "other"}, "choose one of start, adapters-off"),
        ({"pairs_per_pass": 0}, "pairs_per_pass is 0"),
        ({"clip_norm": -1.0}, "clip_norm -1.0"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Dpo(**changes)
