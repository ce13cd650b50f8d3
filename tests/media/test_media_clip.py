import numpy as np
import pytest
import torch

from affectgpt.errors import ConfigError, DataError
from affectgpt.media import MediaProfile, load_clip, segment_waveform
from clipmaker import make_clip, make_png, make_wav

SMALL = MediaProfile(num_frames=4, frame_height=32, frame_width=32, num_segments=3, segment_seconds=0.5)


def test_profile_survives_json_and_refuses_what_it_does_not_know():
    profile = MediaProfile.of({"num_frames": 4, "sources": ["face", "audio"], "segment_seconds": 1})
    assert MediaProfile.of(profile.to_json()) == profile
    assert MediaProfile.of(None) == MediaProfile()
    assert profile.segment_samples == 16_000


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_frame": 4}, "Did you mean 'num_frames'"),
        ({"num_frames": 0}, "at least 1"),
        ({"num_frames": "8"}, "whole number"),
        ({"frame_height": 0}, "set both"),
        ({"segment_seconds": -1.0}, "shorter than one sample"),
        ({"sources": ["smell"]}, "unknown source 'smell'"),
        ({"sources": "audio"}, "must be a list"),
        ({"sources": []}, "at least one"),
        ({"sources": ["audio", "audio"]}, "once"),
        (["frame"], "or a mapping"),
        ("offical", "Did you mean 'official'"),
        ({"profile": "offical"}, "Did you mean 'official'"),
        ({"visual_policy": "best"}, "known: default, official"),
        ({"face_channels": "RGB"}, "known: rgb, bgr"),
        ({"visual_policy": "official", "frame_height": 0, "frame_width": 0}, "needs a size"),
    ],
)
def test_wrong_profiles_say_what_is_wrong(values, words):
    with pytest.raises(ConfigError, match=words):
        MediaProfile.of(values)


def test_windows_run_from_the_first_sample_to_the_last():
    waveform = torch.arange(20_000.0)
    segments, keep = segment_waveform(waveform, SMALL)
    assert segments.shape == (3, 8000)
    assert keep.all()
    assert segments[:, 0].tolist() == [0.0, 6000.0, 12_000.0]
    assert segments[-1, -1] == 19_999


@pytest.mark.parametrize("length", [1, 7999, 8000])
def test_a_clip_of_one_window_is_heard_once(length):
    segments, keep = segment_waveform(torch.ones(length), SMALL)
    assert keep.tolist() == [True, False, False]
    assert segments[0].sum() == length
    assert not segments[1:].any()


def test_an_empty_waveform_is_refused():
    with pytest.raises(DataError, match="at least one sample"):
        segment_waveform(torch.zeros(0), SMALL)


def test_a_clip_carries_everything_and_lacks_nothing():
    clip, missing = load_clip(make_clip(2.0), SMALL, key="k", subtitle=" well ", labels=["happy"], extra={"lang": "zh"})
    assert clip.media["frame"].shape == (4, 3, 32, 32)
    assert clip.media["audio"].shape == (3, 8000)
    assert (clip.key, clip.subtitle, clip.labels, clip.extra) == ("k", "well", ("happy",), {"lang": "zh"})
    assert clip.duration_seconds == pytest.approx(2.0, abs=0.1)
    assert missing == {}


def test_what_is_missing_has_a_reason():
    both = MediaProfile.of({**SMALL.to_json(), "sources": ["frame", "face", "audio"]})
    clip, missing = load_clip(make_clip(0.4, audio=False), both, key="mute")
    assert set(clip.media) == {"frame"}
    assert missing == {
        "face": "no face crops in the sample",
        "audio": "the file has no audio track",
        "subtitle": "none was given",
    }
    with pytest.raises(DataError, match="'mute' has none of the sources"):
        load_clip(make_clip(0.4, audio=False), MediaProfile(sources=("audio",)), key="mute")


def test_separate_audio_is_heard_in_place_of_the_track():
    clip, missing = load_clip(make_clip(2.0, audio=False), SMALL, audio=make_wav(0.4), subtitle="x")
    assert clip.media["audio"].shape == (1, 8000)
    assert missing == {}
    assert clip.duration_seconds == pytest.approx(2.0, abs=0.1)


def test_faces_are_taken_at_equal_distances_and_scaled():
    faces = np.stack([np.full((10, 12, 3), 10 * i, np.uint8) for i in range(10)])
    profile = MediaProfile(num_frames=5, frame_height=16, frame_width=16, sources=("face",))
    clip, missing = load_clip(b"never read", profile, key="k", faces=faces)
    assert clip.media["face"].shape == (5, 3, 16, 16)
    assert clip.media["face"][:, 0, 8, 8].tolist() == [10, 30, 50, 70, 90]
    assert set(missing) == {"subtitle"}
    with pytest.raises(DataError, match="uint8"):
        load_clip(b"", profile, key="k", faces=faces.astype(np.float32))


def test_a_picture_is_an_image_and_a_film_is_not():
    profile = MediaProfile(sources=("image", "frame"))
    assert set(load_clip(make_png(8, 8), profile)[0].media) == {"image", "frame"}
    clip, missing = load_clip(make_clip(0.3), profile)
    assert set(clip.media) == {"frame"}
    assert missing["image"] == "the file is not a picture"


def test_notes_on_the_decoding_travel_with_the_clip():
    raw = make_clip(8.0, rate_hz=25, size=(128, 96), faststart=True)
    clip, _ = load_clip(raw[: len(raw) * 6 // 10], SMALL, key="cut")
    assert clip.extra["media_notes"]


def test_the_package_imports_no_torch_until_it_is_used():
    import subprocess
    import sys

    code = (
        "import sys, affectgpt.media, affectgpt.datamodules; assert not {'torch', 'av', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
