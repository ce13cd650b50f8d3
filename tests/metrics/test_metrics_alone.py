"""A stranger's project: ten lines that score answers load no encoder, no LLM and no trainer."""

import json
import os
import subprocess
import sys

TEN_LINES = """
from affectgpt.metrics import EmotionHitRate, EmotionWheel, EmotionWheelScore, SentimentScore, parse_labels

wheel = EmotionWheel.builtin()
score, hits, sentiment = EmotionWheelScore(wheel), EmotionHitRate(wheel), SentimentScore()
answers = ["The character's emotional state is glad and tearful.", "[furious]"]
score.update([parse_labels(answer) for answer in answers], [["joyful"], ["angry"]])
hits.update([parse_labels(answer) for answer in answers], ["joy", "anger"])
sentiment.update(["positive", "negative"], [0.8, -0.4])
print(float(score.compute()["f1"]), float(hits.compute()["hit_rate"]), float(sentiment.compute()["weighted_f1"]))
"""
ASK = """
import json, sys
print(json.dumps(sorted(sys.modules)))
"""
FOREIGN = (
    "transformers",
    "lightning",
    "pytorch_lightning",
    "peft",
    "av",
    "webdataset",
    "timm",
    "torchaudio",
    "torchvision",
)
OURS = (
    "encoders",
    "fusion",
    "llm",
    "model",
    "datamodules",
    "training",
    "checkpoints",
    "media",
    "prompts",
    "bench",
    "cli",
)
PURE = """
from affectgpt.metrics import EmotionWheel
from affectgpt.metrics.functional import bootstrap_interval, emotion_hit_rate, emotion_wheel_score, wheel_f1_summands

wheel = EmotionWheel.builtin()
emotion_hit_rate([["glad"]], ["joy"], wheel)
bootstrap_interval(wheel_f1_summands([["glad"]], [["joy"]], wheel), 10)
print(float(emotion_wheel_score([["glad"]], [["joyful"]], wheel)["f1"]))
"""


def run(code, folder):
    """Lines that the code prints, and the modules that it loaded, in a process of its own."""
    environment = {**os.environ, "AFFECTGPT_CACHE": str(folder / "cache"), "HOME": str(folder)}
    command = [sys.executable, "-c", code + ASK]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    *lines, modules = done.stdout.strip().splitlines()
    return lines, set(json.loads(modules))


def test_ten_lines_load_nothing_but_the_metrics(tmp_path):
    lines, loaded = run(TEN_LINES, tmp_path)
    f1, hit_rate, weighted_f1 = map(float, lines[0].split())
    assert (round(f1, 3), hit_rate, weighted_f1) == (0.857, 1.0, 1.0)
    assert "affectgpt.metrics.wheel_score" in loaded
    assert not loaded & {f"affectgpt.{name}" for name in OURS}
    # torchmetrics itself looks into transformers and torchvision where they are installed; nothing else comes in.
    assert loaded & set(FOREIGN) <= {"transformers", "torchvision"}
    assert not (tmp_path / "cache").exists()  # nothing fetched, nothing kept


def test_the_pure_functions_do_without_torchmetrics_too(tmp_path):
    lines, loaded = run(PURE, tmp_path)
    assert lines == ["1.0"]
    assert not loaded & {*FOREIGN, "torchmetrics", *(f"affectgpt.{name}" for name in OURS)}
