"""The published layouts of the prompt, character by character, under the names of the published configurations."""

from __future__ import annotations

from collections.abc import Mapping

_MULTI = "The audio and video merged info is: <Multi>{multi}</Multi>. "
_AUDIO = "The audio content is as follows: <Audio>{audio}</Audio>. "
_IMAGE = "The image content is as follows: <Image>{image}</Image>. "
_FRAME = "e uniformly sample raw frames from the video: <Video>{frame}</Video>. "
_FACE = "e uniformly sample raw frames from the video and extract faces from these frames: <Video>{face}</Video>. "
_WORDS = "The subtitle of this video is: <Subtitle>{subtitle}</Subtitle>. "
_ASK = "Now, please answer my question based on all the provided information. {question} ###Assistant: "
_HUMAN = "###Human: "

LAYOUTS: Mapping[str, str] = {
    "multiface_audio_face_text": _HUMAN + _MULTI + _AUDIO + "Meanwhile, w" + _FACE + _WORDS + _ASK,
    "multiframe_audio_frame_text": _HUMAN + _MULTI + _AUDIO + "Meanwhile, w" + _FRAME + _WORDS + _ASK,
    "multiface_audio_face_frame_text": (
        _HUMAN + _MULTI + _AUDIO + "Meanwhile, w" + _FACE + "Meanwhile, w" + _FRAME + _WORDS + _ASK
    ),
    "multiface_text": _HUMAN + _MULTI + _WORDS + _ASK,
    "faceframe": _HUMAN + _AUDIO + "Meanwhile, w" + _FRAME + "Additionally, w" + _FACE + _WORDS + _ASK,
    "face": _HUMAN + _AUDIO + "Meanwhile, w" + _FACE + _WORDS + _ASK,
    "frame": _HUMAN + _AUDIO + "Meanwhile, w" + _FRAME + _WORDS + _ASK,
    "audioonly": _HUMAN + _AUDIO + _ASK,
    "textonly": _HUMAN + _WORDS + _ASK,
    "faceonly": _HUMAN + "W" + _FACE + _ASK,
    "frameonly": _HUMAN + "W" + _FRAME + _ASK,
    "image": _HUMAN + _IMAGE + _ASK,
    # the three layouts for comparisons with other models have no opening, and one begins in lower case
    "audio_text": _AUDIO + _WORDS + _ASK,
    "face_text": "W" + _FACE + _WORDS + _ASK,
    "frame_text": "w" + _FRAME + _WORDS + _ASK,
}
"""Name to text; ``{multi}``, ``{audio}``, ``{frame}``, ``{face}`` and ``{image}`` are the slots of the tokens."""
