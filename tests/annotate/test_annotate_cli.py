"""The verb as a user calls it: help, a run, an estimate, and sets in the forms of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from affectgpt.annotate.exchange import export_set, import_set
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests.manifest import read_manifest
from affectgpt.shards import pack
from stagemaker import counting


@pytest.fixture
def pipeline(tmp_path) -> str:
    path = tmp_path / "pipeline.yaml"
    stages = [counting(drop="clip1", tokens=50), {"name": "labels", "args": {"drop_empty": True}}]
    path.write_text(yaml.safe_dump({"name": "cli", "licence": "CC0", "stages": stages}))
    return str(path)


def test_a_user_runs_estimates_and_exports(pipeline, corpus, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["annotate", pipeline, str(corpus), out, "--dry-run", "--sample", "2", "--workers", "0"]) == 0
    shown = capsys.readouterr().out
    assert "a sample of 2 of 10 clips was annotated" in shown
    assert "tokens    1,000" in shown
    assert main(["annotate", pipeline, str(corpus), out, "--workers", "0"]) == 0
    shown = capsys.readouterr().out
    assert "10 clips: 9 kept, 1 dropped; 15 answers were asked for in this run" in shown
    assert main(["annotate", pipeline, str(corpus), out, "--workers", "0", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["licence"], card["outcomes"]["kept"]) == ("CC0", 9)
    assert "Data card: cli" in (tmp_path / "out" / "card.md").read_text()
    assert main(["annotate", "export", out, str(tmp_path / "set.jsonl"), "--form", "sharegpt"]) == 0
    assert "wrote 9 clips" in capsys.readouterr().out
    again = tmp_path / "again"
    pack(tmp_path / "out" / "manifest.jsonl", again)
    assert main(["check", str(again)]) == 0


def test_processes_decode_and_a_clip_that_kills_one_is_a_row(corpus, tmp_path, monkeypatch):
    """The same set comes out with processes as without."""
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump({"stages": [{"name": "voice", "args": {"find_speech": False}}]}))
    for workers in ("0", "1"):
        assert main(["annotate", str(path), str(corpus), str(tmp_path / workers), "--workers", workers]) == 0
    indexes = [json.loads((tmp_path / workers / "shards" / "index.json").read_text()) for workers in ("0", "1")]
    assert indexes[0]["shards"] == indexes[1]["shards"]


def test_help_names_all_four_words_and_mistakes_are_one_line(pipeline, corpus, tmp_path, capsys):
    words = {(): "--retry", ("review",): "--decide", ("export",): "--form", ("import",): "--media"}
    for word, option in words.items():
        with pytest.raises(SystemExit) as ended:
            main(["annotate", *word, "--help"])
        assert ended.value.code == 0
        assert option in capsys.readouterr().out
    assert main(["annotate", str(tmp_path / "no.yaml"), str(corpus), str(tmp_path / "out")]) == 1
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "bad.yaml").write_text("stages: [labels\n")
    assert main(["annotate", str(tmp_path / "bad.yaml"), str(corpus), str(tmp_path / "out")]) == 1
    assert "is not YAML" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["annotate", pipeline, str(tmp_path / "empty"), str(tmp_path / "out"), "--workers", "0"]) == 1
    assert "error:" in capsys.readouterr().err
    assert main(["annotate", "review", str(tmp_path / "empty")]) == 1
    assert "run annotate into that folder" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["sharegpt", "llama-factory", "merr"])
def test_a_set_goes_out_and_comes_back(form, corpus, tmp_path):
    file = tmp_path / ("set.json" if form == "merr" else "set.jsonl")
    written, left = export_set(corpus / "manifest.jsonl", file, form)
    assert (written, left) == (10, 0)
    number, problems = import_set(file, tmp_path / "back.jsonl", form, corpus if form == "merr" else None)
    assert (number, problems) == (10, [])
    before = {record.key: record for record in read_manifest(corpus / "manifest.jsonl")}
    for record in read_manifest(tmp_path / "back.jsonl"):
        assert record.description == before[record.key].description
        assert record.video is not None
        assert record.video.resolve() == before[record.key].video.resolve()
        if form == "merr":
            assert (record.subtitle, record.labels) == (before[record.key].subtitle, before[record.key].labels)
        elif before[record.key].audio:
            assert record.audio.resolve() == before[record.key].audio.resolve()


def test_forms_hold_what_their_readers_expect(corpus, tmp_path):
    export_set(corpus / "manifest.jsonl", tmp_path / "a.jsonl", "llama-factory", "How?")
    first = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])
    assert first["messages"][0] == {
        "role": "user",
        "content": "<video>Subtitle content of the video: words 0\nHow?",
    }
    assert first["messages"][1] == {"role": "assistant", "content": "Person 0 speaks."}
    assert (tmp_path / first["videos"][0]).resolve() == (corpus / "clip0.mp4").resolve()
    export_set(corpus / "manifest.jsonl", tmp_path / "m.json", "merr")
    merr = json.loads((tmp_path / "m.json").read_text())
    assert merr["clip1"]["smp_reason_caption"] == "Person 1 speaks."


def test_entries_of_others_that_cannot_be_used_are_told_one_by_one(corpus, tmp_path, capsys):
    lines: list = [
        {
            "conversations": [{"from": "human", "value": "<video>?"}, {"from": "gpt", "value": "Sad."}],
            "video": "clip0.mp4",
        },
        {"conversations": [{"from": "human", "value": "?"}], "video": "clip1.mp4"},
        {"messages": [{"role": "assistant", "content": "Glad."}]},
        {"messages": [{"role": "assistant", "content": "Twice."}], "videos": ["clip0.mp4"]},
        ["no object"],
    ]
    (tmp_path / "theirs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["annotate", "import", str(tmp_path / "theirs.jsonl"), str(tmp_path / "m.jsonl"), "--form", "sharegpt"]
    assert main([*words, "--media", str(corpus)]) == 1
    told = capsys.readouterr()
    assert "wrote 1 clips" in told.out
    for reason in ("nobody answers", "names no video", "came before", "no list of 'conversations'"):
        assert reason in told.err
    assert [record.description for record in read_manifest(tmp_path / "m.jsonl")] == ["Sad."]
    with pytest.raises(ConfigError, match="Did you mean 'sharegpt'"):
        import_set(tmp_path / "theirs.jsonl", tmp_path / "x.jsonl", "sharegptt")
    (tmp_path / "none.json").write_text("7")
    with pytest.raises(DataError, match="expected a list or an object"):
        import_set(tmp_path / "none.json", tmp_path / "x.jsonl", "merr")


@pytest.mark.slow
def test_the_offline_pipeline_makes_a_set_of_the_real_clips_that_trains(shared, tmp_path, capsys):
    """No network and no key: nine real clips become shards and a card, and a model takes a training step on them."""
    from affectgpt.llm.smollm2 import smollm2_folder

    smollm2_folder()
    root = Path(__file__).resolve().parents[2]
    spec = yaml.safe_load((root / "experiments" / "annotate_offline.yaml").read_text())
    args = {stage["name"]: stage.setdefault("args", {}) for stage in spec["stages"]}
    args["merge"]["max_tokens"], args["cues"]["num_frames"] = 16, 4  # as much as a test has time for
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(spec))
    out = tmp_path / "out"
    assert main(["annotate", str(tmp_path / "p.yaml"), str(shared / "data" / "clips"), str(out), "--workers", "0"]) == 0
    card = json.loads((out / "card.json").read_text())
    assert card["outcomes"]["kept"] == 9
    assert card["stages"][2]["model"] == "smollm2-135m-instruct-0.1.2"
    assert "Voice: {audio_clues}" in card["stages"][2]["prompt"]
    import torch

    from affectgpt import AffectGPT
    from affectgpt.datamodules import MERCaptionDataModule

    data = MERCaptionDataModule(train=str(out / "shards"), batch_size=2, num_workers=0, media={"num_frames": 2})
    model = AffectGPT.from_config(
        {
            "streams": {
                "frame": {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 4}}, "pooling": "mean"}
            },
            "llm": {"name": "tiny", "args": {"dim": 16, "layers": 1, "heads": 2}},
            "style": "brief",
            "media": {"num_frames": 2},
        }
    )
    batch = next(iter(data.train_dataloader()))
    loss = model.training_step(model.transfer_batch_to_device(batch, torch.device("cpu"), 0), 0)
    loss.backward()
    assert torch.isfinite(loss)
