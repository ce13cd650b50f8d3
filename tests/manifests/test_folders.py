"""Whatever lies in a folder of clips is used, or counted by reason."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests import Mer2025, read_manifest
from affectgpt.manifests.manifest import scan_manifest, survey_manifest

SRT = "1\n00:00:00,000 --> 00:00:01,000\nI am fine.\n"
VTT = "WEBVTT\n\n00:00.000 --> 00:01.000\nI am fine.\n"
ASS = (
    "[Script Info]\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    "Dialogue: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,I am fine.\n"
)


def put(folder: Path, **files: str) -> Path:
    """Write files, each with its text."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def test_subtitles_are_found_by_the_names_that_programs_give_them(tmp_path: Path) -> None:
    names = {
        "u1.en.srt": SRT,
        "u2.mp4.srt": SRT,
        "u3.vtt": VTT,
        "u4.srt": SRT,
        "u5.ass": ASS,
        "u6.pt-BR.forced.srt": SRT,
        "u7.EN.srt": SRT,
    }
    put(tmp_path, **names, **{"u7.mp4.txt": "I am fine.", "U8.SRT": SRT})
    put(tmp_path, **{f"u{n}.mp4": "x" for n in range(1, 8)}, **{"U8.MP4": "x"})
    scan = survey_manifest(tmp_path)
    assert [record.subtitle for record in scan.records] == ["I am fine."] * 8
    assert (scan.problems, scan.remarks) == ([], ())


def test_files_that_belong_to_no_clip_are_counted(tmp_path: Path) -> None:
    put(
        tmp_path, **{"a.mp4": "x", "a.jpg": "x", "a.tsv": "x", "b.srt": SRT, "a.v2.srt": SRT, "README.md": "", ".x": ""}
    )
    put(tmp_path, **{"session1": "../elsewhere"})
    scan = survey_manifest(tmp_path)
    assert [(record.key, record.subtitle) for record in scan.records] == [("a", None)]
    assert [remark.partition(" were not used ")[::2] for remark in scan.remarks if " were " in remark] == [
        (
            f"5 files in {str(tmp_path)!r}",
            "(they belong to no clip): 2 .srt, 1 .md, 1 .tsv, 1 without suffix; such as 'README.md', 'a.tsv', "
            "'a.v2.srt' ...",
        )
    ]
    assert [remark.partition(" was not used ")[2] for remark in scan.remarks if " was " in remark] == [
        "(hidden): 1 without suffix; such as '.x'",
        "(pictures next to a video of the same name): 1 .jpg; such as 'a.jpg'",
    ]


def test_two_subtitles_of_one_clip_are_not_guessed_at(tmp_path: Path) -> None:
    put(tmp_path, **{f"u{n}.mp4": "x" for n in range(1, 6)})
    put(tmp_path, **{"u1.txt": "auto caption", "u1.json": '{"subtitle": "A person\'s words", "labels": ["calm"]}'})
    put(tmp_path, **{"u2.txt": "one", "u2.srt": SRT, "u3.en.srt": SRT, "u3.de.srt": SRT.replace("I am fine", "Gut")})
    put(tmp_path, **{"u4.txt": "I am\nfine.\n", "u4.srt": SRT, "u4.vtt": VTT, "u4.tsv": "start\tend\ttext\n"})
    put(
        tmp_path,
        **{"u4.json": '{"text": " I am fine.", "segments": [], "language": "en"}', "u5.txt": "", "u5.srt": SRT},
    )
    scan = survey_manifest(tmp_path)
    assert {record.key: record.subtitle for record in scan.records} == {
        "u1": "A person's words", "u4": "I am fine.", "u5": "I am fine.",
    }  # fmt: skip
    assert "other words were ignored: u1.txt" in scan.records[0].notes[0]
    assert [(problem.code, str(problem).partition(": ")[2]) for problem in scan.problems] == [
        ("ambiguous", "u2.srt and u2.txt give different subtitles of 'u2'; keep one, or write 'subtitle' into u2.json"),
        (
            "ambiguous",
            "u3.de.srt and u3.en.srt give different subtitles of 'u3'; keep one, choose a language "
            "(--subtitle de; there are de, en), or write 'subtitle' into u3.json",
        ),
    ]
    assert "1 .tsv" in scan.remarks[0]


