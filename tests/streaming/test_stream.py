import shutil

import pytest
from torch.utils.data import DataLoader

from affectgpt.errors import ConfigError, DataError
from affectgpt.media import MediaProfile
from affectgpt.shards import read_index
from affectgpt.streaming import ShardStream
from affectgpt.streaming.order import EpochOrder, share_of_rank

SMALL = MediaProfile(num_frames=1, frame_height=8, frame_width=8, num_segments=1, segment_seconds=0.1)
ALL = {f"clip{number}" for number in range(10)}


def keys(stream, epoch=0):
    stream.set_epoch(epoch)
    return [clip.key for clip in stream]


def test_every_sample_comes_once_and_in_another_order_each_epoch(shards):
    stream = ShardStream(shards, SMALL, shuffle=True, seed=1, mix_shards=2)
    epochs = [keys(stream, epoch) for epoch in range(3)]
    for order in epochs:
        assert sorted(order) == sorted(ALL)
    assert epochs[0] != epochs[1] != epochs[2]
    assert keys(ShardStream(shards, SMALL, shuffle=True, seed=1, mix_shards=2), 1) == epochs[1]
    assert keys(ShardStream(shards, SMALL, shuffle=True, seed=2, mix_shards=2), 1) != epochs[1]
    assert keys(ShardStream(shards, SMALL)) == sorted(ALL)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 7])
def test_ranks_have_equal_shares_that_do_not_overlap(shards, world_size):
    index = read_index(shards)
    dropping = [ShardStream(index, SMALL, shuffle=True, rank=r, world_size=world_size) for r in range(world_size)]
    places = [list(stream.addresses()) for stream in dropping]
    assert {len(part) for part in places} == {len(stream) for stream in dropping} == {10 // world_size}
    flat = [place for part in places for place in part]
    assert len(set(flat)) == len(flat)
    repeating = [
        list(ShardStream(index, SMALL, rank=r, world_size=world_size, remainder="repeat").addresses())
        for r in range(world_size)
    ]
    assert len({len(part) for part in repeating}) == 1
    assert len({place for part in repeating for place in part}) == 10


def test_every_position_is_covered_whatever_the_numbers():
    for samples in range(1, 40):
        for world_size in range(1, samples + 1):
            parts = [share_of_rank(samples, rank, world_size) for rank in range(world_size)]
            read = [place for part in parts for start, stop in part for place in range(start, stop)]
            assert set(read) == set(range(samples))
            assert len(read) == -(-samples // world_size) * world_size


def test_a_part_of_the_order_is_the_order_of_that_part():
    counts = [5, 1, 8, 3, 3, 7]
    order = EpochOrder(counts, seed=0, epoch=4, shuffle=True, mix_shards=2)
    whole = list(order.walk(0, 27))
    assert sorted(whole) == [(shard, place) for shard, count in enumerate(counts) for place in range(count)]
    for start in range(28):
        for stop in range(start, 28):
            assert list(order.walk(start, stop)) == whole[start:stop]
    for begin in range(0, 27, 9):  # at most two shards are mixed at a time
        assert len({shard for shard, _ in whole[begin : begin + 4]}) <= 4


def test_the_order_does_not_change_between_versions():
    order = EpochOrder([3, 3, 2], seed=42, epoch=0, shuffle=True, mix_shards=2)
    assert list(order.walk(0, 8)) == [(0, 1), (0, 2), (2, 1), (0, 0), (2, 0), (1, 0), (1, 1), (1, 2)]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(shards, num_workers):
    stream = ShardStream(shards, SMALL, shuffle=True, seed=3, block=2)

    def batches(workers):
        loader = DataLoader(stream, batch_size=2, num_workers=workers, collate_fn=lambda clips: [c.key for c in clips])
        assert len(loader) == 5
        return list(loader)

    assert batches(num_workers) == batches(0)


def test_decoded_clips_can_be_kept(shards, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(shards, folder)
    stream = ShardStream(folder, SMALL, shuffle=True, cache_decoded=True)
    first = keys(stream, 0)
    for path in folder.glob("*.tar"):
        path.unlink()
    assert sorted(keys(stream, 1)) == sorted(first)
    assert keys(stream, 1) != first
    with pytest.raises(ConfigError, match="num_workers=0"):
        list(DataLoader(stream, batch_size=None, num_workers=1))


def test_what_cannot_work_is_refused_at_the_start(shards):
    with pytest.raises(ConfigError, match="10 samples for 11 ranks"):
        ShardStream(shards, SMALL, world_size=11)
    with pytest.raises(ConfigError, match="rank 2 of 2"):
        ShardStream(shards, SMALL, rank=2, world_size=2)
    with pytest.raises(ConfigError, match="block=0"):
        ShardStream(shards, SMALL, block=0)
    with pytest.raises(ConfigError, match="mix_shards=0"):
        ShardStream(shards, SMALL, mix_shards=0)


def test_a_broken_sample_stops_with_key_and_shard(shards, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(shards, folder)
    path = folder / "shard-000001.tar"
    path.write_bytes(path.read_bytes().replace(b"moov", b"xxxx", 1))
    with pytest.raises(DataError, match=r"clip 'clip3'.*sample 0 of shard .*shard-000001\.tar"):
        list(ShardStream(folder, SMALL))


def test_a_shard_with_other_contents_is_noticed(shards, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(shards, folder)
    path = folder / "shard-000000.tar"
    content = bytearray(path.read_bytes())
    name = content.index(b"clip1.json")
    content[name : name + 512] = bytes(512)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"shard-000000\.tar"):
        list(ShardStream(folder, SMALL))
