"""Log lines of several ranks: each carries its rank, what concerns all is said once, errors come from any rank."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from affectgpt.cli.main import main
from affectgpt.cli.rank_lines import RankFilter, rank_and_world


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


def passes(name: str, level: int) -> str | None:
    """The mark of a record that is shown."""
    record = logging.LogRecord(name, level, "", 0, "text", None, None)
    return record.rank_mark if RankFilter().filter(record) else None


def test_one_process_has_no_mark_and_says_everything() -> None:
    assert rank_and_world() == (0, 1)
    assert passes("transformers", logging.WARNING) == ""


def test_warnings_for_all_come_from_the_first_rank_and_errors_from_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert passes("transformers", logging.WARNING) is None
    assert passes("affectgpt.training.random_states", logging.WARNING) is None
    assert passes("affectgpt.streaming.bad_samples", logging.WARNING) == "rank 1: "
    assert passes("transformers", logging.ERROR) == "rank 1: "
    monkeypatch.setenv("RANK", "0")
    assert passes("transformers", logging.WARNING) == "rank 0: "


def test_an_error_names_its_rank(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert main(["fit", "--config", "nowhere.yaml"]) == 1
    assert capsys.readouterr().err.startswith("error: rank 3: no configuration at nowhere.yaml")


def test_the_command_line_marks_its_lines_and_keeps_copies_of_warnings_back(tmp_path: Path) -> None:
    code = (
        "import logging, warnings; from affectgpt.cli import main as m\n"
        "class Verb:\n"
        "    @staticmethod\n"
        "    def run(verb, args):\n"
        "        warnings.warn('of a library'); logging.getLogger('affectgpt.streaming').warning('bad sample')\n"
        "m.import_module = lambda name: Verb\n"
        "m.main(['doctor'])"
    )
    told = {}
    for rank in (0, 1):
        environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        told[rank] = done.stderr
    assert "of a library" in told[0]
    assert "of a library" not in told[1]
    for rank in (0, 1):
        assert f"WARNING rank {rank}: affectgpt.streaming: bad sample" in told[rank], json.dumps(told)
