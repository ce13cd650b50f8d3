"""Samples that cannot be decoded, on one rank or on several, within the budget and beyond it."""

from __future__ import annotations

import gc
import hashlib
import json
import multiprocessing
import shutil
from pathlib import Path

import lightning
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

import resume_worker
from affectgpt.datamodules import MERCaptionDataModule
from affectgpt.datamodules.stream_loader import QuestionStream, StreamLoader
from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests.record import SampleError
from affectgpt.media import MediaProfile
from affectgpt.model import AffectGPT
from affectgpt.shards.check import check_shards
from affectgpt.shards.read import load_sample
from affectgpt.streaming import ShardStream
from affectgpt.streaming.bad_samples import BadSampleBudget
from affectgpt.streaming.stream import BadSample
from clipmaker import make_wav
from processes import in_processes, settings_for
from quiettrainer import quiet_trainer
from streamrun import MEDIA, Reader, SaveEverywhere, fit
from tinyencoders import tiny_config

pytestmark = pytest.mark.filterwarnings("ignore")
WAV = make_wav(0.2)
ALL = {f"clip{number}" for number in range(10)}


def spoil(shards: Path, folder: Path, *keys: str) -> Path:
    """A copy of the shards in which some clips cannot be decoded."""
    shutil.copytree(shards, folder)
    for path in folder.glob("*.tar"):
        content = path.read_bytes()
        for key in keys:
            start = content.find(key.encode() + b".mp4")
            if start >= 0:
                content = content[:start] + content[start:].replace(b"moov", b"xxxx", 1)
        path.write_bytes(content)
    return folder


def report(folder: Path) -> dict[str, dict]:
    lines = [json.loads(line) for line in (folder / "bad_samples.jsonl").read_text().splitlines()]
    found = {line["key"]: line for line in lines}
    assert len(found) == len(lines)
    return found


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_samples_are_replaced_reported_once_and_nothing_comes_twice(shards, tmp_path, num_workers, caplog):
    folder = spoil(shards, tmp_path / "spoilt", "clip2", "clip5")
    options = {"train": str(folder), "max_epochs": 3, "data": {"bad_sample_budget": 0.2, "drop_last": True}}
    seen = fit(**options, num_workers=num_workers, default_root_dir=tmp_path)
    for epoch in range(3):
        keys = [key for number, batch, _ in seen if number == epoch for key in batch]
        assert len(keys) == len(set(keys)) == 8  # 10, less the 2 that wait in reserve
        assert set(keys) == ALL - {"clip2", "clip5"}
    found = report(tmp_path)
    assert set(found) == {"clip2", "clip5"}
    assert all(line["replaced_by"] in ALL | {None} and line["code"] == "undecodable" for line in found.values())
    assert found["clip5"]["shard"] == "shard-000001.tar"
    assert "clip5" in found["clip5"]["reason"]
    logged = [record.getMessage() for record in caplog.records if "bad sample" in record.getMessage()]
    assert len(logged) == 2


def test_more_than_the_budget_stops_and_says_why(shards, tmp_path):
    folder = spoil(shards, tmp_path / "spoilt", "clip2", "clip5", "clip7")
    options = {"train": str(folder), "default_root_dir": tmp_path, "max_epochs": 5}
    with pytest.raises(DataError, match=r"3 of 10 samples are bad, but bad_sample_budget=0\.2 allows 2.*bad_samples"):
        fit(**options, data={"bad_sample_budget": 0.2})
    assert set(report(tmp_path)) == {"clip2", "clip5", "clip7"}
    for budget in (0.0, 0.001):  # of ten samples, one in a thousand is none
        with pytest.raises(DataError, match=r"clip 'clip\d'.*sample \d of shard"):
            fit(**options, data={"bad_sample_budget": budget}, num_workers=1)
    with pytest.raises(ConfigError, match="bad_sample_budget=1"):
        BadSampleBudget(1)


def test_a_batch_is_short_when_the_rank_has_no_reserve_left_and_never_empty(shards, tmp_path):
    def batches(*bad):
        folder = spoil(shards, tmp_path / "-".join(bad), *bad)
        args = {"rank": 0, "world_size": 2, "block": 2, "whole_blocks": True, "held_back": 2, "tolerant": True}
        stream = QuestionStream(ShardStream(folder, MediaProfile.of(MEDIA), **args), "labels", answered=True)
        return [batch.keys for batch in StreamLoader(stream, None, BadSampleBudget(0.2), batch_size=2)]

    assert batches("clip0", "clip2") == [("clip8", "clip1"), ("clip3",)]
    with pytest.raises(DataError, match="all 2 samples of a batch are bad and this rank's reserve is empty"):
        batches("clip0", "clip2", "clip3")


