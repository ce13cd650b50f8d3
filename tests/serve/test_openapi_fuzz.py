"""The OpenAPI description is true: what it allows and forbids is fuzzed, and no case ends in a fault of the service."""

from __future__ import annotations

import base64
import warnings

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def described(service):
    return schemathesis.openapi.from_url(f"{service}/openapi.json")


def fuzz(strategy, examples: int) -> list[int]:
    """The status of each case; a case that is answered otherwise than described fails."""
    statuses = []

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def ask(case) -> None:
        response = case.call(timeout=120)
        statuses.append(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()
    return statuses


def test_every_route_is_described_with_its_errors(described) -> None:
    paths = described.raw_schema["paths"]
    assert set(paths) == {
        *("/v1/answers", "/v1/chat/completions", "/v1/models", "/v1/models/{model}", "/healthz", "/metrics"),
    }
    for path in ("/v1/answers", "/v1/chat/completions"):
        told = paths[path]["post"]["responses"]
        assert {"200", "400", "403", "408", "411", "413", "422", "429", "500", "502", "503", "504"} <= set(told)
        assert told["429"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")


@pytest.mark.parametrize(
    ("method", "path", "examples"),
    [
        ("POST", "/v1/answers", 25),
        ("POST", "/v1/chat/completions", 40),
        ("GET", "/v1/models", 2),
        ("GET", "/v1/models/{model}", 10),
        ("GET", "/healthz", 2),
        ("GET", "/metrics", 2),
    ],
)
def test_no_case_is_a_fault_and_every_answer_is_as_described(described, method, path, examples) -> None:
    operation = described[path][method]
    modes = [schemathesis.GenerationMode.POSITIVE]
    if method == "POST":  # what the description forbids; there is nothing to forbid in the others
        modes.append(schemathesis.GenerationMode.NEGATIVE)
    for mode in modes:
        statuses = fuzz(operation.as_strategy(generation_mode=mode), examples)
        assert statuses
        assert max(statuses) < 500


def test_an_answer_is_as_described(described, service, clip) -> None:
    found = requests.post(f"{service}/v1/answers", files={"file": ("a.mp4", clip)}, timeout=120)
    assert found.status_code == 200
    described["/v1/answers"]["POST"].validate_response(found)
    url = f"data:video/mp4;base64,{base64.b64encode(clip).decode()}"
    message = {"role": "user", "content": [{"type": "video_url", "video_url": {"url": url}}]}
    asked = {"model": "tiny", "messages": [message]}
    found = requests.post(f"{service}/v1/chat/completions", json=asked, timeout=120)
    assert found.status_code == 200
    described["/v1/chat/completions"]["POST"].validate_response(found)
