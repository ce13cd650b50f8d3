"""Scoring prediction files of every supported shape, and refusing the broken ones."""

import csv
import json
import math
import pickle

import numpy as np
import pytest

from affectgpt.bench import compare, read_predictions, score, write_report
from affectgpt.cli.main import main
from affectgpt.datamodules.unibench import TEST_SETS
from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import EmotionWheel

GOLD = {"a": "joy", "b": "anger", "c": "neutral", "d": "sadness"}
LABELS = {"a": "[happy, zzz]", "b": "[calm]", "c": "[neutral]", "d": "[tearful, lonely]"}


def write_csv(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
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
        result = score(dataset="meld", predictions=path, gold=gold, wheel=wheel)
        flat = json.loads(json.dumps(result.to_json()))
        assert (result.metric, result.wheel, result.mode) == ("hit_rate", "builtin", "official")
        assert result.score == result.hit_rate == flat["score"] == flat["hit_rate"] == pytest.approx(2 / 3)
        assert (result.samples, flat["samples_wheel1"], result.expected_samples) == (4, 3, 2610)
        assert flat["unseen_words"] == [["zzz", 1], ["neutral", 1]]
        assert result.coverage == pytest.approx(4 / 6)
        assert result.strict.hit_rate == pytest.approx(3 / 4)
        assert result.strict.hit_f1 < result.strict.hit_rate


def test_sentiment_sets_take_sentiments_or_labels(tmp_path):
    gold = write_csv(tmp_path / "gold.csv", ["name", "label"], [("a", 0.8), ("b", -1), ("c", 0), ("d", -0.2)])
    rows = [("a", "positive"), ("b", "negative"), ("c", "neutral"), ("d", "neutral")]
    given = score("CMU-MOSI", write_csv(tmp_path / "s.csv", ["name", "sentiment"], rows), gold)
    assert (given.metric, given.weighted_f1, given.samples, given.dropped) == ("weighted_f1", 1.0, 3, 1)
    assert given.strict.accuracy == pytest.approx(2 / 3)
    read = score("mosi", write_csv(tmp_path / "l.csv", ["name", "openset"], LABELS.items()), gold)
    assert (read.answers, read.accuracy) == ("openset", pytest.approx(2 / 3))
    bad = write_csv(tmp_path / "bad.csv", ["name", "label"], [("a", "joy")])
    with pytest.raises(DataError, match=r"bad\.csv, sample 'a': the gold score is 'joy'"):
        score("mosi", write_csv(tmp_path / "one.csv", ["name", "sentiment"], rows[:1]), bad)


def test_open_labels(tmp_path):
    gold = write_jsonl(
        tmp_path / "gold.jsonl", [{"name": "a", "openset": ["joy", "relief"]}, {"name": "b", "openset": []}]
    )
    preds = write_jsonl(tmp_path / "p.jsonl", [{"name": "a", "labels": ["happy"]}, {"name": "b", "labels": ["sad"]}])
    result = score("ovmerdplus", preds, gold)
    assert (result.metric, result.precision, result.wheels[0].samples) == ("f1", 1.0, 1)
    assert result.score == result.f1 > result.strict.f1 > 0


@pytest.mark.parametrize(
    ("answer", "why"), [("[]", "no answer has a label"), ("[furious]", "no label of an answer is right")]
)
def test_a_score_of_nothing_says_why_it_is_none(tmp_path, capsys, answer, why):
    gold = write_csv(tmp_path / "gold.csv", ["name", "label"], [("a", "[happy]"), ("b", "[sad]")])
    answers = write_csv(tmp_path / "answers.csv", ["name", "openset"], [("a", answer), ("b", answer)])
    found = score("ovmerdplus", answers, gold, resamples=0)
    assert math.isnan(found.score)
    assert found.undefined == f"there is no f1: {why}, and 0/0 stays undefined as published; in mode strict it is 0.00"
    assert main(["score", "ovmerdplus", str(answers), str(gold)]) == 0
    assert found.undefined in capsys.readouterr().out
    write_report([found], tmp_path / "report")
    assert found.undefined in json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))["warnings"][-1]
    right = write_csv(tmp_path / "right.csv", ["name", "openset"], [("a", "[happy]"), ("b", answer)])
    assert score("ovmerdplus", right, gold, resamples=0).undefined is None


