"""lmms-eval itself runs the tasks on made sets: its figures are those of ``affectgpt score``, to the last digit."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.bench import score
from affectgpt.datamodules.unibench import read_set
from affectgpt.harness import Grading, read_items, write_lmms_folder
from affectgpt.harness.clusters import cluster_of
from clipmaker import make_clip
from examfiles import SETS, is_same, make_exam, write_predictions
from harnessenv import environment, offer, run
from setmaker import make_processed

HERE = Path(__file__).parent
REQUIREMENTS = ("lmms-eval==0.7.3", "filelock<4")  # it reaches into what filelock 4 has no more


@pytest.fixture(scope="module")
def programs(request, tmp_path_factory):
    return environment("lmms", REQUIREMENTS, request.config.cache.mkdir("harnesses"), tmp_path_factory.mktemp("dist"))


@pytest.mark.slow
def test_lmms_eval_gives_the_figures_of_score(programs, tmp_path):
    answers = make_exam(tmp_path / "data", SETS)
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    offer(tmp_path / "offered", "lmms_eval.models", "scripted", "scripted_lmms:MANIFEST", HERE / "scripted_lmms.py")
    variables = {
        "SCRIPTED_ANSWERS": str(tmp_path / "answers.json"),
        "SCRIPTED_ASKED": str(tmp_path / "asked.jsonl"),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
        "AFFECTGPT_CACHE": str(tmp_path / "cache"),
        "AFFECTGPT_UNIBENCH": str(tmp_path / "data"),
    }
    # python -m, as the programs of the environment name the interpreter that they were installed with
    made = run([f"{programs}/affectgpt", "harness", "lmms-eval", "--allow-partial"], tmp_path, **variables)
    folder = Path(made.strip())
    assert folder.is_relative_to(tmp_path / "cache")
    command = [f"{programs}/python", "-m", "lmms_eval", "--model", "scripted", "--tasks", "mer_unibench"]
    command += ["--include_path", str(folder), "--output_path", str(tmp_path / "out"), "--log_samples"]
    told = run(command, tmp_path, **variables)
    written = list((tmp_path / "out").rglob("*results.json"))
    assert len(written) == 1, told[-3000:]  # its exit code is 0 after an error, too
    results = json.loads(written[0].read_text("utf-8"))["results"]

    asked = [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text("utf-8").splitlines()]
    assert sorted(one["clip"] for one in asked) == sorted(answers)
    meld = next(one for one in asked if one["clip"] == "meld/test_dia0_utt1")
    assert meld["text"].startswith("The subtitle of this video is: <Subtitle>words of test_dia0_utt1</Subtitle>. Now, ")

    means: dict[str, list[float]] = {"official": [], "strict": []}
    for name in SETS:
        bench_set = read_set(name, tmp_path / "data", allow_partial=True)
        bench_set.write_gold(tmp_path / "gold.csv")
        wanted = score(
            name,
            write_predictions(tmp_path / "answers.jsonl", answers, name),
            tmp_path / "gold.csv",
            resamples=0,
            extractor="lexicon",
            clusters={one.key: where for one in bench_set.samples if (where := cluster_of(name, one.key))},
        )
        found = results[f"mer_unibench_{name}"]
        for mode, suffix in (("official", ""), ("strict", "_strict")):
            figures = getattr(wanted, mode)
            means[mode].append(figures.figure(wanted.metric))
            assert found[f"score{suffix},none"] == figures.figure(wanted.metric)
            assert is_same(found[f"standard_error{suffix},none"], figures.standard_error)
        clustered = found["score_stderr_clustered,none"]
        assert isinstance(clustered, float) == (len({cluster_of(name, one.key) for one in bench_set.samples}) > 1)
    assert len(set(means["official"])) > 4  # the answers tell the sets apart
    group = results["mer_unibench"]
    assert group["score,none"] == pytest.approx(sum(means["official"]) / len(SETS), rel=1e-15)
    assert group["score_strict,none"] == pytest.approx(sum(means["strict"]) / len(SETS), rel=1e-15)


TINY = {
    "streams": {"frame": "tiny-vision", "audio": "tiny-audio"},
    "llm": "tiny",
    "media": {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32},
    "max_new_tokens": 5,
}


SHOWN = """
import sys
import numpy as np
from PIL import Image
from affectgpt.errors import AffectGPTError
from affectgpt.harness.lmms_model import AffectGPTModel, cut_at, media_of
model = AffectGPTModel(sys.argv[1], device="cpu").model
picture, sound = Image.new("RGB", (40, 30), "red"), {"array": np.sin(np.arange(8000) / 9), "sampling_rate": 16000}
for shown in ([picture], [sound], [picture, sound], [sys.argv[2]]):
    clip, audio = media_of(shown, "task/0")
    print(",".join(model.predict(clip, question="How?", audio=audio).used))
