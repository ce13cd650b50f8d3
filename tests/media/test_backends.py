"""Both decoding backends give the same frames and the same sound, and decoding less changes nothing."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import affectgpt.media.decode.reading as decoding
from affectgpt.errors import ConfigError, DataError
from affectgpt.media import MediaProfile
from affectgpt.media.decode.decoder import decode
from affectgpt.media.decode.packet_plan import plan_decoding
from affectgpt.media.decode.timeline import read_timeline
from clipmaker import make_clip, make_png, turn_clockwise

OWN_SIZE = {"num_frames": 6, "frame_height": 0, "frame_width": 0}


def torchcodec_problem() -> str | None:
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        return str(error).strip().splitlines()[0]
    return None


PROBLEM = torchcodec_problem()
needs_torchcodec = pytest.mark.skipif(PROBLEM is not None, reason=f"torchcodec cannot be used: {PROBLEM}")


def both(source, values):
    one, other = MediaProfile.of(values), MediaProfile.of({**values, "backend": "torchcodec"})
    assert one == other
    assert "backend" not in other.to_json()
    return decode(source, one), decode(source, other)


def assert_same(one, other, grey_levels: float) -> None:
    assert one.missing == other.missing
    assert one.duration_seconds == pytest.approx(other.duration_seconds)
    assert (one.frames is None) == (other.frames is None)
    assert (one.waveform is None) == (other.waveform is None)
    if one.frames is not None:
        assert one.frames.shape == other.frames.shape
        assert (one.frames.float() - other.frames.float()).abs().mean() <= grey_levels
    if one.waveform is not None:
        torch.testing.assert_close(one.waveform, other.waveform, atol=1e-6, rtol=0)


@needs_torchcodec
def test_real_clips_are_the_same_bit_for_bit_at_their_own_size(shared: Path) -> None:
    for path in sorted((shared / "data" / "clips").glob("*.mp4"))[::3]:
        assert_same(*both(path, OWN_SIZE), grey_levels=0)
        assert_same(*both(path.read_bytes(), {"num_frames": 4}), grey_levels=1.5)


@needs_torchcodec
def test_odd_files_are_the_same(shared: Path) -> None:
    for path in sorted((shared / "data" / "odd_media").iterdir()):
        # two versions of FFmpeg turn 10 bits into 8 differently
        assert_same(*both(path, OWN_SIZE), grey_levels=4 if "10bits" in path.name else 0)


@needs_torchcodec
@pytest.mark.parametrize(
    "source",
    [
        lambda: make_clip(2.0, channels="stereo"),
        lambda: make_clip(times=[0.0, 0.1, 0.2, 0.9, 1.0, 1.8], audio=False),
        lambda: turn_clockwise(make_clip(0.5)),
        lambda: make_clip(0.1, rate_hz=10),
        lambda: make_clip(0.5, video=False),
        lambda: make_png(20, 30),
    ],
    ids=["stereo", "variable rate", "turned", "one frame", "sound", "picture"],
)
def test_made_files_are_the_same(source) -> None:
    assert_same(*both(source(), OWN_SIZE), grey_levels=0)


@needs_torchcodec
def test_a_damaged_file_is_refused_with_the_backend_that_can_read_it() -> None:
    clip = make_clip(4.0, rate_hz=25, size=(128, 96), faststart=True)
    with pytest.raises(DataError, match=r"broken-one.*cannot be decoded by torchcodec.*'pyav' skips"):
        decode(clip[: len(clip) // 2], MediaProfile(backend="torchcodec"), key="broken-one")
    with pytest.raises(DataError, match="is empty"):
        decode(b"", MediaProfile(backend="torchcodec"))


@pytest.mark.skipif(PROBLEM is None, reason="torchcodec works here")
def test_a_missing_backend_names_its_extra() -> None:
    with pytest.raises(ConfigError, match=r"affectgpt\[torchcodec\]"):
        decode(make_clip(0.2), MediaProfile(backend="torchcodec"))


def test_backends_are_chosen_by_name() -> None:
    with pytest.raises(ConfigError, match="known: pyav, torchcodec"):
        MediaProfile(backend="decord")
    with pytest.raises(ConfigError, match="bit for bit"):
        MediaProfile.of({"profile": "official", "backend": "torchcodec"})


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each reading of a file was thorough, in order."""
    seen: list[bool] = []
    read = decoding._read

    def watched(*args, thorough):
        seen.append(thorough)
        return read(*args, thorough=thorough)

    monkeypatch.setattr(decoding, "_read", watched)
    return seen


