"""Our checkpoints as a model of lmms-eval, so that they can be measured on its tasks."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from PIL import Image

from affectgpt.errors import AffectGPTError, ConfigError, DataError

_LOG = logging.getLogger(__name__)
OLDEST_PYAV = 17
AUDIO_SUFFIXES = (".wav", ".mp3", ".flac", ".m4a", ".ogg", ".aac", ".opus")


class AffectGPTModel(lmms):
    """Answers the tasks that generate text about one video, picture or sound each.

    Args:
        checkpoint: A .ckpt file, a saved folder, or a hub id.
        device: Where the model runs; by default the first GPU, or else the processor.
        max_new_tokens: Longest answer where a task names none; the model's own limit by default.
        face_detector: What finds the face, if the model looks at faces; ``none`` for nothing.
        allow_import: Import parts that the checkpoint names as code.
        batch_size: Taken from the harness; clips are answered one by one.
        max_batch_size: The same.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
        ConfigError: If the PyAV that lmms-eval asks for is installed, which is too old to read media for the model.
    """

    def __init__(
        self,
        checkpoint: str,
        device: str | None = None,
        max_new_tokens: int | None = None,
        face_detector: str = "centerface",
        allow_import: bool = False,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        import torch

        from affectgpt.model import AffectGPT

        if int(metadata.version("av").partition(".")[0]) < OLDEST_PYAV:
            raise ConfigError(
                f"PyAV {metadata.version('av')} is installed, but affectgpt reads media with {OLDEST_PYAV} or later: "
                f"pip install 'av>={OLDEST_PYAV},<20'; lmms-eval asks for an older one, and runs with this one"
            )

        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model = AffectGPT.load(checkpoint, allow_import=allow_import).to(chosen)
        self.max_new_tokens = max_new_tokens
        self.face_detector = None if face_detector == "none" else face_detector
        self.failed: dict[str, str] = {}

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Answer every request; one that cannot be read is logged, counted and answered with an empty text."""
        answers = []
        for request in requests:
            context, settings, doc_to_visual, doc_id, task, split = request.args
            name = f"{task}/{doc_id}"
            visuals = doc_to_visual(self.task_dict[task][split][doc_id]) or []
            try:
                text = self._answer(context, visuals, settings, name)
            except AffectGPTError as error:
                self.failed[name] = str(error)
                _LOG.error("%s gets an empty answer: %s", name, error)
                text = ""
            self.cache_hook.add_partial("generate_until", (context, settings), text)
            answers.append(text)
        if self.failed:
            _LOG.error(
                "%d of %d requests got an empty answer; the lines above say why", len(self.failed), len(requests)
            )
        return answers

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Refuse: the model answers one question about one clip.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("affectgpt answers one question about one clip; tasks of several rounds cannot be measured")

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Refuse: tasks that compare likelihoods need another interface.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("affectgpt writes answers; choose the form of the task that generates (generate_until)")

    def _answer(self, context: str, visuals: Sequence[Any], settings: dict[str, Any], name: str) -> str:
        clip, audio = media_of(visuals, name)
        found = self.model.predict(
            clip,
            question=context,
            audio=audio,
            max_new_tokens=self._length(settings),
            key=name,
            face_detector=self.face_detector,
        )
        until = settings.get("until") or []
        return cut_at(found.text, [until] if isinstance(until, str) else until)

    def _length(self, settings: dict[str, Any]) -> int | None:
        """The task's limit, unless the model's own is lower, or one was given."""
        if self.max_new_tokens is not None:
            return int(self.max_new_tokens)
        asked = settings.get("max_new_tokens")
        return None if asked is None else min(int(asked), self.model.max_new_tokens)


def media_of(visuals: Sequence[Any], name: str) -> tuple[str | bytes, str | bytes | None]:
    """What a task shows, as the model reads it: a clip, and a sound of its own or ``None``.

    Args:
        visuals: Paths, pictures, or sounds (mappings with ``array`` and ``sampling_rate``).
        name: The request, for messages.

    Raises:
        DataError: If there is nothing, or more than one clip and one sound.
    """
    clips: list[str | bytes] = []
    sounds: list[str | bytes] = []
    for one in visuals:
        if isinstance(one, str):
            (sounds if one.lower().endswith(AUDIO_SUFFIXES) else clips).append(one)
        elif isinstance(one, Image.Image):
            file = io.BytesIO()
            one.convert("RGB").save(file, "PNG")
            clips.append(file.getvalue())
        elif isinstance(one, dict) and {"array", "sampling_rate"} <= set(one):
            sounds.append(_wav(np.asarray(one["array"], dtype=np.float64), int(one["sampling_rate"])))
        else:
            kind = type(one).__name__
            raise DataError(f"{name} shows a {kind}; expected a path, a picture, or a sound with its rate")
    if len(clips) > 1 or len(sounds) > 1 or not visuals:
        raise DataError(
            f"{name} shows {len(clips)} clips or pictures and {len(sounds)} sounds; the model takes at most one of "
            "each, and at least one"
        )
    return (clips[0], sounds[0] if sounds else None) if clips else (sounds[0], None)


def cut_at(text: str, ends: Sequence[str]) -> str:
    """The text up to the first of several endings."""
    found = [text.index(end) for end in ends if end and end in text]
    return text[: min(found)] if found else text


def _wav(samples: np.ndarray[Any, Any], rate: int) -> bytes:
    """A waveform, float ``[N]`` or ``[C, N]`` in [-1, 1], as a mono WAV file."""
    import torch

    from affectgpt.media.sound.write_wav import write_wav

    return write_wav(torch.from_numpy(samples.mean(0) if samples.ndim > 1 else samples).float(), rate)
