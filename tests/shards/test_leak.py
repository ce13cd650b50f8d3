"""Clips that two sets share are found by name and by content, whatever form the sets have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from affectgpt.cli.main import main
from affectgpt.errors import DataError
from affectgpt.shards.leak import find_leak, list_set
from affectgpt.shards.packing import pack
from clipmaker import make_clip, make_wav


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders: ``both`` is in both; ``again`` has another content; ``old`` is ``new`` under another name."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    clip = make_clip(seconds=0.5)
    (first / "both.mp4").write_bytes(clip)
    (second / "both.mp4").write_bytes(clip)
    (first / "again.mp4").write_bytes(make_clip(seconds=0.4))
    (second / "again.mp4").write_bytes(make_clip(seconds=0.6))
    (first / "old.wav").write_bytes(make_wav(0.7))
    (second / "new.wav").write_bytes(make_wav(0.7))
    (first / "own.wav").write_bytes(make_wav(0.3))
    (second / "other.wav").write_bytes(make_wav(0.35))
    return first, second


def test_sets_are_compared_by_name_and_content_in_every_form(folders: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = folders
    pack(second, tmp_path / "shards")
    for one, other in ((first, second), (first, tmp_path / "shards")):
        found = find_leak(one, other)
        assert (found.same, found.differing, found.names_only) == (("both",), ("again",), ())
        assert found.twins == (("old", "new"),)
        assert found.names == ("again", "both", "old")
        mirrored = find_leak(other, one)
        assert (mirrored.twins, mirrored.names) == ((("new", "old"),), ("again", "both", "new"))


def test_forms_without_the_original_files_are_compared_by_name(folders: tuple[Path, Path], tmp_path: Path) -> None:
    from affectgpt.media.profile import MediaProfile
    from affectgpt.shards.forms.frames import FramesRecipe

    profile = MediaProfile.of({"num_frames": 2, "frame_height": 32, "frame_width": 32})
    pack(folders[1], tmp_path / "frames", recipe=FramesRecipe(profile, 4))
    found = find_leak(folders[0], tmp_path / "frames")
    assert (found.names_only, found.same, found.twins) == (("again", "both"), (), ())


def test_a_table_of_names_is_a_set(folders: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "names.csv"
    table.write_text("name,openset\nboth,x\nboth,y\n elsewhere ,z\n", "utf-8")
    assert [clip.name for clip in list_set(table).clips] == ["both", "elsewhere"]
    assert find_leak(folders[0], table).names_only == ("both",)
    with pytest.raises(DataError, match="is a URL; fetch the set first"):
        list_set("https://example.org/shards")


def test_of_a_tree_with_videos_and_sounds_the_videos_count(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for kind in ("video", "audio"):
        (tmp_path / "tree" / kind).mkdir(parents=True)
    shutil.copy(folders[0] / "both.mp4", tmp_path / "tree" / "video" / "both.mp4")
    shutil.copy(folders[0] / "own.wav", tmp_path / "tree" / "audio" / "both.wav")
    assert [clip.name for clip in list_set(tmp_path / "tree").clips] == ["both"]
    assert find_leak(folders[0], tmp_path / "tree").same == ("both",)


def test_a_name_whose_file_is_missing_is_a_name_of_the_set(folders: tuple[Path, Path]) -> None:
    lines = [{"name": "both", "video": "both.mp4"}, {"name": "gone", "video": "gone.mp4"}]
    (folders[0] / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    shutil.copy(folders[1] / "both.mp4", folders[1] / "gone.mp4")
    found = find_leak(folders[0] / "manifest.jsonl", folders[1])
    assert (found.same, found.names_only) == (("both",), ("gone",))
    assert found.twins == (("both", "gone"),)


def test_the_verb_refuses_by_default(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", *map(str, folders[:1]), "--against", str(folders[1])]
    report = tmp_path / "leak.json"
    assert main([*command, "--out", str(report)]) == 1
    printed = capsys.readouterr().out
    assert "share 1 by name and content, 1 by name, with other content, 1 by content, under another name" in printed
    assert json.loads(report.read_text("utf-8"))["twins"] == [["old", "new"]]
    assert main([*command, "--allow-overlap"]) == 0
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "x.wav").write_bytes(make_wav(0.9))
    capsys.readouterr()
    assert main(["check", str(folders[0]), "--against", str(tmp_path / "alone"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shared"] == 0
