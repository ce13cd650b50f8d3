"""Measure the built-in face detector beside OpenCV's Haar cascade: time for a frame, and frames with a face.

    python benchmarks/faces.py --clips FOLDER [--no-faces FILE ...]

FOLDER holds clips that show a face in every frame; the files of ``--no-faces`` show none. Sixteen frames of each are
looked at, at their own size, on one core; processor time is given. Haar is measured where ``opencv-python-headless`` 4
is installed (5 has no cascades).
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from affectgpt.media import MediaProfile
from affectgpt.media.decode.decoder import decode
from affectgpt.media.faces import FaceDetector, Faces, crop_faces
from affectgpt.registry import FACE_DETECTORS

SIDES = (224, 320, 480, 640)


class Haar(FaceDetector):
    """OpenCV's frontal cascade on grey pictures of one longer side."""

    def __init__(self, long_side: int) -> None:
        import cv2

        self.cv2 = cv2
        self.long_side = long_side
        self.cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")

    def detect(self, frames: NDArray[np.uint8]) -> list[Faces]:
        """Find the faces of each frame."""
        found = []
        for frame in frames:
            scale = self.long_side / max(frame.shape[:2])
            grey = self.cv2.cvtColor(frame, self.cv2.COLOR_RGB2GRAY)
            small = self.cv2.resize(grey, None, fx=scale, fy=scale, interpolation=self.cv2.INTER_AREA)
            rows = self.cascade.detectMultiScale(small, 1.1, 5, minSize=(24, 24))
            boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in rows], np.float32).reshape(-1, 4) / scale
            found.append(Faces(boxes, np.ones(len(boxes), np.float32)))
        return found


def detectors() -> Iterator[tuple[str, FaceDetector]]:
    """Every detector that works here."""
    for side in SIDES:
        yield f"centerface, {side} px", FACE_DETECTORS.build({"name": "centerface", "args": {"long_side": side}})
    try:
        import cv2

        cv2.setNumThreads(1)
        yield "Haar (OpenCV), 320 px", Haar(320)
        yield "Haar (OpenCV), 640 px", Haar(640)
    except (ImportError, AttributeError) as error:
        print(f"Haar is left out: {error}")


def frames_of(path: Path) -> NDArray[np.uint8]:
    """Sixteen frames of a clip at its own size."""
    profile = MediaProfile(num_frames=16, frame_height=0, frame_width=0, sources=("frame",))
    frames = decode(path, profile).frames
    assert frames is not None
    return np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy())


def main() -> None:
    """Print a table, one row a detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--no-faces", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    with_faces = [frames_of(path) for path in sorted(args.clips.glob("*.mp4"))]
    without = [frames_of(path) for path in args.no_faces]
    print(f"{platform.machine()}, one core, torch {torch.__version__}, {len(with_faces)} + {len(without)} clips\n")
    print("| detector | ms a frame | frames with a face | main face followed | false alarms |")
    print("|---|---|---|---|---|")
    for name, detector in detectors():
        detector.detect(with_faces[0][:2])
        start = time.process_time()
        found = [detector.detect(frames) for frames in with_faces]
        spent = 1000 * (time.process_time() - start) / sum(map(len, with_faces))
        seen = np.mean([len(faces) > 0 for clip in found for faces in clip])
        followed = np.mean([crop_faces(frames, detector).coverage for frames in with_faces])
        alarms = sum(len(faces) > 0 for frames in without for faces in detector.detect(frames))
        total = sum(map(len, without))
        print(f"| {name} | {spent:.0f} | {seen:.0%} | {followed:.0%} | {alarms} of {total} |", flush=True)


if __name__ == "__main__":
    main()
