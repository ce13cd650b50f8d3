"""The main face of a clip: found on real clips, followed, cut out, and given to a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affectgpt import AffectGPT
from affectgpt.errors import ConfigError, DataError
from affectgpt.media import MediaProfile, load_clip
from affectgpt.media.decode.decoder import decode
from affectgpt.media.faces import FaceDetector, Faces, crop_faces, find_faces
from affectgpt.media.faces.centerface import overlap
from affectgpt.media.faces.track import follow_main_face
from affectgpt.registry import FACE_DETECTORS
from clipmaker import make_clip, make_png, make_wav, turn_clockwise

EIGHT = MediaProfile(num_frames=8)


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FACE_DETECTORS.build("centerface")


def faces(*boxes: tuple[float, float, float, float]) -> Faces:
    return Faces(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32))


class Scripted(FaceDetector):
    """Says what it was told to say, frame by frame: for what comes after the detector."""

    def __init__(self, frames: list[Faces]) -> None:
        self.frames = frames

    def detect(self, frames):
        assert len(frames) == len(self.frames)
        return self.frames


def test_the_speaker_is_found_in_the_real_clips(shared: Path, detector: FaceDetector) -> None:
    clips = sorted((shared / "data" / "clips").glob("*.mp4"))
    assert len(clips) == 9
    whole = MediaProfile(num_frames=8, frame_height=0, frame_width=0, sources=("frame",))
    followed = []
    for path in clips:
        frames = decode(path, whole).frames.permute(0, 2, 3, 1).numpy()
        detected = detector.detect(frames)
        assert all(len(one) for one in detected), path.name
        assert all((one.boxes >= 0).all() and (one.boxes[:, 2] <= frames.shape[2]).all() for one in detected)
        cut = crop_faces(frames, Scripted(detected))
        assert cut.crops.shape == (8, 224, 224, 3)
        followed.append(cut.coverage)
    assert np.mean(followed) >= 0.95
    # the last two frames of this clip show the other man
    assert sorted(followed)[:2] == [0.75, 1.0]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("no_face.mp4", 0, 0),
        ("face_noface.mov", 0.3, 0.5),
        ("single_face.mp4", 1, 1),
        ("nasa_13013_rotated.mp4", 0, 0),
        ("h265_video.mp4", 0, 0),
        ("av1_video.mkv", 0, 0),
    ],
)
def test_coverage_says_how_much_of_a_clip_has_the_face(shared, detector, name, low, high) -> None:
    found = find_faces(shared / "data" / "odd_media" / name, MediaProfile(num_frames=16), detector)
    assert low <= found.coverage <= high
    assert len(found.kept) == found.keep.sum() >= found.found.sum()


def test_a_turned_clip_gives_the_same_face(shared, detector) -> None:
    raw = (shared / "data" / "clips" / "sample_00000338.mp4").read_bytes()
    one = MediaProfile(num_frames=2)
    upright, turned = find_faces(raw, one, detector), find_faces(turn_clockwise(raw), one, detector)
    assert upright.coverage == 1
    # the second is shown lying on its side, as its mark says: the frame, and the face in it, are other pictures
    assert not np.array_equal(upright.crops, turned.crops)


def test_crops_do_not_depend_on_the_size_of_the_batch(shared, detector) -> None:
    raw = shared / "data" / "odd_media" / "single_face.mp4"
    whole = MediaProfile(num_frames=3, frame_height=0, frame_width=0, sources=("frame",))
    frames = decode(raw, whole).frames.permute(0, 2, 3, 1).numpy()
    together = detector.detect(frames)
    alone = [detector.detect(frames[i : i + 1])[0] for i in range(3)]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)


@pytest.mark.parametrize("shape", [(1, 1), (7, 400), (480, 3), (2160, 64)])
def test_pictures_of_any_shape_are_read(detector, shape) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1, *shape, 3), np.uint8)
    assert len(detector.detect(noise)[0]) == 0


def test_the_largest_face_that_stays_is_followed() -> None:
    near, far, passing = (10, 10, 50, 50), (100, 10, 120, 30), (200, 0, 260, 60)
    frames = [faces(far, near), faces(near, far), faces(passing, far, near), faces(near, far)]
    boxes, found = follow_main_face(frames)
    assert found.all()
    assert (boxes == np.float32(near)).all()


def test_a_face_lost_for_a_moment_is_interpolated_and_not_called_found() -> None:
    boxes, found = follow_main_face([faces((0, 0, 40, 40)), faces(), faces((20, 0, 60, 40)), faces(), faces(), faces()])
    assert found.tolist() == [True, False, True, False, False, False]
    assert boxes[1].tolist() == [10, 0, 50, 40]
    assert np.isnan(boxes[3:]).all()


def test_somebody_elses_picture_is_not_taken_for_the_face() -> None:
    """A reverse shot: the frame between shows another face at another place."""
    me, you = (0, 0, 40, 40), (200, 100, 240, 140)
    boxes, found = follow_main_face([faces(me), faces(you), faces(me)])
    assert found.tolist() == [True, False, True]
    assert np.isnan(boxes[1]).all()


def test_no_face_at_all_gives_whole_frames_and_a_coverage_of_zero() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 20, 30, 3), np.uint8)
    cut = crop_faces(frames, Scripted([faces()] * 3), size=(20, 30))
    assert (cut.coverage, len(cut.kept)) == (0, 0)
    np.testing.assert_array_equal(cut.crops, frames)


def test_a_crop_is_the_square_around_the_face_with_its_margin() -> None:
    frames = np.zeros((1, 100, 200, 3), np.uint8)
    frames[:, 20:60, 50:80] = 255
    cut = crop_faces(frames, Scripted([faces((50, 20, 80, 60))]), margin=0.5, size=60)
    assert cut.boxes.tolist() == [[35, 10, 95, 70]]
    np.testing.assert_array_equal(cut.crops[0], frames[0, 10:70, 35:95])


@given(
    st.lists(
        st.lists(st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(1, 40)] * 2), max_size=3), min_size=1, max_size=7
    ),
    st.floats(0, 2),
)
@settings(max_examples=60, deadline=None)
def test_every_frame_gets_a_crop_inside_the_picture(script, margin) -> None:
    height, width = 64, 80
    frames = [
        faces(*[(x, y, min(x + w, width), min(y + h, height)) for x, y, w, h in found if x < width and y < height])
        for found in script
    ]
    cut = crop_faces(np.zeros((len(frames), height, width, 3), np.uint8), Scripted(frames), margin=margin, size=8)
    assert cut.crops.shape == (len(frames), 8, 8, 3)
    assert not (cut.found & ~cut.keep).any()
    assert all(len(one) for one, there in zip(frames, cut.found, strict=True) if there)
    assert cut.found.any() == any(len(one) for one in frames)
    for left, top, right, bottom in cut.boxes[cut.keep]:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert right - left == bottom - top


def test_one_face_is_one_box() -> None:
    assert overlap(np.float32([0, 0, 1, 1]), np.float32([2, 2, 3, 3])) == 0
    assert overlap(np.float32([1, 1, 1, 1]), np.float32([1, 1, 1, 1])) == 0
    assert overlap(np.float32([0, 0, 4, 4]), np.float32([0, 0, 4, 4])) == 1


def test_a_model_that_looks_at_faces_finds_them_itself(shared: Path) -> None:
    torch.manual_seed(0)
    media = {"num_frames": 2, "num_segments": 2, "frame_height": 32, "frame_width": 32}
    streams = {"face": "tiny-vision", "audio": "tiny-audio"}
    config = {"streams": streams, "llm": "tiny", "media": media, "max_new_tokens": 4}
    model = AffectGPT.from_config(config).eval()
    folder = shared / "data"
    answer = model.predict(folder / "clips" / "sample_00000338.mp4", "Oh no.")
    assert answer.used == ("face", "audio", "multi", "subtitle")
    assert answer.missing == {}
    without = model.predict(folder / "clips" / "sample_00000338.mp4", "Oh no.", face_detector=None)
    assert without.missing == {"face": "no face crops in the sample"}
    nobody = model.predict(folder / "odd_media" / "no_face.mp4", "Oh no.")
    assert nobody.missing["face"] == "no face was found in its 2 frames"
    heard = model.predict(make_wav(0.5), "Oh no.")
    assert heard.missing == {"face": "the file has no pictures to find a face in"}
    with pytest.raises(ConfigError, match="Did you mean 'centerface'"):
        model.predict(make_wav(0.5), face_detector="centreface")


def test_a_face_that_is_only_there_for_a_while_is_noted(shared: Path, detector: FaceDetector) -> None:
    profile = MediaProfile(num_frames=8, sources=("face",))
    clip, missing = load_clip(shared / "data" / "odd_media" / "face_noface.mov", profile, subtitle="x", faces=detector)
    assert clip.media["face"].shape == (8, 3, 224, 224)
    assert clip.extra["media_notes"] == ["the main face was found in 3 of 8 frames"]
    assert missing == {}


def test_the_published_profile_gets_its_channels_in_its_order(shared: Path, detector: FaceDetector) -> None:
    path = shared / "data" / "odd_media" / "single_face.mp4"
    published = {"profile": "official", "num_frames": 2, "sources": ["face"]}
    bgr = load_clip(path, MediaProfile.of(published), faces=detector)[0].media["face"]
    rgb = load_clip(path, MediaProfile.of({**published, "face_channels": "rgb"}), faces=detector)[0].media["face"]
    assert torch.equal(bgr, rgb.flip(1))
    assert rgb[:, 0].float().mean() > rgb[:, 2].float().mean()  # skin is redder than blue


def test_a_picture_has_a_face_or_none(detector: FaceDetector) -> None:
    assert find_faces(make_png(40, 60), EIGHT, detector).crops.shape == (1, 224, 224, 3)
    assert find_faces(make_clip(0.3), EIGHT, detector).coverage == 0
    assert find_faces(make_clip(0.3, video=False), EIGHT, detector) is None


def test_wrong_arguments_say_what_fits(detector: FaceDetector) -> None:
    for args, words in (({"threshold": 1.5}, "between 0 and 1"), ({"long_side": 8}, "at least 32")):
        with pytest.raises(ConfigError, match=words):
            FACE_DETECTORS.build({"name": "centerface", "args": args})
    with pytest.raises(DataError, match="uint8 RGB"):
        crop_faces(np.zeros((2, 3, 8, 8), np.uint8), detector)
