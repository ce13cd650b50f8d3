"""Whatever a manifest, a side file, a gold table or a file of predictions holds, only errors of ours come out."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from affectgpt.bench.external.answer_rows import read_rows
from affectgpt.bench.predictions import read_gold, read_predictions
from affectgpt.datamodules.unibench.set_tables import read_rows as read_set_rows
from affectgpt.errors import AffectGPTError
from affectgpt.manifests.entries import read_entry
from affectgpt.manifests.manifest import survey_manifest
from affectgpt.manifests.record import Record, SampleError

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANY_TEXT = st.text(st.one_of(st.characters(), st.characters(categories=("Cs", "Cf", "Cc"))), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3))
KEYS = ("name", "video", "audio", "faces", "subtitle", "labels", "description", "split", "faces_channels", "x\ud83d")
PIECES = (
    b"name",
    b"video",
    b"label",
    b"a.mp4",
    b",",
    b"\t",
    b'"',
    b"\n",
    b"\r\n",
    b"{",
    b"}",
    b"[",
    b":",
    b"1",
    b"\\ud83d",
    b" --> ",
)


def deep(opening: str, closing: str, depth: int = 50_000) -> str:
    return opening * depth + closing * depth


@QUICK
@given(st.dictionaries(st.sampled_from(KEYS), VALUES), st.booleans())
@example({"name": "a", "video": "a" * 300 + ".mp4"}, False)
@example({"name": "a", "video": "a" * 5000 + ".mp4"}, False)
@example({"name": "a", "video": "\x00.mp4"}, False)
@example({"name": "a", "video": "\udcff.mp4"}, False)
def test_any_entry_is_a_record_that_can_be_written_or_a_fault_that_can(
    tmp_path: Path, entry: dict[str, Any], cells: bool
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    for filled in (entry, {"name": "a", "video": "a.mp4", **entry}, {**entry, "name": "a", "video": "a.mp4"}):
        try:
            found: Record | SampleError = read_entry(filled, tmp_path, "m.jsonl:1", cells=cells)
        except SampleError as fault:
            found = fault
        text = json.dumps(found.to_json(), ensure_ascii=False)
        assert len(text.encode()) < 20_000


@QUICK
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)), max_size=30).map(b"".join))
@example(deep("[", "]").encode())
@example(b'{"name": ' + b"1" * 5000 + b"}")
@example(b'name,label\n"a')
@example(b"\xff\xfe")
@example(b"name,name\n")
def test_any_file_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    for suffix in ("jsonl", "csv", "tsv", "npz", "json"):
        path = tmp_path / f"f.{suffix}"
        path.write_bytes(content)
        for read in (
            survey_manifest,
            read_gold,
            read_predictions,
            read_rows,
            lambda path: read_set_rows(path, ("name",)),
        ):
            with contextlib.suppress(AffectGPTError):
                read(path)
        path.unlink()


@QUICK
@given(
    st.lists(st.one_of(st.sampled_from([*PIECES, b"00:01", b"{\\", b"Dialogue:"]), st.binary(max_size=4)), max_size=30)
    .map(b"".join)
)  # fmt: skip
@example(deep('{"a":', "}").encode())
@example(b"[Events]\nDialogue: 0,0:00:00.00\n")
@example(b"[Events]\nFormat: Text\nDialogue: x\n")
@example(b"WEBVTT\n\n99999999999999999999:00:00.000 --> 0:00.000\nx")
def test_any_side_file_is_read_or_a_fault_of_its_clip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    for suffix in ("srt", "vtt", "ass", "ssa", "txt", "json"):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(content)
        scan = survey_manifest(tmp_path)
        assert len(scan.records) + len(scan.problems) == 1
        path.unlink()


def test_deep_values_are_kept_or_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    nested: list[Any] = []
    for _ in range(50_000):
        nested = [nested]
    for name in ("x", "labels", "subtitle", "name", "video"):
        with pytest.raises(SampleError) as caught:
            read_entry({"name": "a", "video": "a.mp4", name: nested}, tmp_path, "m.jsonl:1")
        assert len(str(caught.value)) < 1000
    assert read_entry({"name": "a", "video": "a.mp4", "labels": deep("[", "]")}, tmp_path, "m.csv:1", cells=True).labels


def test_a_name_on_disk_that_is_no_unicode_is_packed_under_one_that_is(tmp_path: Path) -> None:
    import os

    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.mp4")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    (record,) = survey_manifest(tmp_path).records
    assert (record.key, record.extra) == ("a_", {"file": "a\ufffd.mp4"})


def test_a_path_that_is_too_long_is_refused() -> None:
    with pytest.raises(AffectGPTError, match="cannot be opened"):
        survey_manifest("x" * 5000)
