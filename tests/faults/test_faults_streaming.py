"""What a server can do to a stream: missing, cut and foreign shards, connections that drop or hang."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time
from dataclasses import replace

import fsspec
import pytest
import yaml

from affectgpt.cli.main import main
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.datamodules.stream_loader import WORKER_TIMEOUT_SECONDS
from affectgpt.errors import ConfigError, DataError
from affectgpt.media import MediaProfile
from affectgpt.shards import Sample, ShardWriter, read_index
from affectgpt.shards.cache import ShardCache
from affectgpt.streaming import ShardStream
from affectgpt.web import Patience
from processes import in_processes
from shardserver import serving
from streamrun import MEDIA, SaveEverywhere, fit
from tinyencoders import tiny_config

pytestmark = pytest.mark.filterwarnings("ignore")
FIRST, LAST = "shard-000000.tar", "shard-000003.tar"
HASTE = Patience(timeout_seconds=20, attempts=3, delay_seconds=0.01)
"""A busy machine is no silent server; where the server is to be found silent, the test waits for less."""
ALL = [f"clip{number}" for number in range(10)]


@pytest.fixture
def server(shards, tmp_path):
    shutil.copytree(shards, tmp_path / "served")
    with serving(tmp_path / "served") as server:
        yield server


@pytest.fixture
def cache(tmp_path):
    return ShardCache(tmp_path / "cache", patience=HASTE)


def impatient(cache):
    """Gives a silent server up after a second."""
    return replace(cache, patience=replace(HASTE, timeout_seconds=1.0))


def keys(folder, cache, **options):
    return [clip.key for clip in ShardStream(folder, MediaProfile.of(MEDIA), cache=cache, **options)]


def test_a_remote_set_is_read_like_a_local_one_and_fetched_once(server, shards, cache):
    assert keys(server.url, cache, shuffle=True, seed=3) == keys(shards, cache, shuffle=True, seed=3)
    assert keys(server.url, cache) == ALL
    for shard in read_index(shards).shards:
        assert server.fetched(shard.name) == [0]
    assert sorted(path.suffix for path in cache.folder.iterdir() if path.suffix != ".lock") == [".tar"] * 4


@pytest.mark.parametrize("ranges", [True, False])
def test_a_dropped_connection_is_resumed_by_range_where_the_server_can(shards, cache, ranges):
    """Failure 27."""
    with serving(shards, ranges) as server:
        # a server without ranges begins anew each time, which is no progress: the third failure would be the last
        server.faults[FIRST] = [("drop", 3000), ("drop", 500), *([("drop", 0)] if ranges else [])]
        assert keys(server.url, cache) == ALL
        assert server.fetched(FIRST) == ([0, 3000, 3500, 3500] if ranges else [0] * 3)


def test_a_fetch_that_was_killed_goes_on_where_it_was(server, shards, cache):
    shard = read_index(shards).shards[0]
    cache.folder.mkdir()
    (cache.folder / f"{shard.sha256}-{os.getuid()}.part").write_bytes((shards / FIRST).read_bytes()[:4096])
    assert keys(server.url, cache) == ALL
    assert server.fetched(FIRST) == [4096]


def test_a_hung_connection_is_given_up_and_tried_again(server, cache):
    """Failure 28."""
    server.faults[FIRST] = [("hang", 2000)]
    assert keys(server.url, impatient(cache)) == ALL
    assert server.fetched(FIRST)[:2] == [0, 2000]


def test_a_busy_server_is_asked_again(server, cache):
    server.faults["index.json"] = [503, 429]
    server.faults[FIRST] = [500, ("drop", 100), 502]
    assert keys(server.url, cache) == ALL


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ([404], "answers 404.*every file in index.json was uploaded"),
        ([403], "answers 403.*your access"),
        ([503] * 3, "3 attempts made no progress; the last error: the server answers 503"),
        ([("hang", 0)] * 3, "3 attempts made no progress; the last error: .*timed out"),
        ([("drop", 0)] * 3, r"3 attempts made no progress.*after 0 of \d+ bytes"),
    ],
)
def test_a_shard_that_cannot_be_had_is_an_error_and_never_a_shorter_epoch(server, cache, faults, words):
    """Failures 26, 27 and 28."""
    server.faults[LAST] = faults * 4  # reading ahead meets the fault first
    given = impatient(cache) if ("hang", 0) in faults else cache
    stream = iter(ShardStream(server.url, MediaProfile.of(MEDIA), cache=given))
    with pytest.raises(DataError, match=words):
        list(stream)
    server.faults.clear()
    assert keys(server.url, cache) == ALL  # what was fetched is kept


def test_a_missing_shard_is_an_error(server, cache):
    """Failure 26."""
    (server.folder / LAST).unlink()
    with pytest.raises(DataError, match=f"{LAST}: the server answers 404"):
        keys(server.url, cache)


def test_a_shard_shorter_than_the_index_says_is_refused_at_once(server, cache):
    path = server.folder / LAST
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(DataError, match=r"has \d+ bytes, but the index says \d+: it is cut"):
        keys(server.url, cache)
    assert set(server.fetched(LAST)) == {0}


def test_another_digest_is_fetched_once_more_and_then_refused(server, cache):
    content = bytearray((server.folder / LAST).read_bytes())
    content[-2000] ^= 1
    server.faults[LAST] = [("send", bytes(content))]
    assert keys(server.url, cache) == ALL
    shutil.rmtree(cache.folder)
    (server.folder / LAST).write_bytes(content)
    with pytest.raises(DataError, match=r"has sha256 .* but the index says .*, twice"):
        keys(server.url, cache)
    assert not any(path.stat().st_size for path in cache.folder.glob(f"{read_index(server.url).shards[-1].sha256}*"))


def test_an_index_that_is_missing_or_broken_is_an_error(server, cache):
    (server.folder / "index.json").write_text('{"format": ')
    with pytest.raises(DataError, match=r"index\.json' cannot be read"):
        keys(server.url, cache)
    (server.folder / "index.json").unlink()
    with pytest.raises(DataError, match=r"/set/index\.json: the server answers 404"):
        keys(server.url + "/?x=1", cache)


def test_the_cache_stays_below_its_size_and_keeps_what_was_used_last(server, shards, cache):
    sizes = [shard.bytes for shard in read_index(shards).shards]
    small = replace(cache, max_bytes=max(sizes) * 2)
    assert keys(server.url, small, mix_shards=1) == ALL
    kept = list(cache.folder.glob("*.tar"))
    assert sum(path.stat().st_size for path in kept) <= small.max_bytes
    assert cache.folder / f"{read_index(shards).shards[-1].sha256}.tar" in kept
    with pytest.raises(ConfigError, match="raise cache_gigabytes, lower mix_shards"):
        keys(server.url, small, mix_shards=4)


def test_a_cut_file_in_the_cache_is_fetched_again(server, shards, cache):
    keys(server.url, cache)
    shard = read_index(shards).shards[0]
    path = cache.folder / f"{shard.sha256}.tar"
    path.write_bytes(path.read_bytes()[:1000])
    assert keys(server.url, cache) == ALL
    assert server.fetched(FIRST) == [0, 0]


def test_two_ranks_with_workers_share_one_cache_and_train(server, tmp_path):
    def rank(number: str) -> None:
        seen = fit(
            server.url,
            max_epochs=1,
            num_workers=2,
            batch_size=1,
            data={"cache_folder": str(tmp_path / "cache")},
            default_root_dir=tmp_path / number,
        )
        (tmp_path / f"{number}.json").write_text(json.dumps([keys for _, keys, _ in seen]))

    def both() -> None:
        rank(os.environ["LOCAL_RANK"])

    assert in_processes(both, world=2) == [0, 0]
    assert all(len(server.fetched(f"shard-00000{number}.tar")) == 1 for number in range(4))
    assert len(json.loads((tmp_path / "0.json").read_text())) == 10


def test_a_full_disk_is_named(server, cache, monkeypatch):
    """Failure 24."""
    usage = shutil.disk_usage(cache.folder.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(DataError, match="0 MB of free disk"):
        keys(server.url, cache)


def test_other_file_systems_are_read_through_fsspec(shards, cache):
    memory = fsspec.filesystem("memory")
    memory.put(str(shards) + "/", "/bucket/set", recursive=True)
    assert keys("memory://bucket/set", cache) == ALL
    memory.rm(f"/bucket/set/{LAST}")
    shutil.rmtree(cache.folder)
    with pytest.raises(DataError, match=r"shard-000003\.tar cannot be opened"):
        keys("memory://bucket/set", cache)
    memory.rm("/bucket", recursive=True)


def test_a_scheme_that_needs_a_package_names_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r"s3:// needs s3fs.*affectgpt\[s3\]"):
        read_index("s3://bucket/set")
    with pytest.raises(ConfigError, match="nowhere:// is not supported"):
        read_index("nowhere://bucket/set")


def test_training_on_remote_shards_goes_through_the_datamodule(server, tmp_path):
    data = MERCaptionDataModule(
        train=server.url, batch_size=5, num_workers=1, media=MEDIA, cache_folder=str(tmp_path / "cache")
    )
    data.setup("fit")
    assert sorted(key for batch in data.train_dataloader() for key in batch.keys) == ALL
    assert server.fetched("index.json") == [0]


@pytest.mark.parametrize("damage", [None, b"cut"])
def test_a_local_shard_that_goes_while_it_is_read_is_an_error_and_never_a_shorter_epoch(shards, tmp_path, damage):
    """Failure 25: it was there when the run began."""
    folder = shutil.copytree(shards, tmp_path / "set")
    data = MERCaptionDataModule(train=str(folder), batch_size=1, num_workers=2, media=MEDIA)
    data.setup("fit")
    (folder / LAST).write_bytes(damage) if damage else (folder / LAST).unlink()
    with pytest.raises(DataError, match=r"shard-000003\.tar"):
        list(data.train_dataloader())


def test_a_worker_that_hangs_is_given_up(shards, monkeypatch):
    """Failures 9 and 28: every training run with workers has such a limit, if a longer one."""
    others = multiprocessing.active_children()
    data = MERCaptionDataModule(train=str(shards), batch_size=1, num_workers=1, media=MEDIA)
    data.setup("fit")
    assert data.train_dataloader().timeout == WORKER_TIMEOUT_SECONDS
    monkeypatch.setattr(ShardStream, "load", lambda *_: time.sleep(600))
    monkeypatch.setattr("affectgpt.datamodules.stream_loader.WORKER_TIMEOUT_SECONDS", 1.0)
    with pytest.raises(DataError, match="no batch came from the workers for 1 s"):
        list(data.train_dataloader())
    # it ignores SIGTERM, and would hold the process for ever
    for worker in [child for child in multiprocessing.active_children() if child not in others]:
        worker.join(60)
        assert not worker.is_alive()


def test_no_more_is_written_than_the_index_says(server, cache):
    """A server that never ends, or sends another file, fills neither disk nor memory."""
    shard = read_index(server.folder).shards[0]
    server.faults[FIRST] = [("endless", 2**28)]
    with pytest.raises(DataError, match=f"is longer than the {shard.bytes} bytes that the index says"):
        cache.path(read_index(server.url), shard)
    assert server.sent < 2**25  # what the sockets hold, not what the server would send
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) == 0


def test_an_index_has_a_bound(server, monkeypatch):
    monkeypatch.setattr("affectgpt.shards.bounds.MAX_INDEX_BYTES", 2**20)
    server.faults["index.json"] = [("endless", 2**28)]
    with pytest.raises(DataError, match="more than 1,048,576 bytes"):
        read_index(server.url)
    assert server.sent < 2**25
    (server.folder / "index.json").write_bytes(b" " * (2**20 + 1))
    with pytest.raises(DataError, match="MAX_INDEX_BYTES"):
        read_index(server.folder)


def test_a_server_that_dribbles_is_given_up(server, cache):
    server.faults[FIRST] = [("slow", 0.02)] * 3
    stingy = replace(cache, patience=replace(HASTE, timeout_seconds=1.0))
    with pytest.raises(DataError, match=r"3 attempts made no progress.*bytes per second arrived, less than 10,000"):
        stingy.path(read_index(server.url), read_index(server.folder).shards[0])


def test_a_length_that_is_no_number_is_trouble_with_the_server(server, cache):
    server.faults[FIRST] = [("length", "abc")]
    assert keys(server.url, cache) == ALL
    server.faults[LAST] = [("length", "abc")] * 3
    shutil.rmtree(cache.folder)
    with pytest.raises(DataError, match="3 attempts made no progress"):
        cache.path(read_index(server.url), read_index(server.folder).shards[-1])


def test_redirects_are_followed_and_not_in_circles(server, cache):
    server.faults[FIRST] = [("redirect", f"{server.url}/{FIRST}?signed=1")]
    assert keys(server.url, cache) == ALL
    server.faults["index.json"] = [("redirect", f"{server.url}/index.json")] * 30
    with pytest.raises(DataError, match="redirects"):
        read_index(server.url)


def test_a_shard_that_was_altered_in_the_cache_is_fetched_again(server, cache, shards):
    assert keys(server.url, cache) == ALL
    shard = read_index(shards).shards[0]
    path = cache.folder / f"{shard.sha256}.tar"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    assert keys(server.url, cache) == ALL
    assert path.read_bytes() == (shards / FIRST).read_bytes()
    assert server.fetched(FIRST) == [0, 0]
    os.utime(path)  # touched but not altered: digested once, and known again
    assert keys(server.url, cache) == ALL
    assert server.fetched(FIRST) == [0, 0]
    assert path.stat().st_mtime < 1.3e9


def test_another_user_of_the_cache_reads_and_fetches(server, cache, monkeypatch):
    assert keys(server.url, cache) == ALL

    def not_owner(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", not_owner)
    monkeypatch.setattr(os, "getuid", lambda: 4321)
    (cache.folder / f"{read_index(server.url).shards[0].sha256}.tar").unlink()
    assert keys(server.url, cache) == ALL
    assert server.fetched(FIRST) == [0, 0]
    assert server.fetched(LAST) == [0]


def test_the_cache_keeps_to_the_umask(server, tmp_path):
    for mask, mode in ((0o022, 0o644), (0o077, 0o600)):
        cache = ShardCache(tmp_path / f"cache-{mask:o}", patience=HASTE)
        earlier = os.umask(mask)
        try:
            assert keys(server.url, cache) == ALL
        finally:
            os.umask(earlier)
        assert {path.stat().st_mode & 0o777 for path in cache.folder.iterdir()} == {mode}


@pytest.mark.parametrize("fault", [404, 503, ("drop", 0), ("send", b"no index")])
def test_messages_hold_no_secrets(server, fault, caplog, monkeypatch):
    monkeypatch.setattr("affectgpt.web.time.sleep", lambda seconds: None)
    server.faults["index.json"] = [fault] * 6
    caplog.set_level("DEBUG", logger="affectgpt")
    address = server.url.replace("http://", "http://me:pass-word@") + "?X-Signature=sig-nature"
    with pytest.raises(DataError) as caught:
        read_index(address)
    said = f"{caught.value} {caught.value.__cause__} {caplog.text}"
    assert "index.json" in said
    assert not [word for word in ("pass-word", "sig-nature") if word in said]


def test_what_is_written_holds_no_secrets(server, tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTGPT_CACHE", str(tmp_path / "cache"))
    address = server.url.replace("http://", "http://me:pass-word@") + "?X-Signature=sig-nature"
    fit(address, max_epochs=1, default_root_dir=tmp_path, callbacks=[SaveEverywhere(tmp_path)])
    assert main(["check", address, "--out", str(tmp_path / "check.json")]) == 0
    config = {
        "model": tiny_config(),
        "data": {"name": "mercaption", "args": {"train": [{"path": address}], "batch_size": 2, "num_workers": 0}},
        "trainer": {"accelerator": "cpu", "max_steps": 1, "logger": False, "enable_progress_bar": False},
    }
    (tmp_path / "given.yaml").write_text(yaml.safe_dump(config))
    assert (
        main(["fit", "--config", str(tmp_path / "given.yaml"), f"--trainer.default_root_dir={tmp_path / 'run'}"]) == 0
    )
    (tmp_path / "given.yaml").unlink()
    assert "http://127.0.0.1" in (tmp_path / "run" / "config.yaml").read_text()
    with ShardWriter(tmp_path / "made") as writer:
        writer.write(Sample("a", {"mp4": b"1"}))
        writer.finish({"source": address})
    for path in tmp_path.rglob("*"):
        if path.is_file() and "served" not in path.parts:
            content = path.read_bytes()
            assert b"pass-word" not in content, path
            assert b"sig-nature" not in content, path