def test_two_ranks_stay_in_step_and_count_together(shards, tmp_path):
    """Failure 18."""
    folder = spoil(shards, tmp_path / "spoilt", "clip2", "clip5")
    for budget, codes in ((0.4, [0, 0]), (0.1, [1, 1])):
        out = tmp_path / f"budget{budget}"
        settings = settings_for(out, shards=str(folder), max_epochs=3, batch_size=1, budget=budget, world=2)
        assert in_processes(resume_worker.main, settings, world=2) == codes
        assert set(report(out)) == {"clip2", "clip5"}
        lines = [
            [json.loads(line) for line in (out / f"seen-{rank}.jsonl").read_text().splitlines()] for rank in (0, 1)
        ]
        assert len(lines[0]) == len(lines[1])
        for epoch in range(3):
            keys = [key for line in lines[0] + lines[1] if line[0] == epoch for key in line[3]]
            assert len(keys) == len(set(keys))
            assert not {"clip2", "clip5"} & set(keys)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resuming_is_exact_with_bad_samples(shards, tmp_path, num_workers):
    folder = spoil(shards, tmp_path / "spoilt", "clip2", "clip5")
    options = {"train": str(folder), "max_epochs": 2, "data": {"bad_sample_budget": 0.3, "drop_last": True}}
    saver = SaveEverywhere(tmp_path)
    whole = fit(**options, callbacks=[saver], default_root_dir=tmp_path / "a")
    for path, seen in saver.saved[:: 1 if num_workers == 0 else 3]:
        rest = fit(**options, ckpt=path, num_workers=num_workers, default_root_dir=tmp_path / path.stem)
        assert rest == whole[seen:], path.name
    for path, seen in saver.saved:  # with another batch size nothing comes twice, and the bad ones stay known
        rest = fit(**options, ckpt=path, batch_size=1, default_root_dir=tmp_path / "b")
        for epoch in (0, 1):
            keys = [key for number, batch, _ in whole[:seen] + rest if number == epoch for key in batch]
            assert len(keys) == len(set(keys)), path.name
            assert not {"clip2", "clip5"} & set(keys)


def test_outside_of_training_the_first_bad_sample_stops(shards, tmp_path):
    folder = spoil(shards, tmp_path / "spoilt", "clip2")
    data = MERCaptionDataModule(test=str(folder), num_workers=0, media=MEDIA, bad_sample_budget=0.5)
    with pytest.raises(DataError, match="clip2"):
        list(data.test_dataloader())


def test_a_clip_without_a_target_counts_as_bad(corpus, tmp_path):
    from affectgpt.shards import pack

    lines = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()]
    del lines[3]["labels"], lines[3]["description"]
    manifest = corpus / "one_without.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pack(manifest, tmp_path / "shards", samples_per_shard=4)
    fit(str(tmp_path / "shards"), max_epochs=2, data={"bad_sample_budget": 0.1}, default_root_dir=tmp_path)
    assert report(tmp_path)["clip3"]["code"] == "no_target"


def with_facts(shards: Path, folder: Path, changes: dict[str, bytes]) -> Path:
    """A copy of the shards in which some clips have another json member."""
    folder.mkdir()
    saved = json.loads((shards / "index.json").read_text())
    for entry in saved["shards"]:
        path = folder / entry["name"]
        with webdataset.TarWriter(str(path), encoder=False, mtime=0) as tar:
            for sample in webdataset.WebDataset(str(shards / path.name), shardshuffle=False):
                tar.write({**sample, "json": changes.get(sample["__key__"], sample["json"])})
        entry["bytes"], entry["sha256"] = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "index.json").write_text(json.dumps(saved))
    return folder


ODD_FACTS = [
    b"true",
    b"5",
    b"null",
    b"[1]",
    b"",
    b"\xff",
    b"[" * 100_000,
    b'{"labels": true}',
    b'{"labels": 5}',
    b'{"labels": [NaN]}',
    b'{"labels": ["happy", true]}',
    b'{"labels": [["happy"]]}',
    b'{"labels": {"happy": 1}}',
    b'{"labels": [" "]}',
    b'{"labels": ["half \\ud83d"]}',
    b'{"labels": "happy"}',
    b'{"labels": ["happy"], "subtitle": 5}',
    b'{"labels": ["happy"], "subtitle": "half \\ud83d"}',
    b'{"labels": ["happy"], "description": ["x"]}',
    b'{"labels": ["happy"], "description": NaN}',
    b'{"labels": ["happy"], "extra": 3}',
    b'{"labels": ["happy"], "extra": {"faces_channels": 5}, "stored": {}}',
    b'{"labels": ["happy"], "duration_seconds": NaN}',
    b'{"labels": ["happy"], "stored": 5}',
]


@pytest.mark.parametrize("content", ODD_FACTS)
def test_whatever_stands_in_the_json_of_a_sample_is_its_own_fault(shards, tmp_path, content):
    folder = with_facts(shards, tmp_path / "odd", {"clip2": content})
    stream = ShardStream(folder, MediaProfile.of(MEDIA), tolerant=True)
    samples = list(QuestionStream(stream, "hybrid", answered=True))
    bad = [sample for sample in samples if isinstance(sample, BadSample)]
    assert [sample.key for sample in bad] == ["clip2"]
    assert "clip2" in bad[0].reason
    assert len(samples) == 10
    codes = [fault.code for fault in check_shards(folder, decode=True).faults]
    assert codes[0] in ("bad_json", "undecodable", "wrong_key", "empty_member")


