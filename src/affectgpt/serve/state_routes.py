"""The routes that tell about the service: ``/v1/models``, ``/healthz`` and ``/metrics``."""

from __future__ import annotations

import time
from typing import Any, Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from affectgpt.serve.answer_service import AnswerService
from affectgpt.serve.chat_route import check_model
from affectgpt.serve.error_form import documented
from affectgpt.serve.service_meters import ServiceMeters


class ModelFacts(BaseModel):
    """A model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "affectgpt"


class Models(BaseModel):
    """The models; there is one."""

    object: Literal["list"] = "list"
    data: list[ModelFacts]


class Health(BaseModel):
    """How the service is."""

    status: Literal["ok", "stopping"]
    model: str
    waiting: int


def state_router(service: AnswerService, meters: ServiceMeters) -> APIRouter:
    """The routes."""
    router = APIRouter()
    name, created = service.settings.model_name, int(time.time())

    @router.get("/v1/models", response_model=Models, responses=documented(401), summary="The models that there are")
    async def models() -> Any:
        return Models(data=[ModelFacts(id=name, created=created)])

    @router.get(
        "/v1/models/{model:path}", response_model=ModelFacts, responses=documented(401, 404), summary="One model"
    )
    async def model(model: str) -> Any:
        check_model(model, name)
        return ModelFacts(id=name, created=created)

    @router.get(
        "/healthz",
        response_model=Health,
        responses={503: {"model": Health, "description": "The service is stopping."}},
        summary="Whether the service answers; needs no key",
    )
    async def health() -> Any:
        ready = service.is_ready
        found = Health(status="ok" if ready else "stopping", model=name, waiting=service.num_waiting)
        return JSONResponse(found.model_dump(), 200 if ready else 503)

    @router.get(
        "/metrics",
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **documented(401)},
        response_class=Response,
        summary="Meters for Prometheus",
    )
    async def metrics() -> Response:
        return Response(meters.text(), media_type=CONTENT_TYPE_LATEST)

    return router
