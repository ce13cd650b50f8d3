"""A stored model notes the distribution of its plug-in parts, and says what to install where one is missing."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from affectgpt import AffectGPT
from affectgpt.checkpoints.config_file import stored_config
from affectgpt.classifier import EmotionClassifier
from affectgpt.errors import CheckpointError
from affectgpt.features import EncoderSet
from affectgpt.llm import TinyLM
from affectgpt.registry import ENCODERS, LLMS
from pluginmaker import install_face_plugin
from quiettrainer import quiet_trainer

NOTE = {"encoder plugged-face": "face-plugin 2.5"}
STREAMS = {"frame": {"encoder": {"name": "plugged-face", "args": {"dim": 4}}, "pooling": "mean"}}
CONFIG: dict[str, Any] = {
    "streams": STREAMS,
    "llm": {"name": "tiny", "args": {"dim": 16, "layers": 1, "heads": 2, "lora": None}},
    "media": {"frame_height": 16, "frame_width": 16, "num_frames": 2},
    "style": "brief",
    "prefusion": "none",
}
LOADERS: dict[str, Callable[[Path], Any]] = {
    "file": lambda stored: AffectGPT.from_checkpoint(stored / "model.ckpt"),
    "folder": lambda stored: AffectGPT.from_pretrained(stored / "model"),
    "encoders of the file": lambda stored: EncoderSet.from_checkpoint(stored / "model.ckpt"),
    "encoders of the folder": lambda stored: EncoderSet.from_checkpoint(stored / "model"),
    "start of a run": lambda stored: stored_config(stored / "model.ckpt"),
    "classifier": lambda stored: EmotionClassifier.load_from_checkpoint(stored / "classifier.ckpt"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_face_plugin(tmp_path_factory)


@pytest.fixture(scope="module")
def stored(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a classifier with a plug-in part, in every form in which they are stored."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        install(site, patch)
        torch.manual_seed(0)
        model = AffectGPT(**CONFIG)
        model.save_checkpoint(folder / "model.ckpt")
        model.save_pretrained(folder / "model")
        classifier = EmotionClassifier(STREAMS, ["sad", "happy"])
        trainer = quiet_trainer(max_steps=1, default_root_dir=folder)
        clips = [(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), 0)] * 2
        trainer.fit(classifier, DataLoader(clips, batch_size=2))
        trainer.save_checkpoint(folder / "classifier.ckpt")
    return folder


def install(site: Path, patch: pytest.MonkeyPatch) -> None:
    patch.syspath_prepend(str(site))
    patch.delitem(sys.modules, "face_plugin", raising=False)


def test_every_form_notes_name_and_version(stored: Path) -> None:
    for name in ("model.ckpt", "classifier.ckpt"):
        assert torch.load(stored / name, weights_only=True)["affectgpt"]["plugins"] == NOTE
    assert json.loads((stored / "model" / "config.json").read_text())["plugins"] == NOTE


@pytest.mark.parametrize("form", LOADERS)
def test_a_missing_plugin_is_named_with_its_version(form: str, stored: Path) -> None:
    with pytest.raises(CheckpointError, match="encoder plugged-face") as caught:
        LOADERS[form](stored)
    assert "install face-plugin 2.5 (pip install 'face-plugin==2.5')" in str(caught.value)


@pytest.mark.parametrize("form", LOADERS)
def test_it_loads_in_silence_where_the_same_version_is_installed(
    form: str, stored: Path, site: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(site, monkeypatch)
    with caplog.at_level(logging.WARNING, "affectgpt.checkpoints"):
        LOADERS[form](stored)
    assert not caplog.records


@pytest.mark.parametrize("form", [form for form in LOADERS if form != "start of a run"])
def test_another_version_is_announced_in_one_line(
    form: str,
    stored: Path,
    site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    newer = shutil.copytree(site, tmp_path / "newer")
    (metadata,) = newer.glob("face_plugin-*.dist-info/METADATA")
    metadata.write_text(metadata.read_text().replace("Version: 2.5", "Version: 2.6"))
    install(newer, monkeypatch)
    with caplog.at_level(logging.WARNING, "affectgpt.checkpoints"):
        LOADERS[form](stored)
    (line,) = (record.getMessage() for record in caplog.records)
    assert "'plugged-face' came from face-plugin 2.5 when the model was stored, here from face-plugin 2.6" in line


def test_a_missing_language_model_may_be_replaced_at_the_start_of_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = AffectGPT(**{**CONFIG, "streams": {"frame": {"encoder": "tiny-vision", "pooling": "mean"}}})
    model.save_checkpoint(tmp_path / "model.ckpt")
    saved = torch.load(tmp_path / "model.ckpt", weights_only=True)
    saved["hyper_parameters"]["llm"] = {"name": "far-lm", "args": {}}
    saved["affectgpt"]["plugins"] = {"LLM far-lm": "far-llms 0.1"}
    torch.save(saved, tmp_path / "far.ckpt")
    with caplog.at_level(logging.WARNING, "affectgpt.checkpoints"):
        assert stored_config(tmp_path / "far.ckpt")["llm"]["name"] == "far-lm"
    assert "install far-llms 0.1 (pip install 'far-llms==0.1'), or replace the part" in caplog.text
    assert EncoderSet.from_checkpoint(tmp_path / "far.ckpt").specs.keys() == {"frame"}
    with pytest.raises(CheckpointError, match=r"install far-llms 0\.1"):
        AffectGPT.from_checkpoint(tmp_path / "far.ckpt")


NO_NOTES = [None, True, 3, "x", [], [["a", "b"]], {"encoder plugged-face": None}, {"encoder plugged-face": ["a", "1"]},
            {"encoder plugged-face": "face-plugin"}, {"encoder plugged-face": "a 1'; rm -rf ~ #"}, {3: "a 1"},
            {"encoder plugged-face": "a\x1b[31m 1"}, {"encoder plugged-face": "a " + "1" * 300}]  # fmt: skip


@pytest.mark.parametrize("note", NO_NOTES, ids=repr)
def test_notes_of_another_shape_are_a_broken_file(note: Any, stored: Path, tmp_path: Path) -> None:
    for name, load in (
        ("model.ckpt", AffectGPT.from_checkpoint),
        ("classifier.ckpt", EmotionClassifier.load_from_checkpoint),
    ):
        saved = torch.load(stored / name, weights_only=True)
        saved["affectgpt"]["plugins"] = note
        torch.save(saved, tmp_path / name)
        with pytest.raises(CheckpointError, match="note of plug-ins"):
            load(tmp_path / name)
    if note == {3: "a 1"}:
        return  # JSON has no such key
    shutil.copytree(stored / "model", tmp_path / "model")
    record = json.loads((tmp_path / "model" / "config.json").read_text())
    text = json.dumps({**record, "plugins": note})
    (tmp_path / "model" / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="note of plug-ins"):
        AffectGPT.from_pretrained(tmp_path / "model")


def test_the_distribution_of_a_part_by_every_way_in(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, monkeypatch)
    assert ENCODERS.distribution_of("plugged-face") == ("face-plugin", "2.5")
    assert ENCODERS.distribution_of("tiny-vision") is None  # a plug-in wants the name too, but it is taken
    assert ENCODERS.distribution_of("timm/resnet18") is None
    assert ENCODERS.distribution_of("nobody") is None
    name, version = LLMS.distribution_of("torchmetrics.text:BLEUScore") or ("", "")
    assert name == "torchmetrics"
    assert version
    assert LLMS.distribution_of("affectgpt.llm.tiny:TinyLM") is None
    LLMS.register("mine-in-a-test")(TinyLM)
    try:
        assert LLMS.distribution_of("mine-in-a-test") is None
    finally:
        del LLMS._local["mine-in-a-test"]