FIELDS = st.sampled_from(["labels", "subtitle", "description", "extra", "missing", "stored", "duration_seconds", "x"])
LEAVES = st.none() | st.booleans() | st.floats() | st.text(max_size=4)


@given(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner), max_leaves=12))
@settings(max_examples=200, deadline=None)
def test_any_json_gives_a_clip_or_the_fault_of_its_sample(value):
    members = {"json": json.dumps(value).encode(), "wav": WAV}
    try:
        clip = load_sample("clip", members, MediaProfile.of(MEDIA), None, "here")
    except SampleError:
        return
    assert all(isinstance(label, str) for label in clip.labels)
    assert clip.description is None or isinstance(clip.description, str)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_odd_samples_below_the_budget_end_no_training(shards, tmp_path, num_workers):
    odd = {"clip2": b'{"labels": [NaN]}', "clip5": b'{"labels": ["half \\ud83d"]}'}
    folder = with_facts(shards, tmp_path / "odd", odd)
    options = {"train": str(folder), "max_epochs": 4, "num_workers": num_workers, "default_root_dir": tmp_path}
    seen = fit(**options, data={"bad_sample_budget": 0.2})
    assert {key for _, keys, _ in seen for key in keys} <= ALL - {"clip2", "clip5"}
    assert set(report(tmp_path)) == {"clip2", "clip5"}
    with pytest.raises(DataError, match="2 of 10 samples are bad"):
        fit(**options, data={"bad_sample_budget": 0.1})


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_description_that_no_prompt_holds_is_a_bad_sample(shards, tmp_path, num_workers):
    facts = {"labels": ["sad"], "description": "so " * 2000, "key": "clip2"}
    folder = with_facts(shards, tmp_path / "long", {"clip2": json.dumps(facts).encode()})
    model = AffectGPT.from_config(tiny_config())

    def train(budget: float) -> None:
        media = model.media.to_json()
        data = MERCaptionDataModule(
            str(folder),
            batch_size=2,
            num_workers=num_workers,
            media=media,
            style="brief",
            task="description",
            bad_sample_budget=budget,
        )
        options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = lightning.Trainer(
            accelerator="cpu", max_epochs=2, default_root_dir=tmp_path, enable_model_summary=False, **options
        )
        trainer.fit(model, data)

    train(0.2)
    found = report(tmp_path)
    assert set(found) == {"clip2"}
    assert found["clip2"]["code"] == "does_not_fit"
    assert "max_tokens=1024" in found["clip2"]["reason"]
    with pytest.raises(DataError, match=r"clip2.*max_tokens=1024"):
        train(0.0)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_validations_of_a_training_go_on_without_their_bad_samples(shards, tmp_path, num_workers, caplog):
    # one batch of two is bad as a whole, and of another one sample
    others = set(multiprocessing.active_children())
    folder = spoil(shards, tmp_path / "spoilt", "clip2", "clip3", "clip5")
    model = Reader()

    def run(stage: str, budget: float) -> None:
        data = MERCaptionDataModule(
            train=str(shards), val=str(folder), batch_size=2, num_workers=num_workers, media=MEDIA,
            bad_sample_budget=budget,
        )  # fmt: skip
        trainer = quiet_trainer(max_epochs=2, num_sanity_val_steps=0, default_root_dir=tmp_path)
        getattr(trainer, stage)(model, datamodule=data)

    run("fit", 0.3)
    whole = [("clip0", "clip1"), ("clip4",), ("clip6", "clip7"), ("clip8", "clip9")]
    assert model.validated == whole * 2
    lines = [json.loads(line) for line in (tmp_path / "bad_validation_samples.jsonl").read_text().splitlines()]
    assert {line["key"]: line["code"] for line in lines} == dict.fromkeys(("clip2", "clip3", "clip5"), "undecodable")
    assert all(line["replaced_by"] is None for line in lines)
    assert not (tmp_path / "bad_samples.jsonl").exists()
    assert len([record for record in caplog.records if "bad sample" in record.getMessage()]) == 3
    with pytest.raises(DataError, match=r"3 of 10 samples are bad, but bad_sample_budget=0\.2 allows 2"):
        run("fit", 0.2)
    with pytest.raises(DataError, match=r"clip2.*sample 2 of shard"):
        run("validate", 0.3)
    gc.collect()  # what the errors hold
    assert not set(multiprocessing.active_children()) - others, "Python would wait for them at its end"


def test_a_rank_whose_batch_is_bad_as_a_whole_stays_in_step(shards, tmp_path):
    def batches(*bad):
        folder = spoil(shards, tmp_path / "-".join(bad), *bad)
        args = {"rank": 0, "world_size": 2, "block": 2, "remainder": "repeat", "tolerant": True}
        stream = QuestionStream(ShardStream(folder, MediaProfile.of(MEDIA), **args), "labels", answered=True)
        return [batch.keys for batch in StreamLoader(stream, None, BadSampleBudget(0.5), batch_size=2)]

    assert batches("clip2", "clip3") == [("clip0", "clip1"), ("clip0",), ("clip4",)]
    assert batches("clip0", "clip1") == [("clip2", "clip3"), ("clip2",), ("clip4",)]
