"""The same shards through WebDataset's own loader: the same clips, in any form, split over workers and ranks."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
import webdataset

from affectgpt.errors import ConfigError, DataError
from affectgpt.media import MediaProfile
from affectgpt.shards import pack, webdataset_pipeline
from affectgpt.shards.cache import ShardCache
from affectgpt.shards.forms.frames import FramesRecipe
from affectgpt.streaming import ShardStream
from affectgpt.types import Clip
from shardserver import serving

PROFILE = MediaProfile(num_frames=2, frame_height=16, frame_width=16, num_segments=1, segment_seconds=0.2)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module", params=["media", "frames", "features"])
def folder(
    request: pytest.FixtureRequest, corpus: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The ten clips in four shards, in each of the three forms."""
    if request.param == "media":
        return shards
    out = tmp_path_factory.mktemp(request.param) / "shards"
    if request.param == "frames":
        pack(corpus / "manifest.jsonl", out, samples_per_shard=3, recipe=FramesRecipe(PROFILE))
        return out
    from affectgpt.features.encode_shards import encode
    from affectgpt.features.encoder_set import EncoderSet

    encoder = {"name": "tiny-vision", "args": {"dim": 8}}
    encode(EncoderSet({"frame": {"encoder": encoder}}, PROFILE.to_json()), shards, out)
    return out


def same(one: Clip, other: Clip) -> None:
    texts = [(clip.key, clip.subtitle, clip.labels, clip.description, clip.duration_seconds) for clip in (one, other)]
    assert texts[0] == texts[1]
    for kind in ("media", "features"):
        mine, theirs = getattr(one, kind), getattr(other, kind)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_it_gives_the_samples_of_the_stream_in_every_form(folder: Path) -> None:
    clips = list(webdataset_pipeline(folder, PROFILE))
    assert len(clips) == 10
    for mine, theirs in zip(ShardStream(folder, PROFILE), clips, strict=True):
        same(mine, theirs)


def test_people_go_on_from_there(folder: Path) -> None:
    shuffled = webdataset_pipeline(folder, PROFILE, shardshuffle=4).shuffle(10)
    loader = webdataset.WebLoader(shuffled.batched(3, collation_fn=list), batch_size=None, num_workers=2)
    found = [clip for batch in loader for clip in batch]
    assert sorted(clip.key for clip in found) == sorted(f"clip{number}" for number in range(10))
    stored = {clip.key: clip for clip in ShardStream(folder, PROFILE)}
    for clip in found:
        same(stored[clip.key], clip)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_ranks_and_workers_read_different_shards(
    shards: Path, monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    found: Counter[str] = Counter()
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        pipeline = webdataset_pipeline(shards, PROFILE)
        mine = [c.key for c in webdataset.WebLoader(pipeline, batch_size=None, num_workers=num_workers)]
        assert 4 <= len(mine) <= 6
        found.update(mine)
    assert found == Counter(f"clip{number}" for number in range(10))


def test_shards_are_named_as_webdataset_names_them(shards: Path, tmp_path: Path) -> None:
    wanted = [clip.key for clip in ShardStream(shards, PROFILE)]
    for urls in (f"{shards}/shard-{{000000..000003}}.tar", sorted(str(path) for path in shards.glob("*.tar"))):
        assert [clip.key for clip in webdataset_pipeline(urls, PROFILE)] == wanted
    with serving(shards) as server:
        cache = ShardCache(tmp_path / "cache", 2**30)
        assert [clip.key for clip in webdataset_pipeline(server.url, PROFILE, cache=cache)] == wanted
    with pytest.raises(ConfigError, match="no shards"):
        webdataset_pipeline([], PROFILE)


def test_a_clip_that_cannot_be_decoded_is_named_or_left_to_the_handler(shards: Path, tmp_path: Path) -> None:
    tar = tmp_path / "shard-000000.tar"
    content = (shards / tar.name).read_bytes()
    start = content.index(b"ftyp") - 4
    tar.write_bytes(content[:start] + bytes(400) + content[start + 400 :])
    with pytest.raises(DataError, match=r"clip 'clip0'.*in shard 'shard-000000.tar'"):
        list(webdataset_pipeline(str(tar), PROFILE))
    good = webdataset_pipeline(str(tar), PROFILE, handler=webdataset.ignore_and_continue)
    assert [clip.key for clip in good] == ["clip1", "clip2"]


def test_the_page_on_streaming_runs(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "streaming.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "shards").mkdir()
    shutil.copytree(shards, tmp_path / "shards" / "train")
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        assert len([line for line in block.splitlines() if line.strip()]) <= 10
        exec(compile(block, "docs/streaming.md", "exec"), {"__name__": "page"})
