"""Tasks of other benchmarks: files in their formats, hand-computed figures, and scikit-learn as a second opinion."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_score

from affectgpt.bench.external import OTHERS, question_of, score_other
from affectgpt.bench.external.answer_reading import (
    emotion_official,
    emotion_tolerant,
    match_label,
    number_of,
    option_of,
    ranking_of,
    sentiment_official,
    techniques_official,
    techniques_tolerant,
)
from affectgpt.bench.external.answer_rows import read_rows
from affectgpt.bench.external.measures import class_figures, pearson, set_figures, spearman
from affectgpt.bench.external.tasks import FILM_EMOTIONS, INTENTS, SENTIMENTS, TECHNIQUES
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError


def save(path: Path, rows: Any) -> Path:
    text = "\n".join(map(json.dumps, rows)) if path.suffix == ".jsonl" else json.dumps(rows, ensure_ascii=False)
    path.write_text(text, "utf-8")
    return path


def test_class_figures_are_those_of_scikit_learn() -> None:
    draw = random.Random(0)
    for size in (1, 7, 60):
        gold = [draw.choice("abcd") for _ in range(size)]
        said = [draw.choice("abcde") for _ in range(size)]
        found = class_figures(gold, said)
        assert found["accuracy"] == pytest.approx(accuracy_score(gold, said))
        assert found["weighted_f1"] == pytest.approx(f1_score(gold, said, average="weighted", zero_division=0))
        assert found["macro_f1"] == pytest.approx(f1_score(gold, said, average="macro", zero_division=0))
        expected = precision_score(gold, said, average="weighted", zero_division=0)
        assert found["weighted_precision"] == pytest.approx(expected)
    assert math.isnan(class_figures([], [])["accuracy"])


def test_set_figures_are_those_of_scikit_learn() -> None:
    draw = random.Random(1)
    gold, said = ([[x for x in "abcde" if draw.random() < 0.4] for _ in range(40)] for _ in range(2))
    found = set_figures(gold, said, "abcdef")
    rows = [np.array([[x in one for x in "abcdef"] for one in side], int) for side in (gold, said)]
    assert found["micro_f1"] == pytest.approx(f1_score(*rows, average="micro"))
    assert found["macro_f1"] == pytest.approx(f1_score(*rows, average="macro", zero_division=0))
    assert found["exact_match"] == pytest.approx(accuracy_score(*rows))


def test_correlations_by_hand() -> None:
    assert pearson([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)
    assert spearman([1, 2, 3, 4], [10, 30, 20, 1000]) == pytest.approx(0.8)
    # ranks 1.5, 1.5, 3 against 1, 2, 3
    assert spearman([5, 5, 9], [1, 2, 3]) == pytest.approx(math.sqrt(3) / 2)
    assert math.isnan(pearson([1, 1], [1, 2]))
    assert math.isnan(spearman([], []))


# MIntRec


def mintrec_table(path: Path, labels: list[str]) -> Path:
    lines = ["season\tepisode\tclip\ttext\tlabel"]
    lines += [f'S04\tE01\t{i}\the said "no\t{label}' for i, label in enumerate(labels)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_mintrec_by_hand(tmp_path: Path) -> None:
    gold = mintrec_table(tmp_path / "test.tsv", ["Complain", "Complain", "Apologise", "Ask for help"])
    texts = ["Complain", "complain.", "Apologize", "The speaker wants to joke or to taunt"]
    rows = [{"name": f"S04_E01_{i}", "answer": text} for i, text in enumerate(texts)]
    result = score_other("mintrec", save(tmp_path / "a.jsonl", rows), gold)
    assert (result.task.metric, result.score, result.figures.samples) == ("accuracy", 0.25, 4)
    # Complain has precision 1, the others 0
    assert result.figures.values["weighted_precision"] == pytest.approx(2 / 4 * 1)
    assert result.figures.values["weighted_f1"] == pytest.approx(2 / 4 * 2 / 3)
    assert result.other.values["accuracy"] == 0.75
    assert list(result.other.unreadable) == ["S04_E01_3"]
    assert result.task.num_samples == 445
    assert result.task.listed[0] == pytest.approx(217 / 445, abs=5e-5)


def test_mintrec_names_that_do_not_fit(tmp_path: Path) -> None:
    gold = mintrec_table(tmp_path / "test.tsv", ["Joke", "Care"])
    rows = [{"name": "S04_E01_0", "answer": "Joke"}]
    result = score_other("mintrec", save(tmp_path / "a.jsonl", rows), gold)
    assert (result.score, list(result.missing)) == (0.5, ["S04_E01_1"])
    with pytest.raises(DataError, match=r"1 names of .* are not in the gold: 'x'"):
        score_other("mintrec", save(tmp_path / "a.jsonl", [{"name": "x", "answer": "Joke"}]), gold)
    with pytest.raises(DataError, match="repeats 1 names: 'S04_E01_0'"):
        score_other("mintrec", save(tmp_path / "a.jsonl", rows * 2), gold)
    with pytest.raises(DataError, match="the gold intent is 'Sing'"):
        score_other("mintrec", save(tmp_path / "a.jsonl", rows), mintrec_table(tmp_path / "b.tsv", ["Sing"]))


# HitEmotion


@pytest.mark.parametrize(
    ("text", "official", "tolerant"),
    [
        ("{'emotion': 'Fear'}", "Fear", "Fear"),
        ('{"emotion": "Fear"}', "Fear", "Fear"),
        ("Sure! {'emotion': 'Fear'} is my answer.", "Fear", "Fear"),
        ("fear", "Fear", "Fear"),
        ("{'emotion': 'fear'}", None, "Fear"),
        ("```json\n{\u201cemotion\u201d: \u201cFear\u201d}\n```", None, "Fear"),
        ("{'Emotion': 'Fear'}", None, "Fear"),
        ("The viewer feels fear.", None, "Fear"),
        ("{'emotion': 'Fear'", None, "Fear"),
        ("Fear or Anger", None, None),
        ("{'emotion': 'Joy'}", None, None),
        ("{'emotion': ['Fear']}", None, "Fear"),
        ("", None, None),
    ],
)
def test_emotion_answers(text: str, official: str | None, tolerant: str | None) -> None:
    assert emotion_official(text, FILM_EMOTIONS) == official
    assert emotion_tolerant(text, FILM_EMOTIONS) == tolerant


def test_sentiment_answers_by_the_published_patterns() -> None:
    for text, found in {
        "{'emotion': 'Positive'}": "positive",
        "Emotion: negative": "negative",
        "It is neutral, not positive": "neutral",
        "{'emotion': 'sad'} which is negative": "negative",
        "sad": None,
    }.items():
        assert sentiment_official(text, SENTIMENTS) == found, text


def test_technique_answers() -> None:
    straw = "Misrepresentation of Someone's Position (Straw Man)"
    for text, official, tolerant in [
        ("{'techniques': ['Smears', 'Doubt']}", ["Smears", "Doubt"], ["Doubt", "Smears"]),
        ("{'techniques': []}", [], []),
        (json.dumps({"techniques": [straw]}), [straw], [straw]),
        (f"{{'techniques': ['{straw}']}}", None, [straw]),  # the apostrophe breaks the published reading
        ("{'techniques': ['smears']}", None, ["Smears"]),
        ("Smears and Loaded Language.", None, ["Loaded Language", "Smears"]),
        ("{'techniques': ['Smears', 'Lying']}", None, ["Smears"]),
        ("I cannot tell.", None, None),
        ("None of them.", None, []),
        ("Appeal to (Strong) Emotions, Appeal to fear/prejudice", None, [TECHNIQUES[1], TECHNIQUES[21]]),
    ]:
        assert techniques_official(text, TECHNIQUES) == official, text
        assert techniques_tolerant(text, TECHNIQUES) == tolerant, text


def test_eer_by_hand_from_a_result_file_of_its_scripts(tmp_path: Path) -> None:
    outputs = ["{'emotion': 'Fear'}", "{'emotion': 'Anger'}", "It shows fear", "no idea"]
    gold = ["Fear", "Fear", "Fear", "Anger"]
    rows = [
        {"id": str(i), "model_output": o, "ground_truth": g} for i, (o, g) in enumerate(zip(outputs, gold, strict=True))
    ]
    result = score_other("hitemotion-eer", save(tmp_path / "r.json", rows))
    assert (result.score, result.figures.samples, list(result.figures.unreadable)) == (0.5, 2, ["2", "3"])
    assert result.figures.values["weighted_f1"] == pytest.approx(2 / 3)
    assert result.other.values["accuracy"] == pytest.approx(2 / 4)
    assert list(result.other.unreadable) == ["3"]
    assert result.gold_samples == 4
    again = score_other("hitemotion-eer", tmp_path / "r.json", mode="strict")
    assert (again.score, again.other.values["accuracy"], again.figures.samples) == (0.5, 0.5, 4)


def test_fesd_with_the_published_questions_as_gold(tmp_path: Path) -> None:
    turns = [[{"from": "human", "value": "<video>"}, {"from": "gpt", "value": g}] for g in ("negative", "positive")]
    gold = save(tmp_path / "CH-SIMS.json", [{"id": str(i), "conversations": t} for i, t in enumerate(turns)])
    path = tmp_path / "answers.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "answer"), ("1", "{'emotion': 'positive'}"), ("0", "positive")])
    assert score_other("hitemotion-fesd", path, gold).score == 0.5


def test_dptm_by_hand(tmp_path: Path) -> None:
    gold = [{"techniques": ["Smears", "Doubt"]}, {"techniques": []}, ["Slogans"]]
    outputs = ["{'techniques': ['Smears', 'Slogans']}", "{'techniques': []}", "Slogans"]
    rows = [{"id": i, "model_output": o, "ground_truth": g} for i, (o, g) in enumerate(zip(outputs, gold, strict=True))]
    result = score_other("hitemotion-dptm", save(tmp_path / "r.json", rows))
    assert (result.task.metric, result.figures.samples) == ("micro_f1", 2)
    assert result.score == pytest.approx(2 * 1 / (2 + 2))
    assert result.figures.values["exact_match"] == 0.5
    assert result.other.values["micro_f1"] == pytest.approx(2 * 2 / (3 + 3))
    rows[0]["ground_truth"] = "Smears"
    with pytest.raises(DataError, match="sample '0': the gold is 'Smears'"):
        score_other("hitemotion-dptm", save(tmp_path / "r.json", rows))


# EEmo-Bench


def test_option_answers() -> None:
    options = {"A": "About the same.", "B": "Much lower.", "C": "Much higher."}
    for text, letter in {
        "B": "B",
        "(C)": "C",
        "B: Much lower.": "B",
        "Compared with it, the second is darker.\n\nSo, the answer is:\nB: Much lower.": "B",
        "<think>A: or C:?</think><answer>C</answer>": "C",
        "Much higher": "C",
        "It is much higher, I think.": "C",
        "The answer is B": "B",
        "A person looks sad.": None,
        "(A: Yes) for one, (B: No) for the other": None,
        "": None,
    }.items():
        assert option_of(text, options) == letter, text
    assert option_of("(A: Yes) for one, (B: No) for the other", options, last=True) == "B"
    assert option_of("A: 1. B: 2. So the answer is A", options, last=True) == "A"


def eemo_row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "image_name": f"{number}.jpg",
        "emotion_list": [["joy", 57], ["neutral", 30], ["surprise", 19]],
        "Valence": [6.0 + number, 0.6, 1.2],
        "Arousal": [4.0 - number, 1.5, 2.1],
        "Dominance": [5.0 + number % 2, 0.7, 1.2],
        "judge_Q": "Is it negative?",
        "judge_A": {"A": "Yes", "B": "No"},
        "judge_answer": "B",
        "choose_Q": "Which one?",
        "choose_A": {"A": "Joy", "B": "Fear", "C": "Anger"},
        "choose_answer": "A",
        **more,
    }


def test_perception_by_hand_in_both_formats(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        eemo_row(1, **{"me(judge)": "B: No", "me(choose)": "Joy"}),
        eemo_row(2, **{"me(judge)": "A: Yes", "me(choose)": "hm"}),
        {
            "id": 607,
            "image2_url": "231.jpg",
            "question": "How?",
            "options": "{'A': 'About the same.', 'B': 'Much lower.'}",
            "correct_answer": "B",
            "question_type": "What/How",
            "perceptual_dimension": "Valence perception",
            "response(me)": "B: Much lower.",
            "response(you)": "A",
        },
        {"id": 608, "question": "Why?", "correct_answer": "Because.", "question_type": "Open_ended"},
    ]
    path = save(tmp_path / "r.json", rows)
    result = score_other("eemo-perception", path, system="me")
    assert (result.score, result.figures.samples) == (3 / 5, 5)
    assert result.figures.groups["by_carrier"] == {"single": 0.5, "pair": 1.0}
    assert result.figures.groups["by_kind"] == {"Yes-or-No": 0.5, "What/How": pytest.approx(2 / 3)}
    assert result.figures.groups["by_dimension"] == {"Valence perception": 1.0}
    assert list(result.figures.unreadable) == ["2.jpg/choose"]
    assert "over all questions" in result.task.formula
    halves = [save(tmp_path / "single.json", rows[:2]), save(tmp_path / "pair.json", rows[2:])]
    both = score_other("eemo-perception", halves, system="me")
    assert (both.score, both.figures.groups["by_carrier"]) == (result.score, result.figures.groups["by_carrier"])
    with pytest.raises(ConfigError, match="2 files of answers and a gold file"):
        score_other("eemo-perception", halves, halves[0])
    with pytest.raises(DataError, match="answers of me, you; say which system is meant"):
        score_other("eemo-perception", path)
    with pytest.raises(DataError, match="answers of me, and none of them"):
        score_other("eemo-perception", path, system="them")


def test_ranking_by_hand(tmp_path: Path) -> None:
    said = ["joy,neutral,surprise", "<answer>Emotion ranking: neutral, joy, anger</answer>", "hm"]
    rows = [eemo_row(i, predict_emotion_all=text) for i, text in enumerate(said)]
    result = score_other("eemo-ranking", save(tmp_path / "r.json", rows))
    assert result.score == pytest.approx((1 + (0.5 + 0.5 + 0) / 3) / 2)
    assert (result.figures.values["exact_order"], result.figures.values["first_emotion"]) == (0.5, 0.5)
    assert result.figures.values["shared_emotions"] == pytest.approx((1 + 2 / 3) / 2)
    assert list(result.figures.unreadable) == ["2.jpg"]
    assert result.other.values["rank_credit"] == pytest.approx((1 + 1 / 3) / 3)
    assert "not published" in result.task.formula


def test_ranking_answers() -> None:
    emotions = OTHERS["eemo-ranking"].labels
    assert ranking_of("1. Joy 2. Surprise 3. Neutral 4. Fear", emotions) == ["joy", "surprise", "neutral"]
    assert ranking_of("Emotion ranking: [Fear]", emotions) == ["fear"]
    assert ranking_of("nothing", emotions) is None


def test_assessment_by_hand(tmp_path: Path) -> None:
    rows = [
        eemo_row(i, valence_predict=v, predict_arousal_all=f"<answer>Arousal: {a}</answer>", dominance_predict=d)
        for i, (v, a, d) in enumerate([(0.1, 0.9, 0.2), (0.3, 0.5, 0.1), (0.2, 0.2, 0.2), (0.4, 0.1, 0.1)])
    ]
    result = score_other("eemo-assessment", save(tmp_path / "r.json", rows))
    assert result.figures.values["valence_srcc"] == result.figures.values["valence_plcc"] == pytest.approx(0.8)
    assert result.figures.values["arousal_srcc"] == pytest.approx(1)
    assert result.figures.values["dominance_plcc"] == pytest.approx(-1)
    assert result.score == pytest.approx(np.mean([0.8, 0.8, 1, result.figures.values["arousal_plcc"], -1, -1]))
    rows[1]["valence_predict"] = "none"
    result = score_other("eemo-assessment", save(tmp_path / "r.json", rows))
    assert (list(result.figures.unreadable), result.figures.samples) == (["1.jpg"], 3)
    assert result.figures.values["valence_plcc"] == pytest.approx(pearson([6, 8, 9], [0.1, 0.2, 0.4]))
    mean = (0.1 + 0.2 + 0.4) / 3
    assert result.other.values["valence_plcc"] == pytest.approx(pearson([6, 7, 8, 9], [0.1, mean, 0.2, 0.4]))


@given(
    st.text()
    | st.sampled_from(["{'emotion': 'Fear'}", "{'techniques': []}", "{{{", "<answer>", "A: B:"]).flatmap(
        lambda start: st.text().map(lambda end: start + end)
    )
)
def test_no_answer_breaks_a_reader(text: str) -> None:
    for read, labels in (
        (emotion_official, FILM_EMOTIONS),
        (emotion_tolerant, FILM_EMOTIONS),
        (sentiment_official, SENTIMENTS),
    ):
        assert read(text, labels) in (None, *labels)
    for many in (techniques_official, techniques_tolerant):
        assert set(many(text, TECHNIQUES) or ()) <= set(TECHNIQUES)
    assert option_of(text, {"A": "Yes", "B": "No"}) in (None, "A", "B")
    assert set(ranking_of(text, OTHERS["eemo-ranking"].labels) or ()) <= set(OTHERS["eemo-ranking"].labels)
    number = number_of(text)
    assert number is None or isinstance(number, float)


def test_numbers_in_answers() -> None:
    assert number_of("<think>0.9?</think><answer>Valence: 0.25</answer>") == 0.25
    assert [number_of(x) for x in (3, True, None, float("nan"), "high")] == [3.0, None, None, None, None]


# All of them


def test_labels_match_in_any_spelling() -> None:
    assert match_label("ASK  for help!", INTENTS) == "Ask for help"
    assert match_label("apologize", INTENTS) == "Apologise"
    assert match_label("criticise", INTENTS) == "Criticize"
    assert match_label("careful", INTENTS) is None


def test_questions_are_the_published_ones() -> None:
    assert question_of("hitemotion-eer") == (
        "Recognize the viewer's elicited emotion after watching the clip. Do not provide any explanations or extra "
        "text. Choose one of the following labels as your final answer: Amusement, Anger, Disgust, Fear, Neutral, "
        "Sadness, Tenderness. Respond in the format: {'emotion': 'label'}."
    )
    assert question_of("hitemotion-dptm", words="No {thanks}").startswith("Meme text: No {thanks}\n\nTask: Detect")
    assert question_of("eemo-perception", question="Why?", options="A:Yes B:No").endswith("options: A:Yes B:No")
    for name in OTHERS:
        asked = question_of(name, words="w", question="q", options="o", dimension="arousal")
        assert "{labels}" not in asked
    with pytest.raises(ConfigError, match="the question of hitemotion-fesd needs 'words'"):
        question_of("hitemotion-fesd")


@pytest.mark.parametrize(
    ("content", "suffix", "message"),
    [
        ("{}", ".json", "holds no rows"),
        ("[1]", ".json", "holds no rows"),
        ("[", ".json", "cannot be read as .json"),
        ("a\tb\n1\n", ".tsv", "x.tsv:2: 1 cells, but the header has 2"),
        ("id,text,label\n1,Joy, Joy,Joy\n", ".csv", "x.csv:2: 4 cells, but the header has 3"),
        ("id,text,label\n1,Joy,Joy\n2,Joy\n", ".csv", "x.csv:3: 2 cells, but the header has 3"),
        ("", ".jsonl", "holds no rows"),
        ("x", ".txt", "ends in '.txt'"),
    ],
)
def test_broken_files_are_refused(content: str, suffix: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text(content)
    with pytest.raises(DataError, match=message.replace(".", r"\.")):
        score_other("mintrec", path)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv"])
def test_marks_that_end_a_line_elsewhere_do_not_end_one_in_a_file(suffix: str, tmp_path: Path) -> None:
    row = {"id": "1", "model_output": "I \u2028 think: \x85 Joke", "label": "Joke"}
    mark = "\t" if suffix == ".tsv" else ","
    table = f"{mark.join(row)}\n{mark.join(row.values())}\n"
    path = tmp_path / f"x{suffix}"
    path.write_text(json.dumps(row, ensure_ascii=False) if suffix == ".jsonl" else table, encoding="utf-8")
    assert read_rows(path) == [row]


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "0", "model_output": "Fear", "ground_truth": "Fear"}]
    argv = ["score", "hitemotion-eer", str(save(tmp_path / "r.json", rows)), "--out", str(tmp_path / "o.json")]
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert "HitEmotion EER: accuracy 100.00 (official, 1 of 64 samples)" in shown
    assert "AffectGPT is listed with 43.75" in shown
    assert json.loads((tmp_path / "o.json").read_text())["strict"]["accuracy"] == 1.0
    with pytest.raises(ConfigError, match="unknown benchmark 'mintrek'"):
        score_other("mintrek", tmp_path / "r.json")