def test_a_subtitle_file_that_cannot_be_read_is_a_fault_of_its_clip(tmp_path: Path) -> None:
    put(tmp_path, **{"a.mp4": "x", "a.srt": "no times", "b.mp4": "x", "b.json": "[" * 5000, "c.mp4": "x"})
    (tmp_path / "c.txt").write_bytes("caf\u00e9".encode("utf-16-le"))
    records, problems = scan_manifest(tmp_path)
    assert (records, [problem.code for problem in problems]) == ([], ["bad_side_file"] * 3)


def test_what_a_side_file_says_against_the_folder_is_noted(tmp_path: Path) -> None:
    put(tmp_path, **{"a.mp4": "x", "a.json": '{"name": "other", "video": "b.mp4"}'})
    (record,) = read_manifest(tmp_path)
    assert (record.key, len(record.notes)) == ("a", 2)


def test_linked_folders_are_packed_under_the_names_of_the_links(tmp_path: Path) -> None:
    put(tmp_path, **{"elsewhere/u1.mp4": "x", "set/session2/u2.mp4": "x"})
    (tmp_path / "set/session1").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/loop").symlink_to(tmp_path / "set")
    scan = survey_manifest(tmp_path / "set")
    assert [record.key for record in scan.records] == ["session1-u1", "session2-u2"]
    assert "links to folders that were already read" in scan.remarks[0]


@pytest.mark.parametrize("name", ["manifest.jsonl", "sub/clips.jsonl", "clips.csv", "clips.tsv"])
def test_the_manifest_in_a_folder_counts(tmp_path: Path, name: str) -> None:
    put(tmp_path, **{"sub/a.mp4": "x", "sub/b.mp4": "x", "a.mp4": "x", "answers.csv": "name,text\na,b\n"})
    sign = "\t" if name.endswith(".tsv") else ","
    video = "a.mp4" if name.startswith("sub") else "sub/a.mp4"
    line = json.dumps({"name": "first", "video": video, "labels": ["calm"]})
    put(
        tmp_path,
        **{name: line if name.endswith("jsonl") else f"name,video,labels\nfirst,{video},calm\n".replace(",", sign)},
    )
    scan = survey_manifest(tmp_path)
    assert [(record.key, record.labels) for record in scan.records] == [("first", ("calm",))]
    assert scan.remarks[0] == f"{str(tmp_path / name)!r} was read as the manifest of the folder"
    assert "3 files" in scan.remarks[1]
    assert "(no sample of the manifest uses them): 2 .mp4, 1 .csv" in scan.remarks[1]


def test_several_manifests_in_a_folder_are_not_guessed_at(tmp_path: Path) -> None:
    line = '{"name": "a", "video": "a.mp4"}'
    put(tmp_path, **{"a.mp4": "x", "train.jsonl": line, "test.jsonl": line})
    with pytest.raises(ConfigError, match=r"has 2 manifests: '.*test\.jsonl', '.*train\.jsonl'; give the path of one"):
        read_manifest(tmp_path)
    put(tmp_path, **{"manifest.jsonl": line})
    assert len(read_manifest(tmp_path)) == 1


def test_a_folder_without_clips_says_what_it_holds(tmp_path: Path) -> None:
    put(tmp_path, **{"a.md": "x"})
    with pytest.raises(DataError, match=r"has no entries; 1 file .* was not used \(they belong to no clip\): 1 \.md"):
        read_manifest(tmp_path)


