"""Inspect itself runs the task on made sets: its figures are those of ``affectgpt score``, to the last digit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affectgpt.bench import score
from affectgpt.datamodules.unibench import read_set
from affectgpt.harness.clusters import cluster_of
from clipmaker import make_clip
from examfiles import SETS, is_same, make_exam, write_predictions
from harnessenv import environment, offer, run
from setmaker import gold_value, make_processed

HERE = Path(__file__).parent
REQUIREMENTS = ("inspect-ai>=0.3.240,<0.4",)


@pytest.fixture(scope="module")
def programs(request, tmp_path_factory):
    return environment(
        "inspect", REQUIREMENTS, request.config.cache.mkdir("harnesses"), tmp_path_factory.mktemp("dist")
    )


@pytest.mark.slow
def test_inspect_gives_the_figures_of_score(programs, tmp_path):
    answers = make_exam(tmp_path / "data", SETS, epochs=2)
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    offer(tmp_path / "offered", "inspect_ai", "scripted", "scripted_inspect", HERE / "scripted_inspect.py")
    command = [f"{programs}/inspect", "eval", "affectgpt/mer_unibench", "--model", "scripted/any", "--epochs", "2"]
    command += ["-T", f"data={tmp_path / 'data'}", "-T", "allow_partial=true", "--log-format", "json"]
    command += ["--display", "none", "--log-dir", str(tmp_path / "logs"), "--max-connections", "1"]
    asked_file = tmp_path / "asked.jsonl"
    run(command, tmp_path, SCRIPTED_ANSWERS=str(tmp_path / "answers.json"), SCRIPTED_ASKED=str(asked_file))
    log = json.loads(next((tmp_path / "logs").glob("*.json")).read_text("utf-8"))
    assert log["status"] == "success", log["error"]["message"]
    (found,) = log["results"]["scores"]
    figures = {name: one["value"] for name, one in found["metrics"].items()}

    asked = [json.loads(line) for line in asked_file.read_text("utf-8").splitlines()]
    assert sorted(one["clip"] for one in asked) == sorted([*answers, *answers])
    meld = next(one for one in asked if one["clip"] == "meld/test_dia0_utt1")
    assert meld["text"].startswith("The subtitle of this video is: <Subtitle>words of test_dia0_utt1</Subtitle>. Now, ")
    assert meld["text"].endswith("Please recognize all possible emotional states of the character.")
    assert {one["temperature"] for one in asked} == {0}

    means: dict[str, list[float]] = {"official": [], "strict": []}
    for name in SETS:
        bench_set = read_set(name, tmp_path / "data", allow_partial=True)
        bench_set.write_gold(tmp_path / "gold.csv")
        clusters = {one.key: where for one in bench_set.samples if (where := cluster_of(name, one.key))}
        runs = [
            score(
                name,
                write_predictions(tmp_path / "answers.jsonl", answers, name, epoch),
                tmp_path / "gold.csv",
                resamples=0,
                extractor="lexicon",
                clusters=clusters,
            )
            for epoch in range(2)
        ]
        for mode, suffix in (("official", ""), ("strict", "_strict")):
            values = [getattr(one, mode).figure(one.metric) for one in runs]
            figure = f"{name}_{runs[0].metric}{suffix}"
            means[mode].append(sum(values) / 2)
            assert figures[figure] == sum(values) / 2
            error = sum(getattr(one, mode).standard_error for one in runs) / 2
            assert is_same(figures[f"{figure}_stderr"], error)
            assert figures[f"{figure}_spread"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
        assert figures[f"{name}_clips"] == 24
    assert len(set(means["official"])) > 4  # the answers tell the sets apart
    assert figures["mean"] == sum(means["official"]) / len(SETS)
    assert figures["mean_strict"] == sum(means["strict"]) / len(SETS)


@pytest.mark.slow
def test_frames_and_sound_are_decoded_and_a_broken_clip_has_an_empty_answer(programs, tmp_path):
    folder, names = make_processed(tmp_path / "data", "iemocap", 5)
    for number, name in enumerate(names):
        clip = make_clip(0.4, shade=40 * (number + 1), audio=number != 2)
        (folder / "subvideo-tgt" / f"{name}.avi").write_bytes(clip[:90] if number == 3 else clip)
    answers = {str(40 * (number + 1)): [gold_value("iemocap", number)] for number in range(5)}
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    offer(tmp_path / "offered", "inspect_ai", "scripted", "scripted_inspect", HERE / "scripted_inspect.py")
    command = [
        f"{programs}/inspect",
        "eval",
        "affectgpt/mer_unibench",
        "--model",
        "scripted/any",
        "--log-format",
        "json",
    ]
    command += ["-T", f"data={tmp_path / 'data'}", "-T", "allow_partial=true", "-T", "modalities=frames,audio"]
    command += ["--display", "none", "--log-dir", str(tmp_path / "logs"), "--max-connections", "1", "--no-log-images"]
    asked_file = tmp_path / "asked.jsonl"
    run(command, tmp_path, SCRIPTED_ANSWERS=str(tmp_path / "answers.json"), SCRIPTED_ASKED=str(asked_file))
    log = json.loads(next((tmp_path / "logs").glob("*.json")).read_text("utf-8"))
    assert log["status"] == "success", log["error"]["message"]
    asked = {one["clip"]: one for one in map(json.loads, asked_file.read_text("utf-8").splitlines())}
    assert sorted(asked) == ["120", "200", "40", "80"]  # all but the clip that is cut
    assert {one["pictures"] for one in asked.values()} == {8}
    assert {shade: one["rates"] for shade, one in asked.items()} == {
        "40": [16000],
        "80": [16000],
        "120": [],
        "200": [16000],
    }
    assert "Subtitle" not in asked["40"]["text"]
    figures = {name: one["value"] for name, one in log["results"]["scores"][0]["metrics"].items()}
    assert figures["iemocap_clips"] == 5
    assert figures["iemocap_unreadable"] == 1
    assert figures["iemocap_hit_rate_strict"] == pytest.approx(4 / 5)
    sample = next(one for one in log["samples"] if one["id"].endswith(names[3]))
    assert "is not a video, sound or picture" in sample["scores"]["unibench_answer"]["explanation"]


WRONG = """
import json, sys
from affectgpt.errors import AffectGPTError
from affectgpt.harness.inspect_tasks import mer_unibench
for args in json.loads(sys.argv[1]):
    try:
        mer_unibench(**args)
    except AffectGPTError as error:
        print(error)
"""


@pytest.mark.slow
def test_inspect_says_what_is_wrong_with_the_data(programs, tmp_path):
    make_exam(tmp_path / "data", ["meld"])
    data = {"data": str(tmp_path / "data")}
    cases = (
        ({}, "no data: name the folders of the test sets"),
        (data, "is not the published test split: 24 samples"),
        ({**data, "extractor": "llm"}, "affectgpt score --extractor llm"),
        ({**data, "modalities": "smell"}, "modalities are video, frames, audio, text"),
    )
    told = run([f"{programs}/python", "-c", WRONG, json.dumps([args for args, _ in cases])], tmp_path)
    for line, (_, expected) in zip(told.splitlines(), cases, strict=True):
        assert expected in line
