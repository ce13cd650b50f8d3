"""Learning from rewards: one step against a plain reference, exact resume, and what is left alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from affectgpt import AffectGPT
from affectgpt.errors import ConfigError
from affectgpt.model.objective import learn_by
from affectgpt.post_training import grpo as grpo_module
from affectgpt.post_training.grpo import Grpo
from affectgpt.post_training.reference import Reference
from affectgpt.post_training.rollouts import Rollouts
from affectgpt.training.random_states import RandomStates
from affectgpt.types import Batch
from noisebatch import CONFIG, noise_batch
from quiettrainer import quiet_trainer
from rewardrun import Vowels


class Watcher(lightning.Callback):
    """Keeps the gradients and the reward of every step."""

    def __init__(self) -> None:
        self.start: dict[str, torch.Tensor] = {}
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.rewards: list[float] = []
        self.figures: dict[str, float] = {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.start = copy.deepcopy(pl_module.state_dict())

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.gradients.append({n: p.grad.clone() for n, p in pl_module.named_parameters() if p.grad is not None})

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rewards.append(self.figures["train/reward"])


def fit(
    objective: Grpo,
    batches: Sequence[Batch],
    callbacks: Sequence[Any] = (),
    llm: Any = CONFIG["llm"],
    optim: Any = CONFIG["optim"],
    **options: Any,
) -> tuple[AffectGPT, Watcher]:
    torch.set_num_threads(1)
    lightning.seed_everything(3, verbose=False)
    model = AffectGPT.from_config({**CONFIG, "llm": llm, "optim": optim})
    learn_by(model, objective)
    watcher = Watcher()
    path = options.pop("ckpt_path", None)
    trainer = quiet_trainer(callbacks=[watcher, RandomStates(3), *callbacks], **{"max_epochs": 1, **options})
    trainer.fit(model, DataLoader(batches, batch_size=None), ckpt_path=path)
    return model, watcher


def slow_gradients(model: AffectGPT, rollouts: Rollouts, kl_weight: float) -> dict[str, torch.Tensor]:
    """The gradients of GRPO's loss, answer by answer and from all logits."""
    model.zero_grad()
    model.eval()
    batch = replace(rollouts.batch, features={})
    rewards = Vowels()(rollouts.answers).view(len(batch), -1)
    advantages = ((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-6)).flatten()
    total = torch.zeros(())
    teaches = (rewards.max(1).values > rewards.min(1).values).repeat_interleave(rewards.shape[1]).tolist()
    for i, (ids, keep) in enumerate(zip(rollouts.ids, rollouts.keep, strict=True)):
        if not teaches[i]:
            continue
        clip = batch.rows([i // rollouts.group_size])
        answer = ids[keep][None]
        content = model.network.look(clip)
        prompt = model.network.render(content, clip.questions, clip.subtitles)
        embeds = torch.cat([model.network.place(prompt, content), model.llm.embed(answer)], 1)
        seen = torch.cat([prompt.keep, torch.ones_like(answer, dtype=torch.bool)], 1)
        logits = model.llm(embeds, seen).logits[0, -answer.shape[1] - 1 : -1]
        new = logits.log_softmax(-1).gather(1, answer[0][:, None]).squeeze(1)
        drift = new.detach() - new  # the reference is where the step begins
        terms = -(new - new.detach()).exp() * advantages[i] + kl_weight * (drift.exp() - drift - 1)
        total = total + terms.mean() / sum(teaches)
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_one_step_has_the_gradients_of_a_plain_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Rollouts] = []
    write = grpo_module.write_rollouts

    def noted(*args: Any) -> Rollouts:
        kept.append(write(*args))
        return kept[-1]

    monkeypatch.setattr(grpo_module, "write_rollouts", noted)
    options = {"group_size": 3, "clip_norm": None, "answers_per_pass": 4, "kl_weight": 0.1}
    model, watcher = fit(Grpo({"vowels": "vowels"}, **options), [noise_batch()])
    model.load_state_dict(watcher.start)
    expected = slow_gradients(model, kept[0], 0.1)
    (found,) = watcher.gradients
    assert found.keys() == expected.keys()
    assert max(float(g.abs().max()) for g in expected.values()) > 1e-3
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_the_reward_rises() -> None:
    batches = [noise_batch(0)] * 30
    llm = {"name": "tiny", "args": {"dim": 32, "lora": None, "trainable": True}}
    _, watcher = fit(Grpo({"vowels": "vowels"}, group_size=8, kl_weight=0.0, variant="dapo"), batches, llm=llm)
    assert sum(watcher.rewards[-5:]) > sum(watcher.rewards[:5]) + 0.5


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    def objective() -> Grpo:
        return Grpo({"vowels": "vowels"}, group_size=3, num_updates=2, watch_steps=1)

    class Save(lightning.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    batches = [noise_batch(0), noise_batch(1)]
    whole, _ = fit(objective(), batches, [Save()], max_epochs=4)
    again, _ = fit(objective(), batches, max_epochs=4, ckpt_path=tmp_path / "half.ckpt")
    for (name, first), second in zip(whole.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(first, second), name


def test_groups_without_spread_leave_the_weights_alone() -> None:
    flat = {"format": {"name": "length", "args": {"free": 100, "most": 200}}}
    model, watcher = fit(Grpo(flat, group_size=2), [noise_batch()])
    assert watcher.gradients == []
    assert all(torch.equal(value, watcher.start[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", ["start", "adapters-off"])
def test_a_reference_stands_in_and_goes_again(kind: str) -> None:
    torch.manual_seed(0)
    model = AffectGPT.from_config(CONFIG).eval()
    batch = replace(noise_batch(), answers=("joy", "fear"))
    before = model(batch).loss
    reference = Reference(kind)
    reference.remember(model)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad and name.startswith("llm."):
                p += 0.5
        changed = model(batch).loss
        with reference.in_place(model):
            inside = model(batch).loss
        assert torch.equal(model(batch).loss, changed)
    assert not torch.isclose(changed, before)
    torch.testing.assert_close(inside, before)  # fresh adapters add nothing, so both references are the start


def test_groups_without_spread_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[tuple[int, ...]] = []
    pass_on = grpo_module.answer_pass

    def noted(model: Any, rollouts: Rollouts, piece: Any) -> Any:
        passed.append(piece.clips)
        return pass_on(model, rollouts, piece)

    def flat(rewards: torch.Tensor) -> torch.Tensor:
        return torch.tensor([False, True, True])

    monkeypatch.setattr(grpo_module, "answer_pass", noted)
    monkeypatch.setattr(grpo_module, "has_spread", flat)
    _, watcher = fit(Grpo({"vowels": "vowels"}, group_size=2, kl_weight=0.0, answers_per_pass=2), [noise_batch(size=3)])
    assert passed == [(1,), (2,)]
    assert watcher.figures["train/groups_without_spread"] == 1


@pytest.mark.parametrize("updates", [1, 3])
def test_old_log_probabilities_stay_while_the_weights_move(updates: int) -> None:
    objective = Grpo({"vowels": "vowels"}, group_size=16, kl_weight=0.0, num_updates=updates)
    _, watcher = fit(objective, [noise_batch()], optim={"lr": 0.1, "warmup_steps": 0})
    assert len(watcher.gradients) == updates
    # the first update is on-policy, so no ratio is clipped; what is logged last is that of the last update
    assert (watcher.figures["train/clipped_ratios"] > 0) == (updates > 1)


def test_a_clip_without_true_labels_is_named() -> None:
    with pytest.raises(ConfigError, match="'clip0-1' has no true label"):
        fit(Grpo({"vowels": "vowels"}), [replace(noise_batch(), labels=(("joyful",), ()))])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 1}, "group_size is 1; expected a whole number from 2"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"variant": "ppo"}, "known: grpo, dr-grpo, dapo"),
        ({"reference": "other"}, "choose one of start, adapters-off"),
        ({"kl_weight": -1.0}, "kl_weight is -1.0"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Grpo({"vowels": "vowels"}, **changes)
