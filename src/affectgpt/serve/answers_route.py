"""The route ``POST /v1/answers``: a file or a URL in a form, with questions; answers with their labels out."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile
from pydantic import BaseModel, Field

from affectgpt.serve.answer_service import AnswerService, Asked, while_connected
from affectgpt.serve.answering import Reply
from affectgpt.serve.clip_reading import ReadUpload, Upload
from affectgpt.serve.error_form import ServiceError, documented
from affectgpt.serve.media_url import fetch_media
from affectgpt.text import clean_name

MAX_QUESTIONS = 8
MAX_CHARACTERS = 8000

Text = Annotated[str, Field(max_length=MAX_CHARACTERS)]


class Answer(BaseModel):
    """The answer to one question."""

    question: str
    text: str = Field(description="The model's answer, word for word.")
    labels: list[str] = Field(description="Open-vocabulary labels, if the question asked for labels.")
    description: str | None = Field(description="The text, if the question asked for something else.")
    sentiment: str | None = Field(description="positive, negative or neutral; null if no label is in the vocabulary.")
    used: list[str] = Field(description="What the model was shown.")
    finish_reason: str = Field(description="`stop`, or `length` if the answer was cut at the longest length.")
    prompt_tokens: int
    answer_tokens: int


class Answers(BaseModel):
    """The answers about one clip."""

    id: str
    created: int = Field(description="Unix time.")
    model: str
    key: str = Field(description="Name of the clip: that of the file, without its ending.")
    answers: list[Answer]
    missing: dict[str, str] = Field(description="Inputs that the clip lacked, with the reason.")
    transcript: str | None = Field(description="Words that were heard and used as the subtitle.")
    seconds: dict[str, float] = Field(description="Time of each stage; `answer` includes the wait for a batch.")


def answers_router(service: AnswerService) -> APIRouter:
    """The route."""
    router = APIRouter()
    settings = service.settings

    @router.post(
        "/v1/answers",
        response_model=Answers,
        responses=documented(400, 401, 403, 408, 411, 413, 422, 429, 500, 502, 503, 504),
        summary="Answer questions about a clip",
    )
    async def answers(
        request: Request,
        file: Annotated[UploadFile | None, File(description="A video, sound or picture file.")] = None,
        url: Annotated[str | None, Form(max_length=MAX_CHARACTERS, description="A URL in place of the file.")] = None,
        audio: Annotated[UploadFile | None, File(description="A sound in place of the file's own.")] = None,
        subtitle: Annotated[str | None, Form(max_length=MAX_CHARACTERS, description="The spoken words.")] = None,
        question: Annotated[
            list[Text] | None,
            Form(max_length=MAX_QUESTIONS, description="By default the one about all emotional states; repeatable."),
        ] = None,
        max_tokens: Annotated[int | None, Form(ge=1, description="Longest answer, in tokens.")] = None,
    ) -> Any:
        if (file is None) == (not url):
            raise ServiceError(422, "give one of file and url", "invalid_field", "file")
        questions = tuple(one.strip() for one in question or () if one.strip())

        async def work() -> Answers:
            content = await fetch_media(url, settings) if url else await _bytes_of(file)
            sound = await _bytes_of(audio) if audio is not None else None
            read = await service.read(Upload(content, _key_of(file, url), sound, subtitle))
            del content, sound
            replies, seconds = await service.ask(read, Asked(questions, max_tokens))
            return _answers(service, read, replies, seconds)

        return await while_connected(request, work(), settings.timeout_seconds)

    return router


def missing_of(read: ReadUpload, replies: Sequence[Reply]) -> dict[str, str]:
    """What the model was not shown, with the reason."""
    missing = dict(read.missing)
    for reply in replies:
        missing |= reply.prediction.missing
    return missing


def facts_of(reply: Reply) -> dict[str, Any]:
    """A reply as plain JSON."""
    found = reply.prediction
    return {
        "question": reply.question,
        "text": found.text,
        "labels": list(found.labels),
        "description": found.description,
        "sentiment": found.sentiment,
        "used": list(found.used),
        "finish_reason": "stop" if reply.ended else "length",
        "prompt_tokens": reply.prompt_tokens,
        "answer_tokens": reply.answer_tokens,
    }


def _answers(
    service: AnswerService, read: ReadUpload, replies: Sequence[Reply], seconds: Mapping[str, float]
) -> Answers:
    return Answers(
        id=f"answers-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=service.settings.model_name,
        key=read.clip.key,
        answers=[Answer(**facts_of(reply)) for reply in replies],
        missing=missing_of(read, replies),
        transcript=read.transcript,
        seconds={name: round(value, 4) for name, value in seconds.items()},
    )


async def _bytes_of(file: UploadFile | None) -> bytes:
    """The content of an uploaded file, whose temporary copy is deleted."""
    assert file is not None
    content = await file.read()
    await file.close()
    return content


def _key_of(file: UploadFile | None, url: str | None) -> str:
    """The clip's name; a path that a client sends is nobody's business."""
    name = (file.filename or "") if file is not None else (url or "").split("?")[0].split("#")[0]
    stem = PurePosixPath(name.replace("\\", "/")).stem
    return "".join(one for one in clean_name(stem) if one.isprintable())[:100] or "clip"
