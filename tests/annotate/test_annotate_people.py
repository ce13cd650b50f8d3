"""People at the desk: what they are shown, what is written down, and how far they agree with the engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affectgpt.annotate import annotate
from affectgpt.annotate.outcomes import ClipOutcome
from affectgpt.annotate.people import decided
from affectgpt.annotate.pipeline import make_pipeline
from affectgpt.annotate.reliability import agreement, krippendorff_alpha
from affectgpt.annotate.review_log import ReviewLog, Verdict
from affectgpt.cli import annotate_review
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError
from stagemaker import counting


def units(*rows: str) -> list[list[str]]:
    """One row a rater, ``.`` where a value is missing."""
    return [[value for value in column if value != "."] for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(
    ("rows", "alpha"),
    [
        # Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011): binary, nominal, and with missing values
        (("0100000000", "1110010010"), 0.095),
        (("aabbdcccedda", "babbbccceddd"), 0.692),
        (("123321412...", "1233224125.3", ".3332342251.", "12332441251."), 0.743),
        # the reliability data of the article on Wikipedia
        ((".....34121133.3", "1.213343.......", "..21344.21133.4"), 0.691),
    ],
)
def test_alpha_has_the_published_values(rows, alpha):
    assert krippendorff_alpha(units(*rows)) == pytest.approx(alpha, abs=5e-4)


def test_alpha_says_nothing_where_nothing_varies():
    assert krippendorff_alpha([("a",), ("b",)]) is None
    assert krippendorff_alpha([("a", "a"), ("a", "a")]) is None
    assert krippendorff_alpha([]) is None


def verdict(key, who, decision, clip="d", **more):
    return Verdict(key, clip, who, "2026-01-01T00:00:00+00:00", decision, **more)


def test_accuracy_is_told_for_each_stage():
    engine = {
        "a": ClipOutcome("a", "d", "kept"),
        "b": ClipOutcome("b", "d", "dropped", "length"),
        "c": ClipOutcome("c", "d", "dropped", "length"),
        "e": ClipOutcome("e", "d", "person", "vote"),
    }
    latest = {
        "a": {"x": verdict("a", "x", "accept"), "y": verdict("a", "y", "accept")},
        "b": {"x": verdict("b", "x", "reject"), "y": verdict("b", "y", "reject")},
        "c": {"x": verdict("c", "x", "edit", changes={"labels": ["sad"]}), "y": verdict("c", "y", "reject")},
        "e": {"x": verdict("e", "x", "accept")},
        "gone": {"x": verdict("gone", "x", "accept")},
    }
    found = agreement(latest, engine)
    assert (found["clips"], found["edited"], found["people"]) == (4, 1, ["x", "y"])
    assert found["by_stage"] == {
        "kept": {"reviewed": 1, "shared": 1, "accuracy": 1.0},
        "length": {"reviewed": 2, "shared": 1, "accuracy": 0.5},
    }
    assert found["alpha_of_people"] == pytest.approx(krippendorff_alpha([(1, 1), (0, 0), (1, 0)]))
    assert found["alpha_with_engine"] == pytest.approx(krippendorff_alpha([(1, 1, 1), (0, 0, 0), (1, 0, 0)]))


def test_the_majority_of_people_counts_and_a_tie_asks_once_more():
    clip = ClipOutcome("a", "d", "kept", fields={"labels": ["calm"]})
    yes, no, also = verdict("a", "x", "accept"), verdict("a", "y", "reject"), verdict("a", "z", "reject", note="cut")
    assert decided(clip, None) is clip
    assert decided(clip, {"x": yes, "y": no}).outcome == "person"
    gone = decided(clip, {"x": yes, "y": no, "z": also})
    assert (gone.outcome, gone.reasons["review"]) == ("dropped", "rejected by x, y, z: cut")
    assert decided(clip, {"x": verdict("a", "x", "reject", clip="other")}) is clip


def test_the_log_only_grows_and_outlives_a_torn_line(tmp_path):
    log = ReviewLog(tmp_path / "review.jsonl")
    log.append(verdict("a", "x", "accept"))
    log.append(verdict("a", "x", "reject"))
    with log.path.open("ab") as file:
        file.write(b'{"key": "b", "wh')
    assert [one.decision for one in log.read()] == ["accept", "reject"]
    log.append(verdict("c", "x", "accept"))
    assert log.path.read_text().count("\n") == 4
    with pytest.raises(DataError, match=r"review.jsonl:3 is (not JSON|no decision)"):
        log.read()


@pytest.mark.parametrize(
    ("decision", "changes", "message"),
    [
        ("maybe", {}, "choose one of accept"),
        ("edit", {}, "an edit changes"),
        ("edit", {"mood": "x"}, "an edit changes"),
        ("edit", {"labels": "sad"}, "labels is changed to 'sad'"),
        ("prefer", {"preferred": "c"}, "it must be a, b or same"),
    ],
)
def test_what_is_no_decision_is_refused(decision, changes, message):
    with pytest.raises(ConfigError, match=message):
        verdict("a", "x", decision, changes=changes)


@pytest.fixture
def annotated(corpus, tmp_path) -> Path:
    stage = counting(person="clip5", drop="clip1")
    annotate(make_pipeline({"stages": [stage, "labels"]}), corpus, tmp_path / "out")
    return tmp_path / "out"


def test_a_person_decides_clip_by_clip_in_the_terminal(annotated, monkeypatch, capsys):
    said = iter(["x", "e", "", "sad, tired", "", "p", "b", "r", "two people", "s", "q"])
    monkeypatch.setattr("builtins.input", lambda prompt="": next(said))
    assert annotate_review.run([str(annotated), "--who", "ann", "--seed", "3"]) == 0
    shown = capsys.readouterr().out
    assert "'x' is none of these" in shown
    assert "[1/10] clip5: person" in shown
    log = ReviewLog(annotated / "review.jsonl").read()
    assert [(one.decision, one.who) for one in log] == [("edit", "ann"), ("prefer", "ann"), ("reject", "ann")]
    assert log[0].key == "clip5"
    assert log[0].changes == {"labels": ["sad", "tired"]}
    assert log[0].engine == "person"
    assert log[1].changes["a"].startswith("p: words")
    assert log[1].changes["b"].startswith("Person ")
    assert (log[2].note, log[1].changes["preferred"]) == ("two people", "b")
    capsys.readouterr()
    assert annotate_review.run([str(annotated), "--who", "ann", "--list", "--only", "person"]) == 0
    assert "nothing left to look at" in capsys.readouterr().out


def test_decisions_come_from_the_command_line_too(annotated, capsys):
    out = str(annotated)
    assert (
        main(["annotate", "review", out, "--who", "bob", "--decide", "clip0", "edit", "--set", "labels=calm, glad"])
        == 0
    )
    assert main(["annotate", "review", out, "--who", "bob", "--decide", "clip1", "reject", "--note", "cut"]) == 0
    assert main(["annotate", "review", out, "--who", "bob", "--decide", "clip99", "accept"]) == 1
    assert "Did you mean 'clip9'" in capsys.readouterr().err
    assert main(["annotate", "review", out, "--report", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["clips"], report["people"], report["edited"]) == (2, ["bob"], 1)
    assert report["alpha_with_engine"] == 1.0
    assert main(["annotate", "review", out, "--report"]) == 0
    assert "alpha of people and engine: 1.00" in capsys.readouterr().out


def test_a_name_that_commands_the_terminal_is_shown_escaped(tmp_path, capsys):
    from clipmaker import make_clip

    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(make_clip(0.3))
    (folder / "a.json").write_text(json.dumps({"description": "She is happy.\x1b[31m"}))
    annotate(make_pipeline({"stages": ["labels"]}), folder, tmp_path / "out")
    assert main(["annotate", "review", str(tmp_path / "out"), "--list"]) == 0
    assert "\x1b" not in capsys.readouterr().out
