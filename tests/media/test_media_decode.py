import numpy as np
import pytest
import torch

from affectgpt.errors import DataError
from affectgpt.media import MediaProfile
from affectgpt.media.decode.decoder import decode
from clipmaker import make_clip, make_png, make_wav, turn_clockwise

SMALL = MediaProfile(num_frames=4, frame_height=32, frame_width=32)
AS_IS = MediaProfile(num_frames=4, frame_height=0, frame_width=0)


def shades(frames):
    """Number of each frame in the clip, from its grey (limited-range video loses about one step)."""
    return ((frames.float().mean((1, 2, 3)) - 19) / 4).round().int().tolist()


def test_frames_are_those_on_screen_at_the_middle_of_equal_intervals():
    decoded = decode(make_clip(2.0, rate_hz=10), SMALL)
    assert decoded.frames.shape == (4, 3, 32, 32)
    assert decoded.frames.dtype == torch.uint8
    assert shades(decoded.frames) == [2, 7, 12, 17]  # 0.25, 0.75, 1.25, 1.75 s
    assert decoded.duration_seconds == pytest.approx(2.0, abs=0.1)
    assert not decoded.missing
    assert not decoded.notes


def test_variable_frame_rate_is_sampled_by_time_and_not_by_index():
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.2, 2.0]
    decoded = decode(make_clip(times=times, rate_hz=10, audio=False), SMALL)
    end = decoded.duration_seconds
    targets = [(i + 0.5) * end / 4 for i in range(4)]
    assert shades(decoded.frames) == [max(i for i, t in enumerate(times) if t <= target) for target in targets]


def test_a_video_with_fewer_frames_repeats_them_and_keeps_its_size():
    decoded = decode(make_clip(0.2, rate_hz=10, audio=False), AS_IS)
    assert decoded.frames.shape == (4, 3, 48, 64)
    assert shades(decoded.frames) == [0, 0, 1, 1]


def test_audio_is_mono_at_the_rate_and_no_louder_for_two_channels():
    for clip in (make_clip(1.0), make_clip(1.0, channels="stereo"), make_wav(1.0, 48_000)):
        waveform = decode(clip, SMALL).waveform
        assert waveform.dtype == torch.float32
        assert len(waveform) == pytest.approx(16_000, abs=1100)
        middle = waveform[4000:12_000]
        assert middle.abs().max().item() == pytest.approx(0.5, abs=0.05)
        spectrum = np.abs(np.fft.rfft(middle.numpy()))
        assert spectrum.argmax() * 16_000 / 8000 == pytest.approx(440, abs=2)


def test_missing_tracks_have_a_reason_and_unwanted_ones_are_not_decoded():
    mute = decode(make_clip(audio=False), SMALL)
    assert mute.waveform is None
    assert mute.missing == {"audio": "the file has no audio track"}
    blind = decode(make_clip(video=False), SMALL)
    assert blind.frames is None
    assert blind.missing == {"visual": "the file has no video track"}
    heard = decode(make_clip(), MediaProfile(sources=("audio",)))
    assert heard.frames is None
    assert not heard.missing


def test_a_picture_gives_one_frame():
    decoded = decode(make_png(20, 40), AS_IS)
    assert decoded.picture
    assert decoded.duration_seconds == 0
    assert decoded.frames.shape == (1, 3, 20, 40)
    assert decoded.frames[0, 0, 0, 0] == 255
    assert decoded.frames[0, 0, 0, -1] == 0
    assert decoded.missing == {"audio": "the file is a picture"}


def test_rotation_marks_are_obeyed():
    shape = (1, 3, 48, 64)
    still = MediaProfile(num_frames=1, frame_height=0, frame_width=0)
    plain = make_clip(0.5, audio=False)
    assert decode(plain, still).frames.shape == shape
    assert decode(turn_clockwise(plain), still).frames.shape == (1, 3, 64, 48)


def test_rotation_turns_to_the_right_side(shared):
    raw = (shared / "data" / "clips" / "sample_00000338.mp4").read_bytes()
    one = MediaProfile(num_frames=1, frame_height=0, frame_width=0, sources=("frame",))
    upright, turned = decode(raw, one).frames[0], decode(turn_clockwise(raw), one).frames[0]
    assert torch.equal(turned, torch.rot90(upright, -1, (1, 2)))  # clockwise as seen on a screen


