"""A judge of descriptions by command: figures in both modes, swapped order, and the ranking of who wrote them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from affectgpt.bench.submission import score_pairs
from affectgpt.cli.main import main
from affectgpt.errors import ConfigError, DataError
from mer2026maker import write_table

SYSTEMS = ("ana", "ben", "cai")  # ana beats ben 3:1, ben beats cai 3:1, ana beats cai 3:1
OTHER = {"a1": "a2", "a2": "a1", "same": "same"}


def rows() -> list[list[str]]:
    """name, a1, a2, preference, who wrote a1, who wrote a2."""
    found = []
    for better, worse in (("ana", "ben"), ("ben", "cai"), ("ana", "cai")):
        for number in range(4):
            first, second = (better, worse) if number % 2 else (worse, better)
            wins = number != 3
            preferred = "a1" if (first == better) == wins else "a2"
            name = f"clip_{len(found) % 5}"  # clips come again in other pairs
            found.append(
                [name, f"{first} says {len(found)}", f"{second},\nsays {len(found)}", preferred, first, second]
            )
    return found


def keys() -> list[str]:
    times: dict[str, int] = {}
    found = []
    for name, *_ in rows():
        times[name] = times.get(name, 0) + 1
        found.append(name if times[name] == 1 else f"{name}_pair{times[name]}")
    return found


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return write_table(tmp_path / "gold.csv", ["name", "a1", "a2", "preference"], [row[:4] for row in rows()])


@pytest.fixture
def named(tmp_path: Path) -> Path:
    table = [[*row[:3], row[4], row[5]] for row in rows()[::-1]]
    return write_table(tmp_path / "named.csv", ["name", "a1", "a2", "model1", "model2"], table)


def write_answers(path: Path, answers: list[str]) -> Path:
    lines = [json.dumps({"key": key, "text": text}) + "\n" for key, text in zip(keys(), answers, strict=True)]
    path.write_text("".join(lines), "utf-8")
    return path


def test_the_command_prints_figures_consistency_and_ranking(
    gold: Path, named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    true = [row[3] for row in rows()]
    said = [*true[:-2], "same", "I cannot tell."]
    answers = write_answers(tmp_path / "a.jsonl", said)
    swapped = write_answers(tmp_path / "s.jsonl", [*(OTHER[one] for one in true[:-4]), "a1", "a1", "same", "a1"])
    argv = ["score", "preference", str(answers), str(gold), "--swapped", str(swapped), "--systems", str(named)]
    assert main([*argv, "--out", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out
    found: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
    # By hand: of 12 answers 10 are right; "same" and an answer without a name count as a1 where published.
    right = 10 + sum(one == "a1" for one in true[-2:])
    assert found["official"]["accuracy"] == pytest.approx(right / 12)
    assert found["strict"]["accuracy"] == pytest.approx(10 / 12)
    assert (found["strict"]["same_answers"], found["strict"]["unknown_answers"]) == (1, 1)
    assert found["unread_answers"] == keys()[-1:]
    consistent = 8 + [true[-4] == "a2", true[-3] == "a2", True, False].count(True)
    assert found["swap"]["consistency"] == pytest.approx(consistent / 12)
    assert f"swapped: {100 * consistent / 12:.2f} % of 12 pairs" in printed
    assert [one["name"] for one in found["ranking"]] == list(SYSTEMS)
    assert [one["pairs"] for one in found["ranking"]] == [8, 8, 8]
    assert found["ranking_agreement"] == 1.0
    # Hunter (2004), eq. 3, for this table: strengths in which every system's expected wins are its wins.
    strengths = {one["name"]: math.exp(one["by_people"]) for one in found["ranking"]}
    for name, wins in zip(SYSTEMS, (6, 4, 2), strict=True):
        others = [other for other in SYSTEMS if other != name]
        expected = sum(5 * strengths[name] / (strengths[name] + strengths[other]) for other in others)
        assert expected == pytest.approx(wins + 2 * 0.5, abs=1e-6)
    assert "by people" in printed
    assert "rank correlation (Spearman) of the two: 1.00" in printed
    assert "1 answers name no preference" in printed


def test_a_table_of_swapped_pairs_is_read_by_its_descriptions(
    gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = write_answers(tmp_path / "a.jsonl", [row[3] for row in rows()])
    turned = [[name, a2, a1, OTHER[preference]] for name, a1, a2, preference, *_ in rows()]
    reverse = write_table(tmp_path / "reverse.csv", ["name", "a1", "a2", "preference"], turned)
    found = score_pairs(answers, gold, swapped=reverse, resamples=50)
    assert found.swap is not None
    assert (found.swap["consistency"], found.swap["first_share"]) == (1.0, 0.5)
    assert (found.score.value, found.figures["strict"]["accuracy"], found.ranking) == (1.0, 1.0, ())
    assert "ranking_agreement" in json.dumps(found.to_json())
    argv = ["--candidates", str(gold), "--out", str(tmp_path / "out"), "--count", "0", "--swapped"]
    assert main(["submit", "mer2026", str(answers), "--track", "3", *argv, str(reverse)]) == 0
    assert "swapped: 100.00 % of 12 pairs keep their preference" in capsys.readouterr().out
    assert main(["submit", "mer2026", str(answers), "--track", "3", *argv, str(gold)]) == 1
    assert "has a1 and a2 swapped" in capsys.readouterr().err


def test_what_does_not_fit_is_named(
    gold: Path, named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    true = [row[3] for row in rows()]
    answers = write_answers(tmp_path / "a.jsonl", true)
    with pytest.raises(DataError, match=r"named.csv.* has no left or no right.*it has name, a1, a2, model1, model2"):
        score_pairs(answers, gold, systems=named, system_columns=("left", "right"))
    with pytest.raises(ConfigError, match="name two"):
        score_pairs(answers, gold, systems=named, system_columns=("model1",))
    few = write_table(tmp_path / "few.csv", ["name", "a1", "a2", "model1", "model2"], [[*rows()[0][:3], "x", "y"]])
    with pytest.raises(DataError, match="lacks 11 of the pairs"):
        score_pairs(answers, gold, systems=few)
    short = tmp_path / "short.jsonl"
    short.write_text("".join(answers.read_text("utf-8").splitlines(keepends=True)[:4]), "utf-8")
    with pytest.raises(DataError, match=r"short.jsonl does not answer 8 of 12 pairs: 'clip_4'"):
        score_pairs(short, gold)
    always = [row[3] if "ana" not in row[4:] else ("a1" if row[4] == "ana" else "a2") for row in rows()]
    with pytest.raises(DataError, match="were never preferred"):
        score_pairs(write_answers(tmp_path / "b.jsonl", always), gold, systems=named, prior=0, resamples=10)
    tied = [[*row[:3], row[3] if number else "tie"] for number, row in enumerate(rows())]
    ties = write_table(tmp_path / "ties.csv", ["name", "a1", "a2", "preference"], tied)
    with pytest.raises(DataError, match="mode 'strict' reads it as 'same'"):
        score_pairs(answers, ties)
    assert list(score_pairs(answers, ties, mode="strict", resamples=10).figures) == ["strict"]
    assert main(["score", "preference", str(answers), str(gold), "--system-columns", "a,b"]) == 1
    assert "give the table as well" in capsys.readouterr().err
    unlabelled = write_table(tmp_path / "open.csv", ["name", "a1", "a2"], [row[:3] for row in rows()])
    assert main(["score", "preference", str(answers), str(unlabelled)]) == 1
    assert "12 rows have no preference" in capsys.readouterr().err