def test_scores_come_with_an_interval(tmp_path):
    names = [f"clip{i}" for i in range(200)]
    gold = write_csv(tmp_path / "gold.csv", ["name", "label"], [(name, "joy") for name in names])
    rows = [(name, "happy" if i % 2 else "angry") for i, name in enumerate(names)]
    half = write_csv(tmp_path / "half.csv", ["name", "openset"], rows)
    result = score("meld", half, gold, resamples=2000, seed=3)
    interval = result.interval
    assert json.loads(json.dumps(result.to_json()))["interval"]["low"] == interval.low
    assert (result.score, interval.resamples, result.seed, interval.confidence) == (0.5, 2000, 3, 0.95)
    assert interval.low == pytest.approx(0.5 - 1.96 * 0.5 / 200**0.5, abs=0.01)
    assert interval.high == pytest.approx(0.5 + 1.96 * 0.5 / 200**0.5, abs=0.01)
    assert result.strict.interval.low == pytest.approx(interval.low, abs=0.01)
    without = score("meld", half, gold, resamples=0)
    assert without.interval is without.strict.interval is None
    with pytest.raises(ConfigError, match="resamples is -1"):
        score("meld", half, gold, resamples=-1)


@pytest.mark.parametrize("dataset", ["meld", "mosi", "ovmerdplus"])
def test_two_systems_are_compared_on_the_same_samples(tmp_path, dataset):
    names = [f"clip{i}" for i in range(100)]
    truth = [("happy", 1.0) if i % 2 else ("angry", -1.0) for i in range(100)]
    labels = [one if dataset == "mosi" else word for word, one in truth]
    gold = write_csv(tmp_path / "gold.csv", ["name", "label"], zip(names, labels, strict=True))
    wrong = {"happy": "angry", "angry": "happy"}
    files = []
    for spoilt in (40, 50):  # the second system also fails where the first does
        words = [wrong[word] if i < spoilt else word for i, (word, _) in enumerate(truth)]
        files.append(write_csv(tmp_path / f"{spoilt}.csv", ["name", "openset"], zip(names, words, strict=True)))
    result = compare(dataset, *files, gold, mode="strict")
    assert json.loads(json.dumps(result.to_json()))["difference"] == result.difference.value
    assert result.a.score.value == pytest.approx(score(dataset, files[0], gold, mode="strict").score)
    assert result.b.score.value == pytest.approx(score(dataset, files[1], gold, mode="strict").score)
    assert result.difference.value == pytest.approx(result.a.score.value - result.b.score.value)
    assert 0 < result.difference.low < result.difference.value < result.difference.high < 0.2
    assert result.a.score.low < result.b.score.high  # which unpaired intervals would not tell
    assert (result.samples, result.a_better) == (100, pytest.approx(1, abs=0.01))
    short = write_csv(tmp_path / "short.csv", ["name", "openset"], [("clip0", "happy")])
    with pytest.raises(DataError, match=r"99 names of the gold have no prediction in .*short\.csv"):
        compare(dataset, files[0], short, gold)


def test_names_must_match(tmp_path, gold):
    wanting = write_csv(tmp_path / "wanting.csv", ["name", "openset"], list(LABELS.items())[:2])
    with pytest.raises(DataError, match=r"2 names of the gold have no prediction in .*wanting\.csv: 'c', 'd'"):
        score("meld", wanting, gold)
    strict = score("meld", wanting, gold, mode="strict")
    assert strict.missing_predictions == ("c", "d")
    assert (strict.empty_predictions, strict.hit_rate) == (2, 0.25)
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
        "short.csv": ("name,openset\na\n", r"short\.csv:2: 1 cells, but the header has 2"),
        "comma.csv": ("name,openset\na,[happy, sad]\n", r"comma\.csv:2: 3 cells, but the header has 2"),
        "broken.jsonl": ('{"name": "a"\n', "line 1 is not JSON"),
        "list.jsonl": ("[1]\n", r"line 1 is '\[1\]'"),
        "broken.npz": ("nothing", r"cannot be read as \.npz"),
        "number.jsonl": ('{"name": "a", "labels": 3}\n', "sample 'a': labels are 3"),
        "nothing.csv": ("", "has no rows; expected a first line of different column names"),
        "other.jsonl": ('{"name": "b", "openset": []}\n\n{"name": "a", "text": "joy"}\n', "line 3 has no 'openset'"),
        "nameless.jsonl": ('{"name": "b", "openset": []}\n{"openset": []}\n', "line 2 has no 'name'"),
        "latin.jsonl": (b'{"name": "a", "text": "na\xefve"}\n', r"cannot be read as \.jsonl"),
        "latin.csv": (b"name,text\na,na\xefve\n", r"latin\.csv' is not UTF-8 text"),
        "folder.csv/x": ("", "folder.csv is a folder"),
    }
    one = write_csv(tmp_path / "one.csv", ["name", "label"], [("a", "joy")])
    for name, (text, message) in cases.items():
        path = tmp_path / name
        if text is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(DataError, match=message):
            score("meld", path.parent if path.parent != tmp_path else path, one)
    with pytest.raises(ConfigError, match="Did you mean 'mer2023'"):
        score("mer203", one, gold)


