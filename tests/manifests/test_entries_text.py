"""Texts of an entry that nobody can see or write are taken in one way, and noted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from affectgpt.manifests import Record, read_manifest
from affectgpt.manifests.manifest import scan_manifest


def read(folder: Path, **entry: Any) -> Record:
    (folder / "a.mp4").write_bytes(b"x")
    (folder / "m.jsonl").write_text(json.dumps({"name": "a", "video": "a.mp4", **entry}))
    (record,) = read_manifest(folder / "m.jsonl")
    return record


def test_half_an_emoji_is_marked_in_every_place_and_noted(tmp_path: Path) -> None:
    half = "oh \ud83d"
    record = read(tmp_path, subtitle=half, description=half, labels=[half], mood={half: [half]}, **{half: 1})
    assert (record.subtitle, record.description, record.labels) == ("oh \ufffd", "oh \ufffd", ("oh \ufffd",))
    assert record.extra == {"mood": {"oh \ufffd": ["oh \ufffd"]}, "oh \ufffd": 1}
    assert [note.split()[0] for note in record.notes] == ["subtitle", "label", "description", "mood"]
    record.identity().encode()
    assert read(tmp_path, subtitle="oh \ud83d\ude00").notes == ()


@pytest.mark.parametrize("written", ["\u200bhappy", "ha\u00adppy", "\ufeffhappy", "happy\u2060"])
def test_invisible_characters_leave_labels_and_names_and_are_noted(tmp_path: Path, written: str) -> None:
    record = read(tmp_path, name=written, labels=[written, " calm "])
    assert (record.key, record.labels, len(record.notes)) == ("happy", ("happy", "calm"), 2)
    assert record.notes[1] == f"label {written!a} was read as 'happy'"


def test_names_that_look_the_same_are_used_once(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    lines = [{"name": name, "video": "a.mp4"} for name in ("caf\u00e9", "cafe\u0301", "caf\u00e9\u200b")]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    records, problems = scan_manifest(tmp_path / "m.jsonl")
    assert ([record.key for record in records], [problem.code for problem in problems]) == (
        ["caf\u00e9"],
        ["duplicate_key"] * 2,
    )


def test_letters_of_two_scripts_in_one_word_are_noted(tmp_path: Path) -> None:
    record = read(tmp_path, labels=["h\u0430ppy", "\u0440\u0430\u0434", "happy \u0440\u0430\u0434"])
    assert record.labels[0] == "h\u0430ppy"
    (note,) = record.notes
    assert note == "label 'h\\u0430ppy' mixes letters of CYRILLIC and LATIN in one word"


def test_a_folder_of_faces_with_a_broken_link_is_a_fault_of_its_clip(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "0.png").symlink_to("nowhere.png")
    (tmp_path / "m.jsonl").write_text(json.dumps({"name": "a", "video": "a.mp4", "faces": "crops"}))
    _, problems = scan_manifest(tmp_path / "m.jsonl")
    assert [problem.code for problem in problems] == ["missing_file"]
    assert "0.png', a broken link" in str(problems[0])


@pytest.mark.parametrize("labels", [False, 0, {}, {"happy": 1}, ["\u200b"], [" "], [1], "happy"])
def test_labels_that_are_no_list_of_words_are_a_fault(tmp_path: Path, labels: object) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "m.jsonl").write_text(json.dumps({"name": "a", "video": "a.mp4", "labels": labels}))
    _, problems = scan_manifest(tmp_path / "m.jsonl")
    assert [problem.code for problem in problems] == ["wrong_type"]
