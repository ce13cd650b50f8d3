"""The weak fallback for the active speaker: how fast the opening of the mouth changes while somebody speaks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from affectgpt.annotate.describe import face_mesh
from affectgpt.annotate.describe.lite_model import AUTO, find_weights
from affectgpt.annotate.filters import active_speaker
from affectgpt.annotate.filters.active_speaker import ActiveSpeakerStage
from affectgpt.annotate.source_files import LooseFiles
from affectgpt.annotate.stage import Answer, ClipRecord
from affectgpt.errors import ConfigError
from affectgpt.files import digest_of_file
from affectgpt.media.faces.base import FaceDetector, Faces
from affectgpt.media.speech.base import Segment
from clipmaker import make_clip

MESH_SHA256 = "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"


class OneFace(FaceDetector):
    def detect(self, frames):
        box = np.array([[10, 5, 40, 40]], np.float32)
        return [Faces(box, np.ones(1, np.float32)) for _ in frames]


class DrawnMouth:
    """A mesh that sees the mouth open by so much in each frame, as a share of the face's height."""

    digest = "0" * 64

    def __init__(self, openings) -> None:
        self.openings = openings

    def measure(self, frames, boxes):
        found = np.full((len(frames), 5), 0.1, np.float32)
        found[:, 0] = self.openings[: len(frames)]
        return found


def verdict(monkeypatch, tmp_path: Path, openings, speech=(0.0, 2.0), **bounds) -> Answer:
    """What the stage says of a clip of 2 s, 50 frames."""
    (tmp_path / "mesh.tflite").touch()
    (tmp_path / "c.mp4").write_bytes(make_clip(2.0, rate_hz=25))
    monkeypatch.setattr(active_speaker, "FaceMesh", lambda path: DrawnMouth(openings))
    monkeypatch.setattr(active_speaker, "speech_segments", lambda _: [Segment(*speech)])
    stage = ActiveSpeakerStage(method="mouth", face_mesh=str(tmp_path / "mesh.tflite"), **bounds)
    monkeypatch.setattr(stage, "_detector", OneFace())
    return stage.answer(ClipRecord("c", {}, LooseFiles(tmp_path / "c.mp4", None)))


def test_a_mouth_that_moves_speaks_and_one_that_rests_does_not(monkeypatch, tmp_path):
    """Opening and closing four times a second by 0.02 of the face's height moves 0.16 of it in a second."""
    steps = np.arange(60)
    talking = 0.02 + 0.01 * np.sign(np.sin(2 * np.pi * 4 * (steps + 0.5) / 25))
    moves = verdict(monkeypatch, tmp_path, talking)
    assert moves.fields["speaker"] == "speaker"
    assert moves.fields["speaker_score"] == pytest.approx(0.16, abs=0.02)
    rests = verdict(monkeypatch, tmp_path, np.full(60, 0.02))
    assert (rests.status, rests.fields) == ("dropped", {"speaker": "not the speaker", "speaker_score": 0.0})
    between = verdict(monkeypatch, tmp_path, 0.02 + 0.04 * steps / 25)
    assert (between.status, between.fields["speaker"]) == ("done", "abstain")
    assert between.fields["speaker_score"] == pytest.approx(0.04, abs=0.002)


def test_only_the_time_in_which_somebody_speaks_counts(monkeypatch, tmp_path):
    steps = np.arange(60)
    chews = np.where(steps < 25, 0.02 + 0.01 * (-1.0) ** steps, 0.02)  # moves in the first second alone
    assert verdict(monkeypatch, tmp_path, chews, speech=(0.0, 0.9)).fields["speaker"] == "speaker"
    assert verdict(monkeypatch, tmp_path, chews, speech=(1.2, 2.0)).fields["speaker"] == "not the speaker"


def test_it_is_refused_without_a_mesh(monkeypatch):
    monkeypatch.setattr(active_speaker, "find_weights", lambda *_: None)
    with pytest.raises(ConfigError, match="needs a face mesh"):
        ActiveSpeakerStage(method="mouth")


@pytest.fixture(scope="module")
def mesh() -> str:
    """MediaPipe's face mesh, of an installed package or of the file that AFFECTGPT_FACE_MESH names."""
    named = os.environ.get("AFFECTGPT_FACE_MESH", AUTO)
    path = find_weights(named, face_mesh.PACKAGE, face_mesh.INSIDE)
    if path is None or not path.is_file():
        pytest.skip("there is no face mesh; name MediaPipe's face_landmark.tflite in AFFECTGPT_FACE_MESH")
    pytest.importorskip("ai_edge_litert")
    if digest_of_file(path) != MESH_SHA256:
        pytest.skip(f"{path} is another face mesh than the one that this was measured with")
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sample_00000167", "sample_00002422", "sample_00003462"])
def test_people_who_talk_are_speakers_for_the_real_mesh(shared, mesh, name):
    stage = ActiveSpeakerStage(method="mouth", face_mesh=mesh)
    answer = stage.answer(ClipRecord(name, {}, LooseFiles(shared / "data" / "clips" / f"{name}.mp4", None)))
    assert answer.fields["speaker"] == "speaker", answer
    assert 0.06 < answer.fields["speaker_score"] < 0.3
