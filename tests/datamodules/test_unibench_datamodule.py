"""The datamodule of the test sets: order, broken clips, ranks, workers, and Lightning's own verbs."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import lightning
import numpy as np
import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.datamodules import UniBenchDataModule
from affectgpt.datamodules.unibench import clip_loader
from affectgpt.errors import ConfigError, DataError
from affectgpt.prompts.wordings import OFFICIAL
from affectgpt.registry import DATAMODULES
from clipmaker import make_clip, make_wav
from decodingworker import KilledByTheFirst
from setmaker import make_processed, touch

MEDIA = {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven clips of MELD, of which 2 is cut, 4 is no video and 5 is missing; four of CH-SIMS."""
    root = tmp_path_factory.mktemp("sets")
    clip = make_clip(0.4)
    meld, names = make_processed(root, "meld", 7, clip=clip)
    (meld / "subvideo" / f"{names[2]}.mp4").write_bytes(clip[:100])
    (meld / "subvideo" / f"{names[4]}.mp4").write_bytes(b"this is text")
    (meld / "subvideo" / f"{names[5]}.mp4").unlink()
    touch(meld / "subaudio" / f"{names[6]}.wav", make_wav(0.3))
    make_processed(root, "sims", 4, clip=make_clip(0.3, audio=False))
    return root


def module(folder: Path, **options: object) -> UniBenchDataModule:
    arguments = {"batch_size": 3, "num_workers": 0, "media": MEDIA, "allow_partial": True, **options}
    return UniBenchDataModule(str(folder), **arguments)


def test_clips_come_in_order_with_words_labels_and_question(folder: Path) -> None:
    data = module(folder, sets=["meld"])
    data.setup("test")
    batches = list(data.test_dataloader())
    assert [batch.keys for batch in batches] == [
        ("test_dia0_utt0", "test_dia0_utt1"),
        ("test_dia0_utt3",),
        ("test_dia0_utt6",),
    ]
    first = batches[0]
    assert first.labels == (("anger",), ("joy",))
    assert first.subtitles[0] == "words of test_dia0_utt0"
    assert first.questions == (OFFICIAL.label_question,) * 2
    assert first.answers is None
    assert first.media["frame"].shape == (2, 2, 3, 32, 32)


