"""The gold labels are never scored as answers: which column counts, and which file."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest

from affectgpt.bench import compare, read_gold, read_predictions, score
from affectgpt.bench.external import score_other
from affectgpt.bench.extract.template import TemplateExtractor
from affectgpt.bench.prediction_search import find_candidates
from affectgpt.cli.main import main
from affectgpt.errors import DataError
from affectgpt.types import Prediction
from setmaker import write_csv

GOLD = {"a": "joy", "b": "anger", "c": "sadness"}
WRONG = {"a": "sad", "b": "happy", "c": "happy"}


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".csv":
        return write_csv(path, tuple(rows[0]), [tuple(row.values()) for row in rows])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "gold.csv", ("name", "label"), GOLD.items())


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("truth", "answer"),
    [("label", "predict"), ("labels", "response"), ("label", "pred"), ("labels", "openset"), ("answer", "prediction")],
)
@pytest.mark.parametrize("truth_first", [True, False])
def test_several_columns_that_could_be_the_answer_are_refused_until_one_is_named(
    tmp_path: Path, gold: Path, suffix: str, truth: str, answer: str, truth_first: bool
) -> None:
    pairs = [[(truth, GOLD[name]), (answer, WRONG[name])] for name in GOLD]
    rows = [{"id": n, **dict(p if truth_first else p[::-1])} for n, p in zip(GOLD, pairs, strict=True)]
    path = write_rows(tmp_path / f"p.{suffix}", rows)
    with pytest.raises(DataError, match=rf"several columns could be the answer: .*{answer}.*name one with --column"):
        score("meld", path, gold)
    result = score("meld", path, gold, column=answer, resamples=0)
    assert (result.hit_rate, result.answers, result.gold_column) == (0.0, answer, "label")
    with pytest.raises(DataError, match="several columns"):
        compare("meld", path, path, gold, column_a=answer)
    other = write_csv(tmp_path / "other.csv", ("name", "openset"), WRONG.items())
    assert compare("meld", path, other, gold, column_a=answer).difference.value == 0
    with pytest.raises(DataError, match=r"has no column 'predikt' \(--column\)"):
        score("meld", path, gold, column="predikt")


def test_a_gold_column_is_no_answer_and_an_answer_no_gold_column(tmp_path: Path) -> None:
    both = write_csv(tmp_path / "b.csv", ("name", "gold", "pred"), [(n, GOLD[n], WRONG[n]) for n in GOLD])
    result = score("meld", both, both, resamples=0)
    assert (result.answers, result.gold_column, result.hit_rate) == ("pred", "gold", 0.0)
    twice = write_csv(tmp_path / "t.csv", ("name", "label", "gold"), [(n, WRONG[n], GOLD[n]) for n in GOLD])
    with pytest.raises(DataError, match="several columns could be the gold label: label, gold; name one with --gold-"):
        read_gold(twice)
    assert read_gold(twice, column="gold").values == GOLD
    assert main(["score", "meld", str(both), str(twice), "--gold-column", "gold", "--json"]) == 0


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    for header, message in (("name,pred,Pred", "several columns called pred"), ("name,pred,pred", "different column")):
        (tmp_path / "p.csv").write_text(f"{header}\na,happy,sad\n")
        with pytest.raises(DataError, match=message):
            read_predictions(tmp_path / "p.csv")
    (tmp_path / "p.jsonl").write_text('{"name": "a", "pred": "joy", "pred": "sad"}\n')
    with pytest.raises(DataError, match="line 1 is not JSON: it has the key 'pred' more than once"):
        read_predictions(tmp_path / "p.jsonl")


def test_the_gold_file_itself_is_refused_as_predictions(tmp_path: Path, gold: Path) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to(gold)
    hard = tmp_path / "hard.csv"
    hard.hardlink_to(gold)
    copy = Path(shutil.copy(gold, tmp_path / "copy.csv"))
    for path in (gold, link, hard, copy):
        with pytest.raises(DataError, match=rf"{path.name} holds the gold labels themselves \(column 'label'\)"):
            score("meld", path, gold)
        assert main(["bench", "--predictions", f"meld={path}", "--gold", f"meld={gold}", "--out", str(tmp_path)]) == 1
    again = write_rows(tmp_path / "again.jsonl", [{"name": n, "label": v} for n, v in reversed(GOLD.items())])
    with pytest.raises(DataError, match="every value in the column 'label' is the gold label of"):
        score("meld", again, gold)
    assert score("meld", again, gold, column="label", resamples=0).hit_rate == 1.0


def test_a_folder_of_predictions_may_hold_the_gold_labels(tmp_path: Path, gold: Path, capsys) -> None:
    folder = tmp_path / "run" / "results-meld"
    folder.mkdir(parents=True)
    write_csv(folder / "ep1.csv", ("name", "openset"), WRONG.items())
    (folder / "zz-last.csv").symlink_to(gold)
    shutil.copy(gold, folder / "truth.csv")
    write_csv(folder / "other.csv", ("name", "label"), WRONG.items())
    write_csv(folder / "gold_open.csv", ("name", "openset"), GOLD.items())
    shutil.copy(gold, folder / "copy.csv")
    found = find_candidates([folder], gold_files=[gold])
    assert [c.checkpoint for c in found.candidates] == ["ep1"]
    assert {path.name for path in found.passed_over} == {
        *("zz-last.csv", "truth.csv", "other.csv", "gold_open.csv", "copy.csv")
    }
    argv = ["bench", "--predictions", str(tmp_path / "run"), "--gold", f"meld={gold}", "--out", str(tmp_path / "out")]
    assert main([*argv, "--resamples", "0"]) == 0
    said = capsys.readouterr()
    assert "hit_rate       0.00" in said.out
    assert "answers in column 'openset'" in said.out
    assert "other.csv: it has columns of gold labels and none of answers" in said.err
    assert "skipped" in said.err
    (result,) = json.loads((tmp_path / "out/report.json").read_text())["results"]
    assert (result["checkpoint"], result["answers"], len(result["passed_over"])) == ("ep1", "openset", 5)
    (folder / "ep1.csv").unlink()
    with pytest.raises(DataError, match=r"no prediction file .* was skipped: it holds the gold labels in use"):
        find_candidates([folder], gold_files=[gold])


def test_our_own_answers_hold_one_answer_in_several_forms(tmp_path: Path, gold: Path) -> None:
    rows = [Prediction(n, f"He is {v}.", (v,), sentiment="positive").to_json() for n, v in WRONG.items()]
    path = write_rows(tmp_path / "predictions.jsonl", rows)
    assert read_predictions(path).column == "labels"
    assert read_predictions(path, want_sentiment=True).column == "sentiment"
    assert score("meld", path, gold, resamples=0).hit_rate == 0.0


def test_a_column_of_another_name_is_read_by_what_it_holds(tmp_path: Path, gold: Path) -> None:
    path = write_csv(tmp_path / "p.csv", ("name", "said"), [(n, f"Their emotion is {v}.") for n, v in GOLD.items()])
    with pytest.raises(DataError, match="name the column of the answers with --column"):
        score("meld", path, gold)
    result = score("meld", path, gold, column="Said", resamples=0)
    assert (result.hit_rate, result.extractor["name"]) == (1.0, "template")
    lists = write_rows(tmp_path / "l.jsonl", [{"name": n, "said": [v]} for n, v in GOLD.items()])
    assert score("meld", lists, gold, column="said", resamples=0).hit_rate == 1.0


def test_the_gold_is_read_once(tmp_path: Path, gold: Path, monkeypatch) -> None:
    mine = write_csv(tmp_path / "mine.csv", ("name", "openset"), WRONG.items())
    opened: list[str] = []
    real = io.open

    def spy(file, *args, **kwargs):
        opened.append(Path(str(file)).name)
        return real(file, *args, **kwargs)

    monkeypatch.setattr(io, "open", spy)
    score("meld", mine, gold)
    assert opened.count("gold.csv") == 1
    opened.clear()
    assert main(["score", "meld", str(mine), str(gold), "--against", str(mine)]) == 0
    assert opened.count("gold.csv") == 1


def test_answers_of_other_benchmarks_are_one_column_too(tmp_path: Path) -> None:
    rows = [{"id": 0, "answer": "Fear", "prediction": "Anger"}, {"id": 1, "answer": "Anger", "prediction": "Fear"}]
    path = write_rows(tmp_path / "r.jsonl", rows)
    gold = write_rows(tmp_path / "g.jsonl", [{"id": 0, "label": "Fear"}, {"id": 1, "label": "Anger"}])
    with pytest.raises(DataError, match=r"r\.jsonl: several columns could be the answer: answer, prediction; name one"):
        score_other("hitemotion-eer", path, gold)
    result = score_other("hitemotion-eer", path, gold, column="prediction")
    assert (result.score, result.answers) == (0.0, "prediction")
    with pytest.raises(DataError, match="'label' is a column of gold labels"):
        score_other("hitemotion-eer", gold, system="label")
    with pytest.raises(DataError, match=r"has no column with an answer; expected one of model_output, answer"):
        score_other("hitemotion-eer", gold)


def test_names_that_look_alike_are_one_name(tmp_path: Path) -> None:
    gold = write_csv(tmp_path / "gold.csv", ("name", "label"), [("caf\u00e9", "joy")])
    mine = write_csv(tmp_path / "mine.csv", ("name", "openset"), [("\ufeffcafe\u0301 ", "happy")])
    assert score("meld", mine, gold, resamples=0).hit_rate == 1.0


def test_whole_answers_are_read_once_for_both_modes(tmp_path: Path, gold: Path) -> None:
    path = write_csv(tmp_path / "p.csv", ("name", "text"), [(n, f"Their emotion is {v}.") for n, v in WRONG.items()])
    asked: list[int] = []

    class Counting(TemplateExtractor):
        def _extract(self, answers):
            asked.append(len(answers))
            return super()._extract(answers)

    result = score("meld", path, gold, extractor=Counting(), resamples=0)
    assert (asked, result.labels, result.strict.labels) == ([3], 3, 3)