def test_marks_that_end_a_line_elsewhere_do_not_end_one_in_a_file(tmp_path):
    """A text with U+2028, U+0085 or a form feed is one text, in JSON lines and in csv."""
    one = write_csv(tmp_path / "one.csv", ["name", "label"], [("a", "joy")])
    text = "He is calm.\u2028\x85 His emotional state is happy.\x0c"
    lines = tmp_path / "x.jsonl"
    lines.write_text(json.dumps({"name": "a", "text": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    table = write_csv(tmp_path / "x.csv", ["name", "text"], [("a", text)])
    assert read_predictions(lines).values == read_predictions(table).values == {"a": text}
    assert score("meld", lines, one).hit_rate == 1.0


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
    assert round(100 * result.score, 2) == 55.65
    assert (result.samples, result.expected_samples, result.wheel) == (2610, 2610, "official-2025")
    assert (round(result.interval.low, 2), round(result.interval.high, 2)) == (0.53, 0.58)


def test_a_constant_answer_games_the_hit_rate_but_not_its_companion(shared, tmp_path):
    with (shared / "oracle" / "metrics" / "meld_released.csv").open() as file:
        rows = list(csv.DictReader(file))
    wheel = EmotionWheel.official(shared / "data" / "emotion_wheel")
    gold = write_csv(tmp_path / "g.csv", ["name", "label"], [(r["name"], r["gold"]) for r in rows])

    def answer(words):
        path = write_csv(
            tmp_path / "p.csv", ["name", "openset"], [(r["name"], words or r["openset_ckpt30"]) for r in rows]
        )
        return score("meld", path, gold, wheel, resamples=0)

    model, seven = answer(None), answer("happy, sad, angry, surprised, fearful, disgusted, neutral")
    assert round(100 * seven.score, 2) == 98.27
    assert answer("joy, sadness, anger, surprise, fear, disgust, neutral").score == 1
    # The companion counts what the answer names beside the truth.
    assert [round(100 * x.hit_f1, 2) for x in (model, seven)] == [41.01, 32.12]


def test_sentiments_are_read_by_the_lexicon_unless_told(shared, tmp_path):
    with (shared / "oracle" / "metrics" / "sims_released.csv").open() as file:
        rows = list(csv.DictReader(file))
    gold = write_csv(tmp_path / "g.csv", ["name", "label"], [(r["name"], r["gold"]) for r in rows])
    figures = {}
    for column in ("sentiment_ckpt30", "openset_ckpt30"):
        name = column.split("_")[0]
        path = write_csv(tmp_path / f"{name}.csv", ["name", name], [(r["name"], r[column]) for r in rows])
        figures[name] = score("sims", path, gold, resamples=0)
    assert (figures["sentiment"].sentiment_reader, round(100 * figures["sentiment"].score, 2)) == (None, 88.49)
    read = figures["openset"]
    assert read.sentiment_reader["name"] == "lexicon"
    assert sum(read.sentiment_reader["counts"][x] for x in ("positive", "negative", "neutral")) == len(rows)
    assert abs(read.score - figures["sentiment"].score) < 0.01  # within a point of the released sentiments
    wheel = score("sims", tmp_path / "openset.csv", gold, resamples=0, sentiment_reader="wheel")
    assert wheel.sentiment_reader["settings"] == {"wheel": "builtin"}
    assert wheel.score < read.score
