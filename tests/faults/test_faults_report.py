"""Broken predictions, gold labels and word tables: counted and listed, or refused with one line that says which."""
# ruff: noqa: RUF001

import contextlib
import csv
import json
import math
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectgpt.bench import score
from affectgpt.cli.main import main
from affectgpt.errors import AffectGPTError, DataError
from affectgpt.metrics.labels import MODES

WORDS = {"a": "happy", "b": "furious", "c": "sad"}
GOLD = {"a": "joy", "b": "anger", "c": "sadness"}


def write(path, values, column):
    """Names and values as .csv, .jsonl or .npz."""
    if path.suffix == ".npz":
        np.savez_compressed(path, **{f"name2{column}": np.array(values, dtype=object)})
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"name": k, column: v}) + "\n" for k, v in values.items()))
    else:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["name", column], *values.items()])
    return path


@pytest.fixture
def gold(tmp_path):
    return write(tmp_path / "gold.csv", GOLD, "label")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npz"])
def test_predictions_for_clips_that_the_gold_lacks_are_refused(tmp_path, gold, suffix):
    path = write(tmp_path / f"p.{suffix}", {**WORDS, "x1": "sad", "x2": "sad"}, "openset")
    for mode in ("official", "strict"):
        with pytest.raises(DataError, match=rf"2 names of .*p\.{suffix} are not in the gold: 'x1', 'x2'"):
            score("meld", path, gold, mode=mode)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npz"])
def test_clips_without_a_prediction_are_refused_or_listed(tmp_path, gold, suffix):
    path = write(tmp_path / f"p.{suffix}", {"a": "happy"}, "openset")
    with pytest.raises(DataError, match=r"2 names of the gold have no prediction .*'b', 'c'.*Mode 'strict' counts"):
        score("meld", path, gold)
    result = score("meld", path, gold, mode="strict", resamples=0)
    assert (result.missing_predictions, result.hit_rate) == (("b", "c"), pytest.approx(1 / 3))


def test_a_name_given_twice_is_refused_in_predictions_and_gold(tmp_path, gold):
    twice = tmp_path / "twice.csv"
    twice.write_text("name,openset\na,happy\nb,sad\na,sad\n")
    with pytest.raises(DataError, match=r"twice\.csv repeats 1 names: 'a'"):
        score("meld", twice, gold)
    gold.write_text("name,label\na,joy\na,anger\n")
    with pytest.raises(DataError, match=r"gold\.csv repeats 1 names: 'a'"):
        score("meld", write(tmp_path / "p.csv", {"a": "happy"}, "openset"), gold)
    np.savez(tmp_path / "t.npz", filenames=np.array(["a", "a"]), fileitems=np.array(["happy", "sad"]))
    with pytest.raises(DataError, match=r"t\.npz repeats 1 names: 'a'"):
        score("meld", tmp_path / "t.npz", gold)


@pytest.mark.parametrize(
    ("value", "official", "strict"),
    [
        ("[happy, glad]", 2, 2),
        ('["happy", "glad"]', 2, 2),
        ("【happy，glad】", 1, 2),  # to the published code one unknown word
        (["happy", "glad"], 2, 2),
        ([["happy"], ["glad"]], DataError, 2),
        (["happy", None], DataError, 1),
        (["happy", 4], DataError, 0),
        (3, DataError, 0),
        ({"labels": ["happy"]}, DataError, 0),
        (math.nan, 0, 0),
        (None, 0, 0),
        ("", 0, 0),
        ("[]", 0, 0),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "npz"])
def test_labels_of_every_shape_are_read_counted_or_refused_by_name(tmp_path, gold, value, official, strict, suffix):
    path = write(tmp_path / f"p.{suffix}", {**WORDS, "a": value}, "openset")
    if official is DataError:
        with pytest.raises(DataError, match=rf"p\.{suffix}, sample 'a': "):
            score("meld", path, gold)
    else:
        assert score("meld", path, gold, resamples=0).labels == official + 2
    result = score("meld", path, gold, mode="strict", resamples=0)
    assert result.labels == strict + 2
    assert result.empty_predictions == (strict == 0)
    unreadable = value in (3, ["happy", 4], {"labels": ["happy"]})
    assert result.unreadable_predictions == (("a",) if unreadable else ())


