"""Manifests of every kind give the same records, and say what does not fit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests import Mer2025, Record, read_manifest
from affectgpt.manifests.entries import PLACEHOLDERS, _split_labels
from affectgpt.manifests.manifest import scan_manifest
from affectgpt.shards import pack
from affectgpt.shards.read import ShardReader
from clipmaker import make_clip, make_png, make_wav

ROWS: list[dict[str, Any]] = [
    {"name": "a", "video": "a.mp4", "subtitle": 'He said "no", twice', "labels": ["calm", "at ease"], "lang": "en"},
    {"name": "b", "video": "b.mp4", "audio": "b.wav", "description": "Line one\nand two, 中文", "split": "test"},
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "b.wav", "c.mp4"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns, *([str(row.get(column, "")) for column in columns] for row in rows)]
    return "\r\n".join(delimiter.join('"' + cell.replace('"', '""') + '"' for cell in line) for line in cells)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the parquet extra is not installed")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def test_jsonl_csv_tsv_and_parquet_say_the_same(files: Path) -> None:
    (files / "m.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    (files / "m.csv").write_text("\ufeff" + as_csv(ROWS), "utf-8")
    (files / "m.tsv").write_text(as_csv(ROWS, "\t"), "utf-8")
    columns = ("name", "video", "audio", "subtitle", "labels", "description", "split", "lang")
    write_parquet(files / "m.parquet", [{column: row.get(column) for column in columns} for row in ROWS])
    wanted = read_manifest(files / "m.jsonl")
    assert [record.labels for record in wanted] == [("calm", "at ease"), ()]
    assert wanted[1].description == "Line one\nand two, 中文"
    for kind in ("csv", "tsv", "parquet"):
        assert read_manifest(files / f"m.{kind}") == wanted, kind


def test_parquet_without_its_extra_names_it(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (files / "m.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"pip install 'affectgpt\[parquet\]'"):
        read_manifest(files / "m.parquet")


def test_parquet_values_beyond_json_are_turned_or_refused(files: Path) -> None:
    import datetime

    day = datetime.date(2026, 11, 24)
    write_parquet(files / "m.parquet", [{"name": "a", "video": "a.mp4", "day": day, "score": float("nan")}])
    assert read_manifest(files / "m.parquet")[0].extra["day"] == "2026-11-24"
    assert read_manifest(files / "m.parquet")[0].extra["score"] is None
    write_parquet(files / "m.parquet", [{"name": "a", "video": "a.mp4", "raw": b"\x00"}])
    with pytest.raises(DataError, match=r"'raw' is .* not plain JSON"):
        read_manifest(files / "m.parquet")
    (files / "m.parquet").write_bytes((files / "m.parquet").read_bytes()[:-9])
    with pytest.raises(DataError, match="cannot be read as parquet"):
        read_manifest(files / "m.parquet")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line of different column names"),
        ("video,subtitle\na.mp4,x", "among them name"),
        ("name,name\na,b", "different column names"),
        ('name,video\na,"a.mp4', "check its quotes"),
    ],
)
def test_a_table_that_is_none_is_refused(files: Path, text: str, words: str) -> None:
    (files / "m.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read_manifest(files / "m.csv")


def test_a_row_with_loose_commas_is_a_fault_of_its_own(files: Path) -> None:
    (files / "m.csv").write_text("name,video,subtitle\na,a.mp4,well, no\nb,b.mp4,yes\n\nc,c.mp4,\n")
    records, problems = scan_manifest(files / "m.csv")
    assert [(record.key, record.subtitle) for record in records] == [("b", "yes"), ("c", None)]
    assert [(problem.code, "m.csv:2" in str(problem)) for problem in problems] == [("wrong_row", True)]


@given(st.lists(st.text(st.characters(categories=("L", "N"), include_characters=" '-"), min_size=1).map(str.strip)))
def test_labels_in_a_cell_read_back(labels: list[str]) -> None:
    labels = [label for label in labels if label]
    assert _split_labels(str(labels)) == labels
    assert _split_labels(json.dumps(labels)) == labels


@pytest.mark.parametrize(
    "text", ["happy, sad", "['happy','sad']", '["happy", "sad"]', "[happy, sad]", "happy\uff1bsad"]
)
def test_labels_in_a_cell(text: str) -> None:
    assert _split_labels(text) == ["happy", "sad"]


@pytest.mark.parametrize("mark", sorted(PLACEHOLDERS))
def test_marks_for_nothing_are_nothing_and_noted(files: Path, mark: str) -> None:
    (files / "m.jsonl").write_text(json.dumps({"name": "a", "video": "a.mp4", "subtitle": mark, "labels": mark}))
    (record,) = read_manifest(files / "m.jsonl")
    assert (record.subtitle, record.labels, len(record.notes)) == (None, (), 2)
    (files / "m.jsonl").write_text('{"name": "a", "video": "a.mp4", "subtitle": NaN, "score": NaN}')
    (record,) = read_manifest(files / "m.jsonl")
    assert (record.subtitle, record.extra, record.notes) == (None, {"score": None}, ())


def test_words_that_look_like_marks_stay(files: Path) -> None:
    (files / "m.jsonl").write_text('{"name": "a", "video": "a.mp4", "subtitle": "None of that!", "labels": ["none"]}')
    (record,) = read_manifest(files / "m.jsonl")
    assert (record.subtitle, record.labels) == ("None of that!", ("none",))


def test_an_unknown_kind_and_an_empty_manifest_are_refused(files: Path) -> None:
    (files / "m.xlsx").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"'\.xlsx' is not one of \.jsonl, \.csv"):
        read_manifest(files / "m.xlsx")
    (files / "m.jsonl").write_text("\n")
    with pytest.raises(DataError, match="has no entries"):
        read_manifest(files / "m.jsonl")


def test_a_bare_folder_is_a_data_set(tmp_path: Path) -> None:
    for name in (
        "dia 1/utt0.mp4",
        "dia 1/utt1.MP4",
        "dia2/utt0.mp4",
        "dia2/utt0.wav",
        "dia2/song.mp3",
        ".hidden/x.mp4",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "dia 1/utt0.txt").write_text("Good day. ")
    (tmp_path / "dia 1/utt1.srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,500\nOne,\n\n2\n00:00:02,000 --> 00:00:03,000\ntwo!\n"
    )
    (tmp_path / "dia2/utt0.json").write_text('{"labels": ["calm"], "speaker": 7}')
    np.save(tmp_path / "dia2/utt0.faces.npy", np.zeros((1, 2, 2, 3), np.uint8))
    (tmp_path / "README.md").write_text("not a clip")
    records = {record.key: record for record in read_manifest(tmp_path)}
    assert list(records) == ["dia_1-utt0", "dia_1-utt1", "dia2-song", "dia2-utt0"]
    assert [record.subtitle for record in records.values()] == ["Good day.", "One, two!", None, None]
    both = records["dia2-utt0"]
    assert (both.labels, both.extra) == (("calm",), {"file": "dia2/utt0.mp4", "speaker": 7})
    assert [path.name for path in both.files()] == ["utt0.mp4", "utt0.wav", "utt0.faces.npy"]


def test_a_folder_with_two_files_for_one_clip_is_not_guessed_at(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "b.jpg", "b.mp4", "c-d.mp4", "c/d.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b.json").write_text("[")
    records, problems = scan_manifest(tmp_path)
    assert [record.key for record in records] == ["c-d"]
    assert [problem.code for problem in problems] == ["ambiguous", "bad_side_file", "duplicate_key"]
    assert "a.mkv and a.mp4 are both the video" in str(problems[0])


def make_release(folder: Path) -> Path:
    """A small folder in the layout of the MER2025 release: whole clips, and one of each thing that goes wrong."""
    for part in ("video", "audio", "openface_face"):
        (folder / part).mkdir(parents=True)
    names = ["whole", "flat", "pictures", "wordless", "no-video", "no-audio", "no-faces", "placeholder"]
    for name in names:
        if name != "no-video":
            (folder / "video" / f"{name}.mp4").write_bytes(make_clip(0.3))
        if name != "no-audio":
            (folder / "audio" / f"{name}.wav").write_bytes(make_wav(0.3))
        crops = np.full((2, 4, 6, 3), (200, 100, 50), np.uint8)
        if name == "flat":
            np.save(folder / "openface_face" / f"{name}.npy", crops)
        elif name == "pictures":
            aligned = folder / "openface_face" / name / f"{name}_aligned"
            aligned.mkdir(parents=True)
            for number in range(3):
                (aligned / f"frame_det_00_{number:06d}.png").write_bytes(make_png(8, 8))
        elif name != "no-faces":
            (folder / "openface_face" / name).mkdir()
            np.save(folder / "openface_face" / name / f"{name}.npy", crops)
    lines = [f'{name},"好, {name}","well, {name}"' for name in names[:3]] + ["placeholder,没有,nan", "wordless,,"]
    (folder / "subtitle_chieng.csv").write_text("\n".join(["name,chinese,english", *lines]), "utf-8-sig")
    labels = [f"{name},\"['calm', 'at ease']\"" for name in names]
    (folder / "track2_train_mercaptionplus.csv").write_text("\n".join(["name,openset", *labels]))
    reasons = [f'{name},"The person, {name}."' for name in names if name != "flat"]
    (folder / "track3_train_mercaptionplus.csv").write_text("\n".join(["name,reason", *reasons]))
    (folder / "track2_train_ovmerd.csv").write_text("name,openset\nwhole,[]")
    (folder / "video" / "twice.avi").write_bytes(b"x")
    (folder / "video" / "twice.mp4").write_bytes(b"x")
    (folder / "track2_train_own.csv").write_text("name,openset\ntwice,[]")
    return folder


def test_the_release_of_mer2025_is_read_and_what_is_missing_is_named(tmp_path: Path) -> None:
    records, problems = scan_manifest(make_release(tmp_path / "mer2025-dataset"), Mer2025())
    found = {record.key: record for record in records}
    assert list(found) == ["whole", "flat", "pictures", "wordless", "placeholder"]
    assert found["whole"].labels == ("calm", "at ease")
    assert (found["whole"].subtitle, found["whole"].description) == ("well, whole", "The person, whole.")
    assert found["whole"].extra == {"faces_channels": "bgr", "subtitle_chinese": "好, whole"}
    assert (found["flat"].description, found["wordless"].subtitle) == (None, None)
    assert (found["placeholder"].subtitle, len(found["placeholder"].notes)) == (None, 1)
    assert len(found["pictures"].face_files()) == 3
    assert "faces_channels" not in found["pictures"].extra
    assert [(problem.key, problem.code) for problem in problems] == [
        ("no-video", "missing_file"),
        ("no-audio", "missing_file"),
        ("no-faces", "missing_file"),
    ]
    assert "track2_train_mercaptionplus.csv:8" in str(problems[2])
    assert "openface_face/no-faces/no-faces.npy" in str(problems[2])


def test_parts_of_the_release_can_be_left_out_and_other_tables_chosen(tmp_path: Path) -> None:
    folder = make_release(tmp_path / "mer2025-dataset")
    records, problems = scan_manifest(folder, Mer2025(ignore=("faces", "audio"), subtitle="chinese"))
    assert ([problem.key for problem in problems], len(records)) == (["no-video"], 7)
    assert (records[0].faces, records[0].audio, records[0].subtitle) == (None, None, "好, whole")
    assert [record.labels for record in read_manifest(folder, Mer2025("ovmerd"))] == [()]
    with pytest.raises(DataError, match="it has the subsets mercaptionplus, ovmerd, own"):
        read_manifest(folder, Mer2025("mercaption"))
    with pytest.raises(DataError, match=r"video/twice\.avi and video/twice\.mp4 both exist"):
        read_manifest(folder, Mer2025("own"))
    with pytest.raises(DataError, match=r"subtitle_chieng\.csv.*among them name, german"):
        read_manifest(folder, Mer2025(subtitle="german"))
    with pytest.raises(ConfigError, match="ignore takes audio, faces, subtitle"):
        Mer2025(ignore=("video",))
    (folder / "video").rename(folder / "videos")
    with pytest.raises(DataError, match="has no videos"):
        read_manifest(folder, Mer2025())
    with pytest.raises(DataError, match="is not a folder, but layout mer2025 reads"):
        read_manifest(folder / "subtitle_chieng.csv", Mer2025())
    with pytest.raises(DataError, match="nowhere' does not exist, but layout mer2025 reads"):
        read_manifest(folder / "nowhere", Mer2025())


def test_the_release_packs_with_its_face_pictures(tmp_path: Path) -> None:
    folder = make_release(tmp_path / "mer2025-dataset")
    report = pack(folder, tmp_path / "out", layout=Mer2025(), skip_bad=True)
    assert (report.index.samples, len(report.rejects), report.index.modalities["faces"]) == (5, 3, 5)
    with ShardReader(tmp_path / "out" / "shard-000000.tar", 5) as reader:
        whole, pictures = reader.read(0)[1], reader.read(2)[1]
    assert whole["faces.npy"] == (folder / "openface_face" / "whole" / "whole.npy").read_bytes()
    (tmp_path / "f.npy").write_bytes(pictures["faces.npy"])
    crops = np.load(tmp_path / "f.npy")
    assert crops.shape == (3, 8, 8, 3)
    assert crops[0, 0, 0].tolist() == [255, 255, 255]


def test_the_miniature_of_the_authors_layout(shared: Path, tmp_path: Path) -> None:
    folder = shared / "oracle" / "model" / "data"
    records: list[Record] = read_manifest(folder, Mer2025())
    assert [record.key for record in records] == ["sample_00000000", "sample_short"]
    assert records[0].labels == ("worried", "confused", "nervous")
    assert records[1].subtitle is None
    assert records[1].labels == ()
    report = pack(folder, tmp_path / "out", layout=Mer2025())
    assert report.index.modalities == {
        "video": 2, "audio": 2, "faces": 2, "subtitle": 1, "labels": 1, "description": 2,
    }  # fmt: skip
