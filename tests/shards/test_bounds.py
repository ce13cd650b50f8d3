"""Somebody else's index and tars: whatever they say, only errors of the library come out, and little memory goes."""

from __future__ import annotations

import io
import json
import resource
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affectgpt.encoders.feature_key import EncoderFacts, FeatureKey
from affectgpt.errors import AffectGPTError, DataError
from affectgpt.manifests.record import SampleError
from affectgpt.media import MediaProfile
from affectgpt.shards import Sample, ShardWriter, read_index
from affectgpt.shards.check import check_shards
from affectgpt.shards.forms.features import FeatureRecipe
from affectgpt.shards.forms.frames import FramesRecipe
from affectgpt.shards.index import ShardInfo, parse_index
from affectgpt.shards.journal import Counts, Entry, Journal
from affectgpt.shards.read import ShardReader
from affectgpt.shards.tar_headers import scan_members
from affectgpt.streaming import ShardStream

SLACK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.just("../../x"),
    st.just("half \ud83d"),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bounds") / "shards"
    with ShardWriter(out, samples_per_shard=2) as writer:
        for number in range(3):
            facts = {"key": f"c{number}", "labels": ["calm"], "duration_seconds": 0.5, "has_video": True}
            writer.write(Sample(f"c{number}", {"mp4": b"none"}, facts))
        writer.finish()
    return out


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value within plain JSON."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield from places(item, (*path, name))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@given(st.data())
@SLACK
def test_an_index_with_any_value_anywhere_gives_an_error_of_ours_or_works(folder: Path, data: st.DataObject) -> None:
    saved = json.loads((folder / "index.json").read_text())
    path = data.draw(st.sampled_from(list(places(saved))))
    content = json.dumps(replaced(saved, path, data.draw(ODD))).encode()
    try:
        index = parse_index(content, folder, "index.json")
        stream = ShardStream(index, MediaProfile(), shuffle=True, tolerant=True)
        list(stream.samples())
    except AffectGPTError:
        pass


@pytest.mark.parametrize("form", ["frames", "features"])
@given(data=st.data())
@SLACK
def test_a_recipe_with_any_value_anywhere(folder: Path, form: str, data: st.DataObject) -> None:
    saved = json.loads((folder / "index.json").read_text())
    profile = MediaProfile()
    facts = EncoderFacts("TinyVision", 1, {}, {}, 8, "abc", False)
    key = FeatureKey.of(facts, "frame", profile, {"name": "tiny-vision"}).to_json()
    recipe = {
        "frames": FramesRecipe(profile).to_json(),
        "features": {
            "streams": {"frame": key},
            "dtype": "float16",
            "media": profile.to_json(),
            "media_sources": [],
            "input": {},
        },
    }[form]
    path = data.draw(st.sampled_from(list(places(recipe))))
    saved |= {"form": form, "recipe": replaced(recipe, path, data.draw(ODD))}
    try:
        index = parse_index(json.dumps(saved).encode(), folder, "index.json")
        FeatureRecipe.of(index)
        list(ShardStream(index, profile, tolerant=True).samples())
    except AffectGPTError:
        pass


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("shards", 0, "sha256"), "../../../etc/passwd", "not a sha256 of 64 hexadecimal digits"),
        (("shards", 0, "sha256"), "A" * 64, "not a sha256"),
        (("shards", 0, "name"), "../shard-000000.tar", "not a plain name of a tar"),
        (("shards", 0, "name"), "..", "not a plain name"),
        (("shards", 0, "name"), "a\u0000.tar", "not a plain name"),
        (("shards", 0, "name"), "a.tar?token=1", "not a plain name"),
        (("shards", 0, "name"), "shard-000001.tar", "two shards have the name 'shard-000001.tar'"),
        (("shards", 0, "bytes"), -1, "not a whole number from 1,024"),
        (("shards", 0, "bytes"), 2**62, "not a whole number"),
        (("shards", 0, "bytes"), True, "not a whole number"),
        (("shards", 0, "samples"), 10**9, "not a whole number from 1 to"),
        (("shards", 0, "samples"), 2.0, "not a whole number"),
        (("labels",), {"calm": -1}, "not a whole number"),
        (("labels",), ["calm"], "not a mapping"),
        (("duration_seconds",), float("nan"), "not a length in seconds"),
        (("recipe",), "x", "not a mapping"),
    ],
)
def test_paths_and_sizes_are_checked(folder: Path, path: tuple[Any, ...], value: Any, words: str) -> None:
    saved = json.loads((folder / "index.json").read_text())
    with pytest.raises(DataError, match=words):
        parse_index(json.dumps(replaced(saved, path, value)).encode(), folder, "index.json")


def test_a_small_index_takes_little_memory(folder: Path) -> None:
    saved = json.loads((folder / "index.json").read_text())
    shard = {**saved["shards"][0], "samples": 2 * 10**8, "bytes": 2**40}
    content = json.dumps({**saved, "samples": 2 * 10**8, "shards": [shard]}).encode()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"not a whole number from 1 to 1,000,000"):
        parse_index(content, Path(), "index.json")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"a":' * 200_000, b"\xff\xfe{", b"[1e999999]", b"9" * 5000, b""])
