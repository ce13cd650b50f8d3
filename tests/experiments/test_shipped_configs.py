"""Every shipped configuration goes through the real command line, and is built and stepped once with tiny parts."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from affectgpt.annotate import read_pipeline
from affectgpt.cli.main import main
from affectgpt.prompts import LAYOUTS
from affectgpt.registry import ENCODERS, LLMS
from affectgpt.shards import pack
from clipmaker import make_clip
from conftest import write_manifest

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "experiments" / "affectgpt_mercaption_plus.yaml"
ABLATIONS = sorted((ROOT / "experiments" / "ablations").glob("*.yaml"))
CASES = {"main": [MAIN], **{path.stem: [MAIN, path] for path in ABLATIONS}}
SLOTS = ("multi", "audio", "frame", "face")
PIPELINES = sorted((ROOT / "experiments").glob("annotate*.yaml"))
OTHERS = sorted(path for path in (ROOT / "experiments").glob("*.yaml") if path not in (MAIN, *PIPELINES))
LAYOUT_OF = {
    "inputs_audio": "audioonly",
    "inputs_face": "faceonly",
    "inputs_frame": "frameonly",
    "inputs_text": "textonly",
    "inputs_audio_text": "audio_text",
    "inputs_face_text": "face_text",
    "inputs_audio_frame_text": "multiframe_audio_frame_text",
    "inputs_audio_face_frame_text": "multiface_audio_face_frame_text",
    "prefusion_none": "face",
}
"""Published layouts that the configurations must come to; all others keep that of the main one."""
KINDS = {"face": "tiny-vision", "frame": "tiny-vision", "audio": "tiny-audio"}


def arguments(files: list[Path]) -> list[str]:
    return [word for path in files for word in ("--config", str(path))]


def parsed(files: list[Path], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the command line makes of the files."""
    with pytest.raises(SystemExit) as stop:
        main(["fit", *arguments(files), "--print_config"])
    assert not stop.value.code
    return yaml.safe_load(capsys.readouterr().out)


@pytest.fixture(scope="module")
def plus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips with faces, labels and a description, packed."""
    folder = tmp_path_factory.mktemp("plus")
    lines = []
    for number in range(6):
        name = f"clip{number}"
        (folder / f"{name}.mp4").write_bytes(make_clip(0.4, shade=20 + 20 * number))
        faces = io.BytesIO()
        np.save(faces, np.full((3, 20, 20, 3), 30 * number, np.uint8))
        (folder / f"{name}.npy").write_bytes(faces.getvalue())
        line = {"name": name, "video": f"{name}.mp4", "faces": f"{name}.npy", "faces_channels": "bgr"}
        lines.append({**line, "subtitle": "Well.", "labels": ["happy"], "description": "Someone is glad."})
    write_manifest(folder, lines)
    pack(folder / "manifest.jsonl", folder / "shards")
    return folder / "shards"


def shown(model: dict[str, Any]) -> frozenset[str]:
    """What the prompt of a configuration shows."""
    multi = [] if model["prefusion"]["name"] == "none" else ["multi"]
    return frozenset(model["slots"] or [*model["streams"], *multi, "subtitle"])


def shrink(config: dict[str, Any], shards: Path, out: Path) -> dict[str, Any]:
    """The same configuration with tiny parts; streams, fusions, adapters, slots, optimiser and data stay."""
    model, trainer = config["model"], config["trainer"]
    for name, stream in model["streams"].items():
        assert stream["encoder"]["name"] in ENCODERS or stream["encoder"]["name"].startswith("timm/")
        stream["encoder"] = {"name": KINDS[name], "args": {"dim": 16}}
    if model["prefusion"]["name"] == "qformer":
        model["prefusion"]["args"] |= {"hidden_dim": 24, "num_heads": 2}
    assert model["llm"]["name"] in LLMS
    lora = model["llm"]["args"]["lora"]
    model["llm"] = {"name": "tiny", "args": {"dim": 32, "lora": lora, "trainable": False}}
    model["media"] |= {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.1, "frame_height": 32}
    model["media"]["frame_width"] = 32
    model["optim"]["warmup_steps"] = 0
    config["data"]["args"] |= {"train": str(shards), "num_workers": 0}
    trainer |= {"max_epochs": 1, "limit_train_batches": 1, "accelerator": "cpu", "default_root_dir": str(out)}
    trainer["logger"] = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(out)}}
    trainer |= {"log_every_n_steps": 1, "enable_progress_bar": False, "enable_model_summary": False}
    return config


@pytest.mark.parametrize("name", CASES)
def test_a_configuration_is_built_and_stepped_once(
    name: str, plus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = parsed(CASES[name], capsys)
    layout = LAYOUTS[LAYOUT_OF.get(name, "multiface_audio_face_text")]
    assert shown(config["model"]) == {slot for slot in (*SLOTS, "subtitle") if f"{{{slot}}}" in layout}
    lora = config["model"]["llm"]["args"]["lora"]
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(shrink(config, plus, tmp_path)))
    assert main(["fit", "--config", str(path), "--debug"]) == 0
    (metrics,) = tmp_path.rglob("metrics.csv")
    header, row = metrics.read_text().splitlines()[:2]
    assert math.isfinite(float(row.split(",")[header.split(",").index("train/loss")]))
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    names = list(torch.load(checkpoint, weights_only=True)["state_dict"])
    assert any("lora_" in name for name in names) == (lora is not None)
    assert any(name.startswith("prefusion.") for name in names) == ("multi" in shown(config["model"]))


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_an_ablation_says_what_it_is_and_keeps_its_own_folder(path: Path) -> None:
    text = path.read_text()
    assert f"--config experiments/ablations/{path.name}" in text
    assert "# Hardware: " in text
    figure = re.search(r"Expected: .*?mean (\d\d\.\d\d)", text)
    assert figure is not None
    readme = (path.parent / "README.md").read_text()
    assert figure.group(1) in readme
    assert f"`{path.stem}`" in readme
    assert yaml.safe_load(text)["trainer"]["default_root_dir"] == f"runs/ablations/{path.stem}"


@pytest.mark.parametrize("path", [path for path in ABLATIONS if path.stem.startswith("video_")], ids=lambda p: p.stem)
def test_networks_of_timm_are_in_timm(path: Path) -> None:
    timm = pytest.importorskip("timm", reason="asks timm for its names")
    encoder = yaml.safe_load(path.read_text())["model"]["streams"]["face"]["encoder"]
    assert encoder["name"].removeprefix("timm/") in timm.list_pretrained()


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_every_pipeline_of_annotation_builds(path: Path) -> None:
    pipeline = read_pipeline(path)
    assert pipeline.steps
    assert all(step.stage.identity() for step in pipeline.steps)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_every_other_configuration_parses(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed([path], capsys)["model"]["streams"]