def test_names_spelt_by_another_system_are_found(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    put(tmp_path, **{f"{apart}.mp4": "x", f"{composed}.srt": SRT})
    (record,) = read_manifest(tmp_path)
    assert (record.key, record.subtitle) == (composed, "I am fine.")
    put(tmp_path, **{"m.jsonl": json.dumps({"name": apart, "video": f"{composed}.mp4"})})
    (record,) = read_manifest(tmp_path / "m.jsonl")
    assert (record.key, record.video, len(record.notes)) == (composed, tmp_path / f"{apart}.mp4", 2)


def test_files_of_the_release_that_no_table_names_are_counted(tmp_path: Path) -> None:
    put(tmp_path, **{"video/a.mp4": "x", "video/b.mp4": "x", "audio/b.wav": "x", "audio/a.wav": "x", "notes.md": "x"})
    put(tmp_path, **{"openface_face/a.npy": "x", "openface_face/b/b.npy": "x"})
    put(tmp_path, **{"track2_train_x.csv": "name,openset\na,[]\n", "track2_train_y.csv": "name,openset\nb,[]\n"})
    put(tmp_path, **{"subtitle_chieng.csv": "name,chinese,english\n"})
    scan = survey_manifest(tmp_path, Mer2025("x"))
    assert [record.key for record in scan.records] == ["a"]
    assert [remark.partition("not used ")[2] for remark in scan.remarks] == [
        "(no table of the subset names them): 1 .mp4, 1 .wav, 1 without suffix; such as 'video/b.mp4', 'audio/b.wav', "
        "'openface_face/b'",
        "(not in the subset): 1 .md, 1 .csv; such as 'notes.md', 'track2_train_y.csv'",
    ]


def languages(tmp_path: Path) -> Path:
    other = SRT.replace("I am fine", "Mir geht es gut")
    files = {"u1.mp4": "", "u1.en.srt": SRT, "u1.de.srt": other, "u2.mp4": "", "u2.en-US.vtt": VTT, "u2.de.srt": other}
    files |= {"u3.mp4": "", "u3.srt": SRT, "u3.de.srt": other, "u4.mp4": "", "u4.de.srt": other}
    files |= {"u5.mp4": "", "u5.mp4.srt": SRT, "u5.zh-Hans.srt": other.replace("Mir", "\u6211")}
    return put(tmp_path, **files)


def test_a_language_is_chosen_where_there_are_several(tmp_path: Path) -> None:
    scan = survey_manifest(languages(tmp_path), subtitle="en")
    assert not scan.problems
    said = {record.key: record.subtitle for record in scan.records}
    assert said == {"u1": "I am fine.", "u2": "I am fine.", "u3": "I am fine.", "u4": None, "u5": "I am fine."}
    notes = {record.key: record.notes for record in scan.records}
    assert notes["u1"] == ("of the subtitles, that in 'en' was asked for; passed over: u1.de.srt",)
    assert notes["u4"] == ("of the subtitles, that in 'en' was asked for; passed over: u4.de.srt",)
    german = {record.key: record.subtitle for record in survey_manifest(tmp_path, subtitle="DE").records}
    assert german["u4"] == "Mir geht es gut."
    chinese = {record.key: record.subtitle for record in survey_manifest(tmp_path, subtitle="zh_Hans").records}
    assert chinese["u5"] == "\u6211 geht es gut."


def test_the_refusal_names_the_choice(tmp_path: Path) -> None:
    problems = {problem.key: str(problem) for problem in survey_manifest(languages(tmp_path)).problems}
    assert "keep one, choose a language (--subtitle de; there are de, en), or write 'subtitle' into u1.json" in next(
        text for text in problems.values() if "u1" in text
    )


def test_a_choice_that_nothing_follows_is_refused(tmp_path: Path) -> None:
    put(tmp_path, **{"a.mp4": "", "manifest.jsonl": json.dumps({"name": "a", "video": "a.mp4"})})
    for path in (tmp_path, tmp_path / "manifest.jsonl"):
        with pytest.raises(ConfigError, match="subtitle 'en' chooses among"):
            survey_manifest(path, subtitle="en")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_subtitles_in_the_unicode_of_windows_are_read(encoding: str, tmp_path: Path) -> None:
    put(tmp_path, **{"u1.mp4": "", "u2.mp4": ""})
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "u1.srt").write_bytes((mark + SRT.replace("fine", "fin\u00e9")).encode(encoding))
    (tmp_path / "u2.txt").write_bytes((mark + "\u9ad8\u5174").encode(encoding))
    assert [record.subtitle for record in read_manifest(tmp_path)] == ["I am fin\u00e9.", "\u9ad8\u5174"]
    table = mark + "name\tvideo\tlabels\nu1\tu1.mp4\tsad\n"
    (tmp_path / "m.tsv").write_bytes(table.encode(encoding))
    assert read_manifest(tmp_path / "m.tsv")[0].labels == ("sad",)
