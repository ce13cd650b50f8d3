"""Reading the nine test sets from every layout, and refusing what is not the published split."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from affectgpt.bench import read_gold
from affectgpt.datamodules.unibench import TEST_SETS, find_sets, read_set
from affectgpt.datamodules.unibench.folder_layouts import PROCESSED
from affectgpt.datamodules.unibench.sets import get_test_set
from affectgpt.errors import ConfigError, DataError
from setmaker import gold_value, make_iemocap, make_meld_csv, make_mmsa, make_processed, sample_name, touch, write_csv


@pytest.mark.parametrize("name", TEST_SETS)
def test_the_authors_copy_is_read_whole_and_in_order(name: str, tmp_path: Path) -> None:
    _, names = make_processed(tmp_path, name)
    found = read_set(name, tmp_path)
    assert [sample.key for sample in found.samples] == names
    assert [sample.gold for sample in found.samples] == [gold_value(name, i) for i in range(len(names))]
    assert len(found) == TEST_SETS[name].num_samples
    assert found.differences == ()
    first = found.samples[0]
    assert first.subtitle == (f"{names[0]} 的话" if name == "mer2024" else f"words of {names[0]}")
    assert first.video is not None
    assert first.video.parent.name == PROCESSED[name].video
    assert first.audio is first.faces is None
    assert "0 of" in " ".join(found.notes)
    # The folder itself, its label file, and the folder that holds it are all understood.
    labels = tmp_path / PROCESSED[name].folder / PROCESSED[name].labels
    for place in (labels, labels.parent, [tmp_path / "nowhere", tmp_path]):
        assert [s.gold for s in read_set(name, place, media=False).samples] == [s.gold for s in found.samples]
    assert find_sets([tmp_path]) == find_sets([labels.parent]) == {name: labels.parent}
    found.write_gold(tmp_path / "gold.csv")
    read = read_gold(tmp_path / "gold.csv").values
    assert list(read) == names
    assert all(str(value) == str(sample.gold) for value, sample in zip(read.values(), found.samples, strict=True))


def test_separate_sound_and_both_places_of_face_crops_are_found(tmp_path: Path) -> None:
    for name, nested in (("meld", False), ("mosi", True)):
        folder, names = make_processed(tmp_path, name)
        touch(folder / "subaudio" / f"{names[1]}.wav")
        touch(folder / "openface_face" / (names[2] if nested else ".") / f"{names[2]}.npy")
        samples = read_set(name, tmp_path).samples
        assert [i for i in range(9) if samples[i].audio] == [1]
        assert [i for i in range(9) if samples[i].faces] == [2]


def test_faces_in_both_places_are_all_found_and_doubtful_matches_are_counted(tmp_path: Path) -> None:
    folder, names = make_processed(tmp_path, "meld")
    touch(folder / "openface_face" / f"{names[0]}.npy")
    touch(folder / "openface_face" / names[1] / f"{names[1]}.npy")
    touch(folder / "subvideo" / f"{names[2]}.avi")
    (folder / "subvideo" / f"{names[3]}.mp4").rename(folder / "subvideo" / f"{names[3]}.mkv")
    rows = [*((one, f"w {one}") for one in names), ("\ufeff" + names[4], "again"), (names[5], ""), ("other", "x")]
    write_csv(folder / "transcription-engchi-polish.csv", ("name", "english"), rows)
    found = read_set("meld", tmp_path)
    assert found.differences == ()
    assert [i for i, sample in enumerate(found.samples) if sample.faces] == [0, 1]
    assert [found.samples[i].video.suffix for i in (2, 3)] == [".mp4", ".mkv"]
    assert [found.samples[i].subtitle for i in (4, 5)] == ["again", None]
    notes = " | ".join(found.notes)
    assert f"2 names twice with different words ({names[4]!r}, {names[5]!r})" in notes
    assert f"several files for 1 names ({names[2]!r})" in notes
    assert "1 of 2610 samples have no spoken words" in notes
    assert "2 of 2610 clips have face crops" in notes


def test_names_that_look_the_same_are_the_same_in_gold_words_and_files(tmp_path: Path) -> None:
    folder, names = make_processed(tmp_path, "ovmerdplus", 3)
    odd = [names[0] + "\u200b", "cafe\u0301", names[2]]
    write_csv(folder / "ovlabel.csv", ("name", "openset"), [(one, "[]") for one in odd])
    write_csv(folder / "subtitle_eng.csv", ("name", "sentence"), [("caf\u00e9", "x"), (names[0], "y"), (names[2], "z")])
    (folder / "video" / f"{names[1]}.mp4").rename(folder / "video" / "cafe\u0301.mp4")
    found = read_set("ovmerdplus", folder, allow_partial=True)
    assert [difference.kind for difference in found.differences] == ["count"]
    assert [(one.key, one.subtitle, one.video is not None) for one in found.samples] == [
        ("caf\u00e9", "x", True), (names[0], "y", True), (names[2], "z", True),
    ]  # fmt: skip


def test_earlier_names_in_the_authors_copies_are_understood(tmp_path: Path) -> None:
    folder, _ = make_processed(tmp_path, "mer2024", 4)
    (folder / "transcription_merge.csv").rename(folder / "transcription-merge.csv")
    assert [d.kind for d in read_set("mer2024", folder, allow_partial=True).differences] == ["count"]
    folder, _ = make_processed(tmp_path, "simsv2", 4)
    (folder / "video_new").rename(folder / "video")
    found = read_set("simsv2", folder, allow_partial=True)
    assert [d.kind for d in found.differences] == ["count"]
    assert "the clips are those of video, not of video_new" in found.notes


def test_meld_as_its_makers_distribute_it(tmp_path: Path) -> None:
    names = [sample_name("meld", i) for i in range(2610)]
    make_meld_csv(tmp_path / "test_sent_emo.csv", [(one, str(gold_value("meld", i))) for i, one in enumerate(names)])
    gold = read_set("meld", tmp_path / "test_sent_emo.csv", media=False)
    assert [s.key for s in gold.samples] == names
    assert gold.layout == "original"
    for one in names:
        touch(tmp_path / "output_repeated_splits_test" / f"{one.removeprefix('test_')}.mp4")
    found = read_set("meld", tmp_path)
    assert found.samples[11].video == tmp_path / "output_repeated_splits_test" / "dia1_utt1.mp4"
    assert found.samples[0].subtitle == "Why do all your café mugs, 1?"
    assert find_sets([tmp_path]) == {"meld": tmp_path}


def test_windows_text_of_meld_is_read(tmp_path: Path) -> None:
    path = make_meld_csv(tmp_path / "test_sent_emo.csv", [("test_dia0_utt0", "joy")])
    path.write_bytes(path.read_text("utf-8").encode("cp1252"))
    found = read_set("meld", path, media=False, allow_partial=True)
    assert found.samples[0].gold == "joy"
    assert found.notes == ("test_sent_emo.csv is not UTF-8 and was read as Windows-1252",)


@pytest.mark.parametrize(("name", "table"), [("mosi", "label.csv"), ("sims", "label.csv"), ("simsv2", "meta.csv")])
def test_the_layout_of_mmsa(name: str, table: str, tmp_path: Path) -> None:
    names = make_mmsa(tmp_path / "data", name, TEST_SETS[name].num_samples, table=table)
    found = read_set(name, tmp_path / "data")
    assert [s.key for s in found.samples] == names
    assert found.samples[3].gold == gold_value(name, 3)
    assert found.samples[3].subtitle == "text 3"
    assert all(s.video for s in found.samples)
    assert ("English translation" in " ".join(found.notes)) == (TEST_SETS[name].language == "zh")


def test_sims_with_a_list_of_rows(tmp_path: Path) -> None:
    rows = [(f"video_{i // 100:04d}", i % 100, gold_value("sims", i)) for i in range(600)]
    write_csv(tmp_path / "metadata/sentiment/label_M.csv", ("video_id", "clip_id", "label"), rows)
    write_csv(tmp_path / "metadata/test_index.csv", ("index",), [(i,) for i in range(100, 557)])
    said = [(video, clip, "中文", f"said {clip}") for video, clip, _ in rows]
    write_csv(tmp_path / "metadata/Translation.csv", ("video_id", "clip_id", "Chinese", "English"), said)
    found = read_set("sims", tmp_path, media=False)
    assert [s.key for s in found.samples[:2]] == ["video_0001_0000", "video_0001_0001"]
    assert len(found) == 457
    write_csv(tmp_path / "metadata/test_index.csv", ("index",), [(700,)])
    with pytest.raises(DataError, match=r"test_index\.csv asks for row '700', but .* has 600 rows"):
        read_set("sims", tmp_path, media=False)


def test_iemocap_as_its_makers_distribute_it(tmp_path: Path) -> None:
    make_iemocap(tmp_path)
    found = read_set("iemocap", tmp_path)
    assert Counter(s.gold for s in found.samples) == {"neutral": 384, "happy": 442, "sad": 245, "anger": 170}
    assert found.differences == ()
    assert found.samples[5].subtitle == "I said 5."
    assert found.samples[5].audio is not None
    assert found.samples[5].video is None
    assert "no videos of single utterances" in found.notes[0]


def test_what_is_missing_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_set("meld", tmp_path / "gone")
    for said in ("meld-process/label.npz", "test_sent_emo.csv", "does not exist", "github.com/declare-lab/MELD"):
        assert said in str(caught.value)
    with pytest.raises(ConfigError, match=r"unknown test set 'meldd'\. Did you mean 'meld'"):
        read_set("meldd", tmp_path)
    assert find_sets([tmp_path]) == {}
    make_mmsa(tmp_path / "unnamed", "mosi", 3)  # a label.csv can be that of three sets
    assert find_sets([tmp_path / "unnamed"]) == {}


def test_a_set_that_is_not_the_published_split_is_refused_or_listed(tmp_path: Path) -> None:
    folder, names = make_processed(tmp_path, "meld", 2609)
    for one in names[:3]:
        (folder / "subvideo" / f"{one}.mp4").unlink()
    with pytest.raises(DataError) as caught:
        read_set("meld", tmp_path)
    assert "2609 samples, but the published split (test) has 2610" in str(caught.value)
    assert "3 clips are not in" in str(caught.value)
    assert "--allow-partial" in str(caught.value)
    found = read_set("meld", tmp_path, allow_partial=True)
    assert [d.kind for d in found.differences] == ["count", "media"]
    assert found.differences[1].keys == tuple(names[:3])
    assert found.record()["differences"][0]["kind"] == "count"
    shutil.rmtree(folder / "subvideo")
    assert len(read_set("meld", tmp_path, allow_partial=True).differences[1].keys) == 2609


def save_corpus(folder: Path, corpus: dict[str, object], name: str = "test_corpus") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "label.npz", **{name: np.array(corpus)})
    return folder


@pytest.mark.parametrize(
    ("name", "corpus", "message"),
    [
        ("meld", {"a": {"emo": 9}}, "sample 'a': the gold label is 9"),
        ("meld", {"a": 3}, "sample 'a' is 3; expected a mapping with 'emo'"),
        ("meld", {}, "has no samples"),
        ("mosi", {"a": {"val": "high"}}, "the gold score is 'high', which is not a number"),
        ("mosi", {"a": {"val": float("nan")}}, "the gold score is nan"),
    ],
)
def test_broken_gold_is_refused_even_when_partial_sets_are_allowed(name, corpus, message, tmp_path) -> None:
    folder = save_corpus(tmp_path, corpus)
    with pytest.raises(DataError, match=message):
        read_set(name, folder, media=False, allow_partial=True)


def test_gold_outside_the_labels_or_the_range_is_a_difference(tmp_path: Path) -> None:
    folder = save_corpus(tmp_path / "a", {"a": {"emo": "bored"}, "b": {"emo": "joy"}})
    found = read_set("meld", folder, media=False, allow_partial=True)
    assert [(d.kind, d.keys) for d in found.differences] == [("count", ()), ("labels", ("a",))]
    folder = save_corpus(tmp_path / "b", {"a": {"val": 3.5}, "b": {"val": np.float32(-3)}})
    found = read_set("mosi", folder, media=False, allow_partial=True)
    assert [(d.kind, d.keys) for d in found.differences] == [("count", ()), ("range", ("a",))]


def test_another_split_a_cut_file_and_repeated_names_are_refused(tmp_path: Path) -> None:
    folder = save_corpus(tmp_path / "a", {"a": {"emo": 1}}, "train_corpus")
    with pytest.raises(DataError, match="has no split 'test_corpus', only train_corpus"):
        read_set("meld", folder, media=False)
    (folder / "label.npz").write_bytes((folder / "label.npz").read_bytes()[:90])
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        read_set("meld", folder, media=False)
    path = make_meld_csv(tmp_path / "test_sent_emo.csv", [("test_dia0_utt0", "joy")] * 2)
    with pytest.raises(DataError, match=r"names 1 samples more than once: 'test_dia0_utt0'"):
        read_set("meld", path, media=False, allow_partial=True)
    path.write_text("Utterance,Emotion\nHi,joy\n")
    with pytest.raises(DataError, match="no Dialogue_ID, Utterance_ID"):
        read_set("meld", path, media=False, allow_partial=True)
    path.write_text("Utterance,Emotion,Dialogue_ID,Utterance_ID\nHi,there,joy,0,1\n")
    with pytest.raises(DataError, match=r"\.csv:2: 5 cells, but the header has 4"):
        read_set("meld", path, media=False, allow_partial=True)


def test_open_labels_come_in_the_order_of_the_words_and_all_of_them(tmp_path: Path) -> None:
    folder, names = make_processed(tmp_path, "ovmerdplus")
    write_csv(folder / "subtitle_eng.csv", ("name", "sentence"), [(one, "") for one in reversed(names)])
    found = read_set("ovmerdplus", tmp_path)
    assert [s.key for s in found.samples] == names[::-1]
    assert found.samples[0].subtitle is None
    write_csv(folder / "subtitle_eng.csv", ("name", "sentence"), [("other", "Hi.")])
    with pytest.raises(DataError, match=r"names 1 samples that .*ovlabel\.csv does not: 'other'"):
        read_set("ovmerdplus", tmp_path)


def test_names_of_sets() -> None:
    for written in ("CH-SIMS v2", "simsv2", "SIMSv2", "ch-simsv2s"):
        assert get_test_set(written).name == "simsv2"
    assert get_test_set("CMUMOSEI").name == "mosei"
    assert get_test_set("CH-SIMS").name == "sims"
    assert sum(one.num_samples for one in TEST_SETS.values()) == 12799
