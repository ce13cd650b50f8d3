"""The one form of the service's errors, which is OpenAI's, and the handlers that give it to every error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from affectgpt.text import clean_text

MEANINGS: Mapping[int, str] = {
    400: "The body cannot be read.",
    401: "The API key is missing or unknown.",
    403: "The URL is on none of the hosts that this service fetches from.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    411: "The length of the body is not a number.",
    413: "The body, or the file behind the URL, is too large.",
    422: "A field is wrong, or the media cannot be used.",
    429: "Too many requests are under way; the header Retry-After says when to come back.",
    500: "A fault of the service; its log has the details under the request id.",
    502: "The server that writes the answers (vLLM) failed.",
    503: "The service is stopping.",
    504: "The answer took too long.",
}
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class ErrorFacts(BaseModel):
    """What went wrong."""

    message: str = Field(description="What was wrong, what was expected, and what to do.")
    type: str = Field(description="The kind of error, as OpenAI names them.")
    code: str = Field(description="The reason as a word for programs, such as `undecodable`.")
    param: str | None = Field(default=None, description="The field that is wrong.")


class ErrorBody(BaseModel):
    """An error."""

    error: ErrorFacts


class ServiceError(HTTPException):
    """An error that the client is told.

    It is an ``HTTPException`` because FastAPI turns any other error that is raised while it reads a body into a 400.

    Args:
        status: HTTP status.
        message: What was wrong, what was expected, and what to do.
        code: The reason as a word for programs.
        param: The field that is wrong.
        headers: Further headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers) if headers else None)
        self.code, self.param = code, param

    def body(self) -> dict[str, Any]:
        """The error as it is sent."""
        return error_body(self.status_code, str(self.detail), self.code, self.param)

    def response(self) -> JSONResponse:
        """The response that tells the client."""
        return JSONResponse(self.body(), self.status_code, self.headers)


def error_body(status: int, message: str, code: str, param: str | None = None) -> dict[str, Any]:
    """An error in the one form."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return ErrorBody(error=ErrorFacts(message=clean_text(message), type=kind, code=code, param=param)).model_dump()


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its OpenAPI description."""
    return {status: {"model": ErrorBody, "description": MEANINGS[status]} for status in statuses}


def install_error_form(app: FastAPI) -> None:
    """Give every error of an application the one form."""
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)


async def _of_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error, ServiceError):
        return error.response()
    words = {404: "not_found", 405: "method_not_allowed", 400: "unreadable_body"}
    code = words.get(error.status_code, "http_error")
    return JSONResponse(error_body(error.status_code, str(error.detail), code), error.status_code, error.headers)


async def _of_validation(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    # of the forms that a field may have, the one that was followed furthest is the one that was meant
    first: dict[str, Any] = max(found, key=lambda one: len(one.get("loc", ())), default={})
    if first.get("type") == "json_invalid":
        return JSONResponse(error_body(422, "the body is not JSON", "invalid_field"), 422)
    # pydantic names these forms among the fields, such as constrained-str
    where = ".".join(str(step) for step in first.get("loc", ())[1:] if re.fullmatch(r"\w+", str(step)))
    more = f" ({len(found) - 1} more are wrong)" if len(found) > 1 else ""
    message = f"{where or 'the body'}: {first.get('msg', 'is wrong')}{more}"
    return JSONResponse(error_body(422, message, "invalid_field", where or None), 422)
