"""What a tab of the page may use: the models, the limits, the visitors, and the last answer of the session."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt.annotate.source_files import LooseFiles
from affectgpt.app.page_gate import COOKIE
from affectgpt.app.page_model import PageModel
from affectgpt.app.page_settings import MAX_WORDS, PageSettings
from affectgpt.app.visitors import Visitors
from affectgpt.errors import AffectGPTError, DataError
from affectgpt.pages.escaping import for_html
from affectgpt.serve.answers_route import clip_name
from affectgpt.serve.clip_reading import Upload
from affectgpt.serve.entrance import Queue
from affectgpt.serve.error_form import ServiceError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Page:
    """Handed to every tab; see ``affectgpt.app.page`` for how a tab is added.

    Attributes:
        settings: The limits.
        models: The models: one, or two to compare.
        visitors: Who uploaded what.
        queue: Counts the requests under way.
        answered: A ``gradio.State`` of each session: what was answered last, as plain JSON, or ``None``.
    """

    settings: PageSettings
    models: tuple[PageModel, ...]
    visitors: Visitors
    queue: Queue
    answered: Any

    def uploaded(self, request: Any, value: str | Mapping[str, Any] | None) -> Path | None:
        """The path of an upload of this visitor, for a value of a component that takes files.

        Args:
            request: The ``gradio.Request`` of the event.
            value: What the component gave: a path or, of an event without ``preprocess``, a mapping with one.

        Raises:
            DataError: If the visitor did not upload it, or it is gone.
        """
        path = value.get("path") if isinstance(value, Mapping) else value
        return self.visitors.check(request.cookies.get(COOKIE), path)

    def upload(self, request: Any, video: str | None, audio: str | None, subtitle: str | None) -> tuple[Upload, str]:
        """What a visitor uploaded, for ``PageModel.answer``, and the digest by which annotation knows it.

        Raises:
            DataError: If there is nothing, or it is gone.
        """
        seen, heard = self.uploaded(request, video), self.uploaded(request, audio)
        if seen is None and heard is None:
            raise DataError("there is no clip yet: choose a video or a sound, or record one")
        if len(subtitle or "") > MAX_WORDS:
            raise DataError(f"the spoken words have more than {MAX_WORDS} characters; give those of this clip")
        main = seen or heard
        assert main is not None
        sound = heard.read_bytes() if seen is not None and heard is not None else None
        upload = Upload(main.read_bytes(), clip_name(main.name), sound, (subtitle or "").strip() or None)
        return upload, LooseFiles(seen, heard).digest()

    async def told(self, work: Awaitable[Any]) -> tuple[Any, str | None]:
        """The result of some work, or what went wrong as HTML: one of them is ``None``.

        It takes a position among the requests under way, and ends after the time that an answer may take.
        """
        try:
            with self.queue.position():
                return await asyncio.wait_for(work, self.settings.timeout_seconds), None
        except TimeoutError:
            return None, problem_card("the answer took too long for this page; try a shorter clip, or try again later")
        except Exception as error:
            return None, self.problem(error)
        finally:
            close = getattr(work, "close", None)  # work that never began, because there was no position
            if close is not None:
                close()

    def problem(self, error: Exception) -> str:
        """What a visitor is told of an error, as HTML, without the folder of the uploads."""
        folder = re.escape(str(self.visitors.folder))
        return problem_card(re.sub(rf"{folder}/(?:\w+/)?", "", words_of(error)))


def words_of(error: Exception) -> str:
    """What a visitor is told of an error: a message of ours, or the number under which the log has the details."""
    if isinstance(error, ServiceError):
        return str(error.detail)
    if isinstance(error, AffectGPTError):
        return str(error)
    number = secrets.token_hex(4)
    log.error("fault %s of the page", number, exc_info=error)
    return f"the page failed; its log has the details under the number {number}"


def problem_card(words: str) -> str:
    """A message of something that went wrong, which screen readers read at once."""
    return f'<div class="ag-problem" role="alert"><b>No answer.</b> {for_html(words[:1].upper() + words[1:])}</div>'
