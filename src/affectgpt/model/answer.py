"""Turns the model's answers into predictions, for a batch and for a single file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch

from affectgpt.datamodules.collate import collate
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.media.clip import clip_of, name_of
from affectgpt.media.decoded_files import DecodedFiles, decode_files
from affectgpt.media.profile import MediaProfile
from affectgpt.media.speech.base import Asr
from affectgpt.media.speech.transcribe import transcribe_sound
from affectgpt.metrics import EmotionWheel, parse_labels
from affectgpt.metrics.final_answer import read_answer
from affectgpt.prompts.template import PromptStyle
from affectgpt.registry import FACE_DETECTORS, Spec
from affectgpt.types import Batch, Prediction

CUT_SUBTITLE = {"subtitle": "it is too long for the prompt, and was shortened"}
"""What is missing of a clip whose subtitle did not fit."""


class Answers(Protocol):
    """What a forward pass that writes answers returns."""

    texts: tuple[str, ...]
    used: tuple[tuple[str, ...], ...]
    is_cut: tuple[bool, ...]


class WritesAnswers(Protocol):
    """What answering needs of a model."""

    max_new_tokens: int

    @property
    def media(self) -> MediaProfile:
        """How clips are decoded."""

    @property
    def style(self) -> PromptStyle:
        """The wording of the prompt."""

    @property
    def slots(self) -> frozenset[str]:
        """What the prompt shows."""

    @property
    def device(self) -> torch.device:
        """The device that holds the model."""

    def __call__(
        self, batch: Batch, max_new_tokens: int, hide: Sequence[str] = (), sampling: AnswerSampling | None = None
    ) -> Answers:
        """Answer a batch."""


@torch.no_grad()
def answer_batch(
    model: WritesAnswers,
    batch: Batch,
    max_new_tokens: int | None = None,
    hide: Sequence[str] = (),
    sampling: AnswerSampling | None = None,
) -> list[Prediction]:
    """Answer every sample of a batch.

    Args:
        model: The model; its training mode is left as it is.
        batch: Clips and questions, on the model's device.
        max_new_tokens: Longest answer, in tokens; the model's own limit by default.
        hide: Slots to leave out, see ``AffectGPT.forward``.
        sampling: How answers are drawn; greedily by default.
    """
    start = time.perf_counter()
    out = model(batch, max_new_tokens or model.max_new_tokens, hide, sampling)
    return predictions_of(model, batch, out, hide, {"answer": (time.perf_counter() - start) / len(batch)})


def predictions_of(
    model: WritesAnswers,
    batch: Batch,
    out: Answers,
    hide: Sequence[str] = (),
    seconds: Mapping[str, float] | None = None,
) -> list[Prediction]:
    """What was written for a batch, one answer to each sample, as predictions.

    Args:
        model: The model that wrote it.
        batch: Clips and questions.
        out: What it returned.
        hide: Slots that were left out.
        seconds: Seconds of each stage, for every sample.
    """
    predictions = []
    for i, key in enumerate(batch.keys):
        words = ("subtitle",) if batch.subtitles[i] and "subtitle" in model.slots - {*hide} else ()
        predictions.append(
            to_prediction(
                key,
                out.texts[i],
                labels_asked=batch.questions[i] == model.style.label_question,
                used=(*out.used[i], *words),
                missing=CUT_SUBTITLE if out.is_cut[i] else None,
                seconds=seconds,
            )
        )
    return predictions


def answer_clip(
    model: WritesAnswers,
    clip: str | Path | bytes | None,
    subtitle: str | None,
    question: str | None,
    audio: str | Path | bytes | None,
    max_new_tokens: int | None,
    key: str | None,
    face_detector: Spec | str | Mapping[str, Any] | None,
    asr: Asr | Spec | str | Mapping[str, Any] | None,
    files: Mapping[str, str | Path | bytes | None],
) -> Prediction:
    """Decode a file and answer it; see ``AffectGPT.predict``."""
    start = time.perf_counter()
    name = key if key is not None else name_of(clip)
    listens = asr is not None and not (subtitle and subtitle.strip())
    detector = None
    if face_detector is not None and "face" in model.media.sources:
        detector = FACE_DETECTORS.build(face_detector)
    given = {source: file for source, file in files.items() if file is not None}
    decoded = decode_files(clip, model.media, key=name, audio=audio, detector=detector, speech=listens, files=given)
    read_seconds = time.perf_counter() - start
    return answer_decoded(
        model,
        decoded,
        name,
        subtitle,
        question=question,
        max_new_tokens=max_new_tokens,
        asr=asr,
        read_seconds=read_seconds,
    )


def answer_decoded(
    model: WritesAnswers,
    decoded: DecodedFiles,
    key: str,
    subtitle: str | None,
    *,
    question: str | None = None,
    max_new_tokens: int | None = None,
    asr: Asr | Spec | str | Mapping[str, Any] | None = None,
    read_seconds: float = 0.0,
) -> Prediction:
    """Answer a clip that is already decoded.

    Args:
        model: The model.
        decoded: What ``decode_files`` returned; with ``speech`` if ``asr`` is to transcribe it.
        key: Name of the clip.
        subtitle: Spoken words, if known.
        question: The question; by default it asks for all possible emotional states.
        max_new_tokens: Longest answer, in tokens.
        asr: The speech recogniser that writes the words down.
        read_seconds: Seconds that decoding took.

    Raises:
        DataError: If the clip has no input that the model uses.
    """
    heard = None
    start = time.perf_counter()
    if asr is not None and decoded.speech is not None:
        heard = transcribe_sound(decoded.speech, asr)
        subtitle = heard.text
    hear_seconds = time.perf_counter() - start
    start = time.perf_counter()
    made, missing = clip_of(decoded, model.media, key=key, subtitle=subtitle)
    asked = [question or model.style.label_question]
    batch = collate([made], asked, profile=model.media).to(model.device)
    read_seconds += time.perf_counter() - start
    prediction = answer_batch(model, batch, max_new_tokens)[0]
    notes = made.extra.get("media_notes", ())
    missing = {**missing, **prediction.missing, **({"media": "; ".join(notes)} if notes else {})}
    seconds = {"read": read_seconds, **prediction.seconds}
    if heard is None:
        return replace(prediction, missing=missing, seconds=seconds)
    if heard.reason is not None:
        missing["subtitle"] = f"none was given, and speech recognition found none: {heard.reason}"
    return replace(prediction, missing=missing, seconds={"hear": hear_seconds, **seconds}, transcript=heard.text)


def to_prediction(
    key: str,
    text: str,
    *,
    labels_asked: bool = True,
    used: tuple[str, ...] = (),
    missing: Mapping[str, str] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> Prediction:
    """Parse the text of an answer.

    Args:
        key: The sample's key.
        text: The answer.
        labels_asked: Whether the question asked for labels; otherwise the answer is a description.
        used: Slots that were filled.
        missing: What the clip lacked.
        seconds: Seconds of each stage.
    """
    labels = tuple(dict.fromkeys(parse_labels(text))) if labels_asked else ()
    return Prediction(
        key=key,
        text=text,
        labels=labels,
        description=None if labels_asked else read_answer(text).text,
        sentiment=sentiment_of(labels),
        used=used,
        missing=missing or {},
        seconds=seconds or {},
    )


def sentiment_of(labels: Sequence[str]) -> str | None:
    """Majority of the labels' valences in the built-in vocabulary; a tie is neutral, ``None`` if no label is known.

    Examples:
        >>> sentiment_of(["happy", "relieved", "nervous"])
        'positive'
    """
    wheel = EmotionWheel.builtin()
    known = Counter(valence for valence in map(wheel.valence, labels) if valence is not None)
    if not known:
        return None
    (first, count), *others = known.most_common()
    return "neutral" if others and others[0][1] == count else first
