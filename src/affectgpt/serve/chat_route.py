"""The route ``POST /v1/chat/completions``, in OpenAI's form, as a whole or as a stream of events."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from affectgpt.errors import first_few
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.serve.answer_service import AnswerService, Asked, while_connected
from affectgpt.serve.answering import Reply
from affectgpt.serve.answers_route import facts_of, missing_of
from affectgpt.serve.chat_form import ChatCompletion, ChatRequest, Choice, ReplyMessage, Usage
from affectgpt.serve.clip_reading import ReadUpload
from affectgpt.serve.error_form import ServiceError, documented, error_body
from affectgpt.serve.media_url import fetch_media
from affectgpt.serve.message_media import ChatContent, fetch_chat, read_chat

log = logging.getLogger(__name__)

ALIVE_SECONDS = 10.0
"""A stream that waits sends a comment this often, so that no proxy takes it for dead."""
_STREAM = {"text/event-stream": {"schema": {"type": "string"}}}


def chat_router(service: AnswerService) -> APIRouter:
    """The route."""
    router = APIRouter()
    settings = service.settings
    fetch = functools.partial(fetch_media, settings=settings)

    @router.post(
        "/v1/chat/completions",
        response_model=ChatCompletion,
        responses={
            200: {"description": "The completion; with `stream` its events.", "content": _STREAM},
            **documented(400, 401, 403, 404, 408, 411, 413, 422, 429, 500, 502, 503, 504),
        },
        summary="Answer a chat about a clip, in OpenAI's form",
    )
    async def complete(request: Request, body: ChatRequest) -> Any:
        check_model(body.model, settings.model_name)
        content = read_chat(body)
        deadline = time.monotonic() + settings.timeout_seconds

        async def read() -> ReadUpload:
            return await service.read(await fetch_chat(content, body.subtitle, fetch))

        decoded = await while_connected(request, read(), settings.timeout_seconds)
        asked = Asked(
            (content.question,) if content.question else (),
            body.max_completion_tokens or body.max_tokens,
            sampling_of(body),
        )

        async def work() -> ChatCompletion:
            replies, seconds = await service.ask(decoded, asked)
            return _completion(settings.model_name, content, decoded, replies[0], seconds)

        answer = while_connected(request, work(), max(0.0, deadline - time.monotonic()))
        if body.stream:
            tells_usage = body.stream_options is not None and body.stream_options.include_usage
            events = _events(answer, settings.model_name, tells_usage=tells_usage)
            return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        return await answer

    return router


def sampling_of(body: ChatRequest) -> AnswerSampling:
    """How the answer to a request is drawn; greedily without a temperature."""
    if not body.temperature:
        return AnswerSampling()
    return AnswerSampling(body.temperature, 1.0 if body.top_p is None else body.top_p, seed=body.seed)


def check_model(name: str, known: str) -> None:
    """Refuse a model that this service does not have.

    Raises:
        ServiceError: 404 if it is another one.
    """
    if name != known:
        raise ServiceError(
            404, f"there is no model {name!r:.100}; there is {first_few([known])}", "model_not_found", "model"
        )


def _completion(
    name: str, content: ChatContent, read: ReadUpload, reply: Reply, seconds: Mapping[str, float]
) -> ChatCompletion:
    facts = facts_of(reply)
    total = reply.prompt_tokens + reply.answer_tokens
    own = {field: facts[field] for field in ("question", "labels", "description", "sentiment", "used")}
    own |= {"missing": missing_of(read, [reply]), "transcript": read.transcript, "ignored": list(content.ignored)}
    own["seconds"] = {stage: round(value, 4) for stage, value in seconds.items()}
    return ChatCompletion(
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=name,
        choices=[Choice(message=ReplyMessage(content=facts["text"]), finish_reason=facts["finish_reason"])],
        usage=Usage(prompt_tokens=reply.prompt_tokens, completion_tokens=reply.answer_tokens, total_tokens=total),
        affectgpt=own,
    )


async def _events(answer: Any, name: str, *, tells_usage: bool) -> AsyncIterator[str]:
    """The completion as server-sent events.

    A batch is written as a whole, so the text comes as one piece; comments keep the connection alive until then.
    """
    base = {"id": f"chatcmpl-{secrets.token_hex(12)}", "object": "chat.completion.chunk", "created": int(time.time())}
    base["model"] = name
    task = asyncio.ensure_future(answer)
    try:
        yield _event({**base, "choices": [_delta({"role": "assistant", "content": ""})]})
        while not task.done():
            await asyncio.wait({task}, timeout=ALIVE_SECONDS)
            if not task.done():
                yield ": still working\n\n"
        try:
            done: ChatCompletion = task.result()
        except ServiceError as error:
            yield _event(error.body())
            return
        except Exception:
            log.exception("a stream failed")
            yield _event(error_body(500, "the service failed; its log has the details", "internal_error"))
            return
        choice = done.choices[0]
        yield _event({**base, "choices": [_delta({"content": choice.message.content})]})
        last = {**base, "choices": [_delta({}, choice.finish_reason)], "affectgpt": done.affectgpt}
        yield _event(last)
        if tells_usage:
            yield _event({**base, "choices": [], "usage": done.usage.model_dump()})
        yield "data: [DONE]\n\n"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _delta(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": dict(delta), "finish_reason": finish_reason, "logprobs": None}


def _event(data: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
