"""From an upload to its answer: decode, wait for a batch, answer; until the client hangs up or the time is over."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from affectgpt.errors import AffectGPTError, DataError
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.media.material import file_sources
from affectgpt.media.speech.base import Asr
from affectgpt.model.module import AffectGPT
from affectgpt.serve.answering import Job, Reply, answer_jobs
from affectgpt.serve.batcher import Batcher
from affectgpt.serve.clip_reading import ClipReader, ReadUpload, Upload
from affectgpt.serve.error_form import ServiceError
from affectgpt.serve.prompt_writer import PromptWriter
from affectgpt.serve.service_meters import ServiceMeters
from affectgpt.serve.service_settings import ServiceSettings
from affectgpt.serve.start_and_stop import working
from affectgpt.serve.vllm_writer import WriterFailedError

T = TypeVar("T")

LEAST_LIMIT = 256
"""Tokens that a request may ask for, unless the settings say otherwise or the model's own limit is higher."""


@dataclass(frozen=True)
class Asked:
    """What is asked about an upload.

    Attributes:
        questions: The questions; without any the model is asked for all emotional states.
        max_new_tokens: Longest answer; by default the model's own limit. More than the service allows is lowered to
            what it allows.
        sampling: How answers are drawn.
    """

    questions: tuple[str, ...] = ()
    max_new_tokens: int | None = None
    sampling: AnswerSampling = field(default_factory=AnswerSampling)


class AnswerService:
    """The model with its batcher and its decoders.

    Args:
        model: The model, in eval mode, on its device.
        settings: The limits.
        meters: Told of every batch.
        writer: What writes the answers; by default the model.
        asr: Writes down the words of clips without subtitle.
    """

    def __init__(
        self,
        model: AffectGPT,
        settings: ServiceSettings,
        meters: ServiceMeters,
        writer: PromptWriter | None = None,
        asr: Asr | None = None,
    ) -> None:
        self.settings = settings
        self.file_sources = file_sources(model.media)
        self.default_question = model.style.label_question
        self.default_limit = model.max_new_tokens
        self.limit = settings.max_answer_tokens or max(LEAST_LIMIT, model.max_new_tokens)
        self._reader = ClipReader(model.media, settings.decoders, settings.face_detector, asr)
        run = functools.partial(answer_jobs, model, writer=writer)
        self._batcher: Batcher[Job, tuple[Reply, ...]] = Batcher(
            run, settings.max_batch, settings.max_wait_seconds, meters.saw_batch
        )

    @property
    def num_waiting(self) -> int:
        """Decoded requests that wait for the model."""
        return self._batcher.num_waiting

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered."""
        return self._batcher.is_working

    def working(self) -> AbstractAsyncContextManager[None]:
        """Answers within ``async with``; see ``start_and_stop.working``."""
        return working(self._reader, self._batcher)

    async def read(self, upload: Upload) -> ReadUpload:
        """Decode an upload; see ``ClipReader.read``."""
        return await self._reader.read(upload)

    async def ask(self, read: ReadUpload, asked: Asked) -> tuple[Sequence[Reply], Mapping[str, float]]:
        """The replies to the questions about a clip, and the seconds of each stage.

        Raises:
            ServiceError: 422 if the question or the clip does not fit, 502 if the server that writes fails, 503 if the
                service is stopping.
        """
        if not self.is_ready:
            raise ServiceError(503, "the service is stopping", "stopping", headers={"Retry-After": "5"})
        limit = min(asked.max_new_tokens or min(self.default_limit, self.limit), self.limit)
        job = Job(read.clip, asked.questions or (self.default_question,), limit, asked.sampling)
        start = time.perf_counter()
        try:
            replies = await self._batcher.ask(job)
        except WriterFailedError as error:
            raise ServiceError(502, str(error), "writer_failed") from error
        except AffectGPTError as error:
            code = "unusable_media" if isinstance(error, DataError) else "does_not_fit"
            raise ServiceError(422, str(error), code) from error
        return replies, {**read.seconds, "answer": time.perf_counter() - start}


async def while_connected(request: Request, work: Coroutine[Any, Any, T], seconds: float) -> T:
    """The result of some work, which is cancelled when the client hangs up or the time is over.

    Args:
        request: The request, whose body is read.
        work: The work.
        seconds: The time.

    Raises:
        ClientDisconnect: If the client hangs up.
        ServiceError: 504 if the time is over.
    """
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_hang_up(request.receive))
    try:
        done, _ = await asyncio.wait({task, watch}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
        if watch in done:
            raise ClientDisconnect
        message = "the answer took too long for this service; try again later, or with a shorter clip or answer"
        raise ServiceError(504, message, "timeout")
    finally:
        for one in (task, watch):
            one.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _hang_up(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
