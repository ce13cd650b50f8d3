"""The release of MER2026 is read: every table, both spellings of labels, pairs, archives, and overlaps of its sets."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests import Mer2026, read_manifest
from affectgpt.manifests.manifest import survey_manifest
from affectgpt.manifests.mer2026 import clip_of_key, keyed_rows
from affectgpt.manifests.mer2026_archives import unpack_archives
from affectgpt.shards.index import read_index
from affectgpt.shards.read import ShardReader
from mer2026maker import CANDIDATES, HUMAN, TRAIN, make_archives, make_release, write_table


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("mer2026") / "mer2026-dataset")


def test_every_table_is_a_set_and_its_columns_say_what_it_holds(release: Path) -> None:
    assert [r.labels for r in read_manifest(release, Mer2026("track1_train"))] == [("happy",)] * 3
    human = read_manifest(release, Mer2026("track2_train_human"))
    assert [(r.key, r.labels) for r in human] == [(name, ("calm", "at ease")) for name in HUMAN]
    plus = read_manifest(release, Mer2026())
    assert [(r.key, r.labels) for r in plus] == [(name, ("happy", "ill at ease")) for name in TRAIN]
    assert plus[0].extra == {"faces_channels": "bgr", "subtitle_chinese": "好 samplenew_1"}
    assert all(record.audio and record.faces and record.video for record in plus)
    candidates = read_manifest(release, Mer2026("track1_track2_candidate"))
    assert [(r.key, r.labels, r.description) for r in candidates] == [(name, (), None) for name in CANDIDATES]
    own = write_table(release / "track2_own.csv", ["name", "openset"], [["samplenew_1", "['sad']"]])
    assert read_manifest(release, Mer2026("track2_own"))[0].labels == ("sad",)
    own.unlink()


def test_the_subtitle_is_the_column_that_was_chosen(release: Path) -> None:
    def words(subtitle: str) -> list[str | None]:
        return [record.subtitle for record in read_manifest(release, Mer2026(subtitle=subtitle))]

    assert words("english") == ["well, samplenew_1", "well, samplenew_2", None]
    assert words("chinese") == [f"好 {name}" for name in TRAIN]
    assert words("english,chinese") == ["well, samplenew_1", "well, samplenew_2", "好 samplenew_3"]
    last = read_manifest(release, Mer2026(subtitle="english,chinese"))[2]
    assert last.notes == ("the subtitle is that of column 'chinese', as 'english' has none",)
    assert "subtitle_chinese" not in last.extra
    with pytest.raises(ConfigError, match="expected english, chinese, or english,chinese"):
        Mer2026(subtitle="german")


def test_descriptions_are_joined_by_name_from_the_table_of_another_year(release: Path, tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "track3_train_mercaptionplus.csv", ["name", "reason"], [["samplenew_2", "He grins."]]
    )
    joined = read_manifest(release, Mer2026(descriptions=str(table)))
    assert [record.description for record in joined] == [None, "He grins.", None]
    other = write_table(tmp_path / "other.csv", ["name", "reason"], [["x", "He grins."]])
    with pytest.raises(DataError, match="describes none of the 3 samples"):
        read_manifest(release, Mer2026(descriptions=str(other)))


def test_each_pair_is_a_sample_also_where_a_clip_comes_again(release: Path) -> None:
    pairs = read_manifest(release, Mer2026("track3_emoprefer"))
    assert [record.key for record in pairs] == ["samplenew_1", "samplenew3_4", "samplenew_1_pair2", "samplenew_2"]
    assert pairs[2].extra["pair"] == {
        "clip": "samplenew_1", "a1": "She is bored.", "a2": "She is glad.", "preference": "a2",
    }  # fmt: skip
    assert pairs[0].video == pairs[2].video
    assert "preference" not in read_manifest(release, Mer2026("track3_candidate"))[0].extra["pair"]
    assert [clip_of_key(record.key) for record in pairs] == [record.extra["pair"]["clip"] for record in pairs]


def test_keys_of_pairs_never_meet_names_of_clips(tmp_path: Path) -> None:
    rows = [["a", "x", "y"], ["a_pair2", "x", "y"], ["a", "z", "y"], ["a", "z", "w"]]
    keys = [key for _, key, _ in keyed_rows(write_table(tmp_path / "t.csv", ["name", "a1", "a2"], rows))]
    assert len(set(keys)) == 4
    assert keys[:2] == ["a", "a_pair2"]
    with pytest.raises(DataError, match="needs both a1 and a2"):
        list(keyed_rows(write_table(tmp_path / "t.csv", ["name", "a1", "a2"], [["a", "x", ""]])))


def test_tables_that_are_not_there_are_named(release: Path) -> None:
    with pytest.raises(DataError, match=r"has no track2_train_humn\.csv; it has .*Did you mean 'track2_train_human'"):
        read_manifest(release, Mer2026("track2_train_humn"))
    remarks = survey_manifest(release, Mer2026("track2_train_human")).remarks
    assert any("no table of the subset names them" in remark for remark in remarks)


def test_archives_are_unpacked_by_name_and_go_on_after_an_interruption(tmp_path: Path) -> None:
    folder = make_release(tmp_path / "release", media=False)
    make_archives(folder, "track2_train_human", [*HUMAN, "stranger"])
    with pytest.raises(DataError, match=r"holds the archives of the release.*--unpack FOLDER"):
        read_manifest(folder, Mer2026("track2_train_human"))
    out = tmp_path / "unpacked"
    done = unpack_archives(folder, "track2_train_human", out)
    assert (done.written, done.replaced, done.kept, done.passed_over) == (6, 0, 0, 3)
    assert sorted(path.name for path in (out / "video").iterdir()) == sorted(f"{name}.mp4" for name in HUMAN)
    (out / "audio" / f"{HUMAN[0]}.wav").unlink()
    (out / "video" / f"{HUMAN[1]}.mp4").write_bytes(b"cut")
    other = out / "video" / f"{HUMAN[0]}.mp4"
    whole = other.read_bytes()
    other.write_bytes(bytes(len(whole)))  # the same size
    again = unpack_archives(folder, "track2_train_human", out)
    assert (again.written, again.replaced, again.kept) == (3, 2, 3)
    assert other.read_bytes() == whole
    shards = tmp_path / "shards"
    options = ["--layout", "mer2026", "--subset", "track2_train_human", "--unpack", str(out), "--workers", "0"]
    assert main(["pack", str(folder), str(shards), *options]) == 0
    index = read_index(shards)
    assert (index.samples, index.modalities["faces"], index.modalities["audio"]) == (2, 2, 2)


def test_damaged_and_odd_archives_are_refused(tmp_path: Path) -> None:
    folder = make_release(tmp_path / "release", media=False)
    with pytest.raises(DataError, match=r"holds no \.zip"):
        unpack_archives(folder, "track2_train_human", tmp_path / "out")
    make_archives(folder, "track2_train_human", HUMAN)
    location = folder / "video_7z" / "video_track2_train_human"
    first = location / "video_split_0001.zip"
    whole = first.read_bytes()
    first.write_bytes(whole[:200] + bytes(b ^ 255 for b in whole[200:260]) + whole[260:])
    with pytest.raises(DataError, match=r"cannot be unpacked .*fetch the archive again"):
        unpack_archives(folder, "track2_train_human", tmp_path / "out")
    assert not (tmp_path / "out" / "video" / f"{HUMAN[0]}.mp4").exists()
    first.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read as a zip archive"):
        unpack_archives(folder, "track2_train_human", tmp_path / "out")
    first.write_bytes(whole)
    (location / "video_split_0003.zip").write_bytes(whole)
    with pytest.raises(DataError, match="both hold"):
        unpack_archives(folder, "track2_train_human", tmp_path / "out")
    (location / "video_split_0003.7z").write_bytes(b"7z")
    with pytest.raises(DataError, match="which only 7z unpacks"):
        unpack_archives(folder, "track2_train_human", tmp_path / "out")


def test_a_name_that_leads_out_of_the_folder_is_only_a_name(tmp_path: Path) -> None:
    folder = make_release(tmp_path / "release", media=False)
    make_archives(folder, "track2_train_human", HUMAN)
    location = folder / "video_7z" / "video_track2_train_human"
    with zipfile.ZipFile(location / "video_split_0003.zip", "w") as archive:
        archive.writestr("../../../../evil.mp4", b"x")
        archive.writestr("/abs/evil2.mp4", b"x")
    done = unpack_archives(folder, "track2_train_human", tmp_path / "deep" / "out")
    assert done.passed_over == 2
    assert not list(tmp_path.rglob("evil*"))


def test_clips_of_the_test_set_are_refused_or_left_out_when_training_shards_are_packed(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["pack", str(release), str(tmp_path / "out"), "--layout", "mer2026", "--workers", "0"]
    against = ["--against", str(release / "track2_train_human.csv")]
    assert main([*command, *against]) == 1
    message = capsys.readouterr().err
    assert "share 1 by name (content could not be compared): 'samplenew_2'" in message
    assert "--leave-out-overlap" in message
    assert main([*command, *against, "--leave-out-overlap"]) == 0
    assert "left out 1 (overlap)" in capsys.readouterr().out
    index = read_index(tmp_path / "out")
    with ShardReader(tmp_path / "out" / index.shards[0].name, index.samples) as reader:
        assert [reader.key(i) for i in range(len(reader))] == ["samplenew_1", "samplenew_3"]
        assert json.loads(reader.read(0)[1]["json"])["labels"] == ["happy", "ill at ease"]
    assert main([*command, *against, "--allow-overlap", "--overwrite"]) == 0
    assert read_index(tmp_path / "out").samples == 3
    assert main([*command, "--leave-out-overlap"]) == 1
    assert "give --against SET" in capsys.readouterr().err
