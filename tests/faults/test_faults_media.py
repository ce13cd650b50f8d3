"""What goes wrong with media files, provoked for real: nothing hangs, nothing is lost unsaid, nothing is made up."""

from __future__ import annotations

import gc
import io
import json
import pickle
import struct
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from affectgpt import AffectGPT
from affectgpt.cli.main import main
from affectgpt.errors import DataError, MediaError
from affectgpt.media import MediaProfile, load_clip
from affectgpt.media.decode.decoder import decode
from affectgpt.media.faces import find_faces
from affectgpt.media.speech import speech_segments
from affectgpt.media.verdict import check_files, check_media
from affectgpt.registry import FACE_DETECTORS
from clipmaker import make_clip, make_wav
from decodingworker import SameClip

SMALL = MediaProfile(num_frames=4, frame_height=32, frame_width=32, num_segments=3, segment_seconds=0.5)


def shades(frames: torch.Tensor) -> list[int]:
    """Number of each frame in the clip, from its grey."""
    return ((frames.float().mean((1, 2, 3)) - 19) / 4).round().int().tolist()


def flipped(clip: bytes, count: int) -> bytes:
    """Turn bytes between the header and the index of an mp4 over."""
    content = bytearray(clip)
    low, high = clip.index(b"mdat") + 2000, clip.index(b"moov") - 500
    for place in np.random.default_rng(0).integers(low, high, count):
        content[place] ^= 0xFF
    return bytes(content)


def without_rate(clip: bytes) -> bytes:
    """Set the length of every frame of an mp4 to nothing (its box ``stts``): no frame rate follows from it."""
    content = bytearray(clip)
    box = clip.index(b"stts")
    for number in range(struct.unpack(">I", clip[box + 8 : box + 12])[0]):
        content[box + 16 + 8 * number : box + 20 + 8 * number] = bytes(4)
    return bytes(content)


