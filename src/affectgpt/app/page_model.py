"""A model behind the page: decodes uploads, answers them in batches, and says how sure it is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any

from affectgpt.app.page_settings import PageSettings
from affectgpt.datamodules.collate import collate
from affectgpt.llm.thread_choice import fitting_threads
from affectgpt.media.speech.base import Asr
from affectgpt.model.module import AffectGPT
from affectgpt.serve.answering import each_alone
from affectgpt.serve.batcher import Batcher
from affectgpt.serve.clip_reading import ClipReader, ReadUpload, Upload
from affectgpt.serve.start_and_stop import working
from affectgpt.types import Clip, Prediction
from affectgpt.watch.calibration import Calibration
from affectgpt.watch.sureness import Sureness, answer_surely
from affectgpt.watch.watch_film import StopWatching


@dataclass(frozen=True)
class ClipAnswer:
    """What a model said of a clip, and what it was shown.

    Attributes:
        model: The model's name.
        clip: What it was shown.
        prediction: The answer to the question, with what was missing.
        sureness: What speaks for it.
        confidence: How sure it is, in [0, 1]; the probability of being right if a calibration was given.
        is_unsure: Whether the confidence is below the bound that was asked for.
        description: The answer to the question for a description; ``None`` if it was not asked.
        channels: Order of the channels of face crops in ``clip``, ``rgb`` or ``bgr``.
        sample_rate_hz: Of the sound in ``clip``.
    """

    model: str
    clip: Clip
    prediction: Prediction
    sureness: Sureness
    confidence: float
    is_unsure: bool
    description: str | None
    channels: str
    sample_rate_hz: int


@dataclass(frozen=True)
class _Job:
    clip: Clip
    questions: tuple[str, ...]


class PageModel:
    """A model with its decoders and its batcher; answers of all visitors share its batches.

    Args:
        name: What the page calls it.
        model: The model, in eval mode, on its device.
        settings: The limits.
        asr: Writes down the words of clips without subtitle.
        calibration: Turns sureness into the probability of being right.
    """

    def __init__(
        self,
        name: str,
        model: AffectGPT,
        settings: PageSettings,
        *,
        asr: Asr | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.name, self.model, self.asr, self.calibration = name, model, asr, calibration
        self._settings = settings
        self._lock = threading.Lock()
        self._reader = ClipReader(
            model.media, settings.decoders, settings.face_detector, asr, longest_seconds=settings.max_clip_seconds
        )
        self._batcher: Batcher[_Job, list[tuple[Prediction, Sureness]]] = Batcher(
            self._answer_jobs, settings.max_batch, 0.02
        )

    def working(self) -> AbstractAsyncContextManager[None]:
        """Answers within ``async with``; see ``start_and_stop.working``."""
        return working(self._reader, self._batcher)

    async def read(self, upload: Upload) -> ReadUpload:
        """Decode an upload.

        Args:
            upload: The media, with the spoken words if they are known.

        Raises:
            ServiceError: If the media cannot be used, or the clip is too long.
        """
        return await self._reader.read(upload)

    def reads_like(self, other: PageModel) -> bool:
        """Whether what the other model read can be answered by this one: both decode and listen alike."""
        return self.model.media == other.model.media and self.asr is other.asr and self._settings == other._settings

    async def answer(self, read: ReadUpload, question: str | None, *, describes: bool) -> ClipAnswer:
        """Answer a clip.

        Args:
            read: What ``read`` gave.
            question: The question; by default the one about all possible emotional states.
            describes: Whether to ask for a description as well.

        Raises:
            DataError: If the model reads nothing of it.
        """
        style = self.model.style
        questions = (question or style.label_question, *([style.description_question] if describes else []))
        start = time.perf_counter()
        found = await self._batcher.ask(_Job(read.clip, questions))
        prediction, sureness = found[0]
        confidence = sureness.raw if self.calibration is None else self.calibration(sureness)
        unsure_below = self._settings.unsure_below
        return ClipAnswer(
            self.name,
            read.clip,
            replace(
                prediction,
                missing=read.missing,
                transcript=read.transcript,
                seconds={**read.seconds, "answer": time.perf_counter() - start},
            ),
            sureness,
            confidence,
            unsure_below is not None and confidence < unsure_below,
            found[1][0].text if describes else None,
            self.model.media.face_channels,
            self.model.media.sample_rate_hz,
        )

    def shared(self, is_wanted: Callable[[], bool]) -> Any:
        """The model for ``affectgpt.watch``: each of its batches waits for its turn among those of clips.

        Args:
            is_wanted: Whether its answers are; else its next batch raises ``StopWatching``.
        """
        return _Shared(self.model, self._lock, is_wanted)

    def _answer_jobs(self, jobs: Sequence[_Job]) -> list[list[tuple[Prediction, Sureness]] | Exception]:
        with self._lock, fitting_threads(self.model.device):
            return each_alone(self._answer_all, jobs)

    def _answer_all(self, jobs: Sequence[_Job]) -> list[list[tuple[Prediction, Sureness]]]:
        rows = [(job.clip, question) for job in jobs for question in job.questions]
        batch = collate([clip for clip, _ in rows], [question for _, question in rows], profile=self.model.media)
        found = iter(answer_surely(self.model, batch, self._settings.asking))
        return [[next(found) for _ in job.questions] for job in jobs]


async def read_for_all(models: Sequence[PageModel], upload: Upload) -> list[ReadUpload]:
    """Decode an upload for each model: once, if all of them read alike."""
    first = models[0]
    if all(model.reads_like(first) for model in models):
        return [await first.read(upload)] * len(models)
    return list(await asyncio.gather(*(model.read(upload) for model in models)))


class _Shared:
    """A model whose calls take turns with others."""

    def __init__(self, model: AffectGPT, lock: threading.Lock, is_wanted: Callable[[], bool]) -> None:
        self._model, self._lock, self._is_wanted = model, lock, is_wanted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        if not self._is_wanted():
            raise StopWatching
        with self._lock:
            return self._model(*args, **options)
