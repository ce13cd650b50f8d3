"""The route ``POST /v1/answers``: a file or a URL in a form, with questions; answers with their labels out."""

from __future__ import annotations

import inspect
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile
from pydantic import BaseModel, Field

from affectgpt.errors import did_you_mean
from affectgpt.serve.answer_service import AnswerService, Asked, while_connected
from affectgpt.serve.answering import Reply
from affectgpt.serve.clip_reading import ReadUpload, SentFile, Upload
from affectgpt.serve.error_form import ServiceError, documented
from affectgpt.serve.media_url import fetch_media
from affectgpt.text import clean_name

MAX_QUESTIONS = 8
MAX_CHARACTERS = 8000

_FIELDS = ("file", "url", "audio", "subtitle", "question", "max_tokens")

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
    fields = {f"source_{number}": name for number, name in enumerate(service.file_sources)}

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
        **given: UploadFile | None,
    ) -> Any:
        refuse_unknown(await request.form(), _FIELDS, list(service.file_sources))
        files = {fields[field]: sent for field, sent in given.items() if sent is not None}
        if (file is not None and url) or not (file is not None or url or files):
            others = f", or a file of {' or '.join(fields.values())} alone" if fields else ""
            raise ServiceError(422, f"give one of file and url{others}", "invalid_field", "file")
        questions = tuple(one.strip() for one in question or () if one.strip())

        async def work() -> Answers:
            content = await fetch_media(url, settings) if url else await _bytes_of(file)
            sent = {name: SentFile(await _bytes_of(one) or b"", one.filename) for name, one in files.items()}
            named = file if file is not None or url else next(iter(files.values()))
            upload = Upload(content, _key_of(named, url), await _bytes_of(audio), subtitle, sent)
            del content, sent
            read = await service.read(upload)
            del upload
            replies, seconds = await service.ask(read, Asked(questions, max_tokens))
            return _answers(service, read, replies, seconds)

        return await while_connected(request, work(), settings.timeout_seconds)

    declare_files(answers, {field: (name, service.file_sources[name]) for field, name in fields.items()})
    router.post(
        "/v1/answers",
        response_model=Answers,
        responses=documented(400, 401, 403, 408, 411, 413, 422, 429, 500, 502, 503, 504),
        summary="Answer questions about a clip",
    )(answers)
    return router


def declare_files(endpoint: Callable[..., Any], fields: Mapping[str, tuple[str, Sequence[str]]]) -> None:
    """Put a file for each source into a signature in place of its last argument, ``**given``.

    FastAPI reads the form from the signature, and describes it by it.

    Args:
        endpoint: The function behind a route.
        fields: Argument to the source that it holds the file of, and the endings that the file may have.
    """
    *own, _ = inspect.signature(endpoint).parameters.values()
    for field, (name, suffixes) in fields.items():
        said = File(alias=name, description=f"The file of {name}, which ends in {' or '.join(suffixes)}.")
        form = Annotated[UploadFile | None, said]
        own.append(inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=form))
    endpoint.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]


def refuse_unknown(form: Iterable[str], fields: Sequence[str], sources: Sequence[str]) -> None:
    """Refuse a field that nothing reads: a file that the client took for granted would be left out.

    Raises:
        ServiceError: 422, with what there is.
    """
    for name in form:
        if name not in fields and name not in sources:
            near = did_you_mean(name, (*fields, *sources))
            others = f"the files of {', '.join(sources)}" if sources else "no other files"
            message = f"there is no field {name!r:.60}.{near} There are {', '.join(fields)}; the model reads {others}"
            raise ServiceError(422, message, "invalid_field", name[:60])


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


async def _bytes_of(file: UploadFile | None) -> bytes | None:
    """The content of an uploaded file, whose temporary copy is deleted."""
    if file is None:
        return None
    content = await file.read()
    await file.close()
    return content


def clip_name(file_name: str) -> str:
    r"""The name of a clip: that of its file without ending; a path that a client sends is nobody's business.

    Examples:
        >>> clip_name("C:\\clips\\u 1.mp4"), clip_name("")
        ('u 1', 'clip')
    """
    stem = PurePosixPath(file_name.replace("\\", "/")).stem
    return "".join(one for one in clean_name(stem) if one.isprintable())[:100] or "clip"


def _key_of(file: UploadFile | None, url: str | None) -> str:
    return clip_name((file.filename or "") if file is not None else (url or "").split("?")[0].split("#")[0])
