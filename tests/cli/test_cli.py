"""The command line as its user meets it: answers, one-line errors, exit codes, nothing half-written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from affectgpt import AffectGPT
from affectgpt.cli.main import VERBS, main
from affectgpt.cli.verb_parser import SCREEN_LINES
from clipmaker import make_clip

ROOT = Path(__file__).resolve().parents[2]


def test_overview_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)
    assert main(["--version"]) == 0


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("fit", "validate", "test")])
def test_every_verb_has_help_with_an_example(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert re.search(r"^examples?:(?: |\n  )affectgpt ", shown, re.MULTILINE)
    assert shown.startswith("usage: affectgpt")
    assert len(shown.splitlines()) <= SCREEN_LINES + 1


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("fit", "validate", "test")])
def test_the_whole_help_explains_every_option_that_the_short_one_names(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked in ("--help", "--help-all"):
        with pytest.raises(SystemExit):
            main([verb, asked])
    short, _, whole = capsys.readouterr().out.rpartition("usage: affectgpt")
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", short)) - {"--help-all"}
    assert named
    assert [option for option in named if not re.search(rf"{option}\b", whole)] == []


def test_unknown_verb_gets_a_near_match(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pak"]) == 2
    assert "Did you mean 'pack'" in capsys.readouterr().err


def test_doctor_and_parts_speak_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["packages"]["torch"] != "missing"
    assert main(["parts", "poolings", "--json"]) == 0
    assert {e["name"] for e in json.loads(capsys.readouterr().out)["poolings"]} >= {"mean", "attention", "qformer"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    """A folder with a configuration of tiny parts, trained through the command line."""
    folder = tmp_path_factory.mktemp("run")
    config = yaml.safe_load((ROOT / "experiments" / "real_clips_smollm2.yaml").read_text())
    config["model"]["llm"] = {"name": "tiny", "args": {"dim": 32}}
    config["model"] |= {"media": {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25}, "max_new_tokens": 8}
    config["data"]["args"] |= {"train": str(shards), "val": str(shards), "predict": str(shards), "batch_size": 5}
    config["trainer"] |= {"max_epochs": 4, "accelerator": "cpu", "default_root_dir": str(folder)}
    config["trainer"]["logger"]["init_args"]["save_dir"] = str(folder)
    config["trainer"]["callbacks"][0]["init_args"]["dirpath"] = str(folder)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(folder / "config.yaml"), "--debug"]) == 0
    return folder


def test_fit_trains_from_the_experiment_and_its_loss_falls(trained: Path) -> None:
    rows = (trained / "log" / "version_0" / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("train/loss")
    losses = [float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]]
    assert losses[-1] < losses[0]
    assert torch.load(trained / "last.ckpt", weights_only=True)["hyper_parameters"]["style"] == "brief"


def test_training_goes_on_from_a_checkpoint_and_refuses_a_foreign_one(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["--config", str(trained / "config.yaml"), "--ckpt_path", str(trained / "last.ckpt")]
    assert main(["validate", *base]) == 0
    assert main(["validate", *base, "--model.prefusion", "none"]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: the checkpoint belongs to another configuration; prefusion.name: 'attention'")


def test_predict_answers_files_as_text_and_json(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mute.mp4").write_bytes(make_clip(0.5, audio=False))
    checkpoint = str(trained / "last.ckpt")
    assert main(["predict", str(tmp_path / "mute.mp4"), "--checkpoint", checkpoint, "--subtitle", "Hi."]) == 0
    shown = capsys.readouterr().out
    assert "missing    audio: " in shown
    assert "used       frame, subtitle" in shown
    assert main(["predict", str(tmp_path / "mute.mp4"), "--checkpoint", checkpoint, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    fields = {"key", "text", "labels", "description", "sentiment", "transcript", "used", "missing", "seconds"}
    assert set(answer) == fields
    assert set(answer["missing"]) == {"audio", "subtitle"}


def test_predict_answers_the_good_files_and_reports_the_bad_one(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.mp4").write_bytes(make_clip(0.5))
    (tmp_path / "bad.mp4").write_text("no video")
    files = [str(tmp_path / "bad.mp4"), str(tmp_path / "good.mp4")]
    out = tmp_path / "answers.jsonl"
    assert main(["predict", *files, "--checkpoint", str(trained / "last.ckpt"), "--out", str(out)]) == 1
    assert [json.loads(line)["key"] for line in out.read_text().splitlines()] == ["good"]
    assert "bad" in capsys.readouterr().err


def test_words_of_one_clip_are_not_given_to_another(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(trained / "last.ckpt")
    assert main(["predict", "a.mp4", "b.mp4", "--checkpoint", checkpoint, "--subtitle", "Hi."]) == 1
    assert "belong to one clip" in capsys.readouterr().err


def test_predict_over_shards_writes_every_answer(trained: Path) -> None:
    arguments = [f"--config={trained / 'config.yaml'}", "--ckpt_path", str(trained / "last.ckpt")]
    assert main(["predict", *arguments]) == 0
    answers = [json.loads(line) for line in (trained / "predictions.jsonl").read_text().splitlines()]
    assert [a["key"] for a in answers] == [f"clip{i}" for i in range(10)]
    assert answers[3]["used"] == ["frame", "subtitle"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--model.llm.name", "tinny"], "unknown LLM 'tinny'. Did you mean 'tiny'"),
        (["--model.llm.args", '{"dims": 3}'], "unexpected keyword argument 'dims'. It takes: dim: int = 64"),
        (["--data.name", "mercap"], "unknown datamodule 'mercap'"),
        (["--trainer.max_steps", "many"], "trainer.max_steps"),
        (["--model.wheels", "x"], "model.wheels"),
        (["--ckpt_path", "nowhere.ckpt"], "no checkpoint at nowhere.ckpt"),
        (["--config", "nowhere.yaml"], "no configuration at nowhere.yaml"),
    ],
)
def test_wrong_configurations_give_one_line_and_exit_code_1(
    trained: Path, change: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--config", str(trained / "config.yaml"), *change]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]


def test_pack_writes_shards_or_nothing(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", str(corpus / "manifest.jsonl"), str(tmp_path / "a"), "--provenance", "licence=none"]) == 0
    index = json.loads((tmp_path / "a" / "index.json").read_text())
    assert (index["samples"], index["provenance"]["licence"]) == (10, "none")
    assert "packed 10 samples" in capsys.readouterr().out
    for name, line in {"text.jsonl": "not json", "lost.jsonl": '{"name": "x", "video": "lost.mp4"}'}.items():
        (tmp_path / name).write_text(line + "\n")
        assert main(["pack", str(tmp_path / name), str(tmp_path / "b")]) == 1
        assert f"{name}:1" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "lost.jsonl", "text.jsonl"]


def test_score_prints_the_figure_and_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the page needs the report extra")
    (tmp_path / "gold.csv").write_text("name,label\na,anger\nb,joy\n")
    (tmp_path / "pred.jsonl").write_text('{"name": "a", "labels": ["furious"]}\n{"name": "b", "labels": ["sad"]}\n')
    arguments = [str(tmp_path / "pred.jsonl"), str(tmp_path / "gold.csv"), "--out", str(tmp_path / "out.json")]
    assert main(["score", "meld", *arguments]) == 0
    assert "meld: hit_rate 50.00" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["score"] == 0.5
    assert main(["score", "meldd", *arguments]) == 1
    (tmp_path / "calm.csv").write_text("name,openset\na,zzz\nb,zzz\n")
    files = [str(tmp_path / "calm.csv"), str(tmp_path / "gold.csv")]
    capsys.readouterr()
    assert main(["score", "meld", *files, "--json"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["f1"] is None  # 0/0 is no number
    (tmp_path / "other.jsonl").write_text('{"name": "a", "labels": ["calm"]}\n{"name": "b", "labels": ["sad"]}\n')
    against = ["--against", str(tmp_path / "other.jsonl"), "--report", str(tmp_path / "out")]
    assert main(["score", "meld", *arguments, *against]) == 0
    assert "hit rate +50.00 points (" in (tmp_path / "out" / "report.md").read_text()
    assert "hit_rate                   50.00 [" in capsys.readouterr().out
    comparison = json.loads((tmp_path / "out.json").read_text())["comparison"]
    assert (comparison["difference"], comparison["hit_skill"]["a"]) == (0.5, 0.5)


def test_score_writes_the_report_of_one_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the page needs the report extra")
    (tmp_path / "gold.csv").write_text("name,label\na,0.5\nb,-1\n")
    (tmp_path / "mine.csv").write_text("name,text\na,She is clearly happy.\nb,He seems sad and tired.\n")
    arguments = [str(tmp_path / "mine.csv"), str(tmp_path / "gold.csv"), "--report", str(tmp_path / "out")]
    assert main(["score", "mosi", *arguments, "--extractor", "lexicon", "--sentiment", "wheel"]) == 0
    shown = capsys.readouterr().out
    assert "weighted_f1 100.00" in shown
    assert f"wrote {tmp_path / 'out' / 'report.html'}" in shown
    (result,) = json.loads((tmp_path / "out" / "report.json").read_text())["results"]
    assert (result["system"], result["extractor"]["name"], result["sentiment_reader"]["name"]) == (
        "mine",
        "lexicon",
        "wheel",
    )
    assert main(["score", "mosi", *arguments, "--extractor", "lexikon"]) == 1
    assert "Did you mean 'lexicon'" in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from affectgpt.errors import CheckpointError

    with pytest.raises(CheckpointError):
        main(["predict", "x.mp4", "--checkpoint", str(tmp_path / "none.ckpt"), "--debug"])


def test_a_mistake_of_ours_is_one_line_with_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(AffectGPT, "from_checkpoint", fail)
    assert main(["predict", "x.mp4", "--checkpoint", "a.ckpt"]) == 3
    assert "error: RuntimeError: two lines (run again with --debug" in capsys.readouterr().err