def test_a_raw_answer_that_is_no_text_is_listed_or_refused(tmp_path, gold):
    texts = {name: f"The character's emotional state is {word}." for name, word in WORDS.items()}
    path = write(tmp_path / "raw.npz", {**texts, "b": 7}, "reason")
    with pytest.raises(DataError, match=r"raw\.npz, sample 'b': the answer is 7 \(int\); expected a text"):
        score("meld", path, gold)
    result = score("meld", path, gold, mode="strict", resamples=0)
    assert (result.unreadable_predictions, result.hit_rate) == (("b",), pytest.approx(2 / 3))
    assert "sample 'b'" in result.other_error


def test_sentiments_that_are_none_are_counted(tmp_path):
    gold = write(tmp_path / "gold.csv", {"a": 1, "b": -1, "c": -2, "d": 0.4}, "label")
    path = write(tmp_path / "p.npz", {"a": "positive", "b": "mixed", "c": math.nan, "d": 3}, "sentiment")
    official, strict = (score("mosi", path, gold, mode=mode, resamples=0) for mode in ("official", "strict"))
    assert official.unknown_answers == strict.unknown_answers == 3
    assert (official.accuracy, strict.accuracy) == (0.75, 0.25)


def test_a_gold_score_out_of_range_or_missing_is_listed_or_refused(tmp_path):
    values = {"a": "0.4", "b": "-7", "c": "", "d": "nan", "e": "inf"}
    gold = write(tmp_path / "gold.csv", values, "label")
    path = write(tmp_path / "p.csv", dict.fromkeys(values, "positive"), "sentiment")
    result = score("sims", path, gold, resamples=0)
    assert (result.gold_out_of_range, result.gold_missing) == (("b", "e"), ("c", "d"))
    assert "2 samples have no gold value: 'c', 'd'" in result.other_error
    with pytest.raises(DataError, match=r"gold\.csv: 2 samples have no gold value: .*mode 'official'"):
        score("sims", path, gold, mode="strict")
    full = write(tmp_path / "full.csv", {"a": "0.4", "b": "-7"}, "label")
    pair = write(tmp_path / "pair.csv", {"a": "positive", "b": "negative"}, "sentiment")
    with pytest.raises(DataError, match=r"1 samples have a gold score outside the set's range \(-1 to 1\): 'b'"):
        score("sims", pair, full, mode="strict")
    write(full, {"a": "0.4", "b": "joy"}, "label")
    with pytest.raises(DataError, match=r"full\.csv, sample 'b': the gold score is 'joy', which is not a number"):
        score("sims", pair, full)


def test_a_gold_label_that_is_missing_unknown_or_a_list_is_told(tmp_path, gold):
    path = write(tmp_path / "p.csv", WORDS, "openset")
    write(gold, {"a": "joy", "b": "", "c": "boredom"}, "label")
    result = score("meld", path, gold, resamples=0)
    assert (result.gold_missing, result.gold_unknown) == (("b",), ("c",))
    with pytest.raises(DataError, match="1 samples have no gold value: 'b'"):
        score("meld", path, gold, mode="strict")
    listed = write(tmp_path / "gold.jsonl", {**GOLD, "b": ["anger"]}, "label")
    with pytest.raises(DataError, match=r"gold\.jsonl, sample 'b': the gold label is \['anger'\]; expected one label"):
        score("meld", path, listed)
    with pytest.raises(DataError, match=r"sample 'b': the gold label is 5; expected a list of labels"):
        score("ovmerdplus", path, write(tmp_path / "open.jsonl", {**GOLD, "b": 5}, "openset"))


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY", b"name,openset\n"])
def test_a_damaged_npz_is_named(tmp_path, gold, damage):
    (tmp_path / "p.npz").write_bytes(damage)
    with pytest.raises(DataError, match=r"p\.npz cannot be read as \.npz"):
        score("meld", tmp_path / "p.npz", gold)


