"""Submissions to MER2026: what is written, what is refused, and the score on clips that were not trained on."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectgpt.bench import write_openset
from affectgpt.bench.submission import get_track, read_candidates, read_track_answers, score_local_split
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import EmotionWheel
from affectgpt.metrics.functional import emotion_wheel_score
from mer2026maker import CANDIDATES, HUMAN, PAIRS, TRAIN, make_release, write_table


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return make_release(tmp_path / "release", media=False)


def submit(release: Path, predictions: Path, track: int, *more: Any, count: int = 0) -> int:
    table = "track3_candidate.csv" if track == 3 else "track1_track2_candidate.csv"
    options = ["--track", str(track), "--candidates", str(release / table), "--out", str(release / "out")]
    return main(["submit", "mer2026", str(predictions), *options, "--count", str(count), *map(str, more)])


def written(release: Path) -> list[list[str]]:
    """The rows of answer.csv in the archive."""
    with zipfile.ZipFile(release / "out" / "answer.zip") as archive:
        assert archive.namelist() == ["answer.csv"]
        packed = archive.read("answer.csv")
    assert packed == (release / "out" / "answer.csv").read_bytes()
    return list(csv.reader(io.StringIO(packed.decode("utf-8"), newline="")))


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_track_2_writes_the_words_in_the_order_of_the_list(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = write_openset(tmp_path / "a.npz", {CANDIDATES[1]: ["calm", "humdrumish"], CANDIDATES[0]: ["Happy"]})
    assert submit(release, answers, 2) == 0
    assert written(release) == [["name", "openset"], [CANDIDATES[0], "[happy]"], [CANDIDATES[1], "[calm, humdrumish]"]]
    printed = capsys.readouterr().out
    assert "1.50 words a clip, 3 different; 66.7 % are in the wheel builtin" in printed
    assert "not in the wheel: humdrumish (1)" in printed
    assert "give its folder as --wheel" in printed
    record = json.loads((release / "out" / "submission.json").read_text("utf-8"))
    assert (record["rows"], record["coverage"], record["wheel_of_the_challenge"]) == (2, 0.6667, False)
    before = (release / "out" / "answer.zip").read_bytes()
    assert submit(release, answers, 2) == 0
    assert (release / "out" / "answer.zip").read_bytes() == before


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"name": CANDIDATES[0], "labels": ["calm"]}], f"1 rows without an answer: '{CANDIDATES[1]}'"),
        ([{"name": n, "labels": []} for n in CANDIDATES], "2 answers without a word"),
        ([{"name": n, "labels": ["sad"]} for n in [*CANDIDATES, "x"]], "1 names that are not in the list: 'x'"),
    ],
)
def test_answers_that_do_not_fit_the_list_are_refused_and_nothing_is_written(
    rows: list[dict[str, Any]], message: str, release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = write_lines(tmp_path / "a.jsonl", rows)
    assert submit(release, answers, 2) == 1
    assert message in capsys.readouterr().err
    assert not (release / "out").exists()
    is_mended = submit(release, answers, 2, "--fill", "calm, at ease") == 0
    assert is_mended == ("names" not in message)
    if is_mended:
        assert ["[calm, at ease]"] in [row[1:] for row in written(release)]


def test_the_list_must_be_whole(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = write_openset(tmp_path / "a.npz", {name: ["calm"] for name in CANDIDATES})
    assert submit(release, answers, 2, count=20_000) == 1
    assert "has 2 rows, but Track 2 has 20000 candidates" in capsys.readouterr().err
    twice = write_table(release / "track1_track2_candidate.csv", ["name"], [[n] for n in [*CANDIDATES, CANDIDATES[0]]])
    with pytest.raises(DataError, match=f"repeats 1 names: '{CANDIDATES[0]}'"):
        read_candidates(twice, get_track(2), 0)
    with pytest.raises(DataError, match="has 3 rows, but Track 3 has 10000"):
        read_candidates(write_table(tmp_path / "t.csv", ["name", "a1", "a2"], [list("abc")] * 3), get_track(3))
    with pytest.raises(ConfigError, match="EEG"):
        get_track(4)
    with pytest.raises(ConfigError, match="choose 1, 2 or 3"):
        get_track(5)


def test_track_1_takes_one_of_six_emotions(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = write_lines(
        tmp_path / "a.jsonl",
        [{"name": CANDIDATES[0], "text": "sadness"}, {"name": CANDIDATES[1], "text": "The emotion is Happy."}],
    )
    assert submit(release, answers, 1) == 0
    assert written(release)[1:] == [[CANDIDATES[0], "sad"], [CANDIDATES[1], "happy"]]
    assert "1 answers used another spelling" in capsys.readouterr().out
    bad = write_lines(tmp_path / "b.jsonl", [{"name": n, "labels": ["happy", "sad"]} for n in CANDIDATES])
    assert submit(release, bad, 1) == 1
    assert "2 answers that are not one of neutral, angry" in capsys.readouterr().err
    assert submit(release, bad, 1, "--fill", "glad") == 1
    assert "--fill is 'glad'; expected one of neutral" in capsys.readouterr().err
    own = write_table(tmp_path / "c.csv", ["name", "discrete"], [[n, "worried"] for n in CANDIDATES])
    assert submit(release, own, 1) == 0


def test_the_probabilities_of_the_baseline_are_read(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = np.zeros((2, 6), dtype=np.float32)
    table[0, 3], table[1, 5] = 1, 2
    np.savez(tmp_path / "named.npz", emo_probs=table, filenames=np.array(CANDIDATES[::-1]))
    assert submit(release, tmp_path / "named.npz", 1) == 0
    assert written(release)[1:] == [[CANDIDATES[0], "surprise"], [CANDIDATES[1], "sad"]]
    np.savez(tmp_path / "plain.npz", emo_probs=table)
    assert submit(release, tmp_path / "plain.npz", 1) == 0
    assert written(release)[1:] == [[CANDIDATES[0], "sad"], [CANDIDATES[1], "surprise"]]
    assert "were taken in the order of the list" in capsys.readouterr().out
    for wrong, message in (
        (np.zeros((2, 5)), "one column for each"),
        (np.zeros((3, 6)), "3 rows of emo_probs for 2"),
        (np.full((2, 6), np.nan), "holds NaN in row 0"),
    ):
        np.savez(tmp_path / "wrong.npz", emo_probs=wrong)
        assert submit(release, tmp_path / "wrong.npz", 1) == 1
        assert message in capsys.readouterr().err


def test_track_3_answers_every_pair_of_a_clip_that_comes_again(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ["samplenew_1", "samplenew3_4", "samplenew_1_pair2", "samplenew_2"]
    said = ["a1", "The second, a2.", "a2", "same"]
    rows = [{"key": k, "text": t, "labels": ["x"], "sentiment": None} for k, t in zip(keys, said, strict=True)]
    answers = write_lines(tmp_path / "a.jsonl", rows)
    swapped = write_lines(tmp_path / "s.jsonl", [{"key": k, "text": "a2"} for k in keys])
    assert submit(release, answers, 3, "--swapped", swapped) == 0
    assert written(release) == [
        ["name", "a1", "a2", "preference"],
        *([*pair[:3], answer] for pair, answer in zip(PAIRS, ["a1", "a2", "a2", "same"], strict=True)),
    ]
    printed = capsys.readouterr().out
    assert "4 answers to 3 clips" in printed
    assert "counts an answer of same as a1" in printed
    assert "25.00 % of 4 pairs keep their preference" in printed
    # what was written is itself a file of answers, in whatever order
    again = write_table(tmp_path / "again.csv", ["name", "a1", "a2", "preference"], written(release)[:0:-1])
    assert submit(release, again, 3) == 0
    assert [row[3] for row in written(release)[1:]] == ["a1", "a2", "a2", "same"]
    other = write_table(tmp_path / "other.csv", ["name", "a1", "a2", "preference"], [["samplenew_1", "?", "?", "a1"]])
    assert submit(release, other, 3) == 1
    error = capsys.readouterr().err
    assert "4 rows without an answer" in error
    assert "1 names that are not in the list: 'samplenew_1 | ? | ?'" in error
    rows[1]["text"] = "Both are fine by me, a1 and a2."
    assert submit(release, write_lines(answers, rows), 3) == 1
    assert "1 answers that name neither a1, a2 nor same: 'samplenew3_4'" in capsys.readouterr().err


def test_the_local_score_is_that_of_clips_that_were_not_trained_on(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = write_table(
        release / "own.csv", ["name", "openset"], [[HUMAN[0], "sad"], [HUMAN[1], "calm, happy"], ["z", "angry"]]
    )
    local = write_openset(tmp_path / "l.npz", {HUMAN[0]: ["sad"], HUMAN[1]: ["calm", "angry"], "z": ["happy"]})
    answers = write_openset(tmp_path / "a.npz", {name: ["calm"] for name in CANDIDATES})
    options = ["--local-gold", gold, "--local-predictions", local]
    assert submit(release, answers, 2, *options) == 0
    assert "the training sets are unknown" in capsys.readouterr().out
    trained = ["--trained-on", release / "track2_train_mercaptionplus.csv"]
    assert submit(release, answers, 2, *options, *trained) == 0
    printed = capsys.readouterr().out
    assert "1 clips of the split were used for training, and are left out of the score" in printed
    record = json.loads((release / "out" / "submission.json").read_text("utf-8"))["local"]
    wheel = EmotionWheel.builtin()
    by_hand = emotion_wheel_score([["calm", "angry"], ["happy"]], ["calm, happy", "angry"], wheel, zero_division=0.0)
    assert record["score"] == pytest.approx(float(by_hand["f1"]))
    assert (record["samples"], record["left_out"], record["training_sets_told"]) == (2, [HUMAN[0]], True)
    everything = write_table(tmp_path / "all.csv", ["name"], [[n] for n in [*HUMAN, "z"]])
    assert submit(release, answers, 2, *options, "--trained-on", everything) == 1
    assert "none is left to score" in capsys.readouterr().err


def test_candidates_that_were_trained_on_are_refused(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = write_openset(tmp_path / "a.npz", {name: ["calm"] for name in CANDIDATES})
    trained = ["--trained-on", release / "track1_track2_candidate.csv"]
    assert submit(release, answers, 2, *trained) == 1
    assert "share 2 by name" in capsys.readouterr().err
    assert submit(release, answers, 2, *trained, "--allow-overlap") == 0


def test_local_scores_of_emotions_and_preferences(release: Path, tmp_path: Path) -> None:
    one = write_lines(
        tmp_path / "a.jsonl",
        [{"name": n, "labels": ["happy"]} for n in TRAIN[:2]] + [{"name": TRAIN[2], "labels": ["?"]}],
    )
    found = score_local_split(get_track(1), one, release / "track1_train.csv", resamples=200)
    assert (found.score.value, found.figures["accuracy"]) == (pytest.approx(0.8), pytest.approx(2 / 3))
    answers = [
        {"name": k, "text": t}
        for k, t in [
            ("samplenew_1", "a1"),
            ("samplenew3_4", "same"),
            ("samplenew_1_pair2", "a2"),
            ("samplenew_2", "a1"),
        ]
    ]
    pairs = score_local_split(
        get_track(3), write_lines(tmp_path / "p.jsonl", answers), release / "track3_emoprefer.csv", resamples=200
    )
    # gold a1, a2, a2 (same dropped); the answer "same" counts as a1: 2 of 3 right, F1 of both classes 2/3
    assert (pairs.score.value, pairs.figures["accuracy"], pairs.figures["dropped"]) == (
        pytest.approx(2 / 3), pytest.approx(2 / 3), 1,
    )  # fmt: skip
    # strict: F1 of a1 is 1, of a2 2/3
    assert pairs.strict == pytest.approx((1 + 2 * 2 / 3) / 3)
    with pytest.raises(DataError, match="4 rows have no preference"):
        score_local_split(get_track(3), tmp_path / "p.jsonl", release / "track3_candidate.csv")


def test_a_key_of_a_pair_in_a_prediction_file_is_that_of_packing(release: Path, tmp_path: Path) -> None:
    rows = read_candidates(release / "track3_candidate.csv", get_track(3), 0)
    from affectgpt.manifests.mer2026 import Mer2026

    keys = [key for _, key, _ in Mer2026("track3_candidate").rows(release)]
    assert [row.key for row in rows] == keys
    answers = write_lines(tmp_path / "a.jsonl", [{"name": key, "preference": "a1"} for key in keys])
    assert read_track_answers(answers, get_track(3), rows).values == dict.fromkeys(keys, "a1")