def test_broken_clips_are_reported_and_never_dropped_in_silence(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = module(folder, sets=["meld"])
    data.setup("predict")
    with caplog.at_level(logging.WARNING):
        seen = [key for batch in data.predict_dataloader() for key in batch.keys]
    noted = data.unreadable["meld"]
    assert len(seen) + len(noted) == 7
    assert {int(key[-1]) for key in noted} == {2, 4, 5}
    assert "the folder has no video or sound" in noted["test_dia0_utt5"]
    assert sum("gets no answer" in record.message for record in caplog.records) == 3


def test_workers_change_nothing(folder: Path) -> None:
    read = []
    for num_workers in (0, 2):
        data = module(folder, num_workers=num_workers, batch_size=2)
        data.setup("predict")
        batches = list(data.predict_dataloader())
        read.append(([b.keys for b in batches], data.unreadable, torch.cat([b.media["frame"] for b in batches])))
    assert read[0][:2] == read[1][:2]
    assert torch.equal(read[0][2], read[1][2])


def test_several_sets_in_the_order_of_the_benchmark_under_names_of_their_own(folder: Path) -> None:
    data = module(folder)
    data.setup("test")
    assert list(data.sets) == ["meld", "sims"]
    batches = list(data.test_dataloader())
    keys = [key for batch in batches for key in batch.keys]
    assert keys[0] == "meld/test_dia0_utt0"
    assert keys[-1] == "sims/video_0000_0003"
    assert len(keys) == 8
    assert batches[-1].labels[-1] == ()  # a score is no label
    alone = [key for batch in data.loader("sims", skip={"video_0000_0001"}) for key in batch.keys]
    assert alone == ["video_0000_0000", "video_0000_0002", "video_0000_0003"]


def test_a_batch_of_broken_clips_alone_is_noted(folder: Path) -> None:
    data = module(folder, sets=["meld"], batch_size=1)
    data.setup("predict")
    assert sum(1 for _ in data.predict_dataloader()) == 4
    assert len(data.unreadable["meld"]) == 3


def test_face_crops_are_read(folder: Path, tmp_path: Path) -> None:
    meld, names = make_processed(tmp_path, "meld", 2, clip=make_clip(0.3))
    (meld / "openface_face").mkdir()
    blue_first = np.full((5, 20, 20, 3), (200, 100, 0), np.uint8)
    np.save(meld / "openface_face" / f"{names[0]}.npy", blue_first)
    data = module(tmp_path, media={**MEDIA, "sources": ["face", "audio"]})
    (batch,) = data.loader("meld")
    # without crops the detector looks, and finds no face in a grey picture
    assert batch.keep["face"].tolist() == [[True, True], [False, False]]
    assert batch.media["face"][0, 0, :, 0, 0].tolist() == [0, 100, 200]
    np.save(meld / "openface_face" / f"{names[1]}.npy", np.zeros((5, 20, 20)))
    data = module(tmp_path, media={**MEDIA, "sources": ["face", "audio"]})
    assert [b.keys for b in data.loader("meld")] == [(names[0],)]
    assert "face crops must be uint8" in data.unreadable["meld"][names[1]]


def test_faces_are_found_where_there_are_no_crops(shared: Path, tmp_path: Path) -> None:
    clip = (shared / "data/clips/sample_00000000.mp4").read_bytes()
    make_processed(tmp_path, "meld", 1, clip=clip)
    for detector, num_sources in (("centerface", 2), (None, 1)):
        media = {**MEDIA, "sources": ["face", "audio"]}
        data = module(tmp_path, media=media, face_detector=detector, num_workers=1)
        (batch,) = data.loader("meld")
        assert len(batch.media) == num_sources


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_samples_in_equal_steps(folder: Path, world_size: int) -> None:
    seen, steps = [], []
    for rank in range(world_size):
        data = module(folder, sets=["sims"], batch_size=1)
        data.trainer = SimpleNamespace(distributed_sampler_kwargs={"rank": rank, "num_replicas": world_size})
        keys = [key for batch in data.predict_dataloader() for key in batch.keys]
        seen += keys
        steps.append(len(keys))
    assert len(set(steps)) == 1
    assert len(set(seen)) == 4


def test_ranks_stay_in_step_over_broken_clips(folder: Path, tmp_path: Path) -> None:
    def keys(root: Path, rank: int) -> list[str]:
        data = module(root, sets=["meld"], batch_size=1)
        data.trainer = SimpleNamespace(distributed_sampler_kwargs={"rank": rank, "num_replicas": 2})
        return [key[-1] for batch in data.predict_dataloader() for key in batch.keys]

    # 2, 4 and 5 are broken: rank 0 reads 0 1 2 3, rank 1 reads 4 5 6 and 0 again
    assert keys(folder, 0) == ["0", "1", "1", "3"]
    assert keys(folder, 1) == ["6", "6", "6", "0"]
    make_processed(tmp_path, "meld", 2)
    with pytest.raises(DataError, match="none of this rank's clips can be read"):
        keys(tmp_path, 0)


def test_lightning_tests_and_predicts(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AffectGPT.from_config(
        {"streams": {"frame": "tiny-vision", "audio": "tiny-audio"}, "llm": "tiny", "media": MEDIA, "max_new_tokens": 4}
    )
    spec = {"name": "unibench", "args": {"data": str(folder), "batch_size": 2, "num_workers": 0, "allow_partial": True}}
    data = DATAMODULES.build(spec, media=model.media.to_json())
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(accelerator="cpu", devices=1, default_root_dir=tmp_path, **quiet)
    answers = [a for batch in trainer.predict(model, data) for a in batch]
    assert len({a.key for a in answers}) == 8
    assert len(data.unreadable["meld"]) == 3
    trainer.test(model, data, verbose=False)
    with pytest.raises(ConfigError, match="it has no data for 'fit'"):
        trainer.fit(model, data)


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no data"):
        UniBenchDataModule([])
    with pytest.raises(ConfigError, match="unknown test set 'meldx'"):
        module(folder, sets=["meldx"])
    with pytest.raises(ConfigError, match="batch_size=0"):
        module(folder, batch_size=0)
    with pytest.raises(DataError, match="no test set in"):
        module(tmp_path).setup("test")
    with pytest.raises(DataError, match="7 samples, but the published split"):
        module(folder, allow_partial=False, sets=["meld"]).setup("test")


def test_a_clip_that_kills_its_process_is_one_that_cannot_be_read(folder: Path, monkeypatch) -> None:
    """The worker is sent a loader that is killed by one clip, as FFmpeg may be by a file."""
    data = module(folder, sets=["meld"], num_workers=1, batch_size=2)
    data.setup("predict")
    monkeypatch.setattr(clip_loader, "_Load", KilledByTheFirst)
    answered = [key for batch in data.predict_dataloader() for key in batch.keys]
    assert "test_dia0_utt0" not in answered
    assert len(answered) == 3
    assert "SIGSEGV" in data.unreadable["meld"]["test_dia0_utt0"]