def test_a_cut_file_is_decoded_up_to_the_cut_and_says_so():
    clip = make_clip(8.0, rate_hz=25, size=(128, 96), faststart=True)
    decoded = decode(clip[: len(clip) * 6 // 10], SMALL, key="short")
    assert decoded.frames.shape[0] == 4
    assert any("cut" in note for note in decoded.notes), decoded.notes
    assert decoded.duration_seconds < 7


def test_damaged_packets_are_skipped_and_counted():
    clip = bytearray(make_clip(4.0, rate_hz=25, size=(128, 96)))
    rng = np.random.default_rng(0)
    start = clip.index(b"mdat") + 2000
    for place in rng.integers(start, clip.index(b"moov") - 500, 150):
        clip[place] ^= 0xFF
    decoded = decode(bytes(clip), SMALL, key="flipped")
    assert decoded.frames is not None
    assert decoded.notes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"these are words, not a film\n" * 50, "not a video"),
        (make_clip()[:300], "not a video"),
        (b"1\n00:00:01,000 --> 00:00:02,000\nhello\n\n", "no video and no audio track, only subtitle"),
    ],
    ids=["empty", "text", "cut header", "subtitles"],
)
def test_what_is_no_clip_is_refused_with_key_and_file(content, words, tmp_path):
    path = tmp_path / "odd.mp4"
    path.write_bytes(content)
    for source, place in ((path, str(path)), (content, "in memory")):
        with pytest.raises(DataError, match=words) as caught:
            decode(source, SMALL, key="odd-one")
        assert "odd-one" in str(caught.value)
        assert place in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        decode(tmp_path / "nowhere.mp4", SMALL)


# name: seconds, upright height and width, mean red, green and blue of four frames, seconds of sound
ODD = {
    "av1_video.mkv": (5.0, (360, 640), (122, 126, 126), None),
    "discard_first_keyframe.mp4": (1.0, (64, 64), (88, 74, 76), None),
    "face_noface.mov": (6.4, (540, 960), (84, 103, 108), 3.97),
    "h264_10bits.mp4": (1.0, (200, 200), (115, 118, 127), None),
    "h265_video.mp4": (1.0, (128, 128), (12, 12, 252), None),
    "llamafactory_1.mp3": (4.03, None, None, 4.03),
    "llamafactory_2.avi": (9.03, (240, 320), (115, 89, 54), None),
    "llamafactory_2.wav": (2.9, None, None, 2.9),
    "llamafactory_3.flac": (5.86, None, None, 5.86),
    "llamafactory_4.mp4": (5.0, (224, 224), (118, 106, 93), None),
    "nasa_13013_rotated.mp4": (0.57, (480, 270), (9, 8, 14), None),
    "no_face.mp4": (4.01, (540, 960), (91, 136, 153), 3.97),
    "single_face.mp4": (2.42, (360, 640), (158, 140, 122), 2.42),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_decode_or_say_why(shared, name):
    seconds, size, colour, sound_seconds = ODD[name]
    decoded = decode(shared / "data" / "odd_media" / name, AS_IS)
    assert decoded.duration_seconds == pytest.approx(seconds, abs=0.01)
    missing = {} if size else {"visual": "the file has no video track"}
    missing |= {} if sound_seconds else {"audio": "the file has no audio track"}
    assert decoded.missing == missing
    assert decoded.notes == ()
    if size:
        assert decoded.frames.shape == (4, 3, *size)
        assert decoded.frames.float().mean((0, 2, 3)).tolist() == pytest.approx(colour, abs=1.5)
    if sound_seconds:
        assert len(decoded.waveform) / 16_000 == pytest.approx(sound_seconds, abs=0.01)
        assert 5e-4 < decoded.waveform.square().mean().sqrt() < 0.3


def test_every_odd_file_is_expected(shared):
    assert {path.name for path in (shared / "data" / "odd_media").iterdir()} == set(ODD)


def test_real_clips_are_the_same_from_file_and_from_bytes(shared):
    for path in sorted((shared / "data" / "clips").glob("*.mp4"))[:3]:
        one, two = decode(path, SMALL), decode(path.read_bytes(), SMALL)
        assert torch.equal(one.frames, two.frames)
        assert torch.equal(one.waveform, two.waveform)
