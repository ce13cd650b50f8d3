"""What is compared is decoded once where both models read clips alike."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from affectgpt.app import PageModel, PageSettings
from affectgpt.app.page_model import read_for_all
from affectgpt.serve.clip_reading import ClipReader, Upload
from servicerunner import MEDIA, tiny_model


@pytest.mark.parametrize(("frames", "times"), [(2, 1), (3, 2)])
def test_models_that_read_alike_share_what_was_decoded(monkeypatch, frames, times):
    readers: list[ClipReader] = []

    async def read(self: ClipReader, upload: Upload) -> Any:
        readers.append(self)
        return f"read by {len(readers)}"

    monkeypatch.setattr(ClipReader, "read", read)
    settings = PageSettings()
    other = tiny_model(media={**MEDIA, "num_frames": frames})
    models = [PageModel("first", tiny_model(), settings), PageModel("second", other, settings)]
    found = asyncio.run(read_for_all(models, Upload(b"clip")))
    assert found == ["read by 1", f"read by {times}"]
    assert len({*readers}) == len(readers) == times


def test_models_with_other_ears_read_for_themselves():
    settings = PageSettings()
    deaf, hears = (PageModel("one", tiny_model(), settings, asr=asr) for asr in (None, object()))  # type: ignore[arg-type]
    assert not deaf.reads_like(hears)
    assert deaf.reads_like(deaf)
