"""Puts the service together: routes, errors, entrance, and the start and stop of the model's thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

import affectgpt
from affectgpt.media.speech.base import Asr
from affectgpt.model.module import AffectGPT
from affectgpt.serve.answer_service import AnswerService
from affectgpt.serve.answers_route import answers_router
from affectgpt.serve.chat_route import chat_router
from affectgpt.serve.entrance import OPEN_PATHS, Entrance, Queue
from affectgpt.serve.error_form import install_error_form
from affectgpt.serve.prompt_writer import PromptWriter
from affectgpt.serve.service_meters import ServiceMeters
from affectgpt.serve.service_settings import ServiceSettings
from affectgpt.serve.state_routes import state_router


def create_app(
    model: AffectGPT,
    settings: ServiceSettings | None = None,
    *,
    keys: Sequence[str] = (),
    writer: PromptWriter | None = None,
    asr: Asr | None = None,
) -> FastAPI:
    """The service as an ASGI application; the model begins to work when the application starts.

    Args:
        model: The model, in eval mode, on its device.
        settings: The limits.
        keys: API keys; without any, every request is let in.
        writer: What writes the answers, such as a ``VllmWriter``; by default the model.
        asr: Writes down the words of clips without subtitle.

    Raises:
        ConfigError: If the face detector cannot be used.
    """
    settings = settings or ServiceSettings()
    meters, queue = ServiceMeters(), Queue(settings)
    service = AnswerService(model, settings, meters, writer, asr)
    meters.watch(lambda: service.num_waiting, lambda: queue.num_taken)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.working():
            yield

    # no pages of FastAPI's own: they load scripts from other people's servers
    app = FastAPI(
        title="affectgpt",
        version=affectgpt.__version__,
        summary="Emotions of people in clips, in their own words",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    install_error_form(app)
    for router in (answers_router(service), chat_router(service), state_router(service, meters)):
        app.include_router(router)
    _document_keys(app, needed=bool(keys))
    paths = set(app.openapi()["paths"]) | {"/openapi.json"}

    def route_of(path: str) -> str:
        return "/v1/models/{model}" if path.startswith("/v1/models/") else path if path in paths else "other"

    app.add_middleware(Entrance, settings=settings, keys=keys, queue=queue, meters=meters, route_of=route_of)
    return app


def _document_keys(app: FastAPI, *, needed: bool) -> None:
    """Say in the OpenAPI description which routes need a key; 401 is an answer only where one is needed."""
    schema = app.openapi()
    if not needed:
        for methods in schema["paths"].values():
            for method in methods.values():
                method["responses"].pop("401", None)
        return
    schema.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, methods in schema["paths"].items():
        if path not in OPEN_PATHS:
            for method in methods.values():
                method["security"] = [{"key": []}]
