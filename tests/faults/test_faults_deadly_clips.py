"""A stored clip that kills the worker that decodes it is that clip's fault, and ends no training and no encoding."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from affectgpt.datamodules import mercaption
from affectgpt.datamodules.stream_loader import QuestionStream, StreamLoader
from affectgpt.datamodules.worker_watch import WorkerDiedError, WorkerWatch
from affectgpt.errors import DataError
from affectgpt.features import EncoderSet, encode, encode_shards
from affectgpt.media import MediaProfile
from affectgpt.streaming.bad_samples import BadSampleBudget
from deadlyclips import DeadlyStream
from deadlysamples import DeadlySamples
from streamrun import MEDIA, fit
from tinyencoders import tiny_config

pytestmark = pytest.mark.filterwarnings("ignore")
ALL = {f"clip{number}" for number in range(10)}


@pytest.fixture(autouse=True)
def _deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mercaption, "ShardStream", DeadlyStream)
    monkeypatch.setenv("DEADLY_CLIPS", "clip2 clip5")


def report(path: Path) -> dict[str, dict]:
    return {line["key"]: line for line in map(json.loads, path.read_text().splitlines())}


def test_training_goes_on_without_them_and_names_them(shards: Path, tmp_path: Path) -> None:
    options = {"train": str(shards), "max_epochs": 3, "num_workers": 2, "default_root_dir": tmp_path}
    seen = fit(**options, data={"bad_sample_budget": 0.2, "drop_last": True})
    for epoch in range(3):
        keys = [key for number, batch, _ in seen if number == epoch for key in batch]
        assert len(keys) == len(set(keys)) == 8
        assert set(keys) == ALL - {"clip2", "clip5"}
    found = report(tmp_path / "bad_samples.jsonl")
    assert set(found) == {"clip2", "clip5"}
    assert {line["code"] for line in found.values()} == {"crashed"}
    assert "kills the process that decodes it (the process was ended by SIGSEGV)" in found["clip2"]["reason"]


def test_beyond_the_budget_it_ends_by_name(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"clip '?clip[25]'? kills the process that decodes it .*SIGSEGV"):
        fit(train=str(shards), num_workers=1, data={"bad_sample_budget": 0.0}, default_root_dir=tmp_path)


@pytest.mark.slow
def test_the_order_is_that_of_one_process_without_them(shards: Path) -> None:
    def batches(workers: int) -> list[tuple[str, ...]]:
        stream = DeadlyStream(shards, MediaProfile.of(MEDIA), block=5, tolerant=True, shuffle=True, seed=4)
        asked = QuestionStream(stream, "labels", answered=True)
        budget = BadSampleBudget(0.5)
        budget.num_samples = 10
        loader = StreamLoader(asked, None, budget, batch_size=5, num_workers=workers)
        return [batch.keys for batch in loader]

    expected = [
        tuple(key for key in keys if key not in ("clip2", "clip5")) for keys in _without_death(lambda: batches(0))
    ]
    assert batches(2) == expected


def _without_death(run):
    kept = os.environ.pop("DEADLY_CLIPS")
    try:
        return run()
    finally:
        os.environ["DEADLY_CLIPS"] = kept


def test_a_worker_that_is_killed_from_outside_loses_nothing(
    shards: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DEADLY_CLIPS", "")
    stream = DeadlyStream(shards, MediaProfile.of(MEDIA), block=1, tolerant=True)
    loader = StreamLoader(
        QuestionStream(stream, "labels", answered=True), None, BadSampleBudget(0.5), batch_size=1, num_workers=1
    )
    keys = []
    others = {*_children()}  # such as what an earlier test left to track its resources
    for number, batch in enumerate(loader):
        keys += batch.keys
        if number == 2:
            (worker,) = {*_children()} - others
            os.kill(worker, signal.SIGKILL)
            # whatever the main thread does meanwhile, torch's error must not come up there
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                itertools.repeat(None, 10)
    assert keys == [f"clip{number}" for number in range(10)]
    assert "a worker was ended by SIGKILL" in caplog.text


def _children() -> list[int]:
    me = os.getpid()
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == me and fields[0] != "Z" and "resource_tracker" not in _command(path):
            found.append(int(path.parent.name))
    return found


def _command(stat: Path) -> str:
    try:
        return stat.with_name("cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.slow
def test_encoding_goes_on_without_them(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode_shards, "_Samples", DeadlySamples)
    encoders = EncoderSet.from_config(tiny_config())
    done = encode(encoders, shards, tmp_path / "out", num_workers=1, bad_sample_budget=0.2)
    assert done.index.samples == 8
    assert {(reject.key, reject.code) for reject in done.rejects} == {("clip2", "crashed"), ("clip5", "crashed")}


def test_a_watch_in_another_thread_does_no_harm() -> None:
    class Ended:
        exitcode = -signal.SIGSEGV

    def look() -> None:
        with pytest.raises(WorkerDiedError, match="SIGSEGV"):
            list(WorkerWatch([Ended()]).follow(iter([1])))  # type: ignore[list-item]

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
