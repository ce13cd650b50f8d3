"""Several sets in one epoch: exact shares, evenly spread, nothing twice before everything once, exact resume."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.errors import ConfigError
from affectgpt.media import MediaProfile
from affectgpt.shards import ShardIndex, pack
from affectgpt.streaming import ShardStream
from affectgpt.streaming.bad_samples import BadSampleBudget
from affectgpt.streaming.mixture import MixtureOrder, mixture_lengths
from affectgpt.streaming.set_names import set_names
from clipmaker import make_clip
from conftest import write_manifest
from streamrun import MEDIA, SaveEverywhere, fit

sets = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), min_size=1, max_size=4)


@given(sets, st.data())
@settings(max_examples=150, deadline=None)
def test_a_mixture_has_its_shares_and_starts_anywhere(counts, data):
    sizes = [sum(shards) for shards in counts]
    weights = data.draw(st.lists(st.floats(0.5, 3), min_size=len(sizes), max_size=len(sizes)))
    weighted = data.draw(st.booleans())
    # a set whose share of the epoch is less than a sample may be refused
    assume(not weighted or min(weights) * sum(sizes) >= sum(weights))
    lengths = mixture_lengths(sizes, weights if weighted else [None] * len(sizes))
    assert sum(lengths) == sum(sizes)
    epoch = data.draw(st.integers(0, 5))
    order = MixtureOrder(counts, lengths, seed=1, epoch=epoch, shuffle=True, mix_shards=2)
    whole = list(order.walk(0, len(order)))
    assert [sum(part == number for number, _, _ in whole) for part in range(len(sizes))] == lengths
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    assert list(order.walk(start, stop)) == whole[start:stop]
    for part, length in enumerate(lengths):  # spread evenly
        found = sum(number == part for number, _, _ in whole[start:stop])
        assert abs(found - (stop - start) * length / len(whole)) <= len(sizes)


@given(sets, st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_no_sample_comes_again_before_all_others_of_its_set_came(counts, epochs):
    sizes = [sum(shards) for shards in counts]
    lengths = mixture_lengths(sizes, [1.0] * len(sizes))
    for part, size in enumerate(sizes):
        seen = Counter(
            (shard, place)
            for epoch in range(epochs)
            for number, shard, place in MixtureOrder(counts, lengths, seed=3, epoch=epoch, shuffle=True).walk(
                0, sum(sizes)
            )
            if number == part
        )
        times = [seen[shard, place] for shard, count in enumerate(counts[part]) for place in range(count)]
        assert sum(times) == epochs * lengths[part]
        assert max(times) - min(times) <= 1
        assert len(times) == size


def test_wrong_weights_are_refused():
    with pytest.raises(ConfigError, match="every set a weight, or none"):
        mixture_lengths([5, 5], [1.0, None])
    with pytest.raises(ConfigError, match="above 0"):
        mixture_lengths([5, 5], [1.0, 0])
    with pytest.raises(ConfigError, match="set 1 no samples in an epoch of 10"):
        mixture_lengths([5, 5], [1000.0, 0.1])


@pytest.fixture(scope="module")
def other(corpus, tmp_path_factory):
    """Three of the clips under other names, in two shards."""
    lines = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()[:3]]
    manifest = corpus / "other.jsonl"
    manifest.write_text("".join(json.dumps(line | {"name": "other" + line["name"][-1]}) + "\n" for line in lines))
    out = tmp_path_factory.mktemp("other") / "shards"
    pack(manifest, out, samples_per_shard=2)
    return out


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_on_a_mixture_resumes_exactly(shards, other, tmp_path, num_workers):
    mixture = [{"path": str(shards), "weight": 1}, {"path": str(other), "weight": 1}]
    saver = SaveEverywhere(tmp_path)
    whole = fit(mixture, callbacks=[saver], batch_size=3, max_epochs=2)
    for epoch in (0, 1):
        keys = [key for number, batch, _ in whole if number == epoch for key in batch]
        assert len(keys) == 13  # as long as both sets together
        assert (
            sum(key.rpartition("/")[2].startswith("other") for key in keys) == 6
        )  # half of it, so each of the three twice
    for path, seen in saver.saved[:: 1 if num_workers == 0 else 4]:
        assert fit(mixture, ckpt=path, batch_size=3, max_epochs=2, num_workers=num_workers) == whole[seen:], path.name


def test_every_way_to_name_sets(shards, other):
    def batches(train):
        data = MERCaptionDataModule(train=train, batch_size=1, num_workers=0, media=MEDIA, bad_sample_budget=0)
        return [batch.keys[0] for batch in data.train_dataloader()]

    plain = batches([str(shards), str(other)])
    first, second = (f"{folder.parent.name}/shards" for folder in (shards, other))
    assert sorted(plain) == sorted([f"{first}/clip{i}" for i in range(10)] + [f"{second}/other{i}" for i in range(3)])
    assert sorted(batches(str(shards))) == [f"clip{i}" for i in range(10)]
    assert batches({str(shards): 2, str(other): 1}) == batches(
        [{"path": str(shards), "weight": 2}, {"path": str(other), "weight": 1}]
    )
    for wrong, words in (
        ([{"folder": "x"}], "'path': FOLDER"),
        ([str(other), str(other)], "given twice"),
        ([], "no data"),
    ):
        with pytest.raises(ConfigError, match=words):
            MERCaptionDataModule(train=wrong)
    with pytest.raises(ConfigError, match="only training mixes sets"):
        MERCaptionDataModule(val=[str(shards), str(other)])


SHADES = {"sad": 20, "happy": 220}


@pytest.fixture(scope="module")
def namesakes(tmp_path_factory):
    """Two sets, ``dark`` and ``bright``, of one clip each; both clips are called clip0."""
    folders = []
    for (label, shade), name in zip(SHADES.items(), ("dark", "bright"), strict=True):
        source = tmp_path_factory.mktemp(name)
        (source / "clip0.mp4").write_bytes(make_clip(0.4, shade=shade))
        line = {"name": "clip0", "video": "clip0.mp4", "labels": [label]}
        folders.append(source / name)
        pack(write_manifest(source, [line]), folders[-1])
    return folders


def test_clips_of_one_name_in_two_sets_keep_their_media(namesakes):
    data = MERCaptionDataModule(
        train=[str(folder) for folder in namesakes], batch_size=2, num_workers=0, media=MEDIA, task="labels"
    )
    (batch,) = data.train_dataloader()
    assert set(batch.keys) == {"dark/clip0", "bright/clip0"}
    for row, (key, (label,)) in enumerate(zip(batch.keys, batch.labels, strict=True)):
        assert key == ("dark/clip0" if label == "sad" else "bright/clip0")
        assert label in batch.answers[row]
        assert abs(int(batch.media["frame"][row].float().mean()) - SHADES[label]) < 8


def test_bad_samples_of_one_name_count_each(namesakes, tmp_path):
    folders = []
    for folder in namesakes:
        folders.append(shutil.copytree(folder, tmp_path / folder.name))
        tar = folders[-1] / "shard-000000.tar"
        content = tar.read_bytes()
        start = content.index(b"ftyp") - 4
        tar.write_bytes(content[:start] + bytes(400) + content[start + 400 :])
    stream = ShardStream(folders, MediaProfile.of(MEDIA), tolerant=True)
    budget = BadSampleBudget(0.5)
    for _, bad in stream.samples():
        budget.note(bad, 0, None)
    assert budget.found == 2
    assert [(line["key"], line["shard"]) for line in budget.to_json()] == [
        (f"{name}/clip0", f"{name}/shard-000000.tar") for name in ("dark", "bright")
    ]
    again = BadSampleBudget(0.5)
    again.restore(json.loads(json.dumps(budget.to_json())))
    assert again.found == 2
    again.note(bad, 1, None)
    assert again.found == 2


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["/a/mer", "/a/demo"], ["mer", "demo"]),
        (["/a/x/train", "/b/x/train"], ["a/x/train", "b/x/train"]),
        (["/a/x", "/a/x"], ["a/x", "a/x#2"]),
        (["https://me:secret@host/one/set?token=secret", "https://host/two/set"], ["one/set", "two/set"]),
    ],
)
def test_names_of_sets_are_short_and_hold_no_secrets(folders, names):
    def index(folder):
        return ShardIndex((), url=folder) if "://" in folder else ShardIndex((), folder=Path(folder))

    assert set_names([index(folder) for folder in folders]) == tuple(names)