@pytest.mark.parametrize("values", [{}, {"profile": "official"}, {"num_frames": 50}])
def test_decoding_only_what_is_needed_gives_the_same_frames(shared, readings, values) -> None:
    profile = MediaProfile.of({**values, "sources": ["frame"]})
    files = [*(shared / "data" / "clips").glob("*.mp4"), *(shared / "data" / "odd_media").glob("*.m[pok4][4v]")]
    assert len(files) > 15
    for path in sorted(files)[:: 1 if not values else 4]:
        readings.clear()
        lazy = decode(path, profile)
        assert readings == [False], path.name  # no second reading was needed
        whole = decode(path, profile, thorough=True)
        assert torch.equal(lazy.frames, whole.frames), path.name
        assert lazy.notes == whole.notes


def moving(container: str, options: str, num_pictures: int = 60) -> bytes:
    """An H.264 clip of a moving, noisy picture, so that a wrong reference shows."""
    file, draw = io.BytesIO(), np.random.default_rng(0)
    ground = draw.integers(0, 255, (96, 256, 3), np.uint8)
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream("libx264", rate=25, options={"x264-params": options, "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(num_pictures):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(ground[:, number : number + 128]), format="rgb24")
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("num_frames", [2, 5, 23])
@pytest.mark.parametrize(
    "options",
    [
        "keyint=12:bframes=3:b-pyramid=none",
        "keyint=12:bframes=3:open-gop=1",
        "keyint=250:bframes=5:b-adapt=0:b-pyramid=strict:ref=4",
        "keyint=20:intra-refresh=1",
        "keyint=1",
    ],
    ids=["b", "open gop", "pyramid", "intra refresh", "intra"],
)
def test_any_structure_of_pictures_gives_the_same_frames(readings, options, num_frames) -> None:
    for container in ("mp4", "matroska", "mpegts"):
        clip, profile = moving(container, options), MediaProfile(num_frames=num_frames, sources=("frame",))
        readings.clear()
        lazy = decode(clip, profile)
        assert readings == [False], container
        assert torch.equal(lazy.frames, decode(clip, profile, thorough=True).frames), container


def test_only_what_is_needed_is_decoded() -> None:
    clip, one = moving("mp4", "keyint=12:bframes=3"), MediaProfile(num_frames=1, sources=("frame",))
    with av.open(io.BytesIO(clip)) as container:
        timeline = read_timeline(container, container.streams.video[0], "the clip")
    assert len(timeline.stamps) == 60
    assert len(timeline.fresh_starts) >= 5
    plan = plan_decoding(timeline.stamps, timeline.fresh_starts, timeline.numbers_at(timeline.midpoints(1)))
    assert len(plan.positions) <= 12
    assert decode(clip, one).frames.shape == (1, 3, 224, 224)


def test_a_frame_that_is_damaged_makes_it_read_everything(readings) -> None:
    clip = bytearray(make_clip(4.0, rate_hz=25, size=(128, 96)))
    places = np.random.default_rng(0).integers(clip.index(b"mdat") + 2000, clip.index(b"moov") - 500, 150)
    for place in places:
        clip[place] ^= 0xFF
    lazy = decode(bytes(clip), MediaProfile())
    assert readings == [False, True]
    whole = decode(bytes(clip), MediaProfile(), thorough=True)
    assert torch.equal(lazy.frames, whole.frames)
    assert lazy.notes == whole.notes
    assert lazy.notes


def test_a_plan_starts_at_the_last_fresh_picture_before_a_frame() -> None:
    stamps = [0, 4, 2, 6, 10, 8, 12, 16, 14]  # in the order of the file; shown in order of the stamps
    plan = plan_decoding(stamps, [0, 3, 6], [1, 4])  # frames 2 and 8
    assert plan.positions == {0, 1, 2, 3, 4, 5}
    assert (plan.last, plan.stamps) == (5, (2, 8))
    assert plan.number(12) == 6
    leading = plan_decoding([0, 2, 8, 4, 6], [0, 2], [2])  # 4 is shown before the fresh picture 8 and may refer to 2
    assert leading.positions == {0, 1, 2, 3}
    assert plan_decoding([0, None, 2], [0], [1]) is None
    assert plan_decoding([0, 1, 1], [0], [1]) is None
    assert plan_decoding([0, 1], [], [1]) is None
