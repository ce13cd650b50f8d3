"""One model and one service for the tests that only ask it something."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from affectgpt import AffectGPT
from affectgpt.serve import ServiceSettings
from clipmaker import make_clip
from servicerunner import running, tiny_model


@pytest.fixture(scope="session")
def tiny() -> AffectGPT:
    return tiny_model()


@pytest.fixture(scope="session")
def service(tiny: AffectGPT) -> Iterator[str]:
    """The URL of a service that fetches from nowhere and takes bodies up to 1 MB."""
    with running(tiny, ServiceSettings(model_name="tiny", decoders=1, max_body_bytes=2**20)) as url:
        yield url


@pytest.fixture(scope="session")
def clip() -> bytes:
    return make_clip(0.4)
