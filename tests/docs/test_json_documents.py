"""With ``--json`` every verb prints one JSON document on the standard output and nothing else, errors included."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from affectgpt.cli.main import EXIT_CODES, VERBS
from affectgpt.cli.main import main as cli
from pageblocks import ROOT
from pagerunner import PageRunner, adapted

WITHOUT = ("serve", "app", "completion")
"""Verbs without ``--json``: two serve until they are stopped, one prints a script."""
ELSEWHERE = {"demo": "test_demo_cli.py"}
"""Verbs whose document is read in a test of their own."""
CALLS: dict[str, tuple[str, ...]] = {
    "fit": ("--config run.yaml", "--config run.yaml --dry-run", "--config run.yaml --profile"),
    "validate": ("--config run.yaml --data.args.val shards/val --ckpt_path runs/x/last.ckpt",),
    "test": ("--config run.yaml --data.args.test shards/val --ckpt_path runs/x/last.ckpt",),
    "runs": ("runs --picture runs.png",),
    "predict": (
        "clip.mp4 --checkpoint runs/last.ckpt",
        "clip.mp4 voice.wav --checkpoint runs/last.ckpt",
        "--config run.yaml --data.args.predict shards/val --ckpt_path runs/x/last.ckpt",
    ),
    "watch": ("film.mp4 --checkpoint runs/last.ckpt --subtitles film.srt",),
    "pack": ("clips shards/packed",),
    "check": ("shards/train", "--media clips", "shards/train --against shards/val --allow-overlap"),
    "encode": ("run.yaml shards/train features/encoded",),
    "score": (
        "meld predictions.jsonl gold.csv --report report",
        "hitemotion-eer results.json",
        "preference mer2026-dataset/track3_emoprefer.csv mer2026-dataset/track3_emoprefer.csv",
    ),
    "vote": ("s0.npz s1.jsonl --gold open.csv --out vote.npz",),
    "submit": (
        "mer2026 answers.npz --track 2 --candidates mer2026-dataset/track1_track2_candidate.csv --out submission",
    ),
    "bench": (
        "--list",
        "--list --data data/unibench",
        "--predictions my_answers --gold data/unibench --out runs/mine",
        "--diff runs/mine runs/mine",
        "--model runs/last.ckpt --clips clips --out runs/clips",
    ),
    "harness": ("", "inspect", "lmms-eval --data data/unibench --allow-partial --out tasks"),
    "annotate": (
        "labels.yaml clips/manifest.jsonl annotated",
        "labels.yaml clips/manifest.jsonl annotated --dry-run",
        "review annotated --list",
        "review annotated --decide utt0 accept",
        "review annotated --report",
        "export clips/manifest.jsonl set.jsonl --form sharegpt",
        "import MERR_fine_grained.json merr.jsonl --form merr --media videos",
    ),
    "convert": ("runs/last.ckpt trained.safetensors",),
    "export": ("runs/last.ckpt merged-llm --merged",),
    "parts": ("", "rewards --check", "--new encoder my-face"),
    "doctor": ("",),
}
"""Calls of every verb, in an order in which each finds what the former one wrote."""


@pytest.fixture
def call(reader: PageRunner, capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], tuple[int, Any, str]]:
    """Runs a command: its exit code, its document, and the text of the standard error."""

    def run(words: list[str]) -> tuple[int, Any, str]:
        capsys.readouterr()
        try:
            code = cli(words)
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, json.loads(printed.out), printed.err

    return run


def test_every_verb_is_called_or_documented_to_have_no_document() -> None:
    assert {*CALLS, *WITHOUT, *ELSEWHERE} == {*VERBS}
    page = (ROOT / "docs" / "command_line.md").read_text("utf-8")
    (sentence,) = (line for line in page.splitlines() if "have no `--json`" in line)
    assert [verb for verb in WITHOUT if f"`{verb}`" not in sentence] == []
    for file in ELSEWHERE.values():
        (found,) = (ROOT / "tests").rglob(file)
        assert '"--json"' in found.read_text("utf-8")


@pytest.mark.parametrize("verb", CALLS)
def test_the_standard_output_is_one_document(verb: str, call, reader: PageRunner) -> None:
    (reader.folder / "labels.yaml").write_text("name: labels\nstages: [{name: labels}]\n", "utf-8")
    for words in CALLS[verb]:
        code, document, told = call([*adapted([verb, *words.split()]), "--json"])
        assert code == 0, (words, document, told)
        assert isinstance(document, (dict, list))
        assert document, words


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in WITHOUT])
def test_an_error_is_a_document_too(verb: str, call) -> None:
    code, document, told = call([verb, "--json", "--no-such-option"])
    assert set(document) == {"error", "exit_code"}
    assert document["exit_code"] == code in EXIT_CODES
    assert code in (1, 2), document
    assert "no-such-option" in document["error"] or "required" in document["error"]
    assert "error" in told


def test_errors_of_files_and_verbs_are_documents(call) -> None:
    assert call(["check", "nowhere", "--json"])[1]["exit_code"] == 1
    assert "nowhere.mp4" in call(["predict", "nowhere.mp4", "--checkpoint", "runs/last.ckpt", "--json"])[1]["error"]
    code, document, _ = call(["checks", "--json"])
    assert (code, document["exit_code"]) == (2, 2)
    assert "check" in document["error"]


def test_a_result_with_faults_is_the_document_and_not_its_error(call, reader: PageRunner) -> None:
    (reader.folder / "broken.mp4").write_bytes(b"no video")
    code, document, _ = call(["predict", "clip.mp4", "broken.mp4", "--checkpoint", "runs/last.ckpt", "--json"])
    assert code == 1
    assert [answer["key"] for answer in document] == ["clip"]
