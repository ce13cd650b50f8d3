"""The media profile ``official`` gives the published code's inputs bit for bit."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affectgpt.errors import DataError
from affectgpt.media import MediaProfile, load_clip
from affectgpt.media.decode.decoder import decode
from affectgpt.media.decode.timeline import floor_indices
from affectgpt.media.faces.face_arrays import read_faces
from affectgpt.media.pictures.linear_resize import resize_linear
from affectgpt.media.sound.resample import resample
from affectgpt.media.sound.segments import official_starts, segment_waveform
from clipmaker import make_clip, make_png, make_wav, turn_clockwise

OFFICIAL = MediaProfile.named("official", sources=["frame", "face", "audio"])
SAMPLES = ("sample_00000000", "sample_short")


@pytest.fixture(scope="module")
def oracle(shared: Path) -> Path:
    return shared / "oracle" / "model"


@pytest.fixture(scope="module")
def expected(oracle: Path) -> dict[str, torch.Tensor]:
    with np.load(oracle / "preproc.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


def load(oracle: Path, name: str) -> dict[str, torch.Tensor]:
    data = oracle / "data"
    clip, missing = load_clip(
        data / "video" / f"{name}.mp4",
        OFFICIAL,
        audio=data / "audio" / f"{name}.wav",
        faces=read_faces((data / "openface_face" / name / f"{name}.npy").read_bytes(), name),
        faces_channels="bgr",
    )
    assert set(missing) == {"subtitle"}
    return dict(clip.media)


@pytest.mark.parametrize("name", SAMPLES)
def test_frames_faces_and_windows_are_the_published_ones(oracle, expected, name):
    media = load(oracle, name)
    assert torch.equal(media["frame"], expected[f"{name}.raw_frame_uint8"].transpose(0, 1))
    assert torch.equal(media["face"], expected[f"{name}.raw_face_uint8"].transpose(0, 1))
    as_loaded, mean = expected[f"{name}.audio_as_loaded"], expected[f"{name}.audio_clip_mean"]
    assert torch.equal(media["audio"], (as_loaded - mean[..., None])[:, 0])


@pytest.mark.parametrize("name", SAMPLES)
def test_indices_and_starts_are_the_published_ones(oracle, name):
    facts = json.loads((oracle / "preproc.json").read_text())[name]
    assert floor_indices(facts["video_len"], 8) == facts["frame_indices"]
    assert floor_indices(facts["n_faces"], 8) == facts["face_indices"]
    length = max(facts["wav_frames"], OFFICIAL.segment_samples)
    assert official_starts(length, OFFICIAL) == facts["clip_start_samples"]


def test_sound_is_loaded_as_published(oracle, expected):
    for name in SAMPLES:
        heard = decode(oracle / "data" / "audio" / f"{name}.wav", OFFICIAL).waveform
        as_loaded = expected[f"{name}.audio_as_loaded"][:, 0]
        padded = torch.nn.functional.pad(heard, (0, max(0, 32_000 - len(heard))))
        starts = official_starts(len(padded), OFFICIAL)
        assert torch.equal(torch.stack([padded[start : start + 32_000] for start in starts]), as_loaded)
    stereo = decode(oracle / "data" / "audio" / "stereo44k_1s.wav", OFFICIAL).waveform
    assert torch.equal(stereo, expected["stereo44k_1s.clip0_until_padding"])


def test_the_own_track_of_a_video_is_what_the_published_sound_files_were_made_of(oracle):
    data = oracle / "data"
    published = decode(data / "audio" / "sample_00000000.wav", OFFICIAL).waveform
    own = decode(data / "video" / "sample_00000000.mp4", OFFICIAL).waveform
    assert len(own) == len(published)
    assert (own - published).norm() < 2e-4 * published.norm()  # 16 bits, and the mixing of two channels


@given(st.integers(1, 20_000))
def test_frame_numbers_are_those_of_the_published_formula(count):
    published = np.arange(0, count, count / min(8, count)).astype(int).tolist()
    assert floor_indices(count, 8) == (published + published[-1:] * 8)[:8]


@given(st.integers(32_000, 20 * 16_000))
def test_windows_start_where_a_float_made_a_fraction_says(length):
    room = Fraction(length / 16_000 - 2)
    assert official_starts(length, OFFICIAL) == [int(room / 8 * index * 16_000) for index in range(8)]


def test_a_short_sound_is_heard_in_every_window_without_its_mean():
    segments, keep = segment_waveform(torch.full((8000,), 0.5), OFFICIAL)
    assert keep.all()
    assert torch.equal(segments, segments[:1].expand(8, -1))
    assert segments[0, 0].item() == pytest.approx(0.375)
    assert segments[0, -1].item() == pytest.approx(-0.125)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 500), st.integers(1, 500), st.sampled_from([(224, 224), (96, 112), (1, 7)]), st.integers(0, 9))
def test_faces_are_scaled_as_opencv_does(height, width, size, seed):
    cv2 = pytest.importorskip("cv2", reason="compares with OpenCV")
    if seed == 0:
        height, width = 2 * size[0], 2 * size[1]
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(resize_linear(picture, *size), cv2.resize(picture, size[::-1]))


def test_scaling_of_faces_without_opencv():
    ramp = np.arange(0, 240, 40, dtype=np.uint8).reshape(1, 6, 1).repeat(2, 0).repeat(3, 2)
    assert resize_linear(ramp, 2, 4)[0, :, 0].tolist() == [10, 70, 130, 190]
    assert resize_linear(ramp, 1, 3)[0, :, 0].tolist() == [20, 100, 180]


@pytest.mark.parametrize(("rate", "wanted"), [(44_100, 16_000), (48_000, 16_000), (8000, 16_000), (16_000, 16_000)])
def test_resampling_is_that_of_torchaudio(rate, wanted):
    functional = pytest.importorskip("torchaudio.functional", reason="compares with torchaudio")
    for length in (1, 333, 44_100):
        waveform = torch.randn(2, length, generator=torch.Generator().manual_seed(length))
        assert torch.equal(resample(waveform, rate, wanted), functional.resample(waveform, rate, wanted))


def test_resampling_keeps_a_tone():
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(44_100) / 44_100)[None]
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000)
    assert (resample(tone, 44_100, 16_000)[0] - expected)[200:-200].abs().max() < 1e-3


def test_pictures_are_squashed_by_pillow():
    image = pytest.importorskip("PIL.Image", reason="compares with Pillow")
    raw = make_png(20, 40)
    clip, _ = load_clip(raw, MediaProfile.named("official", sources=["image"]))
    with image.open(io.BytesIO(raw)) as picture:
        assert np.array_equal(clip.media["image"][0].permute(1, 2, 0), np.asarray(picture.resize((224, 224))))


def test_frames_are_chosen_by_number_and_scaled_upright():
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.2, 2.0]
    profile = MediaProfile.named("official", num_frames=4, sources=["frame"])
    frames = decode(make_clip(times=times, audio=False), profile).frames
    assert ((frames.float().mean((1, 2, 3)) - 19) / 4).round().tolist() == [0, 2, 5, 7]
    raw = make_clip(0.5, audio=False)
    assert torch.equal(*(decode(clip, profile).frames for clip in (raw, turn_clockwise(raw))))  # grey, whichever way up


def test_the_official_scaling_obeys_rotation(shared):
    raw = (shared / "data" / "clips" / "sample_00000338.mp4").read_bytes()
    profile = MediaProfile.named("official", sources=["frame"])
    plain, turned = (decode(clip, profile).frames[0].float() for clip in (raw, turn_clockwise(raw)))
    clockwise = torch.rot90(plain, -1, (1, 2))
    assert (turned - clockwise).abs().mean() < 2
    assert (turned - torch.rot90(plain, 1, (1, 2))).abs().mean() > 20


def test_faces_reach_the_model_in_the_order_of_the_profile():
    faces = np.zeros((3, 8, 8, 3), np.uint8)
    faces[..., 0] = 200  # the first channel as stored
    for profile, channels, first in (
        ("official", "bgr", 200),
        ("official", "rgb", 0),
        ("default", "rgb", 200),
        ("default", "bgr", 0),
    ):
        wanted = MediaProfile.named(profile, sources=["face"], frame_height=8, frame_width=8)
        clip, _ = load_clip(b"never read", wanted, key="k", faces=faces, faces_channels=channels)
        assert clip.media["face"][0, 0, 0, 0] == first, (profile, channels)
        assert clip.media["face"].sum() == 8 * 64 * 200
    with pytest.raises(DataError, match=r"'k'.*'gbr'"):
        load_clip(b"", MediaProfile(sources=("face",)), key="k", faces=faces, faces_channels="gbr")


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.zeros((2, 3, 8, 8), np.uint8), "channels come first"),
        (np.zeros((8, 8, 3), np.uint8), "time axis"),
        (np.zeros((2, 8, 8, 3)), "uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), "there are no face crops"),
        (np.array([np.zeros((8, 8, 3)), np.zeros((9, 9, 3))], dtype=object), "crops of different sizes"),
    ],
)
def test_arrays_that_hold_no_faces_are_refused(array, hint):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    with pytest.raises(DataError, match=f"clip 'k'.*{hint}"):
        read_faces(file.getvalue(), "k")


def test_a_folder_of_frames_in_place_of_an_array_is_refused():
    with pytest.raises(DataError, match=r"clip 'k'.*cannot be read"):
        read_faces(make_png(8, 8), "k")


def test_channels_are_resampled_one_by_one_then_averaged():
    stereo = make_wav(0.5, 44_100)
    with av.open(io.BytesIO(stereo)) as container:
        planes = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], 1).reshape(-1, 2).T
    by_hand = resample(torch.from_numpy(planes.astype(np.float32) / 32_768), 44_100, 16_000).mean(0)
    assert torch.equal(decode(stereo, OFFICIAL).waveform, by_hand)
