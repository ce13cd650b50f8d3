"""The verbs that take a configuration show our arguments first, and say what could stand where a key is misspelt."""

from __future__ import annotations

import pytest

from affectgpt.cli.main import main
from affectgpt.cli.parser_errors import explain

pytestmark = pytest.mark.filterwarnings("ignore")

CONFIG = """
model: {streams: {audio: {encoder: {name: tiny-audio}}}, llm: {name: tiny}, prefusion: {name: none}}
data: {name: mercaption, args: {train: nowhere}}
"""


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
def test_help_is_short_and_shows_ours_first(verb, capsys):
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    places = [shown.index(word) for word in ("--config", "slot_dropout", "warmup_steps", "batch_size", "max_epochs")]
    assert places == sorted(places)
    assert "example: affectgpt fit --config" in shown
    assert len(shown.splitlines()) <= 46
    assert max(map(len, shown.splitlines())) <= 120


def test_a_section_is_explained_when_asked_for(capsys):
    assert main(["fit", "--help", "optim"]) == 0
    assert "Learning rate after the warm-up." in capsys.readouterr().out
    assert main(["fit", "--help", "models"]) == 1
    assert "Did you mean 'model'?" in capsys.readouterr().err


def test_all_arguments_are_a_call_away(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help-all"])
    assert "--trainer.accumulate_grad_batches" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--model.llmm", "x"], "unknown key 'model.llmm'. Did you mean 'model.llm'? model takes: streams, llm"),
        (["--dta", "x"], "Did you mean 'data'?"),
        (["--model.optim.lrr", "1"], "model.optim has no 'lrr'. Did you mean 'lr'? It takes: lr, lr_of"),
        (["--model.streams.audio.encodr", "x"], "has no 'encodr'. Did you mean 'encoder'?"),
        (["--trainer.max_epochs", "many"], "trainer.max_epochs is 'many'. Expected: int, nothing"),
        (["--trainer.precision", "bf17"], "Did you mean 'bf16'?"),
    ],
)
def test_a_misspelt_key_or_value_is_answered_with_valid_ones(wrong, says, tmp_path, capsys):
    (tmp_path / "run.yaml").write_text(CONFIG)
    assert main(["fit", "--config", str(tmp_path / "run.yaml"), *wrong]) == 1
    assert says in capsys.readouterr().err


def test_a_misspelt_key_of_a_file_is_answered_too(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text(CONFIG.replace("llm: {name: tiny}", "llm: {name: tiny}, max_toknes: 3"))
    assert main(["fit", "--config", str(tmp_path / "run.yaml")]) == 1
    assert "'model.max_toknes'. Did you mean 'model.max_tokens'?" in capsys.readouterr().err


def test_what_it_does_not_know_stays_as_it_is():
    assert explain("something else\nusage: affectgpt", []) == "something else"


def test_names_of_enumerations_reach_nobody(shards, tmp_path, capsys):
    config = CONFIG.replace("nowhere", str(shards)).replace(
        "}}\n", "}}\ntrainer: {logger: false, accelerator: cpu}\n", 1
    )
    (tmp_path / "run.yaml").write_text(config)
    for verb, stage in (("test", "test"), ("validate", "val"), ("predict", "predict")):
        assert main([verb, "--config", str(tmp_path / "run.yaml"), "--untrained"]) == 1
        said = capsys.readouterr().err
        assert f"no {stage} data" in said
        assert "TrainerFn" not in said
