"""The built-in describer: what is heard and seen, in plain sentences, without a language model or a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affectgpt.annotate.describe import expression_net
from affectgpt.annotate.describe import face_mesh as mesh_net
from affectgpt.annotate.describe.expression_net import ExpressionNet
from affectgpt.annotate.describe.face_cues import say_face, see_face
from affectgpt.annotate.describe.face_mesh import FaceMesh
from affectgpt.annotate.describe.lite_model import AUTO, find_weights
from affectgpt.annotate.describe.voice_cues import hear_voice, say_voice
from affectgpt.annotate.stage import Answer, ClipRecord, Stage
from affectgpt.errors import ConfigError
from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.speech.base import Asr
from affectgpt.media.speech.transcribe import build_asr, transcribe_sound
from affectgpt.registry import FACE_DETECTORS, Spec

VERSION = 1
"""Raised whenever the same clip may get other cues."""


class CuesStage(Stage):
    """Writes ``audio_clues`` and ``visual_clues`` in sentences, the numbers behind them as ``cues``, and a transcript.

    Args:
        num_frames: Frames that are looked at, spread over the clip.
        face_detector: A name in ``FACE_DETECTORS``.
        face_mesh: File of MediaPipe's ``face_landmark.tflite``; ``auto`` takes it where the package ``mediapipe``
            carries it, and ``None`` does without: nothing is said of mouth, brows and eyes then.
        expression: File of ``emotion_model_quantized.tflite`` of the package ``fer``; ``auto`` and ``None`` as before.
        find_speech: Whether silero-vad tells how much of the sound is speech.
        asr: A speech recogniser that writes ``transcript`` where the clip has no subtitle, see ``ASRS``.
        language: Of the speech, for the recogniser; ``None`` lets it find out.

    Raises:
        CheckpointError: If a file holds another network.
        ConfigError: If a name is unknown, or a package is missing.
    """

    reads = ("subtitle",)
    writes = ("audio_clues", "visual_clues", "cues", "transcript")
    isolated = True

    def __init__(
        self,
        num_frames: int = 16,
        face_detector: str = "centerface",
        face_mesh: str | None = AUTO,
        expression: str | None = AUTO,
        find_speech: bool = True,
        asr: str | Mapping[str, Any] | None = None,
        language: str | None = None,
    ) -> None:
        if num_frames < 1:
            raise ConfigError(f"num_frames is {num_frames}; at least one frame must be looked at")
        self._num_frames, self._find_speech, self._language = num_frames, find_speech, language
        self._detector_name = face_detector
        self._detector: FaceDetector = FACE_DETECTORS.build(face_detector)
        mesh = find_weights(face_mesh, mesh_net.PACKAGE, mesh_net.INSIDE)
        net = find_weights(expression, expression_net.PACKAGE, expression_net.INSIDE)
        self._mesh = None if mesh is None else FaceMesh(mesh)
        self._expression = None if net is None else ExpressionNet(net)
        self._asr_spec = asr if asr is None or isinstance(asr, str) else Spec.of(asr).to_json()
        self._asr: Asr | None = None

    def identity(self) -> dict[str, Any]:
        """Settings, and digests of the networks."""
        return {
            "version": VERSION,
            "num_frames": self._num_frames,
            "face_detector": self._detector_name,
            "face_mesh": None if self._mesh is None else self._mesh.digest,
            "expression": None if self._expression is None else self._expression.digest,
            "find_speech": self._find_speech,
            "asr": self._asr_spec,
            "language": self._language,
            "licence": self._licences(),
        }

    def answer(self, record: ClipRecord) -> Answer:
        """The cues of one clip."""
        cues: dict[str, Any] = {}
        seen = record.media.see(record.key, num_frames=self._num_frames)
        if seen is not None and seen.frames is not None:
            frames = seen.frames.permute(0, 2, 3, 1).numpy()
            cues["face"] = see_face(frames, seen.frame_times, self._detector, self._mesh, self._expression)
        heard = record.media.hear(record.key)
        if heard.waveform is not None:
            cues["voice"] = hear_voice(heard.waveform, find_speech=self._find_speech)
        if not cues:
            return Answer.fail("the clip has neither pictures nor sound")
        fields: dict[str, Any] = {
            "visual_clues": say_face(cues["face"]) if "face" in cues else "There are no pictures.",
            "audio_clues": say_voice(cues["voice"]) if "voice" in cues else "There is no sound.",
            "cues": cues,
        }
        if self._asr_spec is not None and not record.text("subtitle"):
            self._asr = self._asr or build_asr(self._asr_spec)
            transcript = transcribe_sound(heard, self._asr, language=self._language)
            fields |= {"transcript": transcript.text} if transcript.text else {}
        return Answer(fields=fields)

    def _licences(self) -> str:
        used = ["CenterFace MIT"] if self._detector_name == "centerface" else []
        used += [f"face mesh {mesh_net.LICENCE}"] if self._mesh is not None else []
        used += [f"expression {expression_net.LICENCE}"] if self._expression is not None else []
        return ", ".join(used)
