"""The settings of a report, their one hash, and how two reports differ."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from affectgpt.bench import write_openset
from affectgpt.bench.settings import compare_settings, read_settings
from affectgpt.cli.main import main
from affectgpt.errors import DataError
from affectgpt.files import digest_of
from affectgpt.metrics import EmotionWheel


def report(folder: Path, name: str, word: str, *options: str, gold: str = "joy") -> Path:
    folder.mkdir(exist_ok=True)
    names = [f"clip_{number}" for number in range(6)]
    write_openset(folder / f"{name}-meld.npz", {one: [word] for one in names})
    (folder / f"{name}.csv").write_text("name,label\n" + "".join(f"{one},{gold}\n" for one in names))
    argv = ["bench", "--predictions", f"meld={folder / f'{name}-meld.npz'}", "--gold", f"meld={folder / f'{name}.csv'}"]
    assert main([*argv, "--allow-partial", "--resamples", "20", "--out", str(folder / name), *options]) == 0
    return folder / name


def test_reports_of_one_hash_are_comparable_whoever_was_asked(tmp_path: Path, capsys) -> None:
    first, second = report(tmp_path, "mine", "glad"), report(tmp_path, "theirs", "sad")
    short = read_settings(first)[1][:12]
    assert f"settings {short}" in capsys.readouterr().err
    assert main(["bench", "--diff", str(first), str(second / "report.json")]) == 0
    assert f"comparable: all settings are the same ({short})" in capsys.readouterr().out
    page, text = (first / "report.html").read_text(), (first / "report.md").read_text()
    for shown in (page, text):
        for setting in ("wheel_digest", "versions", "torch", "processor", short):
            assert setting in shown
    settings = json.loads((first / "report.json").read_text())["settings"]
    assert settings["scoring"]["wheel_digest"] == EmotionWheel.builtin().digest()
    assert settings["answering"] == {"from": "prediction files"}
    assert settings["software"]["torch"]


def test_the_first_setting_that_differs_is_named_the_weightiest_first(tmp_path: Path, capsys) -> None:
    first = report(tmp_path, "mine", "glad")
    strict = report(tmp_path, "strict", "glad", "--mode", "strict")
    other_gold = report(tmp_path, "other", "glad", gold="anger")
    capsys.readouterr()
    assert main(["bench", "--diff", str(first), str(strict)]) == 1
    said = capsys.readouterr().out
    assert "not comparable: " in said
    assert 'scoring.mode: "official" against "strict"' in said
    assert main(["bench", "--diff", str(first), str(other_gold)]) == 1
    assert "sets.meld.gold_digest" in capsys.readouterr().out


def test_another_machine_is_comparable_up_to_rounding() -> None:
    here: dict[str, Any] = {"scoring": {"mode": "official"}, "software": {"torch": "2.13"}, "hardware": {"cores": 2}}
    there = {**here, "hardware": {"cores": 64}, "software": {"torch": "2.14"}}
    found = compare_settings(here, there)
    assert found.comparable
    assert list(found.differing) == ["software.torch", "hardware.cores"]
    assert not compare_settings(here, {**there, "scoring": {"mode": "strict"}}).comparable
    assert next(iter(compare_settings(here, {**there, "scoring": {}}).differing)) == "scoring.mode"


def test_settings_that_were_altered_or_are_missing_are_refused(tmp_path: Path) -> None:
    folder = report(tmp_path, "mine", "glad")
    path = folder / "report.json"
    held = json.loads(path.read_text())
    assert held["settings_hash"] == digest_of(held["settings"])
    held["settings"]["scoring"]["mode"] = "strict"
    path.write_text(json.dumps(held))
    with pytest.raises(DataError, match="are not those that were written"):
        read_settings(folder)
    path.write_text("[]")
    with pytest.raises(DataError, match="holds no settings"):
        read_settings(path)
    with pytest.raises(DataError, match="cannot read"):
        read_settings(tmp_path / "nowhere.json")


def test_a_wheel_is_told_by_its_content() -> None:
    wheel = EmotionWheel.builtin()
    renamed = dataclasses.replace(wheel, name="mine")
    assert renamed.digest() == wheel.digest()
    kin = wheel.kin.copy()
    kin[0] += 1
    assert dataclasses.replace(wheel, kin=kin).digest() != wheel.digest()
    assert dataclasses.replace(wheel, labels=("x", *wheel.labels[1:])).digest() != wheel.digest()
