"""Makes one clip of the synthetic corpus: draws, speaks, and encodes both into an mp4 file."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from affectgpt.demo.corpus.face import draw_frames
from affectgpt.demo.corpus.looks import Look
from affectgpt.demo.corpus.sentences import write_sentence
from affectgpt.demo.corpus.states import STATES, WordsName
from affectgpt.demo.corpus.voice import CONTROL_RATE_HZ, SAMPLE_RATE_HZ, Throat, speak

FRAME_RATE_HZ = 12
FRAME_SIZE = 128
SHORTEST_SECONDS, LONGEST_SECONDS = 1.9, 2.2


@dataclass(frozen=True)
class ClipPlan:
    """Everything that decides a clip, down to its bytes.

    Attributes:
        name: Unique name, also of the file.
        split: ``"train"`` or ``"test"``.
        state: Index into ``STATES``.
        words: Kind of the sentence.
        speaker: Number of the speaker; looks and voice follow from it and the seed.
        seed: Seed of the corpus.
        index: Number of the clip in its split.
    """

    name: str
    split: str
    state: int
    words: WordsName
    speaker: int
    seed: int
    index: int


def write_clip(plan: ClipPlan, folder: Path) -> dict[str, Any]:
    """Make one clip and write it to ``folder/{name}.mp4``.

    Args:
        plan: The plan of the clip.
        folder: An existing folder.

    Returns:
        The clip's line of the manifest; ``video`` is relative to the folder above.

    Raises:
        ConfigError: If Pillow is not installed.
    """
    state = STATES[plan.state]
    person = np.random.default_rng([plan.seed, 1, plan.speaker])
    look, throat = Look.draw(person), Throat.draw(person)
    # Picture, voice and words use separate random streams, so that none reveals another.
    for_words, for_voice, for_face = (
        np.random.default_rng([plan.seed, 2, plan.split == "test", plan.index, stream]) for stream in range(3)
    )
    subtitle = write_sentence(plan.words, for_words)
    seconds = round(for_voice.uniform(SHORTEST_SECONDS, LONGEST_SECONDS) * FRAME_RATE_HZ) / FRAME_RATE_HZ
    speech = speak(state.voice, throat, subtitle, seconds, for_voice)
    at = np.round(np.arange(round(seconds * FRAME_RATE_HZ)) * CONTROL_RATE_HZ / FRAME_RATE_HZ).astype(int)
    frames = draw_frames(state.face, look, speech.openness[at], FRAME_RATE_HZ, FRAME_SIZE, for_face)
    encode(folder / f"{plan.name}.mp4", frames, speech.wave)
    return {
        "name": plan.name,
        "video": f"{folder.name}/{plan.name}.mp4",
        "subtitle": subtitle,
        "labels": list(state.labels),
        "description": state.describe(subtitle),
        "split": plan.split,
        "state": state.name,
    }


def encode(path: Path, frames: NDArray[np.uint8], wave: NDArray[np.float32]) -> None:
    """Write an mp4 file, H.264 and AAC, the same bytes for the same input.

    Args:
        path: Where to write.
        frames: uint8 ``[T, H, W, 3]``, RGB, at ``FRAME_RATE_HZ``; H and W are even.
        wave: Mono float32 ``[N]`` in [-1, 1] at ``SAMPLE_RATE_HZ``.
    """
    # bitexact keeps dates and library versions out of the file; more than one thread may change the bits.
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as out:
        video = out.add_stream("libx264", rate=FRAME_RATE_HZ, options={"preset": "veryfast", "crf": "21"})
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        audio = out.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        audio.bit_rate = 40_000
        for stamp, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = stamp, Fraction(1, FRAME_RATE_HZ)
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(wave[None, :], format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = SAMPLE_RATE_HZ, 0, Fraction(1, SAMPLE_RATE_HZ)
        out.mux(audio.encode(sound))
        out.mux(audio.encode(None))
