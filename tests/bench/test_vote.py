"""Votes over prediction files: the rules against a slow copy, ties, constants, and what stands beside a score."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectgpt.bench import read_predictions, vote, write_openset
from affectgpt.bench.voting import RULES, Constants, fit_constants, put_near_words, score_systems
from affectgpt.bench.voting.ballots import _Words, read_ballots
from affectgpt.bench.voting.constant_answer import best_constant_answer
from affectgpt.bench.voting.fitting import GRID, load_constants
from affectgpt.bench.voting.near_words import read_table
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import EmotionWheel, parse_labels
from affectgpt.metrics.functional import emotion_wheel_score

WHEEL = EmotionWheel.builtin()
WORDS = ["happy", "sad", "angry", "worried", "calm", "confused", "relieved", "proud", "neutral", "serious", "bored"]
NAMES = [f"clip_{i:02d}" for i in range(40)]


def write_system(path: Path, answers: dict[str, list[str]]) -> Path:
    """A prediction file of the kind that its name asks for."""
    if path.suffix == ".npz":
        return write_openset(path, answers)
    if path.suffix == ".jsonl":
        rows = [json.dumps({"name": name, "labels": words}) for name, words in answers.items()]
    else:
        rows = ["name,openset", *(f'{name},"[{", ".join(words)}]"' for name, words in answers.items())]
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return path


@pytest.fixture
def systems(tmp_path: Path) -> tuple[list[Path], list[dict[str, list[str]]]]:
    draw = random.Random(5)
    told = [{name: draw.sample(WORDS, draw.randint(0, 6)) for name in NAMES} for _ in range(4)]
    del told[3][NAMES[7]]
    kinds = [".npz", ".jsonl", ".csv", ".npz"]
    files = [write_system(tmp_path / f"s{i}{kind}", one) for i, (kind, one) in enumerate(zip(kinds, told, strict=True))]
    return files, told


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    draw = random.Random(6)
    rows = ["name,openset", *(f'{name},"{", ".join(draw.sample(WORDS, 3))}"' for name in NAMES)]
    (tmp_path / "gold.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return tmp_path / "gold.csv"


def slow_vote(answers: list[list[str]], rule: str, c: Constants) -> list[str]:
    """The rules as they are told, for one sample."""
    depth = c.depth if rule in ("rank-decay", "wheel") else 99
    cut = [words[:depth] for words in answers]
    said = {word for words in cut for word in words}
    ranks = {word: [words.index(word) for words in cut if word in words] for word in said}
    if rule in ("union", "majority"):
        score: dict[str, float] = {word: len(ranks[word]) for word in said}
    else:
        score = {word: sum(1 / (1 + c.decay * rank) for rank in ranks[word]) for word in said}
    if rule == "wheel":

        def helps(word: str, other: str, wheel: int) -> bool:
            group = WHEEL.group(word, wheel)
            return other != word and group is not None and WHEEL.group(other, wheel) == group

        score = {
            word: score[word] + c.support / 5 * sum(score[o] for w in range(1, 6) for o in said if helps(word, o, w))
            for word in said
        }
    order = sorted(said, key=lambda word: (-round(score[word], 9), -len(ranks[word]), min(ranks[word]), word))
    if rule == "union":
        return order
    if rule == "majority":
        answered = sum(bool(words) for words in answers)
        return [word for place, word in enumerate(order) if place == 0 or 2 * len(ranks[word]) > answered]
    near = [place < c.lo or (place < c.hi and score[w] >= c.ratio * score[order[0]]) for place, w in enumerate(order)]
    return [word for word, is_near in zip(order, near, strict=True) if is_near]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("constants", [Constants(), Constants(decay=1.5, ratio=0.6, lo=1, hi=2, depth=3, support=2.0)])
def test_every_rule_gives_what_it_says(
    rule: str, constants: Constants, systems: tuple[list[Path], list[dict[str, list[str]]]]
) -> None:
    files, told = systems
    found = vote(files, rule, constants)
    for name in NAMES:
        assert found.answers[name] == slow_vote([one.get(name, []) for one in told], rule, constants), name


def test_blocks_of_samples_change_nothing(
    monkeypatch: pytest.MonkeyPatch, systems: tuple[list[Path], list[dict[str, list[str]]]]
) -> None:
    whole = vote(systems[0]).answers
    monkeypatch.setattr("affectgpt.bench.voting.rules._BLOCK", 7)
    assert vote(systems[0]).answers == whole


def test_the_order_of_the_systems_plays_no_part(systems: tuple[list[Path], list[dict[str, list[str]]]]) -> None:
    files = systems[0]
    expected = vote(files, order=NAMES).answers
    for order in itertools.islice(itertools.permutations(files), 1, 6):
        assert vote(order, order=NAMES).answers == expected


@pytest.mark.parametrize("kind", [".npz", ".jsonl", ".csv"])
def test_answers_are_read_again_and_their_origin_lies_beside_them(
    kind: str, tmp_path: Path, systems: tuple[list[Path], list[dict[str, list[str]]]]
) -> None:
    found = vote(systems[0])
    path, beside = found.write(tmp_path / f"answers{kind}")
    read = read_predictions(path).values
    plain = {n: v if isinstance(v, list) else v.strip("[]").split(", ") if v != "[]" else [] for n, v in read.items()}
    assert plain == dict(found.answers)
    record = json.loads(beside.read_text("utf-8"))
    assert [one["name"] for one in record["systems"]] == ["s0", "s1", "s2", "s3"]
    assert (record["systems"][3]["missing"], record["systems"][0]["missing"]) == (1, 0)
    assert record["constants"]["ratio"] == 0.29
    assert record["constants"]["fitted"] is None
    assert record["near_words"] is None


def test_what_cannot_vote_is_refused(tmp_path: Path, systems: tuple[list[Path], list[dict[str, list[str]]]]) -> None:
    files = systems[0]
    with pytest.raises(ConfigError, match="takes 2 to 50 systems"):
        vote(files[:1])
    copy = tmp_path / "copy.npz"
    copy.write_bytes(files[0].read_bytes())
    with pytest.raises(ConfigError, match=r"is the same file as .*s0\.npz; every system has one vote"):
        vote([files[0], files[1], copy])
    with pytest.raises(ConfigError, match="Did you mean 'majority'"):
        vote(files, "majorty")
    with pytest.raises(DataError, match="40 names are not in the list of samples"):
        vote(files, order=["other"])
    sentiments = tmp_path / "x.jsonl"
    sentiments.write_text(json.dumps({"name": "clip_00", "sentiment": "positive"}), "utf-8")
    with pytest.raises(DataError, match="holds sentiments"):
        vote([files[0], sentiments])
    number = tmp_path / "y.jsonl"
    number.write_text(json.dumps({"name": "clip_00", "labels": 3}), "utf-8")
    with pytest.raises(DataError, match=r"y\.jsonl, sample 'clip_00': labels are 3"):
        vote([files[0], number])
    number.write_text(
        json.dumps({"name": "clip_00", "text": 3}) + "\n" + json.dumps({"name": "b", "text": "sad"}), "utf-8"
    )
    with pytest.raises(DataError, match="sample 'clip_00': the answer is 3; expected a text"):
        vote([files[0], number])
    with pytest.raises(ConfigError, match="1 <= lo <= hi"):
        Constants(lo=7)
    with pytest.raises(ConfigError, match=r"answers are written as \.npz, \.jsonl, \.csv"):
        vote(files).write(tmp_path / "answers.txt")


def test_whole_answers_vote_with_the_labels_in_them(tmp_path: Path) -> None:
    texts = ["The character's emotional state is happy, proud.", "<think>sad?</think>The emotion is happy."]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.jsonl").write_text(json.dumps({"key": "clip", "text": text}) + "\n", "utf-8")
    assert vote([tmp_path / "0.jsonl", tmp_path / "1.jsonl"]).answers == {"clip": ["happy", "proud"]}


def test_lists_that_are_read_word_by_word_are_read_as_whole_ones() -> None:
    draw = random.Random(2)
    pieces = [
        "happy",
        "Sad",
        "ill at ease",
        " proud ",
        "",
        "None",
        "calm and kind",
        "happy",
        "self-assured",
        "mood is low",
    ]
    words = _Words()
    for _ in range(300):
        labels = draw.choices(pieces, k=draw.randint(0, 5))
        wrapped = f"<think>sad or calm?</think><answer>{', '.join(labels)}</answer>"
        for value in (
            labels,
            wrapped,
            f"[{','.join(labels)}]",
            f"[{', '.join(labels)}]",
            ", ".join(labels),
            str(labels),
        ):
            found = words.of_answer(value)
            numbers = {number: word for word, number in words.numbers.items()}
            assert [numbers[number] for number in found] == parse_labels(value), value


def test_systems_of_one_file_name_are_told_apart(tmp_path: Path) -> None:
    for folder, word in (("a", "happy"), ("b", "sad")):
        (tmp_path / folder).mkdir()
        write_system(tmp_path / folder / "epoch.csv", {"clip": [word]})
    record = vote([tmp_path / "a" / "epoch.csv", tmp_path / "b" / "epoch.csv"]).record
    assert [one["name"] for one in record["systems"]] == ["a/epoch", "b/epoch"]


def test_near_words_stand_for_what_the_wheel_lacks_and_are_counted(tmp_path: Path) -> None:
    first = write_system(tmp_path / "a.csv", {"x": ["neutral", "calm", "happy"], "y": ["neutral"]})
    second = write_system(tmp_path / "b.csv", {"x": ["sad"], "y": ["table"]})
    ballots = put_near_words(read_ballots([first, second]), WHEEL)
    said = [[ballots.words[w] for w in one.words] for one in ballots.systems]
    assert said == [["calm", "happy", "calm"], ["sad", "table"]]
    assert ballots.systems[0].ranks.tolist() == [0, 1, 0]
    assert ballots.near_words is not None
    assert [(one["word"], one["times"]) for one in ballots.near_words["replaced"]] == [("neutral", 2)]
    assert vote([first, second], "union").answers["y"] == ["neutral", "table"]  # off by default
    assert vote([first, second], "union", near_words=True).answers["y"] == ["calm", "table"]


def test_the_line_about_near_words_ends_with_what_was_replaced(tmp_path: Path, capsys) -> None:
    for name, words, end in (("with", ["neutral"], "replaced; neutral -> calm (1)"), ("without", ["sad"], "replaced")):
        systems = [str(write_system(tmp_path / f"{name}{i}.csv", {"x": ["happy"], "y": words[:i]})) for i in (0, 1)]
        assert main(["vote", *systems, "--near-words", "--out", str(tmp_path / f"{name}.jsonl")]) == 0
        line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("near words"))
        assert line.endswith(end)


def test_every_line_of_the_table_has_a_reason_and_leads_into_the_wheel() -> None:
    lines = read_table()
    assert len({line.word for line in lines}) == len(lines) > 100
    assert [line for line in lines if not (WHEEL.knows(line.near) and line.reason.strip())] == []
    assert [line for line in lines if line.word == line.near] == []


def test_the_table_serves_the_official_wheel_too(shared: Path) -> None:
    official = EmotionWheel.official(shared / "data" / "emotion_wheel")
    lines = read_table()
    assert [line for line in lines if not official.knows(line.near)] == []
    # a line whose word both wheels have would never apply
    assert [line for line in lines if official.knows(line.word) and WHEEL.knows(line.word)] == []


def test_the_best_constant_answer_is_the_best_of_all(gold: Path) -> None:
    target = [row.split(",", 1)[1].strip('"') for row in gold.read_text("utf-8").splitlines()[1:]]
    few = ["happy", "sad", "angry", "worried", "calm", "confused", "proud", "bored", "disgusted", "surprised"]

    def score(words: Any) -> float:
        return float(emotion_wheel_score([list(words)] * len(target), target, WHEEL)["f1"])

    best = max(score(words) for words in itertools.combinations(few, 2))
    found = best_constant_answer(target, WHEEL, 2)
    assert len(found) == 2
    assert score(found) >= best - 1e-12


def test_constants_are_fitted_recorded_and_refused_where_they_were_fitted(
    tmp_path: Path,
    gold: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    systems: tuple[list[Path], list[dict[str, list[str]]]],
) -> None:
    monkeypatch.setitem(GRID, "decay", (0.7, 1.5))  # type: ignore[index]
    monkeypatch.setitem(GRID, "ratio", (0.29, 0.6))  # type: ignore[index]
    monkeypatch.setitem(GRID, "hi", (3, 6))  # type: ignore[index]
    files = [*systems[0][:3]]
    options = ["--gold", str(gold)]
    constants = tmp_path / "constants.json"
    assert main(["vote", *map(str, files), *options, "--fit", str(constants)]) == 0
    fitted = load_constants(constants)
    assert fitted.fitted is not None
    by_hand = {
        one: float(
            emotion_wheel_score(
                list(vote(files, "rank-decay", one, order=NAMES).answers.values()),
                _target(gold),
                WHEEL,
                zero_division=0.0,
            )["f1"]
        )
        for one in (
            Constants(d, r, lo, hi)
            for d in (0.7, 1.5)
            for r in (0.29, 0.6)
            for lo in (1, 2, 3, 4)
            for hi in (3, 6)
            if lo <= hi
        )
    }
    assert fitted.fitted["score"] == pytest.approx(max(by_hand.values()))
    assert fitted.fitted["score_of_published_constants"] == pytest.approx(by_hand[Constants()])
    assert fitted.fitted["cross_validated"] <= fitted.fitted["score"] + 1e-9
    out = ["--out", str(tmp_path / "answers.npz")]
    again = tmp_path / "again.csv"  # the same labels in another file
    again.write_text(gold.read_text("utf-8").replace("name,openset", "name,label"), "utf-8")
    for labels in (gold, again):
        assert main(["vote", *map(str, files), "--constants", str(constants), "--gold", str(labels), *out]) == 1
        assert "40 of the 40 samples" in capsys.readouterr().err
    changed = ["--constants", str(constants), "--decay", "0.1"]
    assert main(["vote", *map(str, files), *changed, "--gold", str(gold), *out]) == 1
    capsys.readouterr()
    assert main(["vote", *map(str, files), *changed, *out]) == 0
    record = json.loads((tmp_path / "answers.vote.json").read_text("utf-8"))
    assert record["constants"]["fitted"]["changed_afterwards"] == ["decay"]
    with pytest.raises(ConfigError, match="the longest answers would be fitted"):
        fit_constants(read_ballots(files), gold, "meld")


def _target(gold: Path) -> list[str]:
    return [row.split(",", 1)[1].strip('"') for row in gold.read_text("utf-8").splitlines()[1:]]


def test_constants_that_others_wrote_are_read_with_care(tmp_path: Path) -> None:
    path = tmp_path / "constants.json"
    for text, message in (
        ("[]", "holds no constants"),
        ('{"decay": "x"}', "'decay' is 'x'"),
        ('{"lo": 9, "hi": 2}', "1 <= lo <= hi"),
        ('{"code": 1}', "holds no constants"),
        ('{"lo": 1e999}', "constants"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(DataError, match=message):
            load_constants(path)


def test_scores_stand_beside_length_coverage_and_a_constant_answer(
    tmp_path: Path,
    gold: Path,
    capsys: pytest.CaptureFixture[str],
    systems: tuple[list[Path], list[dict[str, list[str]]]],
) -> None:
    files = systems[0][:3]
    voted, _ = vote(files, "union", order=NAMES).write(tmp_path / "voted.npz")
    found = score_systems({path.stem: path for path in files}, voted, gold, resamples=300)
    *singles, last = found.systems
    assert (last.is_vote, [one.name for one in singles]) == (True, ["s0", "s1", "s2"])
    assert found.best == max(singles, key=lambda one: one.score.value).name
    assert [one.name for one in found.systems if one.gain is None] == [found.best]
    assert last.gain is not None
    assert last.gain.value == pytest.approx(last.score.value - max(one.score.value for one in singles))
    by_hand = emotion_wheel_score(list(read_predictions(files[0]).values.values()), _target(gold), WHEEL)
    assert singles[0].score.value == pytest.approx(float(by_hand["f1"]))
    assert singles[0].coverage == pytest.approx(float(by_hand["coverage"]))
    assert last.words_per_clip > max(one.words_per_clip for one in singles)
    assert len(last.constant) == round(last.words_per_clip)
    assert any("vote gains" in text and "words a clip against" in text for text in found.warnings)
    out = ["--out", str(tmp_path / "a.csv"), "--rule", "union", "--report", str(tmp_path / "report")]
    assert main(["vote", *map(str, files), "--gold", str(gold), *out]) == 0
    printed = capsys.readouterr().out
    assert "warning: vote gains" in printed
    assert f"{100 * last.score.value:6.2f}" in printed
    assert (tmp_path / "report" / "report.html").is_file()
    record = json.loads((tmp_path / "a.vote.json").read_text("utf-8"))
    assert record["scores"]["systems"][-1]["score"] == pytest.approx(last.score.value)


def test_names_give_the_samples_and_their_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], systems: tuple[list[Path], list[dict[str, list[str]]]]
) -> None:
    names = tmp_path / "candidates.csv"
    names.write_text("name\n" + "\n".join([*reversed(NAMES), "unanswered"]) + "\n", "utf-8")
    out = tmp_path / "answers.jsonl"
    assert main(["vote", *map(str, systems[0]), "--names", str(names), "--out", str(out)]) == 0
    assert "1 samples without a word" in capsys.readouterr().out
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [row["name"] for row in rows] == [*reversed(NAMES), "unanswered"]
    assert rows[-1]["openset"] == []


def test_fifty_systems_of_one_word_each_count_every_vote(tmp_path: Path) -> None:
    files = [write_system(tmp_path / f"m{i}.csv", {"clip": [WORDS[i % 3]], f"own{i}": ["happy"]}) for i in range(50)]
    found = vote(files, "majority")
    assert found.answers["clip"] == ["happy"]  # 17 of 50 have no majority: the first by votes, then by name
    assert np.array([len(words) for words in found.answers.values()]).tolist() == [1] * 51
