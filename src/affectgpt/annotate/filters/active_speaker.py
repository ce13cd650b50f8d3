"""Tells whether the face that is seen is the one that speaks, and drops clips where it is another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from affectgpt.annotate.describe import face_mesh as mesh_net
from affectgpt.annotate.describe.face_mesh import FaceMesh
from affectgpt.annotate.describe.lite_model import AUTO, find_weights
from affectgpt.annotate.filters.face_track import cut_faces, track_face
from affectgpt.annotate.filters.lr_asd import CROP, FRAME_RATE_HZ, load_active_speaker, score_frames
from affectgpt.annotate.stage import Answer, ClipRecord, Stage
from affectgpt.errors import ConfigError
from affectgpt.files import digest_of_file
from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.speech.activity import speech_segments
from affectgpt.media.speech.base import SAMPLE_RATE_HZ
from affectgpt.registry import FACE_DETECTORS

METHODS = ("lr-asd", "mouth")
SPEAKER, OTHER, ABSTAIN = "speaker", "not the speaker", "abstain"
_LEAST_SPEECH_SECONDS, _LEAST_COVERAGE = 0.3, 0.4
_DEFAULT_BOUNDS = {"lr-asd": (-1.0, 0.0), "mouth": (0.02, 0.06)}


class ActiveSpeakerStage(Stage):
    """Writes ``speaker``, one of three verdicts, and ``speaker_score``; drops only "not the speaker".

    It abstains where nobody speaks, no face is seen, the face is lost too often, or the score is between the bounds.
    Scores count only while somebody speaks.

    Args:
        method: ``lr-asd``: the network with the weights that you supply; or ``mouth``, a weak measure that needs no
            such weights: how fast the opening of the mouth changes, in shares of the face's height a second.
        weights: File of LR-ASD weights.
        face_mesh: For ``mouth``: file of the face mesh, or ``auto``; see ``CuesStage``.
        face_detector: A name in ``FACE_DETECTORS``.
        other_below: A score below this is "not the speaker".
        speaker_above: A score from this on is "speaker".
        window_seconds: The network hears and sees so much at a time; means over several lengths are steadier.
        longest_seconds: Only the beginning of longer clips is looked at.

    Raises:
        ConfigError: If an argument does not fit, or ``mouth`` has no face mesh.
        CheckpointError: If a file holds other weights.
    """

    writes = ("speaker", "speaker_score")
    isolated = True

    def __init__(
        self,
        method: str = "lr-asd",
        weights: str | None = None,
        face_mesh: str | None = AUTO,
        face_detector: str = "centerface",
        other_below: float | None = None,
        speaker_above: float | None = None,
        window_seconds: Sequence[float] = (2, 4),
        longest_seconds: float = 20.0,
    ) -> None:
        if method not in METHODS:
            raise ConfigError(f"method is {method!r}; choose {' or '.join(METHODS)}")
        low, high = _DEFAULT_BOUNDS[method]
        self._low = low if other_below is None else other_below
        self._high = high if speaker_above is None else speaker_above
        if self._low > self._high:
            raise ConfigError(f"other_below is {self._low}, which is above speaker_above, {self._high}; swap them")
        if not window_seconds or min(window_seconds) < 0.2 or longest_seconds < 1:
            raise ConfigError(
                f"window_seconds is {window_seconds}, longest_seconds {longest_seconds}; both are too short"
            )
        self._method, self._detector_name = method, face_detector
        self._windows, self._longest = tuple(float(s) for s in window_seconds), longest_seconds
        self._detector: FaceDetector = FACE_DETECTORS.build(face_detector)
        self._network: Any = None
        self._digest = ""
        if method == "lr-asd":
            if weights is None:
                raise ConfigError(
                    "method 'lr-asd' needs weights: give the file of its authors (MIT), or the weak method: mouth"
                )
            self._network = load_active_speaker(weights)
            self._digest = digest_of_file(weights)
            self._name = Path(weights).name
        else:
            mesh = find_weights(face_mesh, mesh_net.PACKAGE, mesh_net.INSIDE)
            if mesh is None:
                raise ConfigError("method 'mouth' needs a face mesh: give its file as face_mesh, see docs/annotate.md")
            self._mesh = FaceMesh(mesh)
            self._digest, self._name = self._mesh.digest, mesh.name

    def identity(self) -> dict[str, Any]:
        """Method, weights, bounds and windows."""
        return {
            "version": 1,
            "model": self._name,
            "revision": f"sha256:{self._digest}",
            "licence": "MIT" if self._method == "lr-asd" else mesh_net.LICENCE,
            "method": self._method,
            "face_detector": self._detector_name,
            "bounds": [self._low, self._high],
            "window_seconds": list(self._windows) if self._method == "lr-asd" else None,
            "longest_seconds": self._longest,
        }

    def answer(self, record: ClipRecord) -> Answer:
        """The verdict on one clip."""
        score, why = self._score(record)
        if score is None:
            return Answer(fields={"speaker": ABSTAIN, "speaker_score": None}, reason=f"{ABSTAIN}: {why}")
        found = {"speaker": SPEAKER, "speaker_score": round(score, 4)}
        if score < self._low:
            said = f"the face that is seen does not seem to speak (score {score:.2f}, below {self._low:g})"
            return Answer.drop(said, {**found, "speaker": OTHER})
        if score < self._high:
            return Answer(fields={**found, "speaker": ABSTAIN}, reason=f"{ABSTAIN}: the score is between the bounds")
        return Answer(fields=found)

    def _score(self, record: ClipRecord) -> tuple[float | None, str]:
        heard = record.media.hear(record.key)
        if heard.waveform is None:
            return None, "there is no sound"
        waveform = heard.waveform[: round(self._longest * SAMPLE_RATE_HZ)]
        seconds = len(waveform) / SAMPLE_RATE_HZ
        num_frames = int(seconds * FRAME_RATE_HZ)
        speech = _speech_frames(waveform, num_frames)
        if speech.sum() < _LEAST_SPEECH_SECONDS * FRAME_RATE_HZ:
            return None, "nobody speaks"
        share = seconds / max(heard.duration_seconds, seconds)
        seen = record.media.see(record.key, num_frames=max(1, round(num_frames / share)))
        if seen is None or seen.frames is None or len(seen.frames) < num_frames:
            return None, "there are no moving pictures"
        frames = seen.frames[:num_frames].permute(0, 2, 3, 1).numpy()
        track = track_face(frames, self._detector)
        if track is None or track.coverage < _LEAST_COVERAGE:
            return None, "no face is seen for long enough"
        if self._method == "mouth":
            opening = self._mesh.measure(frames, track.boxes)[:, 0]
            change = np.abs(np.diff(opening, prepend=opening[:1])) * FRAME_RATE_HZ
            return float(change[speech].mean()), ""
        scores = score_frames(self._network, cut_faces(frames, track.boxes, CROP), waveform, self._windows)
        return float(scores[speech[: len(scores)]].mean()), ""


def _speech_frames(waveform: Tensor, num_frames: int) -> NDArray[np.bool_]:
    """Bool ``[T]``; ``True`` where somebody speaks while the frame is shown."""
    found = np.zeros(num_frames, bool)
    for stretch in speech_segments(waveform):
        found[int(stretch.start_seconds * FRAME_RATE_HZ) : int(stretch.end_seconds * FRAME_RATE_HZ) + 1] = True
    return found
