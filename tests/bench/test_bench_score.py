"""Scoring prediction files of every supported shape, and refusing the broken ones."""

import csv
import json
import pickle

import numpy as np
import pytest

from affectgpt.bench import TEST_SETS, score
from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import EmotionWheel

GOLD = {"a": "joy", "b": "anger", "c": "neutral", "d": "sadness"}
LABELS = {"a": "[happy, zzz]", "b": "[calm]", "c": "[neutral]", "d": "[tearful, lonely]"}


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def gold(tmp_path):
    return write_csv(tmp_path / "gold.csv", ["name", "label"], GOLD.items())


def prediction_files(folder):
    sentences = {k: f"The character's emotional state is {v.strip('[]')}." for k, v in LABELS.items()}
    items = np.array(list(LABELS.values()), dtype=object)
    np.savez_compressed(folder / "names.npz", filenames=np.array(list(LABELS)), fileitems=items)
    np.savez_compressed(folder / "dict.npz", name2openset=np.array(LABELS, dtype=object))
    return [
        write_csv(folder / "labels.csv", ["name", "openset"], LABELS.items()),
        write_csv(folder / "text.csv", ["key", "text"], sentences.items()),
        write_jsonl(
            folder / "lists.jsonl",
            [{"name": k, "labels": v.strip("[]").split(", ")} for k, v in reversed(LABELS.items())],
        ),
        folder / "names.npz",
        folder / "dict.npz",
    ]


def test_every_file_shape_gives_the_same_result(tmp_path, gold):
    wheel = EmotionWheel.builtin()
    for path in prediction_files(tmp_path):
        result = json.loads(json.dumps(score(dataset="meld", predictions=path, gold=gold, wheel=wheel)))
        assert (result["metric"], result["wheel"], result["mode"]) == ("hit_rate", "builtin", "official")
        assert result["score"] == result["hit_rate"] == pytest.approx(2 / 3)
        assert (result["samples"], result["samples_wheel1"], result["expected_samples"]) == (4, 3, 2610)
        assert result["unseen_words"] == [["zzz", 1], ["neutral", 1]]
        assert result["coverage"] == pytest.approx(4 / 6)
        assert result["strict"]["hit_rate"] == pytest.approx(3 / 4)
        assert result["strict"]["hit_f1"] < result["strict"]["hit_rate"]


def test_sentiment_sets_take_sentiments_or_labels(tmp_path):
    gold = write_csv(tmp_path / "gold.csv", ["name", "label"], [("a", 0.8), ("b", -1), ("c", 0), ("d", -0.2)])
    rows = [("a", "positive"), ("b", "negative"), ("c", "neutral"), ("d", "neutral")]
    given = score("CMU-MOSI", write_csv(tmp_path / "s.csv", ["name", "sentiment"], rows), gold)
    assert (given["metric"], given["weighted_f1"], given["samples"], given["dropped"]) == ("weighted_f1", 1.0, 3, 1)
    assert given["strict"]["accuracy"] == pytest.approx(2 / 3)
    read = score("mosi", write_csv(tmp_path / "l.csv", ["name", "openset"], LABELS.items()), gold)
    assert (read["answers"], read["accuracy"]) == ("openset", pytest.approx(2 / 3))
    bad = write_csv(tmp_path / "bad.csv", ["name", "label"], [("a", "joy")])
    with pytest.raises(DataError, match=r"bad\.csv, sample 'a': the gold score is 'joy'"):
        score("mosi", write_csv(tmp_path / "one.csv", ["name", "sentiment"], rows[:1]), bad)


def test_open_labels(tmp_path):
    gold = write_jsonl(
        tmp_path / "gold.jsonl", [{"name": "a", "openset": ["joy", "relief"]}, {"name": "b", "openset": []}]
    )
    preds = write_jsonl(tmp_path / "p.jsonl", [{"name": "a", "labels": ["happy"]}, {"name": "b", "labels": ["sad"]}])
    result = score("ovmerdplus", preds, gold)
    assert (result["metric"], result["precision"], result["samples_wheel1"]) == ("f1", 1.0, 1)
    assert result["score"] == result["f1"] > result["strict"]["f1"] > 0


def test_names_must_match(tmp_path, gold):
    wanting = write_csv(tmp_path / "wanting.csv", ["name", "openset"], list(LABELS.items())[:2])
    with pytest.raises(DataError, match="2 names of the gold have no prediction: 'c', 'd'"):
        score("meld", wanting, gold)
    strict = score("meld", wanting, gold, mode="strict")
    assert strict["missing_predictions"] == ["c", "d"]
    assert (strict["empty_predictions"], strict["hit_rate"]) == (2, 0.25)
    extra = write_csv(tmp_path / "extra.csv", ["name", "openset"], [*LABELS.items(), ("e", "sad"), ("f", "sad")])
    for mode in ("official", "strict"):
        with pytest.raises(DataError, match=r"2 names of .*extra\.csv are not in the gold: 'e', 'f'"):
            score("meld", extra, gold, mode=mode)
    twice = write_csv(tmp_path / "twice.csv", ["name", "openset"], [*LABELS.items(), ("a", "sad")])
    with pytest.raises(DataError, match="repeats 1 names: 'a'"):
        score("meld", twice, gold)


def test_broken_files_are_named(tmp_path, gold):
    cases = {
        "absent.csv": (None, "does not exist"),
        "wrong.txt": ("x", r"read from \.npz, \.jsonl and \.csv"),
        "columns.csv": ("clip,mood\na,sad\n", "has clip, mood; expected one of"),
        "short.csv": ("name,openset\na\n", "row 2: it has not as many cells"),
        "comma.csv": ("name,openset\na,[happy, sad]\n", "row 2: it has not as many cells"),
        "broken.jsonl": ('{"name": "a"\n', "line 1 is not JSON"),
        "list.jsonl": ("[1]\n", r"line 1 is '\[1\]'"),
        "broken.npz": ("nothing", r"cannot be read as \.npz"),
        "number.jsonl": ('{"name": "a", "labels": 3}\n', "sample 'a': labels are 3"),
    }
    one = write_csv(tmp_path / "one.csv", ["name", "label"], [("a", "joy")])
    for name, (text, message) in cases.items():
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=message):
            score("meld", tmp_path / name, one)
    with pytest.raises(ConfigError, match="Did you mean 'mer2023'"):
        score("mer203", one, gold)


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_an_npz_file_cannot_run_code(tmp_path, gold, capsys):
    assert pickle.dumps(Evil())
    np.savez(tmp_path / "evil.npz", name2openset=np.array({"a": Evil()}, dtype=object))
    with pytest.raises(DataError, match=r"asks for builtins\.print, which is not data"):
        score("meld", tmp_path / "evil.npz", gold)
    assert capsys.readouterr().out == ""


def test_the_nine_sets():
    assert len(TEST_SETS) == 9
    assert sum(s.num_samples for s in TEST_SETS.values()) == 12799


def test_the_published_meld_figure(shared, tmp_path):
    with (shared / "oracle" / "metrics" / "meld_released.csv").open() as file:
        rows = list(csv.DictReader(file))
    gold = write_csv(tmp_path / "g.csv", ["name", "label"], [(r["name"], r["gold"]) for r in rows])
    preds = write_csv(tmp_path / "p.csv", ["name", "openset"], [(r["name"], r["openset_ckpt30"]) for r in rows])
    result = score("meld", preds, gold, EmotionWheel.official(shared / "data" / "emotion_wheel"))
    assert round(100 * result["score"], 2) == 55.65
    assert (result["samples"], result["expected_samples"], result["wheel"]) == (2610, 2610, "official-2025")
