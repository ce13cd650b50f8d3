"""The verb ``demo`` at its end: the figures with their intervals, what was written, and what to do next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from affectgpt import files
from affectgpt.cli.main import main
from affectgpt.demo import main_job
from affectgpt.files import cache_folder

REPORT = {
    "scores": {"full": {"f1": 0.934, "precision": 0.93, "recall": 0.94, "hit_rate": 0.95}},
    "f1_intervals": {"full": [0.881, 0.979]},
    "chance": {"f1": 0.25, "hit_rate": 0.24},
    "total_seconds": 12.0,
    "peak_rss_mb": 2048,
}


def test_it_ends_with_what_it_wrote_and_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "[run] \x1b[31m"

    def run(folder: str, *_: Any, **__: Any) -> dict[str, Any]:
        (Path(folder) / "corpus" / "clips").mkdir(parents=True)
        (Path(folder) / "corpus" / "clips" / "a.mp4").write_bytes(b"")
        return REPORT

    monkeypatch.setattr(main_job, "run_demo", run)
    assert main(["demo", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "88.1 to 97.9" in shown
    name = str(out).replace("\x1b", "\\u001b")
    assert f"wrote {name}/report.html" in shown
    assert f"next: affectgpt predict '{name}/corpus/clips/a.mp4' --checkpoint '{name}/model.ckpt'" in shown


def test_with_json_the_report_is_all_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(folder: str, *_: Any, **__: Any) -> dict[str, Any]:
        Path(folder).mkdir()
        (Path(folder) / "report.json").write_text(json.dumps(REPORT), "utf-8")
        return REPORT

    monkeypatch.setattr(main_job, "run_demo", run)
    assert main(["demo", "--out", str(tmp_path / "out"), "--json"]) == 0
    shown, told = capsys.readouterr()
    assert json.loads(shown) == REPORT
    assert "88.1 to 97.9" in told


def test_without_a_home_folder_the_cache_lies_beside_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def run(folder: str, *_: Any, **__: Any) -> dict[str, Any]:
        seen.append(str(cache_folder()))
        return REPORT

    def homeless(*_: Any) -> str:
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr(main_job, "run_demo", run)
    monkeypatch.setenv("AFFECTGPT_CACHE", "")  # so that it is put back
    monkeypatch.setattr(files.platformdirs, "user_cache_dir", homeless)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 0
    cache = str(tmp_path / "out" / "cache")
    assert seen == [cache]
    shown, told = capsys.readouterr()
    assert f"the cache is {cache}" in told
    assert f"next: AFFECTGPT_CACHE={cache} affectgpt predict" in shown
