"""From the files of the real demo clip to the numbers and answers of the authors' code, through our own decoding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from affectgpt.cli.main import main
from affectgpt.datamodules.collate import collate
from affectgpt.media.clip import load_clip
from affectgpt.types import Batch
from releasedmodel import FILE, SUBTITLE, folders, loaded, off


@pytest.fixture(scope="module")
def oracle(shared: Path) -> Path:
    return shared / "oracle/model"


def from_files(oracle: Path, config: str, name: str) -> tuple[object, dict, dict, Batch]:
    facts = json.loads((oracle / config / f"case_{name}.json").read_text("utf-8"))
    model = loaded(oracle, config, facts["face_or_frame"])
    data, key = oracle / "data", facts["samples"][0]
    faces = np.load(data / f"openface_face/{key}/{key}.npy") if "face" in model.specs else None
    clip, missing = load_clip(
        data / f"video/{key}.mp4",
        model.media,
        audio=data / f"audio/{key}.wav",
        subtitle=SUBTITLE,
        faces=faces,
        faces_channels="bgr",
    )
    assert not missing
    batch = collate([clip], [model.style.label_question], None)
    return model, facts, load_file(oracle / config / f"case_{name}.safetensors"), batch


@torch.no_grad()
@pytest.mark.parametrize(("config", "name"), [("A", "frame"), ("A", "face"), ("B", "frame"), ("C", "frame")])
def test_files_of_the_demo_clip_give_the_published_numbers(oracle, config, name):
    model, facts, wanted, batch = from_files(oracle, config, name)
    for stream in model.specs:
        assert off(model.network.encode(stream, batch).hidden, wanted[f"{stream}_hidden"]) < 1e-5, stream
    for slot, tokens in model.network.slot_tokens(batch).items():
        assert off(tokens, wanted[f"{slot}_llm"]) < 1e-5, slot
    logits = model(batch).logits[0, -1]
    assert off(logits, wanted["gen20_logits"][0]) < 5e-5
    assert model.generate(batch, 20) == [facts["generation"]["response"]]


def test_the_same_from_the_command_line(oracle, tmp_path, capsys):
    facts = json.loads((oracle / "A/case_frame.json").read_text("utf-8"))
    given = [f"--{name}={path}" for name, path in folders(oracle).items()]
    convert = ["convert", str(oracle / "A" / FILE), str(tmp_path / "model"), *given, "--llm-dtype=float32"]
    assert main([*convert, f"--layout={facts['face_or_frame']}"]) == 0
    capsys.readouterr()
    data, key = oracle / "data", facts["samples"][0]
    ask = ["predict", str(data / f"video/{key}.mp4"), f"--audio={data}/audio/{key}.wav", f"--subtitle={SUBTITLE}"]
    assert main([*ask, f"--checkpoint={tmp_path}/model", "--max-new-tokens=20", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["text"] == facts["generation"]["response"]
    assert set(answer["used"]) == {"frame", "audio", "multi", "subtitle"}
