"""Distillation between views: its terms against a plain computation, its teacher, and the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

import noisebatch
from affectgpt import AffectGPT
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError
from affectgpt.llm.base import LLMHead
from affectgpt.model.objective import learn_by
from affectgpt.post_training.view_distillation import ViewDistillation, divergence, look_at
from affectgpt.types import Batch
from fitconfig import write_fit_config
from quiettrainer import quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore")

CONFIG: dict[str, Any] = {
    **noisebatch.CONFIG,
    "llm": {"name": "tiny", "args": {"dim": 32, "lora": {"rank": 4, "dropout": 0.0}, "trainable": False}},
    "prefusion": "gated",
    "modality_dropout": {"modality": 0.5},
}


def answered(seed: int = 0, size: int = 3) -> Batch:
    """Clips with their answers."""
    answers = tuple("glad and calm"[: 4 + 4 * i] for i in range(size))
    return replace(noisebatch.noise_batch(seed, size), answers=answers)


def build(**changes: Any) -> AffectGPT:
    torch.manual_seed(0)
    model = AffectGPT.from_config({**CONFIG, **changes})
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


def losses_of(model: AffectGPT, objective: ViewDistillation, batch: Batch) -> tuple[float, dict[str, float]]:
    logged: dict[str, float] = {}
    model.log = lambda name, value, **options: logged.update({name: float(value)})  # type: ignore[method-assign]
    torch.manual_seed(7)
    return float(objective.train(model, batch)), logged


def test_the_terms_are_those_of_two_plain_passes() -> None:
    model, batch = build().train(), answered()
    weights = {"answer_weight": 0.7, "token_weight": 0.3, "full_weight": 0.4, "partial_weight": 0.6}
    loss, logged = losses_of(model, ViewDistillation(**weights, temperature=2.0), batch)
    torch.manual_seed(7)
    partial = model.modality_dropout(batch, model.specs, shows_words=True).batch
    assert any(partial.wordless)
    whole_out, partial_out = model(batch), model(partial)
    assert logged["distil/full"] == pytest.approx(float(whole_out.loss), rel=1e-5)
    assert logged["distil/partial"] == pytest.approx(float(partial_out.loss), rel=1e-5)
    kl, count = 0.0, 0
    for i in range(len(batch)):
        one, other = (look_at(model, view.rows([i])) for view in (batch, partial))
        p, q = ((view.logits / 2).softmax(-1) for view in (one, other))
        kl, count = kl + float((p * (p.log() - q.log())).sum()), count + len(p)
    assert logged["distil/answers"] == pytest.approx(4 * kl / count, rel=1e-4)
    tokens = [model.network.look(view) for view in (batch, partial)]
    shown = [i for i, there in enumerate(tokens[1].present["multi"]) if there]
    z, y = (content.tokens["multi"].flatten(1)[shown] for content in tokens)
    assert logged["distil/tokens"] == pytest.approx(float(((z - y) ** 2).sum(1).div((z**2).sum(1)).mean()), rel=1e-4)
    terms = {"answers": 0.7, "tokens": 0.3, "full": 0.4, "partial": 0.6}
    assert loss == pytest.approx(sum(weight * logged[f"distil/{name}"] for name, weight in terms.items()), rel=1e-5)


def test_the_whole_view_is_not_pulled_down() -> None:
    whole = torch.randn(4, 9, requires_grad=True)
    partial = torch.randn(4, 9, requires_grad=True)
    divergence(whole, partial).backward()
    assert whole.grad is None
    assert partial.grad is not None
    assert float(divergence(whole, whole)) == pytest.approx(0, abs=1e-6)


def test_a_head_gives_the_same_logits_with_and_without_its_short_cut() -> None:
    model, batch = build().eval(), answered()
    network = model.network
    content = network.look(batch)
    prompt = network.render(content, batch.questions, batch.subtitles, batch.answers)
    embeds = network.place(prompt, content)
    short = model.llm.answer_logits(embeds, prompt.keep, prompt.labels)
    plain = LLMHead.answer_logits(model.llm, embeds, prompt.keep, prompt.labels)
    torch.testing.assert_close(short, plain, rtol=1e-4, atol=1e-5)


def fit(teacher: str) -> dict[str, torch.Tensor]:
    lightning.seed_everything(3, verbose=False)
    model = AffectGPT.from_config(CONFIG)
    learn_by(model, ViewDistillation(teacher=teacher, token_weight=0.1))
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(model, DataLoader([answered(seed) for seed in range(3)], batch_size=None))
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("teacher", ["current", "start"])
def test_it_learns(teacher: str) -> None:
    lightning.seed_everything(3, verbose=False)
    before = AffectGPT.from_config(CONFIG).state_dict()
    after = fit(teacher)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"poolings", "prefusion", "projectors", "llm"}


def test_the_teacher_of_the_start_stays_and_goes_into_checkpoints(tmp_path: Path) -> None:
    objective = ViewDistillation(teacher="start")
    model = build().train()
    assert objective.reference is not None
    objective.reference.remember(model)
    _, first = losses_of(model, objective, answered())
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.2 * torch.randn_like(weight))
    _, moved = losses_of(model, objective, answered())
    assert moved["distil/answers"] > first["distil/answers"]
    (state,) = objective.callbacks()
    other = ViewDistillation(teacher="start")
    (restored,) = other.callbacks()
    restored.load_state_dict(state.state_dict())
    _, again = losses_of(model, other, answered())
    assert again["distil/answers"] == pytest.approx(moved["distil/answers"], rel=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"answer_weight": -1}, "answer_weight is -1"),
        ({"teacher": "future"}, "choose one of current, start"),
        ({"answer_weight": 0, "full_weight": 0, "partial_weight": 0}, "nothing would be learnt"),
        ({"temperature": 1e-30}, "at least 0.01"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ViewDistillation(**given)


def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(ConfigError, match=r"set model\.modality_dropout"):
        ViewDistillation().train(build(modality_dropout=None), answered())
    with pytest.raises(ConfigError, match="needs answers"):
        ViewDistillation().train(build(), replace(answered(), answers=None))
    with pytest.raises(ConfigError, match="token_weight needs pre-fused tokens"):
        ViewDistillation(token_weight=1).train(build(prefusion="none"), answered())


def test_fit_distils_between_views(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_fit_config(
        tmp_path / "run.yaml",
        shards,
        model={"prefusion": "experts", "modality_dropout": {"modality": 0.5}},
        trainer={"max_steps": 2, "log_every_n_steps": 1, "default_root_dir": str(tmp_path / "run")},
        objective={"name": "view-distillation", "args": {"answer_weight": 0.5}},
    )
    assert main(["fit", "--config", str(run)]) == 0
    (metrics,) = (tmp_path / "run").rglob("metrics.csv")
    head = metrics.read_text().splitlines()[0].split(",")
    assert {"distil/answers", "distil/partial", "distil/full", "train/loss", "train/without_audio"} <= {*head}