for shown in ([], [picture, picture], [3]):
    try:
        media_of(shown, "task/1")
    except AffectGPTError as error:
        print(error)
print(cut_at("happy. sad", ["\\n\\n", ". "]))
"""


@pytest.mark.slow
def test_a_checkpoint_of_ours_answers_the_tasks_of_lmms_eval(programs, tmp_path):
    folder, names = make_processed(tmp_path / "data", "meld", 5)
    for number, name in enumerate(names):
        clip = make_clip(0.3, shade=40 * number + 20, audio=number != 2)
        (folder / "subvideo" / f"{name}.mp4").write_bytes(clip[:90] if number == 3 else clip)
    torch.manual_seed(5)
    AffectGPT.from_config(TINY).save_checkpoint(tmp_path / "tiny.ckpt")
    items = read_items([tmp_path / "data"], allow_partial=True)
    tasks = write_lmms_folder(items, Grading(), out=tmp_path / "tasks")
    # pip install affectgpt brings a newer PyAV than lmms-eval's own, which the other test runs with
    (tmp_path / "offered").mkdir()
    for found in Path(sysconfig.get_path("purelib")).glob("av*"):
        (tmp_path / "offered" / found.name).symlink_to(found)
    command = [f"{programs}/python", "-m", "lmms_eval", "--model", "affectgpt", "--tasks", "mer_unibench_meld"]
    command += ["--model_args", f"checkpoint={tmp_path / 'tiny.ckpt'},device=cpu", "--include_path", str(tasks)]
    command += ["--output_path", str(tmp_path / "out"), "--log_samples"]
    told = run(command, tmp_path, HF_HOME=str(tmp_path / "hf"), HF_HUB_OFFLINE="1")
    written = list((tmp_path / "out").rglob("*samples_mer_unibench_meld.jsonl"))
    assert len(written) == 1, told[-3000:]
    rows = [json.loads(line) for line in written[0].read_text("utf-8").splitlines()]
    found = {row["score"]["name"]: row["filtered_resps"] for row in rows}
    model = AffectGPT.load(tmp_path / "tiny.ckpt")
    for item in items["meld"]:
        (text,) = found[item.name] if isinstance(found[item.name], list) else [found[item.name]]
        if item.name == names[3]:
            assert text == ""  # the clip cannot be read
        else:
            assert text == model.predict(item.video, question=item.question).text.strip()
    assert any(text for text in found.values())

    told = run([f"{programs}/python", "-c", SHOWN, str(tmp_path / "tiny.ckpt"), str(items["meld"][0].video)], tmp_path)
    assert told.splitlines() == [
        "frame",
        "audio",
        "frame,audio,multi",
        "frame,audio,multi",
        "task/1 shows 0 clips or pictures and 0 sounds; the model takes at most one of each, and at least one",
        "task/1 shows 2 clips or pictures and 0 sounds; the model takes at most one of each, and at least one",
        "task/1 shows a int; expected a path, a picture, or a sound with its rate",
        "happy",
    ]
