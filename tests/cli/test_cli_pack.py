"""The verb ``pack`` as its user meets it: forms, layouts, what went on, what was left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affectgpt.cli.main import main
from affectgpt.cli.progress import Progress
from affectgpt.shards import read_index
from clipmaker import make_clip
from conftest import write_manifest


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder with two clips, a broken file and a broken entry."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").write_bytes(make_clip(0.3))
    (tmp_path / "c.mp4").write_bytes(b"nothing")
    lines: list[dict[str, object] | str] = [{"name": name, "video": f"{name}.mp4"} for name in "abc"]
    return write_manifest(tmp_path, [*lines, "no json"])


def test_frames_of_a_profile_are_packed_and_what_is_left_out_is_said(
    clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = clips.parent / "out"
    profile = '{"num_frames": 2, "frame_height": 16, "frame_width": 16}'
    arguments = ["--form", "frames", "--media", profile, "--jpeg-qscale", "5", "--workers", "0", "--skip-bad"]
    assert main(["pack", str(clips), str(out), *arguments, "--provenance", "licence=CC0", "--json"]) == 0
    shown = capsys.readouterr()
    assert "2 JPEG frames and FLAC sound" in shown.err
    assert "packed 2 samples" in shown.err
    assert f"left out 2 (not_json, undecodable); {out}/rejects.jsonl has the reasons" in shown.err
    printed = json.loads(shown.out)
    assert printed == json.loads((out / "index.json").read_text())
    index = read_index(out)
    assert (index.recipe["jpeg_qscale"], index.recipe["media"]["num_frames"]) == (5, 2)
    assert index.provenance == {"manifest": "manifest.jsonl", "source": None, "licence": "CC0"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--media", "official"], "give --form frames"),
        (["--form", "frames", "--media", "{nonsense"], "is not JSON"),
        (["--form", "frames", "--media", "offical"], "official"),
        (["--form", "frames", "--jpeg-qscale", "90"], "from 1 (best) to 31"),
        (["--subset", "ovmerd"], "give --layout mer2025"),
        (["--layout", "mer2025"], "is not a folder"),
        (["--workers", "-1"], "workers=-1"),
        (["--samples-per-shard", "0"], "must be at least 1"),
        (["--provenance", "CC0"], "takes KEY=VALUE"),
        (["--faces", "--face-detector", "nobody"], "nobody"),
        ([], "not JSON"),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(
    clips: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    before = sorted(clips.parent.iterdir())
    assert main(["pack", str(clips), str(clips.parent / "out"), "--workers", "0", *arguments]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
    assert sorted(clips.parent.iterdir()) == before


def test_a_folder_says_what_was_not_used_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "my clips", tmp_path / "my shards"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(make_clip(0.3))
    (folder / "notes.md").write_text("x")
    assert main(["pack", str(folder), str(out), "--workers", "0"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("was not used (they belong to no clip): 1 .md; such as 'notes.md'")
    assert said[1].startswith("packed 2 samples")
    assert said[-1].startswith(f"next: affectgpt check '{out}', then affectgpt fit")
    write_manifest(folder, [{"name": "half", "video": "a.mp4", "subtitle": "oh \ud83d", "odd\ud83d": ["\ude00"]}])
    assert main(["pack", str(folder), str(out), "--workers", "0", "--overwrite"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{str(folder / 'manifest.jsonl')!r} was read as the manifest of the folder"
    assert said[1].startswith("2 files in")
    assert "packed 1 samples" in said[2]
    assert "1 have notes" in said[3]


def test_progress_in_a_log_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    with Progress("packing", "clips") as progress:
        for done in range(100, 106):
            progress.update(done, 200)
    assert capsys.readouterr().err.splitlines() == [
        "packing: 102 of 200 clips, 0.1/s, 0:32:40 left",
        "packing: 104 of 200 clips, 0.1/s, 0:32:00 left",
    ]
