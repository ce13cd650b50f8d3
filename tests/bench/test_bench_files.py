"""Score-only benchmark: released trees, gold in every form, selection rules, and refusals."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from affectgpt.bench import read_predictions, score
from affectgpt.bench.benchmark import Benchmark
from affectgpt.bench.gold import find_gold
from affectgpt.bench.npz_writer import write_openset, write_sentiments
from affectgpt.bench.prediction_search import find_candidates, natural_order
from affectgpt.bench.selection import means_by_checkpoint, read_validation, select
from affectgpt.bench.system_result import HonestChoice, Selection
from affectgpt.cli.main import main
from affectgpt.cli.score import run as score_verb
from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import EmotionWheel
from serverthread import serving
from setmaker import gold_value, make_meld_csv, make_mmsa, make_processed, sample_name, write_csv

LABELS = {"a": ["happy", "calm"], "b": [], "c": ["a bit sad"]}


def test_the_challenge_file_has_the_authors_layout_and_is_read_back(tmp_path: Path) -> None:
    path = write_openset(tmp_path / "x-openset.npz", LABELS)
    with np.load(path) as arrays:  # without pickles
        assert set(arrays) == {"filenames", "fileitems"}
        assert arrays["filenames"].tolist() == ["a", "b", "c"]
        assert arrays["fileitems"].tolist() == ["[happy, calm]", "[]", "[a bit sad]"]
    read = read_predictions(path)
    assert (read.column, list(read.values)) == ("fileitems", ["a", "b", "c"])
    write_sentiments(tmp_path / "x-openset-sentiment.npz", {"a": "positive"})
    assert read_predictions(tmp_path / "x-openset-sentiment.npz", want_sentiment=True).is_sentiment
    with pytest.raises(DataError, match="no sample"):
        write_openset(path, {})
    with pytest.raises(DataError, match="sample 'a' has the labels 'happy'"):
        write_openset(path, {"a": "happy"})


@pytest.fixture
def released(tmp_path: Path, shared: Path) -> Path:
    """A user's folder: MELD's own table and the authors' released tree of three checkpoints."""
    with (shared / "oracle/metrics/meld_released.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    make_meld_csv(tmp_path / "MELD" / "test_sent_emo.csv", [(row["name"], row["gold"]) for row in rows])
    tree = tmp_path / "output" / "results-meld" / "emercoarse_highlevelfilter4_outputhybird_bestsetup_bestfusion_lz"
    tree.mkdir(parents=True)
    names = [row["name"] for row in rows]
    for epoch, loss in ((30, 0.602), (45, 0.551), (60, 0.480)):
        stem = f"checkpoint_{epoch:06d}_loss_{loss:.3f}"
        items = [row[f"openset_ckpt{epoch}"] for row in rows]
        np.savez_compressed(tree / f"{stem}-openset.npz", filenames=names, fileitems=items)
        np.savez_compressed(tree / f"{stem}.npz", name2reason={row["name"]: row["sentence_ckpt30"] for row in rows})
    return tmp_path


def test_the_command_of_the_docs_gives_the_published_figure(released: Path, shared: Path, capsys, monkeypatch) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/bench.md").read_text("utf-8")
    line = next(line for line in page.splitlines() if line.strip().startswith("affectgpt bench --predictions"))
    monkeypatch.chdir(released)
    monkeypatch.setenv("AFFECTGPT_WHEEL_FOLDER", str(shared / "data/emotion_wheel"))
    assert main(shlex.split(line)[1:]) == 0
    shown = capsys.readouterr().out
    assert [row.strip() for row in shown.splitlines() if row.strip() in page] == [
        row.strip() for row in shown.splitlines()
    ]
    assert "55.65 [53.46, 57.83]" in shown


def test_one_command_gives_the_published_figure_of_meld(released: Path, shared: Path, capsys) -> None:
    argv = ["bench", "--predictions", str(released / "output"), "--gold", str(released / "MELD/test_sent_emo.csv")]
    argv += ["--wheel", str(shared / "data/emotion_wheel"), "--out", str(released / "out"), "--resamples", "500"]
    assert main([*argv, "--select", "official"]) == 0
    shown = capsys.readouterr().out
    assert "MELD        hit_rate      52.09 [" in shown
    assert "checkpoint_000060_loss_0.480, last of 3 checkpoints; optimistic: 55.65 [" in shown
    report = json.loads((released / "out/report.json").read_text())
    (result,) = report["results"]
    assert result["checkpoint"] == result["selection"]["chosen"] == "checkpoint_000030_loss_0.602"
    assert [round(100 * x, 2) for x in result["selection"]["candidates"].values()] == [55.65, 54.80, 52.09]
    assert result["data"]["differences"] == []
    assert (released / "out/report.html").stat().st_size > 10_000
    assert main(argv) == 0
    assert " 52.09 [" in capsys.readouterr().out
    validation = released / "validation.json"
    validation.write_text(json.dumps({f"checkpoint_0000{e}": 0 for e in (30, 45, 60)}))
    assert main([*argv, "--select", "best-on-validation", "--validation", str(validation)]) == 1
    assert "the validation scores lack checkpoint_000030_loss_0.602" in capsys.readouterr().err


def test_the_published_figure_of_ch_sims_from_the_makers_table(tmp_path: Path, shared: Path, capsys) -> None:
    with (shared / "oracle/metrics/sims_released.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    parts = [row["name"].rpartition("_") for row in rows]
    table = [
        (video, int(clip), "words", row["gold"], "test") for (video, _, clip), row in zip(parts, rows, strict=True)
    ]
    write_csv(tmp_path / "CH-SIMS/label.csv", ("video_id", "clip_id", "text", "label", "mode"), table)
    for epoch in (30, 45):
        stem = tmp_path / "output/results-sims/released" / f"checkpoint_{epoch:06d}"
        write_openset(
            f"{stem}-openset.npz", {r["name"]: r[f"openset_ckpt{epoch}"].strip("[]").split(", ") for r in rows}
        )
        write_sentiments(f"{stem}-openset-sentiment.npz", {r["name"]: r[f"sentiment_ckpt{epoch}"] for r in rows})
    argv = ["bench", "--predictions", str(tmp_path / "output"), "--gold", str(tmp_path / "CH-SIMS"), "--resamples", "0"]
    assert main([*argv, "--out", str(tmp_path / "out"), "--select", "official"]) == 0
    shown = capsys.readouterr().out
    assert "CH-SIMS     weighted_f1   86.71  (checkpoint_000045" in shown
    assert "optimistic: 88.49 with checkpoint_000030" in shown
    # Without the released sentiments the lexicon reads them off the labels.
    for path in (tmp_path / "output").rglob("*-sentiment.npz"):
        path.unlink()
    assert main([*argv, "--out", str(tmp_path / "read"), "--select", "official"]) == 0
    (result,) = json.loads((tmp_path / "read/report.json").read_text())["results"]
    assert result["score"] == pytest.approx(0.8849, abs=0.01)


def test_gold_is_found_in_every_form(tmp_path: Path) -> None:
    make_processed(tmp_path / "sets", "mosi", media=False)
    names = [sample_name("meld", i) for i in range(2610)]
    make_meld_csv(tmp_path / "test_sent_emo.csv", [(n, str(gold_value("meld", i))) for i, n in enumerate(names)])
    table = write_csv(tmp_path / "labels.csv", ("name", "label"), [("a", "joy")])
    named = write_csv(tmp_path / "tables" / "mer2023.csv", ("name", "label"), [("a", "happy")])
    places = [tmp_path / "sets", tmp_path / "test_sent_emo.csv", tmp_path / "tables", f"iemocap={table}"]
    found = find_gold(places, tmp_path / "gold")
    assert {name: gold.record["layout"] for name, gold in found.items()} == {
        "mer2023": "table",
        "meld": "original",
        "iemocap": "table",
        "mosi": "processed",
    }
    assert (found["mer2023"].path, found["iemocap"].path) == (named, table)
    assert found["meld"].path.read_text().splitlines()[:2] == ["name,label", "test_dia0_utt0,anger"]
    assert find_gold([table], tmp_path / "gold", ["mer2024"])["mer2024"].path == table
    make_mmsa(tmp_path / "raw", "sims", 457)
    assert list(find_gold([tmp_path / "raw"], tmp_path / "gold", ["sims"])) == ["sims"]
    with pytest.raises(DataError, match="no gold labels in"):
        find_gold([tmp_path / "raw"], tmp_path / "gold")
    with pytest.raises(DataError, match=r"no CMU-MOSEI in .* Get it from"):
        find_gold([tmp_path / "sets"], tmp_path / "gold", ["mosei"])


def test_gold_of_no_known_set_is_refused(tmp_path: Path) -> None:
    meld = write_csv(tmp_path / "meld.csv", ["name", "label"], [("a", "joy")])
    other = write_csv(tmp_path / "label.csv", ["video_id", "clip_id"], [("a", "1")])
    with pytest.raises(DataError, match=r"the test set of these labels is unknown; give them as SET=.*label\.csv"):
        find_gold([meld, other], tmp_path / "out")
    assert list(find_gold([meld, other], tmp_path / "out", ["meld"])) == ["meld"]
    with pytest.raises(DataError, match=r"absent\.csv does not exist; expected gold labels"):
        find_gold([meld, tmp_path / "absent.csv"], tmp_path / "out")


def test_raw_answers_are_read_by_the_extractor_of_that_name(tmp_path: Path, capsys) -> None:
    answers = {"a": "She smiles; in conclusion she is not angry but happy.", "b": "The emotional state is angry."}
    np.savez_compressed(tmp_path / "ep1.npz", name2reason=np.array(answers, dtype=object))
    gold = write_csv(tmp_path / "gold.csv", ("name", "label"), [("a", "joy"), ("b", "anger")])
    argv = ["bench", "--predictions", f"meld={tmp_path / 'ep1.npz'}", "--gold", f"meld={gold}", "--out", str(tmp_path)]
    for extractor, figure in (("template", 0.5), ("lexicon", 1.0)):
        assert main([*argv, "--extractor", extractor, "--resamples", "0"]) == 0
        (result,) = json.loads((tmp_path / "report.json").read_text())["results"]
        assert (result["extractor"]["name"], result["score"]) == (extractor, figure)


class OneWordServer(BaseHTTPRequestHandler):
    """Speaks the protocol of a chat server, and finds happiness in everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"choices": [{"message": {"content": "[happy]"}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""


def test_the_chat_model_that_reads_labels_is_named_on_the_command_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AFFECTGPT_CACHE", str(tmp_path / "cache"))
    answers = write_csv(tmp_path / "ep1.csv", ("name", "text"), [("a", "She smiles."), ("b", "He shouts.")])
    gold = write_csv(tmp_path / "gold.csv", ("name", "label"), [("a", "joy"), ("b", "anger")])
    argv = ["bench", "--predictions", f"meld={answers}", "--gold", f"meld={gold}", "--out", str(tmp_path)]
    with serving(OneWordServer) as url:
        options = ["--extractor", "llm", "--llm", "model=one-word", "--llm", f"base_url={url}/v1", "--resamples", "0"]
        assert main([*argv, *options, "--llm", "max_tokens=16", "--llm", 'backend={"num_parallel": 1}']) == 0
    (result,) = json.loads((tmp_path / "report.json").read_text())["results"]
    assert result["score"] == 0.5
    assert result["extractor"]["settings"]["model"] == "one-word"
    assert result["extractor"]["settings"]["sampling"]["max_tokens"] == 16
    with pytest.raises(ConfigError, match="--llm max_tokens takes a number, such as 256, but got 'many'"):
        score_verb("score", ["meld", str(answers), str(gold), *options[:-2], "--llm", "max_tokens=many"])


def test_a_set_s_own_labels_are_gold_for_score_too(tmp_path: Path) -> None:
    table = make_meld_csv(tmp_path / "test_sent_emo.csv", [("test_dia0_utt0", "joy"), ("test_dia0_utt1", "anger")])
    path = write_openset(tmp_path / "x-openset.npz", {"test_dia0_utt0": ["happy"], "test_dia0_utt1": ["calm"]})
    assert score("meld", path, table, resamples=0).score == 0.5
    folder, names = make_processed(tmp_path, "sims", 5, media=False)
    moods = write_sentiments(tmp_path / "x-sentiment.npz", dict.fromkeys(names, "positive"))
    assert score("sims", moods, folder, resamples=0).accuracy == 0.5  # -1, -0.5, (0), 0.5, 1
    plain = write_csv(tmp_path / "mine" / "label.csv", ("name", "label"), [(name, 1.0) for name in names])
    assert score("sims", moods, plain, resamples=0).accuracy == 1.0
    assert find_gold([f"sims={plain}"], tmp_path / "gold")["sims"].path == plain


def test_prediction_files_are_told_apart(tmp_path: Path) -> None:
    tree = tmp_path / "results-cmumosi" / "mine"
    write_openset(tree / "ep1-openset.npz", LABELS)
    write_openset(tree / "ep10-openset.npz", LABELS)
    write_openset(tree / "ep9-openset.npz", LABELS)
    write_sentiments(tree / "ep9-openset-sentiment.npz", {"a": "positive"})
    write_openset(tmp_path / "results-meld" / "mine" / "ep1-openset.npz", LABELS)
    (tmp_path / "results-meld" / "mine" / "ep1.answers.jsonl").write_text("{}\n")
    write_csv(tmp_path / "iemocap.csv", ("name", "openset"), [("a", "[happy]")])
    found = find_candidates([tmp_path]).candidates
    assert [(c.test_set.name, c.system, c.checkpoint, c.path.name) for c in found] == [
        ("mosi", "mine", "ep1", "ep1-openset.npz"),
        ("meld", "mine", "ep1", "ep1-openset.npz"),
        ("mosi", "mine", "ep9", "ep9-openset-sentiment.npz"),
        ("mosi", "mine", "ep10", "ep10-openset.npz"),
        ("iemocap", tmp_path.name, "iemocap", "iemocap.csv"),
    ]
    assert [c.test_set.name for c in find_candidates([tmp_path], ["meld"]).candidates] == ["meld"]
    for name in ("gold/meld.csv", "report.csv"):  # beside the answers of a run
        write_csv(tmp_path / "run" / name, ("name", "label"), [("a", "joy")])
    write_openset(tmp_path / "run/answers/results-meld/me/ep1-openset.npz", LABELS)
    assert [c.system for c in find_candidates([tmp_path / "run"]).candidates] == ["me"]
    shutil.rmtree(tmp_path / "run")
    other = write_csv(tmp_path / "other" / "x.csv", ("name", "openset"), [("a", "[happy]")])
    with pytest.raises(DataError, match="the test set of these answers is unknown"):
        find_candidates([other])
    assert find_candidates([f"meld={other}"], name="me").candidates[0].system == "me"
    assert find_candidates([other], ["sims"]).candidates[0].test_set.name == "sims"
    with pytest.raises(ConfigError, match="is for one system, but these are 2"):
        find_candidates([tmp_path / "results-meld", f"sims={other}"], name="me")
    with pytest.raises(DataError, match="both hold labels answers of ep1"):
        find_candidates([tmp_path / "results-meld", tmp_path / "results-meld"])
    with pytest.raises(DataError, match="does not exist"):
        find_candidates([tmp_path / "gone"])
    with pytest.raises(DataError, match="no prediction file"):
        find_candidates([tmp_path / "results-meld"], ["ovmerdplus"])
    write_sentiments(tmp_path / "results-mer2023" / "mine" / "z-sentiment.npz", {"a": "positive"})
    with pytest.raises(DataError, match="sentiments only; MER2023 is scored on emotion labels"):
        find_candidates([tmp_path / "results-mer2023"])


def test_order_of_checkpoints() -> None:
    names = ["last", "epoch=10-step=5", "epoch=9-step=70", "checkpoint_000030", "epoch=9-step=8"]
    assert sorted(names, key=natural_order) == [names[3], names[4], names[2], names[1], "last"]


def test_selection_rules(tmp_path: Path) -> None:
    found = {"ep9": 0.5, "ep10": 0.4, "ep8": 0.5}
    assert select("last", found, "meld").chosen == "ep10"
    selection = select("official", found, "meld")
    assert selection.chosen == "ep8"  # the first of equals
    assert selection.optimistic
    assert selection.honest == HonestChoice("last", "ep10", 0.4)
    assert selection.to_json()["honest"] == {"rule": "last", "chosen": "ep10", "score": 0.4}
    assert list(selection.candidates) == ["ep8", "ep9", "ep10"]
    validation = {"": {"ep8": 0.1, "ep9": 0.3, "ep10": 0.2}}
    assert select("best-on-validation", found, "meld", validation).chosen == "ep9"
    assert select("official", found, "meld", validation).honest.chosen == "ep9"
    scores = {"meld": {"ep8": 1, "ep9": 0, "ep10": 0}, "sims": {}}
    assert select("best-on-validation", found, "meld", scores).chosen == "ep8"
    assert select("official", {"a": float("nan"), "b": 0.0}, "meld").chosen == "b"
    with pytest.raises(ConfigError, match="needs validation scores"):
        select("best-on-validation", found, "meld")
    with pytest.raises(ConfigError, match="unknown selection rule 'best'"):
        select("best", found, "meld")
    with pytest.raises(DataError, match="lack ep10; they have ep8, ep9"):
        select("best-on-validation", found, "meld", {"meld": {"ep8": 1, "ep9": 0}})
    tables = ({"ep9": 0.2, "ep10": 0.4}, {"ep10": 0.6, "ep9": 0.9, "x": 1})
    both = [Selection("last", "ep10", table) for table in tables]
    assert means_by_checkpoint(both) == pytest.approx({"ep9": 0.55, "ep10": 0.5})
    assert means_by_checkpoint([*both, None]) == means_by_checkpoint(both[:1]) == {}
    path = tmp_path / "v.json"
    for text, message in (("[1]", "expected checkpoint names"), ('{"a": "x"}', "expected checkpoint"), ("{", "is not")):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_validation(path)
    path.write_text('{"meld": {"a": 1}}')
    assert read_validation(path) == {"meld": {"a": 1}}


def test_many_sets_and_systems_are_scored_at_once(tmp_path: Path) -> None:
    for name in ("meld", "mosi"):
        _, names = make_processed(tmp_path / "sets", name, 20, media=False)
        for system, word in (("good", None), ("bad", "bored")):
            gold = [gold_value(name, i) for i in range(20)]
            words = {"meld": gold, "mosi": ["happy" if str(g) > "0" else "sad" for g in gold]}[name]
            labels = {one: [word or str(w)] for one, w in zip(names, words, strict=True)}
            write_openset(tmp_path / "p" / f"results-{name}" / system / "ep1-openset.npz", labels)
    bench = Benchmark(tmp_path / "out", allow_partial=True, resamples=0, wheel=EmotionWheel.builtin())
    found = bench.score_files([tmp_path / "p"], [tmp_path / "sets"])
    assert [(r.system, r.result.dataset) for r in found] == [
        ("bad", "meld"),
        ("bad", "mosi"),
        ("good", "meld"),
        ("good", "mosi"),
    ]
    assert found[2].result.score == 1.0 > found[0].result.score
    assert found[3].result.sentiment_reader["name"] == "lexicon"
    assert [d["kind"] for d in found[0].data["differences"]] == ["count"]
    same = score("meld", tmp_path / "p/results-meld/good/ep1-openset.npz", tmp_path / "out/gold/meld.csv", resamples=0)
    assert same.score == found[2].result.score
    with pytest.raises(DataError, match="predictions for mosi, but no gold labels"):
        bench.score_files([tmp_path / "p"], [tmp_path / "sets/meld-process"])
    strict = Benchmark(tmp_path / "out", resamples=0)
    with pytest.raises(DataError, match="20 samples, but the published split"):
        strict.score_files([tmp_path / "p"], [tmp_path / "sets"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--out", "x"], "either --model"),
        (["--model", "a", "--predictions", "b", "--out", "x"], "either --model"),
        (["--model", "a", "--out", "x"], "--model needs --data"),
        (["--predictions", "a", "--out", "x"], "--predictions needs --gold"),
        (["--predictions", "a", "--gold", "b"], "give --out"),
        (["--predictions", "a", "--gold", "b", "--out", "x", "--select", "best"], "unknown selection rule"),
        (
            ["--predictions", "a", "--gold", "b", "--out", "x", "--extractor", "llm"],
            "missing a required argument: 'model'",
        ),
        (["--predictions", "a", "--gold", "b", "--out", "x", "--llm", "model=m"], "which is not in use"),
        (["--predictions", "/nowhere", "--gold", "b", "--out", "x"], "/nowhere does not exist"),
    ],
)
def test_calls_that_do_not_fit_end_in_one_line(argv, message, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *argv]) == 1
    assert message in capsys.readouterr().err


def test_the_sets_are_listed(capsys, tmp_path: Path) -> None:
    make_processed(tmp_path, "meld", 2)
    assert main(["bench", "--list", "--data", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for said in (
        "4,659 clips",
        "weighted_f1",
        "meld-process/label.npz or test_sent_emo.csv",
        "found at",
        "2 samples, but",
    ):
        assert said in shown
    assert shown.count("not found in") == 8
