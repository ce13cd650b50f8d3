"""Failures of benchmark runs, provoked for real: nothing is lost or counted in silence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.bench.answer_log import AnswerLog
from affectgpt.bench.benchmark import Benchmark
from affectgpt.bench.system_result import SystemResult
from affectgpt.datamodules import UniBenchDataModule
from affectgpt.datamodules.unibench import read_set
from affectgpt.errors import DataError
from clipmaker import make_clip, make_wav
from fulldisk import largest_file
from setmaker import make_processed, touch, write_csv

MEDIA = {"num_frames": 2, "num_segments": 2, "segment_seconds": 0.25, "frame_height": 32, "frame_width": 32}
NUM_CLIPS = 8


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    streams = {"frame": "tiny-vision", "audio": "tiny-audio", "face": "tiny-vision"}
    model = AffectGPT.from_config({"streams": streams, "llm": "tiny", "media": MEDIA, "max_new_tokens": 4})
    model.save_checkpoint(folder / "model.ckpt")
    return folder / "model.ckpt"


def set_of(root: Path) -> tuple[Path, list[str]]:
    folder, names = make_processed(root / "sets", "meld", NUM_CLIPS, clip=make_clip(0.3))
    (folder / "openface_face").mkdir()
    for name in names:
        np.save(folder / "openface_face" / f"{name}.npy", np.zeros((3, 16, 16, 3), np.uint8))
    return folder, names


def answer(root: Path, checkpoint: Path) -> SystemResult:
    data = UniBenchDataModule(str(root / "sets"), num_workers=0, batch_size=3, allow_partial=True, face_detector=None)
    (result,) = Benchmark(root / "out", resamples=0, allow_partial=True).run([checkpoint], data, system="me")
    return result


def answered(root: Path) -> dict[str, dict[str, object]]:
    path = root / "out/answers/results-meld/me/model.answers.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["key"]: row for row in rows if "key" in row}


@pytest.mark.parametrize(
    ("fault", "content", "reason"),
    [
        ("zero bytes", b"", "is empty"),
        ("cut in the header", make_clip(0.3)[:200], "cut"),
        ("text instead of a clip", b"<html>404 not found</html>", "not a video"),
    ],
)
def test_fault_1_a_clip_that_cannot_be_opened(fault: str, content: bytes, reason: str, tmp_path, checkpoint) -> None:
    folder, names = set_of(tmp_path)
    (folder / "subvideo" / f"{names[2]}.mp4").write_bytes(content)
    result = answer(tmp_path, checkpoint)
    assert list(result.failed_answers) == [names[2]]
    assert reason in result.failed_answers[names[2]]
    assert result.result.gold_samples == NUM_CLIPS


def test_fault_2_a_clip_cut_in_the_middle_is_answered_from_what_is_left(tmp_path: Path, checkpoint: Path) -> None:
    folder, names = set_of(tmp_path)
    whole = make_clip(4.0, faststart=True)
    (folder / "subvideo" / f"{names[0]}.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    assert answer(tmp_path, checkpoint).failed_answers == {}


@pytest.mark.parametrize(
    ("video", "audio", "used"), [(False, True, {"audio", "face"}), (True, False, {"frame", "face"})]
)
def test_fault_3_and_4_no_video_or_no_sound_is_seen_in_the_slots(video, audio, used, tmp_path, checkpoint) -> None:
    folder, names = set_of(tmp_path)
    (folder / "subvideo" / f"{names[1]}.mp4").write_bytes(make_clip(0.4, video=video, audio=audio))
    result = answer(tmp_path, checkpoint)
    assert result.failed_answers == {}
    assert set(answered(tmp_path)[names[1]]["used"]) - {"multi", "subtitle"} == used


def test_fault_12_face_crops_under_a_wrong_name_or_of_another_shape(tmp_path: Path, checkpoint: Path) -> None:
    folder, names = set_of(tmp_path)
    faces = folder / "openface_face"
    np.save(faces / f"{names[3]}.npy", np.zeros((3, 16, 16), np.uint8))
    (faces / f"{names[4]}.npy").write_bytes(b"not npy")
    (faces / f"{names[5]}.npy").rename(faces / f"sample_{names[5]}.npy")
    result = answer(tmp_path, checkpoint)
    assert list(result.failed_answers) == [names[3], names[4]]
    assert "7 of 8 clips have face crops" in result.data["notes"]
    assert "face" not in answered(tmp_path)[names[5]]["used"]
    assert "face" in answered(tmp_path)[names[6]]["used"]


def test_fault_12_clips_under_another_prefix_are_not_there(tmp_path: Path) -> None:
    folder, names = set_of(tmp_path)
    for name in names:
        (folder / "subvideo" / f"{name}.mp4").rename(folder / "subvideo" / f"new_{name}.mp4")
    with pytest.raises(DataError, match=f"{NUM_CLIPS} clips are not in .*subvideo"):
        read_set("meld", folder)


def test_fault_14_missing_words_are_listed_and_empty_ones_are_none(tmp_path: Path, checkpoint: Path) -> None:
    folder, names = set_of(tmp_path)
    rows = [(name, "" if i == 1 else "Oh.") for i, name in enumerate(names) if i != 0]
    write_csv(folder / "transcription-engchi-polish.csv", ("name", "english"), rows)
    result = answer(tmp_path, checkpoint)
    differences = {one["kind"]: one["keys"] for one in result.data["differences"]}
    assert differences["subtitles"] == [names[0]]
    found = answered(tmp_path)
    assert ["subtitle" in found[name]["used"] for name in names[:3]] == [False, False, True]


def test_fault_15_an_empty_list_of_true_labels_stays_in_the_set(tmp_path: Path) -> None:
    make_processed(tmp_path, "ovmerdplus")
    found = read_set("ovmerdplus", tmp_path, media=False)
    assert sum(sample.gold == "[]" for sample in found.samples) == 76
    assert len(found) == 532


def test_fault_24_a_full_disk_keeps_the_answers_before(tmp_path: Path) -> None:
    path = tmp_path / "x.answers.jsonl"
    with AnswerLog(path, {"a": 1}) as log:
        log.add([{"key": "one", "text": "happy"}])
        size = path.stat().st_size
        words = r"cannot be written: .* the earlier answers are kept"
        with largest_file(size + 20), pytest.raises(DataError, match=words):
            log.add([{"key": "two", "text": "a long answer that does not fit"}])
    with AnswerLog(path, {"a": 1}) as log:
        assert list(log.answers) == ["one"]
        assert log.num_cut_bytes == 20
        log.add([{"key": "two", "text": "sad"}])
    with AnswerLog(path, {"a": 1}) as log:
        assert list(log.answers) == ["one", "two"]


def test_two_runs_into_one_folder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "x.answers.jsonl"
    with AnswerLog(path, {"a": 1}), pytest.raises(DataError, match="another run is writing to"):
        AnswerLog(path, {"a": 1})
    with AnswerLog(path, {"a": 1}):
        pass


def test_a_set_that_changed_between_runs_is_scored_as_it_is_now(tmp_path: Path, checkpoint: Path) -> None:
    folder, names = set_of(tmp_path)
    answer(tmp_path, checkpoint)
    shutil.rmtree(folder)
    make_processed(tmp_path / "sets", "meld", NUM_CLIPS - 2, clip=make_clip(0.3))
    touch(folder / "subaudio" / f"{names[0]}.wav", make_wav(0.3))
    assert answer(tmp_path, checkpoint).result.gold_samples == NUM_CLIPS - 2
