"""A file that crashes the process that decodes it is named; the others are done."""

from __future__ import annotations

import os

import pytest

from affectgpt.media.isolation import map_in_order
from affectgpt.media.verdict import check_files
from clipmaker import make_wav
from packjobs import die_often, fail, own_pid, refuse_memory, segfault_on_three, square


def told(item: object, how: str) -> str:
    return f"{item}: {how}"


def test_results_come_in_order_from_processes_that_stay() -> None:
    assert list(map_in_order(square, range(12), 2, told)) == [number**2 for number in range(12)]
    assert len(set(map_in_order(own_pid, range(4), 1, told)) - {os.getpid()}) == 1


def test_a_crash_is_named_with_its_signal_and_only_the_item_that_made_it() -> None:
    found = list(map_in_order(segfault_on_three, range(6), 2, told))
    assert found == [0, 1, 2, "3: the process was ended by SIGSEGV", 4, 5]


def test_two_kills_from_outside_blame_nobody(tmp_path) -> None:
    """The item kills its process at its first two attempts, as somebody else might."""
    assert list(map_in_order(die_often, [(str(tmp_path / "count"), 2)], 1, told)) == [2]
    assert next(iter(map_in_order(die_often, [(str(tmp_path / "more"), 9)], 1, told))).endswith("SIGKILL")


def test_an_error_of_the_job_is_raised_and_memory_that_is_refused_is_the_items() -> None:
    with pytest.raises(KeyError, match="7"):
        list(map_in_order(fail, [7], 1, told))
    assert "needs more memory" in next(iter(map_in_order(refuse_memory, [1], 1, told)))


def test_check_media_refuses_what_kills_its_process(tmp_path, monkeypatch) -> None:
    for name in ("a.wav", "crash.wav", "b.wav"):
        (tmp_path / name).write_bytes(make_wav(0.2))
    monkeypatch.setattr("affectgpt.media.verdict.check_media", segfault_on_three)
    results = list(check_files([tmp_path / "a.wav", 3, tmp_path / "b.wav"], workers=1))
    assert [(type(one).__name__, getattr(one, "code", "")) for one in results][1] == ("MediaCheck", "crashed")
    assert "SIGSEGV" in results[1].notes[0]
    assert results[0] == tmp_path / "a.wav"
