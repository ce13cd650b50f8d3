"""What describes a clip: cues without a model, local models, a program, and a server that misbehaves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from affectgpt.annotate import annotate
from affectgpt.annotate.describe.command import CommandStage
from affectgpt.annotate.describe.cues import CuesStage
from affectgpt.annotate.describe.face_cues import say_face
from affectgpt.annotate.describe.face_mesh import measures_of
from affectgpt.annotate.describe.local_describer import LocalDescriber
from affectgpt.annotate.describe.published_prompts import PROMPTS, find_prompt
from affectgpt.annotate.describe.voice_cues import hear_voice, say_voice
from affectgpt.annotate.pipeline import make_pipeline
from affectgpt.annotate.source_files import LooseFiles
from affectgpt.annotate.stage import ClipRecord
from affectgpt.chat.costs import CostBoundError
from affectgpt.errors import CheckpointError, ConfigError, DataError
from affectgpt.registry import STAGES
from chatserver import Step, in_turn, serve
from clipmaker import make_clip, make_wav, tone
from conftest import write_manifest
from stagemaker import counting
from tinymodels import make_hearing_model, make_seeing_model

RATE = 16_000


def sweep(start_hz: float, end_hz: float, seconds: float = 1.5, amplitude: float = 0.3) -> torch.Tensor:
    """A voice-like sound: a fundamental that glides, and its overtones."""
    hertz = np.linspace(start_hz, end_hz, round(seconds * RATE))
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    return torch.tensor(amplitude * sum(np.sin(k * phase) / k for k in (1, 2, 3)) / 1.8, dtype=torch.float32)


def test_pitch_trend_and_pauses_are_measured():
    rising = hear_voice(sweep(120, 240), find_speech=False)
    assert rising["pitch_hz"] == pytest.approx(180, rel=0.05)
    assert rising["pitch_trend"] == pytest.approx(8, abs=2)
    assert "rises towards the end" in say_voice(rising)
    even = hear_voice(sweep(200, 200), find_speech=False)
    assert even["pitch_hz"] == pytest.approx(200, rel=0.02)
    assert even["pitch_range"] < 0.5
    gap = torch.zeros(round(0.5 * RATE))
    broken = hear_voice(torch.cat([sweep(200, 200, 0.6), gap, sweep(200, 200, 0.6)]), find_speech=False)
    assert (broken["pauses"], broken["pause_seconds"]) == (1, pytest.approx(0.5, abs=0.06))
    assert broken["level_db"] == pytest.approx(even["level_db"], abs=0.5)


def test_quieter_sound_is_quieter_and_noise_has_no_pitch():
    loud, quiet = (hear_voice(sweep(200, 200, amplitude=a), find_speech=False) for a in (0.4, 0.04))
    assert loud["level_db"] - quiet["level_db"] == pytest.approx(20, abs=0.2)
    torch.manual_seed(0)
    noise = hear_voice(0.1 * torch.randn(RATE), find_speech=False)
    assert noise["voiced_share"] < 0.05
    assert "hardly a voice" in say_voice(noise)
    assert say_voice(hear_voice(torch.zeros(RATE))) == "Nothing is heard."


def face(opening: float, lift: float = 0.0, turn: float = 0.0) -> np.ndarray:
    """Landmarks of a drawn face, 100 high, with the mouth open by ``opening`` pixels, turned by ``turn`` degrees."""
    points = np.zeros((468, 2), np.float32)
    points[10], points[152] = (50, 0), (50, 100)
    points[13], points[14] = (50, 75 - opening / 2), (50, 75 + opening / 2)
    points[61], points[291] = (35, 75 - lift), (65, 75 - lift)
    for upper, lower, outer, inner, x in ((159, 145, 33, 133, 30), (386, 374, 263, 362, 70)):
        points[upper], points[lower], points[outer], points[inner] = (x, 38), (x, 42), (x - 8, 40), (x + 8, 40)
    points[105], points[334] = (30, 28), (70, 28)
    angle = np.radians(turn)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return ((points - 50) @ matrix + 50).astype(np.float32)


@pytest.mark.parametrize("turn", [0, 20, -35])
def test_a_face_is_measured_alike_however_the_head_is_tilted(turn):
    opening, width, lift, brows, eyes = measures_of(face(8, lift=3, turn=turn))
    assert (opening, width, lift) == (
        pytest.approx(0.08, abs=2e-3),
        pytest.approx(0.3, abs=2e-3),
        pytest.approx(0.03, abs=2e-3),
    )
    assert (brows, eyes) == (pytest.approx(0.1, abs=2e-3), pytest.approx(0.25, abs=2e-3))


def test_words_for_a_face_follow_the_numbers():
    numbers = {"frames": 4, "coverage": 1.0, "faces": 2, "height": 0.2, "movement": 0.6, "mouth_opening_mean": 0.05}
    assert say_face(numbers) == "The main of 2 faces is seen. The head moves a lot. The mouth is open (0.050)."
    assert say_face({"frames": 4, "coverage": 0.0, "faces": 0}) == "No face is seen."


def test_clips_without_pictures_or_sound_are_described_by_what_they_have(tmp_path):
    (tmp_path / "sound.wav").write_bytes(make_wav(0.5))
    (tmp_path / "mute.mp4").write_bytes(make_clip(0.4, audio=False))
    stage = CuesStage(num_frames=2, face_mesh=None, expression=None, find_speech=False)
    heard = stage.answer(ClipRecord("s", {}, LooseFiles(None, tmp_path / "sound.wav"))).fields
    assert heard["visual_clues"] == "There are no pictures."
    assert "440" in heard["audio_clues"]
    seen = stage.answer(ClipRecord("m", {}, LooseFiles(tmp_path / "mute.mp4", None))).fields
    assert (seen["visual_clues"], seen["audio_clues"]) == ("No face is seen.", "There is no sound.")


def test_a_network_that_is_none_is_refused(tmp_path):
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "net.tflite").write_bytes(b"no network at all" * 100)
    with pytest.raises(CheckpointError, match="cannot be read as a TensorFlow Lite network"):
        CuesStage(face_mesh=str(tmp_path / "net.tflite"))
    with pytest.raises(CheckpointError, match="check the path"):
        CuesStage(expression=str(tmp_path / "gone.tflite"))


def test_a_tiny_model_sees_and_another_hears(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(make_clip(0.6))
    record = ClipRecord("clip", {"subtitle": "Hi."}, LooseFiles(tmp_path / "clip.mp4", None))
    eye = make_seeing_model(tmp_path / "eye")
    sees = LocalDescriber(str(eye), num_frames=2, max_tokens=4)
    first = sees.answer(record)
    assert first == LocalDescriber(str(eye), num_frames=2, max_tokens=4).answer(record)
    assert set(first.fields) <= {"visual_clues"}
    assert sees.identity()["revision"].startswith("sha256:")
    ear = make_hearing_model(tmp_path / "ear")
    hears = LocalDescriber(str(ear), prompt="audio-clues", writes="audio_clues", num_frames=0, sound=True, max_tokens=4)
    assert hears.answer(record).status in ("done", "failed")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        LocalDescriber(str(tmp_path / "nothing")).answer(record)


PROGRAM = """
import json, sys
for line in sys.stdin:
    told = json.loads(line)
    assert told["video"] and open(told["video"], "rb").read(4), told
    if told["key"] == "clip1":
        sys.exit(3)
    if told["key"] == "clip2":
        print("no json", flush=True)
    elif told["key"] == "clip3":
        print(json.dumps({"verdict": "drop", "reason": "too dark"}), flush=True)
    elif told["key"] == "clip4":
        print(json.dumps({"fields": {"other": 1}}), flush=True)
    else:
        print(json.dumps({"fields": {"description": "sad: " + told["fields"]["subtitle"]}}), flush=True)
