"""A file is decoded once for all who look at it or listen to it, and each gets what it would get alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.media import MediaProfile
from affectgpt.media.decode import decoder
from affectgpt.media.decode.decoder import decode
from affectgpt.media.decoded_files import decode_files
from affectgpt.media.faces import FaceDetector, Faces, find_faces
from affectgpt.media.speech import Asr, Segment
from affectgpt.media.speech.transcribe import SPEECH_PROFILE
from affectgpt.registry import FACE_DETECTORS
from clipmaker import make_clip, make_wav


class LeftHalf(FaceDetector):
    """Finds a face at the left of every picture."""

    def detect(self, frames):
        return [Faces(np.array([[0, 0, 20, 30]], np.float32), np.ones(1, np.float32)) for _ in frames]


class Parrot(Asr):
    def transcribe(self, waveform, language=None):
        return f"{len(waveform)} samples", "en"


@pytest.fixture
def reads(monkeypatch) -> list[object]:
    """What was decoded, one entry each time."""
    made = []
    real = decoder.read_tracks
    monkeypatch.setattr(
        decoder, "read_tracks", lambda file, *rest, **more: made.append(file) or real(file, *rest, **more)
    )
    return made


@pytest.mark.parametrize("policy", ["default", "official"])
@pytest.mark.parametrize("audio", [None, make_wav(1.0, 44_100)], ids=["own track", "separate sound"])
def test_each_view_gets_what_it_would_get_alone(policy, audio, reads) -> None:
    clip = make_clip(2.0, rate_hz=25, channels="stereo")
    profile = MediaProfile.named(policy, sources=["frame", "face", "audio"], num_frames=4)
    found = decode_files(clip, profile, audio=audio, detector=LeftHalf(), speech=True)
    assert len(reads) == (1 if audio is None else 2)
    sound = clip if audio is None else audio
    alone = decode(clip, MediaProfile.named(policy, sources=["frame"], num_frames=4))
    assert torch.equal(found.seen.frames, alone.frames)
    assert np.array_equal(found.faces.crops, find_faces(clip, profile, LeftHalf()).crops)
    assert torch.equal(found.heard.waveform, decode(sound, MediaProfile.named(policy, sources=["audio"])).waveform)
    assert torch.equal(found.speech.waveform, decode(sound, SPEECH_PROFILE).waveform)


def test_an_answer_with_face_and_words_decodes_its_file_once(reads, monkeypatch) -> None:
    monkeypatch.setattr(FACE_DETECTORS, "build", lambda spec: LeftHalf())
    spoken = [Segment(0.2, 0.7)]
    monkeypatch.setattr("affectgpt.media.speech.transcribe.speech_segments", lambda waveform: spoken)
    torch.manual_seed(0)
    media = {"num_frames": 2, "num_segments": 2, "frame_height": 32, "frame_width": 32}
    streams = {"frame": "tiny-vision", "audio": "tiny-audio", "face": {"encoder": "tiny-vision", "source": "face"}}
    model = AffectGPT.from_config({"streams": streams, "llm": "tiny", "media": media, "max_new_tokens": 4}).eval()
    answer = model.predict(make_clip(1.0), asr=Parrot(), face_detector="centerface", key="k")
    assert len(reads) == 1
    assert answer.transcript == "14400 samples"
    assert {"frame", "face", "audio", "subtitle"} <= set(answer.used)