def make_hevc(seconds: float) -> bytes:
    """An HEVC clip whose frames depend on each other both ways; frame i is grey as in ``make_clip``."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        options = {"x265-params": "log-level=none:keyint=12:bframes=3:pools=none", "crf": "1"}
        stream = out.add_stream("libx265", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(round(10 * seconds)):
            grey = np.full((48, 64, 3), 20 + 4 * (number % 50), np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(stream.encode(None))
    return file.getvalue()


@pytest.fixture(scope="module")
def whole() -> bytes:
    return make_clip(4.0, rate_hz=25, size=(128, 96), faststart=True)


@pytest.mark.parametrize(
    ("cut", "code", "words"),
    [
        (lambda clip: b"", "empty_file", "is empty"),
        (lambda clip: clip[: clip.index(b"mdat") + 4], "undecodable", "is broken"),
        (lambda clip: clip[:40], "no_tracks", "no track at all"),
        (lambda clip: b"MELD dia0_utt0 " * 100, "not_media", "FFmpeg can read"),
    ],
    ids=["zero bytes", "header only", "cut header", "text"],
)
def test_failure_1_a_file_without_content_is_refused_with_its_code(whole, cut, code, words, tmp_path) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(cut(whole))
    with pytest.raises(MediaError, match=words) as caught:
        decode(path, SMALL, key="bad")
    assert caught.value.code == code
    assert isinstance(caught.value, DataError)
    assert pickle.loads(pickle.dumps(caught.value)).code == code  # workers hand it over
    checked = check_media(path)
    assert (checked.verdict, checked.code) == ("refused", code)
    assert words in checked.notes[0]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_failure_1_a_truncated_file_gives_what_it_holds_and_says_so(whole, share) -> None:
    decoded = decode(whole[: int(len(whole) * share)], SMALL)
    assert len(decoded.frames) == 4
    assert decoded.duration_seconds < 4 * share + 0.6
    assert any("cut" in note for note in decoded.notes)


def test_failure_2_a_flipped_stream_is_decoded_where_it_can_be_and_every_loss_is_noted(tmp_path) -> None:
    clip = flipped(make_clip(4.0, rate_hz=25, size=(128, 96)), 150)
    decoded = decode(clip, SMALL)
    assert decoded.frames is not None
    assert decoded.notes
    (tmp_path / "flipped.mp4").write_bytes(clip)
    checked = check_media(tmp_path / "flipped.mp4")
    assert (checked.verdict, checked.code) == ("notes", "damaged")


def test_failure_2_a_stream_flipped_to_nothing_is_refused(whole) -> None:
    start = whole.index(b"mdat") + 4
    with pytest.raises(MediaError, match="is broken: nothing of its h264 video track") as caught:
        decode(whole[:start] + b"\xff" * (len(whole) - start), MediaProfile(sources=("frame",)), key="gone")
    assert caught.value.code == "undecodable"


def test_failure_3_a_file_without_video_is_heard_and_refused_only_where_pictures_are_a_must() -> None:
    clip, missing = load_clip(make_clip(1.0, video=False), SMALL, subtitle="x")
    assert set(clip.media) == {"audio"}
    assert missing == {"frame": "the file has no video track"}
    with pytest.raises(DataError, match=r"none of the sources.*no video track"):
        load_clip(make_clip(1.0, video=False), MediaProfile(sources=("frame",)))


def test_failure_4_a_file_without_sound_is_seen_and_its_answer_says_so() -> None:
    torch.manual_seed(0)
    config = {"streams": {"frame": "tiny-vision", "audio": "tiny-audio"}, "llm": "tiny", "max_new_tokens": 4}
    model = AffectGPT.from_config({**config, "media": {"num_frames": 2, "frame_height": 32, "frame_width": 32}}).eval()
    answer = model.predict(make_clip(0.5, audio=False), "x")
    assert answer.used == ("frame", "subtitle")
    assert answer.missing == {"audio": "the file has no audio track"}


def test_failure_5_silence_is_kept_as_sound_and_gives_no_words(tmp_path) -> None:
    silent = make_clip(2.0, tone_hz=0.0)
    decoded = decode(silent, SMALL)
    assert len(decoded.waveform) == pytest.approx(32_000, abs=1100)
    assert not decoded.missing
    assert speech_segments(decoded.waveform) == []
    (tmp_path / "silent.mp4").write_bytes(silent)
    assert check_media(tmp_path / "silent.mp4").code == "silent"


@pytest.mark.parametrize("samples", [1, 100, 7999])
def test_failure_6_sound_shorter_than_a_window_is_padded_and_heard_once(samples) -> None:
    clip, _ = load_clip(make_wav(samples / 16_000), MediaProfile(sources=("audio",), segment_seconds=0.5))
    assert clip.media["audio"].shape == (1, 8000)


def test_failure_6_five_minutes_cost_no_more_memory_than_their_samples() -> None:
    clip = make_clip(300, rate_hz=2, size=(320, 240), audio=False)
    start = time.perf_counter()
    decoded = decode(clip, MediaProfile(num_frames=8, frame_height=0, frame_width=0, sources=("frame",)))
    assert time.perf_counter() - start < 60  # a hang, not a speed
    assert decoded.duration_seconds == pytest.approx(300, abs=0.6)
    assert shades(decoded.frames) == [(2 * i + 1) * 300 // 8 % 50 for i in range(8)]
    sound, _ = load_clip(make_wav(300), SMALL)
    assert sound.media["audio"].shape == (3, 8000)


def test_failure_7_frames_are_taken_by_their_time_where_the_rate_varies() -> None:
    times = [*(i / 25 for i in range(50)), 4.0, 6.0, 8.0]  # two dense seconds, then one picture every two seconds
    decoded = decode(make_clip(times=times, audio=False), MediaProfile(num_frames=8, sources=("frame",)))
    end = decoded.duration_seconds
    expected = [max(i for i, t in enumerate(times) if t <= (k + 0.5) * end / 8) for k in range(8)]
    assert shades(decoded.frames) == [number % 50 for number in expected]
    assert len(set(expected)) > 3


@pytest.mark.parametrize("num_frames", [1, 4, 30])
def test_failure_8_frames_of_hevc_are_not_stale(num_frames) -> None:
    decoded = decode(make_hevc(3.0), MediaProfile(num_frames=num_frames, sources=("frame",)))
    assert shades(decoded.frames) == [int((k + 0.5) * 30 / num_frames) for k in range(num_frames)]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_failure_9_workers_decode_after_the_parent_has_and_do_not_hang(start) -> None:
    clip = make_clip(1.0, rate_hz=25, size=(320, 240))
    here = decode(clip, SMALL)  # a decoder that had threads here would lock up in a forked worker
    workers = 2 if start == "fork" else 1
    dataset = SameClip(clip, SMALL, 8)
    loader = DataLoader(dataset, batch_size=2, num_workers=workers, multiprocessing_context=start, timeout=200)
    batches = list(loader)
    assert len(batches) == 4
    for frames, waveform in batches:
        assert torch.equal(frames[0], here.frames)
        assert torch.equal(waveform[1], here.waveform)


def _resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("kind", ["whole", "cut", "flipped"])
def test_failure_10_memory_stays_flat_over_many_files_also_broken_ones(kind) -> None:
    clip = make_clip(0.5, rate_hz=25, size=(640, 360), faststart=kind == "cut")
    clip = clip[: len(clip) * 2 // 3] if kind == "cut" else flipped(clip, 30) if kind == "flipped" else clip
    for _ in range(10):
        decode(clip, SMALL)
    before = _resident_bytes()
    for _ in range(60):
        decode(clip, SMALL)
    assert _resident_bytes() - before < 60 * 640 * 360 * 3 // 4  # a quarter of a frame for each


def test_failure_10_a_file_that_ends_too_early_ends(whole) -> None:
    start = time.perf_counter()
    for share in (0.2, 0.5, 0.8):
        decode(whole[: int(share * len(whole))], SMALL)
    assert time.perf_counter() - start < 60


def test_failure_11_no_face_is_a_reason_and_not_an_exception(shared) -> None:
    detector = FACE_DETECTORS.build("centerface")
    nobody = find_faces(shared / "data" / "odd_media" / "no_face.mp4", SMALL, detector)
    assert (nobody.coverage, len(nobody.kept), len(nobody.crops)) == (0, 0, 4)
    assert np.isnan(nobody.boxes).all()
    sometimes = find_faces(shared / "data" / "odd_media" / "face_noface.mov", MediaProfile(num_frames=16), detector)
    assert 0.3 < sometimes.coverage < 0.5
    assert np.isfinite(sometimes.boxes[sometimes.keep]).all()
    profile = MediaProfile(num_frames=4, sources=("frame", "face"))
    clip, missing = load_clip(shared / "data" / "odd_media" / "no_face.mp4", profile, subtitle="x", faces=detector)
    assert set(clip.media) == {"frame"}
    assert missing == {"face": "no face was found in its 4 frames"}


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_a_file_without_frame_rate_and_one_of_one_frame_give_frames(seconds) -> None:
    clip = make_clip(seconds, rate_hz=10, audio=False)
    assert shades(decode(clip, SMALL).frames)[0] == (0 if seconds < 1 else 1)
    strange = decode(without_rate(clip), SMALL)
    assert strange.frames.shape == (4, 3, 32, 32)
    assert strange.duration_seconds <= seconds


def test_check_media_says_of_each_file_whether_it_can_be_used(whole, tmp_path, capsys) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    contents = {"a.mp4": whole, "b.mp4": b"", "c.mp4": make_clip(0.5, audio=False), "d.wav": make_wav(0.5)}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "notes.txt").write_text("not looked at")
    report = tmp_path / "report.jsonl"
    code = main(["check", "--media", str(folder), str(tmp_path / "gone.mp4"), "--out", str(report)])
    shown = capsys.readouterr().out
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert code == 1
    assert [(Path(one["file"]).name, one["verdict"], one["code"]) for one in lines] == [
        ("a.mp4", "ok", ""),
        ("b.mp4", "refused", "empty_file"),
        ("c.mp4", "notes", "no_audio"),
        ("d.wav", "notes", "no_video"),
        ("gone.mp4", "refused", "unreadable"),
    ]
    assert lines[0]["streams"]["video"] == {"codec": "h264", "width": 128, "height": 96, "rate_hz": 25.0}
    assert lines[0]["duration_seconds"] == pytest.approx(4, abs=0.1)
    assert "1 ok, 2 with notes, 2 refused" in shown
    assert main(["check", "--media", str(folder / "a.mp4"), "--out", str(report), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["verdict"] == "ok"


def test_check_media_gives_the_same_from_several_processes(whole, tmp_path) -> None:
    paths = []
    for number, content in enumerate([whole, b"", make_wav(0.3)]):
        paths.append(tmp_path / f"{number}.mp4")
        paths[-1].write_bytes(content)
    assert list(check_files(paths, workers=2)) == [check_media(path) for path in paths]
