"""A server that fails while the benchmark is answered: each fault costs at most the sample that it meets."""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectgpt.cli.main import main
from chatserver import Step, serve
from setmaker import make_processed

FAULTS = {
    "busy": (Step("slow down", status=429, headers={"Retry-After": "0"}), "HTTP 429"),
    "broken": (Step("out of memory", status=500), "HTTP 500"),
    "silent": (Step(seconds=3.0), "Timeout|not whole after"),
    "cut": (Step(cut=True), "ProtocolError|peer closed|ReadError"),
    "torn": (Step(torn=True), "ProtocolError|peer closed|ReadError"),
    "no json": (Step('{"choices": [{]', raw=True), "is not a chat completion"),
    "other json": (Step("[1, 2]", raw=True), "is not a chat completion"),
    "endless": (Step("x" * 50_000, raw=True), "more than 20,000 bytes"),
}
ONCE = ("busy", "broken", "silent", "cut", "torn", "no json", "other json")  # an endless answer is not asked for again
WORDS = ["happy", "sad", "angry", "calm"]


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, list[str]]:
    _, names = make_processed(tmp_path / "sets", "meld", len(FAULTS) + 4, clip=b"never read")
    return tmp_path / "sets", names


def bench(sets: Path, out: Path, url: str, *options: str) -> int:
    argv = ["bench", "--answerer", f"openai:{url}", "--model", "m", "--data", str(sets), "--out", str(out)]
    argv += ["--modalities", "text", "--allow-partial", "--resamples", "0", "--arg", "backoff_seconds=0.01"]
    return main([*argv, "--arg", "timeout_seconds=1", "--arg", "num_parallel=2", *options])


def name_of(body: dict[str, Any]) -> str:
    found = re.search(r"words of (\w+)", json.dumps(body))
    assert found is not None
    return found[1]


def labels_in(out: Path) -> dict[str, str]:
    (path,) = out.glob("answers/results-meld/*/*-openset.npz")
    with np.load(path) as arrays:
        return dict(zip(arrays["filenames"].tolist(), arrays["fileitems"].tolist(), strict=True))


def test_every_fault_of_a_server_costs_at_most_its_sample(
    sets: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, names = sets
    monkeypatch.setattr("affectgpt.chat.server.MAX_ANSWER_BYTES", 20_000)
    chance = random.Random(os.getpid())
    at = dict(zip(chance.sample(names, len(FAULTS)), FAULTS, strict=True))  # random samples meet the faults
    asked: Counter[str] = Counter()

    def right(name: str) -> Step:
        return Step(f"[{WORDS[names.index(name) % len(WORDS)]}]")

    def once(body: dict[str, Any]) -> Step:
        name = name_of(body)
        asked[name] += 1
        return FAULTS[at[name]][0] if asked[name] == 1 and at.get(name) in ONCE else right(name)

    def always(body: dict[str, Any]) -> Step:
        name = name_of(body)
        return FAULTS[at[name]][0] if name in at else right(name)

    # Met once, no fault changes anything: every sample has its own answer, and none was asked more than need be.
    with serve(once) as (url, seen):
        assert bench(folder, tmp_path / "once", url) == 0
    expected = {name: f"[{WORDS[number % len(WORDS)]}]" for number, name in enumerate(names)}
    assert labels_in(tmp_path / "once") == expected
    assert len(seen.bodies) == len(names) + len(ONCE)

    # Met each time, it costs its sample, which has no labels and the reason; the same command asks for those alone.
    with serve(always) as (url, _):
        assert bench(folder, tmp_path / "always", url, "--arg", "num_retries=1") == 0
    (result,) = json.loads((tmp_path / "always/report.json").read_text())["results"]
    assert sorted(result["failed_answers"]) == sorted(at)
    for name, reason in result["failed_answers"].items():
        assert re.search(FAULTS[at[name]][1], reason), (at[name], reason)
    assert labels_in(tmp_path / "always") == {name: "[]" if name in at else expected[name] for name in names}
    with serve(lambda body: right(name_of(body))) as (url, seen):
        assert bench(folder, tmp_path / "always", url, "--arg", "num_retries=1") == 0
    assert sorted(map(name_of, seen.bodies)) == sorted(at)
    assert labels_in(tmp_path / "always") == expected