def test_json_that_is_deep_or_odd(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.json").write_bytes(content)
    with pytest.raises(DataError, match=r"index\.json"):
        read_index(tmp_path)


def tar_of(path: Path, form: int = tarfile.USTAR_FORMAT, **fields: Any) -> bytes:
    with tarfile.open(path, "w", format=form) as tar:
        for name in ("a.mp4", "a.json", "b.mp4"):
            info = tarfile.TarInfo(name)
            info.size = 600
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(bytes(600)))
    return path.read_bytes()


def checksummed(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header)


@pytest.mark.parametrize(
    "size",
    [b"-0000001000\0", b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0", b"1_000000000\0", b"+0000000010\0"],
)
@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"S", b"g", b"K"])
def test_a_size_that_cannot_be_is_refused_at_once(tmp_path: Path, size: bytes, kind: bytes) -> None:
    content = bytearray(tar_of(tmp_path / "x.tar"))
    header = content[1536:2048]
    header[124:136], header[156:157] = size, kind
    content[1536:2048] = checksummed(header)
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.tar' cannot be read"):
        ShardReader(tmp_path / "x.tar", 2)


def test_extended_headers_may_not_overrule_sizes_or_tell_of_sparse_files(tmp_path: Path) -> None:
    for records in ({"size": "-5120"}, {"size": str(10**15)}, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}):
        tar_of(tmp_path / "x.tar", tarfile.PAX_FORMAT, pax_headers=records)
        with pytest.raises(DataError, match="cannot be read"):
            ShardReader(tmp_path / "x.tar", 2)
    tar_of(tmp_path / "x.tar", tarfile.PAX_FORMAT, pax_headers={"comment": "x" * 70_000})
    with pytest.raises(DataError, match="MAX_EXTENDED_BYTES"):
        ShardReader(tmp_path / "x.tar", 2)


@given(st.data())
@SLACK
def test_a_tar_with_any_bytes_in_its_headers(tmp_path: Path, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    name = data.draw(st.sampled_from(["a.mp4", "long/" * 30 + "a.mp4"]))
    content = bytearray(tar_of(tmp_path / "x.tar", form, name=name))
    starts = [start for start in range(0, len(content) - 512, 512) if content[start + 257 : start + 262] == b"ustar"]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.sampled_from(starts))
        header = bytearray(content[start : start + 512])
        place = data.draw(st.integers(0, 511))
        new = data.draw(st.binary(min_size=1, max_size=12))[: 512 - place]
        header[place : place + len(new)] = new
        content[start : start + 512] = checksummed(header) if data.draw(st.booleans()) else header
    (tmp_path / "x.tar").write_bytes(content)
    with (tmp_path / "x.tar").open("rb") as file:
        try:
            for name, offset, size in scan_members(file):
                assert 0 <= offset <= offset + size <= len(content)
                name.encode()
        except tarfile.TarError:
            pass


def test_a_member_that_no_memory_holds_is_the_fault_of_its_sample(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("affectgpt.shards.read.MAX_MEMBER_BYTES", 500)
    tar_of(tmp_path / "x.tar")
    with ShardReader(tmp_path / "x.tar", 2) as reader, pytest.raises(DataError, match=r"600 bytes, more than 500"):
        reader.load(0, MediaProfile())


def test_a_member_twice_in_a_sample_is_noticed(tmp_path: Path) -> None:
    tar_of(tmp_path / "x.tar", name="a.mp4")
    with pytest.raises(DataError, match=r"'a\.mp4' is in it twice"):
        ShardReader(tmp_path / "x.tar", 1)


def test_check_survives_what_it_is_there_to_find(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    tar = copy / "shard-000000.tar"
    content = bytearray(tar.read_bytes())
    header = content[1024:1536]
    header[124:136] = b"-0000001000\0"
    content[1024:1536] = checksummed(header)
    tar.write_bytes(content)
    codes = [fault.code for fault in check_shards(copy).faults]
    assert "wrong_digest" in codes
    assert "broken_tar" in codes
    assert sys.getrecursionlimit() >= 1000


@given(st.data())
@SLACK
def test_a_journal_with_any_value_anywhere(tmp_path: Path, data: st.DataObject) -> None:
    journal = Journal(tmp_path / "journal.jsonl", {"x": 1})
    journal.path.unlink(missing_ok=True)
    journal.load()
    shard = ShardInfo("shard-000000.tar", 1, 10240, "0" * 64, "a", "a")
    journal.append(Entry(shard, 1, "chain", Counts(), (SampleError("b", "probe", "odd", "half \ud83d"),)))
    lines = [json.loads(line) for line in journal.path.read_text("utf-8").splitlines()]
    number = data.draw(st.integers(0, 1))
    path = data.draw(st.sampled_from(list(places(lines[number]))))
    lines[number] = replaced(lines[number], path, data.draw(ODD))
    journal.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with suppress(AffectGPTError):
        Journal(journal.path, {"x": 1}).load()