def test_an_npz_cut_off_in_the_middle_is_named(tmp_path, gold):
    whole = write(tmp_path / "p.npz", WORDS, "openset").read_bytes()
    for size in (len(whole) // 2, len(whole) - 5):
        (tmp_path / "p.npz").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"p\.npz"):
            score("meld", tmp_path / "p.npz", gold)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda folder: (folder / "wheel4.xlsx").unlink(), "lacks wheel4.xlsx"),
        (lambda folder: shutil.copy(folder / "wheel1.xlsx", folder / "wheel2.xlsx"), "differ from the published ones"),
        (lambda folder: (folder / "synonym.xlsx").write_bytes(b"PK"), "synonym.xlsx cannot be read as a spreadsheet"),
        (lambda folder: (folder / "format.csv").write_text("word,forms\nhappy,happily\n"), "is not the authors' table"),
    ],
)
def test_a_wheel_folder_with_a_missing_or_altered_file_is_one_line(
    shared, tmp_path, gold, monkeypatch, capsys, fault, message
):
    monkeypatch.setenv("AFFECTGPT_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(shared / "data" / "emotion_wheel", tmp_path / "tables")
    fault(folder)
    path = write(tmp_path / "p.csv", WORDS, "openset")
    assert main(["score", "meld", str(path), str(gold), "--wheel", str(folder)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert "github.com/zeroQiaoba/AffectGPT" in error


@pytest.mark.parametrize("value", [["a", None], [["a"]], [1], {"a": 1}, True])
@pytest.mark.parametrize("mode", ["official", "strict"])
def test_gold_lists_that_hold_no_texts_are_refused_by_name(tmp_path, value, mode):
    gold = write(tmp_path / "gold.jsonl", {"a": ["joy"], "b": value}, "label")
    path = write(tmp_path / "p.csv", {"a": "happy", "b": "sad"}, "openset")
    with pytest.raises(DataError, match=r"gold\.jsonl, sample 'b': the gold label is .*; expected a list of labels"):
        score("ovmerdplus", path, gold, mode=mode)


SCRAPS = (
    *("{", "}", "[", "]", '"name":', '"a"', '"text":', '"labels":', "null", "1", "NaN", '"\\ud83d"', ",", "\n", "\0"),
)
CELLS = (
    *('"x"', "1", "null", "[]", '["sad"]', "[1]", "{}", "true", "NaN", '"\\ud83d"', "[null]", '[["a"]]'),
    '"{\\"emotion\\": 3}"',
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_a_file_holds_only_our_own_errors_come_out(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    column, mode = data.draw(st.sampled_from(["text", "labels", "sentiment"])), data.draw(st.sampled_from(MODES))
    cells = data.draw(st.lists(st.sampled_from(CELLS), min_size=4, max_size=4))
    scraps = data.draw(st.one_of(st.none(), st.lists(st.sampled_from(SCRAPS), max_size=12).map("".join)))
    rows = "".join(f'{{"name": "{name}", "{column}": {cell}}}\n' for name, cell in zip("ab", cells[:2], strict=True))
    (folder / "p.jsonl").write_text(rows if scraps is None else scraps)
    rows = "".join(f'{{"name": "{name}", "label": {cell}}}\n' for name, cell in zip("ab", cells[2:], strict=True))
    (folder / "g.jsonl").write_text(rows)
    for dataset in ("meld", "mosi", "ovmerdplus"):
        with contextlib.suppress(AffectGPTError):
            score(dataset, folder / "p.jsonl", folder / "g.jsonl", mode=mode, resamples=0)
