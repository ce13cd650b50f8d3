"""A run that validates on what it trains on says so at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.shards.packing import pack
from affectgpt.training import validation_overlap as module
from affectgpt.training.validation_overlap import shared_clips, validation_overlap
from clipmaker import make_wav


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, str]:
    for name, clips in (("train", "abc"), ("val", "cd"), ("apart", "xy")):
        (tmp_path / name).mkdir()
        for clip in clips:
            (tmp_path / name / f"{clip}.wav").write_bytes(make_wav(0.3))
        pack(tmp_path / name, tmp_path / f"{name}-shards")
    return {name: str(tmp_path / f"{name}-shards") for name in ("train", "val", "apart")}


def test_clips_in_both_sets_are_counted_and_named(sets: dict[str, str]) -> None:
    found = validation_overlap(MERCaptionDataModule(train=sets["train"], val=sets["val"]))
    assert found is not None
    assert found.startswith("warning: 1 of 2 validation clips are in the training set too ('c')")
    mixed = {sets["apart"]: 1.0, sets["train"]: 2.0}
    assert validation_overlap(MERCaptionDataModule(train=mixed, val=sets["val"])) == found


def test_sets_apart_and_what_cannot_be_compared_give_no_warning(
    sets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert validation_overlap(MERCaptionDataModule(train=sets["train"], val=sets["apart"])) is None
    assert validation_overlap(MERCaptionDataModule(train=sets["train"])) is None
    assert validation_overlap(object()) is None
    monkeypatch.setattr("affectgpt.training.validation_overlap.MOST_SAMPLES", 4)
    assert validation_overlap(MERCaptionDataModule(train=sets["train"], val=sets["val"])) is None


def test_the_headers_are_read_once_for_all_who_ask(sets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    list_set = module.list_set
    monkeypatch.setattr(module, "list_set", lambda folder: read.append(folder) or list_set(folder))
    first, other = (MERCaptionDataModule(train=sets["train"], val=sets["val"]) for _ in range(2))
    assert validation_overlap(first) is not None
    assert shared_clips(other) == (("c",), 2)
    assert read == [Path(sets["train"]), Path(sets["val"])]