"""


def test_a_program_answers_and_its_faults_are_rows(corpus, shards, tmp_path):
    stage = {"name": "command", "args": {"program": [sys.executable, "-c", PROGRAM], "writes": ["description"]}}
    for clips in (corpus, shards):
        out = tmp_path / clips.name
        report = annotate(make_pipeline({"stages": [stage, "labels"]}), clips, out)
        assert report.outcomes == {"kept": 6, "dropped": 1, "person": 0, "failed": 3, "unreadable": 0}
        left = {row["key"]: row["reason"] for row in map(json.loads, (out / "left_out.jsonl").read_text().splitlines())}
        assert "the program ended (exit code" in left["clip1"]
        assert "is no JSON object" in left["clip2"]
        assert left["clip3"] == "too dark"
        assert "not in its 'writes'" in left["clip4"]


def test_a_program_that_is_late_by_a_line_is_started_anew(tmp_path):
    """It says hello first, so that each answer would be taken for that of the next clip."""
    hello = 'import sys\nprint(\'{"key": "hello"}\', flush=True)\n'
    echo = "import json\nfor line in sys.stdin:\n    key = json.loads(line)['key']\n    "
    echo += "print(json.dumps({'key': key, 'fields': {'description': key}}), flush=True)"
    stage = CommandStage([sys.executable, "-c", hello + echo], ["description"])
    record = ClipRecord("c0", {}, LooseFiles(None, None))
    for _ in range(2):
        with pytest.raises(DataError, match="answered about 'hello' and not about 'c0'"):
            stage.answer(record)
    stage.close()


def test_a_program_that_does_not_exist_ends_the_run(corpus, tmp_path):
    stage = {"name": "command", "args": {"program": "no-such-program", "writes": ["description"]}}
    with pytest.raises(ConfigError, match="cannot be started"):
        annotate(make_pipeline({"stages": [stage]}), corpus, tmp_path / "out")


def server_pipeline(url: str, budget: dict | None = None, **backend):
    backend = {
        "backoff_seconds": 0.001,
        "num_retries": 1,
        "num_parallel": 2,
        "prompt_price": 1,
        "answer_price": 2,
        **backend,
    }
    look = {
        "model": "m",
        "base_url": url,
        "num_frames": 2,
        "sound": True,
        "writes": "clues",
        "decoders": 0,
        "backend": backend,
    }
    merge = {"model": "m", "base_url": url, "prompt": "Say {clues} and {subtitle}.", "backend": backend}
    stages = [{"name": "openai", "args": look}, {"name": "merge", "args": merge}, "labels"]
    return make_pipeline({"stages": stages, "budget": budget or {}})


def small_set(folder: Path, count: int) -> Path:
    folder.mkdir()
    lines = []
    for number in range(count):
        (folder / f"c{number}.mp4").write_bytes(make_clip(0.3, shade=30 + 20 * number))
        lines.append({"name": f"c{number}", "video": f"c{number}.mp4", "subtitle": f"words {number}"})
    write_manifest(folder, lines)
    return folder


def test_a_server_is_shown_frames_and_sound_and_its_faults_are_rows(tmp_path):
    clips = small_set(tmp_path / "clips", 6)

    def script(body):
        content = body["messages"][0]["content"]
        told = content if isinstance(content, str) else content[-1]["text"]
        if "words 1" in told and not isinstance(content, str):
            return Step(status=400, text="the picture is too large")
        if "words 2" in told:
            return Step(text="I'm sorry, but I can't help with identifying emotions.")
        return Step(text=f"She is happy. {len(told)}")

    with serve(script) as (url, seen):
        report = annotate(server_pipeline(url), clips, tmp_path / "out")
        asked = len(seen.bodies)
        assert annotate(server_pipeline(url), clips, tmp_path / "out").num_answers == 0
        assert len(seen.bodies) == asked
    kinds = [part["type"] for body in seen.bodies for part in body["messages"][0]["content"] if isinstance(part, dict)]
    assert kinds.count("image_url") == 12
    assert kinds.count("input_audio") == 6
    assert report.outcomes == {"kept": 4, "dropped": 0, "person": 0, "failed": 2, "unreadable": 0}
    left = {
        row["key"]: row["reason"] for row in map(json.loads, (tmp_path / "out/left_out.jsonl").read_text().splitlines())
    }
    assert "the picture is too large" in left["c1"]
    assert left["c2"].startswith("refused: ")
    assert report.tokens == report.card["spent"]["tokens"] == 110 * (asked - 1)
    assert report.money == pytest.approx((100 * 1 + 10 * 2) / 1e6 * (asked - 1))


def test_passing_trouble_is_waited_out_and_a_dead_server_ends_the_run_without_failures(tmp_path):
    clips = small_set(tmp_path / "clips", 3)
    with serve(in_turn(Step(status=429), Step(status=500), Step(cut=True), Step(text="He is sad."))) as (url, _):
        report = annotate(server_pipeline(url, num_retries=5), clips, tmp_path / "out")
    assert report.outcomes["kept"] == 3
    with serve(lambda _: Step(status=503)) as (url, _), pytest.raises(DataError, match="2 prompts one after the other"):
        annotate(server_pipeline(url, max_failures=2), clips, tmp_path / "dead")
    with serve(lambda _: Step(status=401)) as (url, _), pytest.raises(ConfigError, match="api_key_env"):
        annotate(server_pipeline(url), clips, tmp_path / "locked")


@pytest.mark.parametrize("budget", [{"cost": 0.008}, {"tokens": 6000}])
def test_a_budget_is_not_passed_also_over_several_runs(tmp_path, budget):
    clips = small_set(tmp_path / "clips", 6)
    with serve(lambda _: Step(text="He is sad.", usage=(900, 100))) as (url, seen):
        for _ in range(3):
            with pytest.raises(CostBoundError, match="the answers so far are kept"):
                annotate(server_pipeline(url, budget, num_parallel=1), clips, tmp_path / "out")
        asked = len(seen.bodies)
        assert 0 < asked < 12
        most = budget.get("cost", 1e9) * 1e6 / 1100, budget.get("tokens", 1e9) / 1000
        assert asked <= min(most)
        annotate(server_pipeline(url), clips, tmp_path / "out")
        assert len(seen.bodies) == 12


def test_what_readers_of_labels_ask_counts_and_is_bounded_too(tmp_path):
    clips = small_set(tmp_path / "clips", 6)
    backend = {"prompt_price": 1, "answer_price": 2, "num_parallel": 1}

    def run(url, budget):
        asked = {"model": "m", "base_url": url, "backend": backend, "cache": str(tmp_path / "answers")}
        args = {"extractor": "llm", "sentiment": "llm", "extractor_args": asked, "sentiment_args": asked}
        stages = [counting(), {"name": "labels", "args": args}]
        return annotate(make_pipeline({"stages": stages, "budget": budget}), clips, tmp_path / "out")

    def script(body):
        return Step(text="negative" if "[sad]" in str(body) else "[sad]", usage=(200, 100))

    with serve(script) as (url, seen):
        asked = []
        for _ in range(2):
            with pytest.raises(CostBoundError, match="the answers so far are kept"):
                run(url, {"tokens": 1800})
            asked.append(len(seen.bodies))
        assert 0 < asked[0] == asked[1] < 7
        report = run(url, {})
    assert report.outcomes["kept"] == 6
    spent = report.card["spent"]["by_stage"]["labels"]
    assert (len(seen.bodies), spent["input_tokens"]) == (7, 7 * 200)


def test_a_budget_in_money_needs_prices(tmp_path):
    clips = small_set(tmp_path / "clips", 1)
    look = {"model": "m", "base_url": "http://localhost:1/v1"}
    run = make_pipeline({"stages": [{"name": "openai", "args": look}], "budget": {"cost": 1}})
    with pytest.raises(ConfigError, match="has no prices"):
        annotate(run, clips, tmp_path / "out")


def test_published_prompts_say_where_they_come_from_and_fill_what_they_name():
    assert all(prompt.source and prompt.text for prompt in PROMPTS.values())
    merged = PROMPTS["merge"].fill({"audio_clues": "A {loud} voice.", "subtitle": "Go!"})
    assert "Acoustic clues: A {loud} voice.\nVisual clues: unknown\nOriginal subtitle: Go!" in merged
    with pytest.raises(ConfigError, match="Did you mean 'merge'"):
        find_prompt("mergee")
    assert STAGES.build("merge", model="m", base_url="http://localhost:1/v1").reads == (
        "audio_clues", "visual_clues", "subtitle", "transcript",
    )  # fmt: skip


def test_sound_that_is_loud_enough_is_heard_in_every_channel():
    assert hear_voice(torch.from_numpy(tone(0.5, RATE)[:, 0]), find_speech=False)["pitch_hz"] == pytest.approx(
        440, rel=0.02
    )
