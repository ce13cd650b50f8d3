"""Answers with a model behind any OpenAI-compatible server: vLLM, SGLang, ms-swift, llama.cpp, a vendor."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from affectgpt.bench.answerers.answer_settings import LONGEST_ANSWER, AnswerSettings, get_profile
from affectgpt.bench.answerers.asked_words import wording_record, words_for
from affectgpt.bench.answerers.base import Answer, Answerer, Asked
from affectgpt.bench.answerers.clip_media import ShownMedia, read_media
from affectgpt.chat.messages import Content, Message, Picture, Prompt, Sound, Text, Video
from affectgpt.chat.server import ServerModel
from affectgpt.errors import ConfigError
from affectgpt.media.pictures.write_picture import MEDIA_TYPES, write_picture
from affectgpt.media.sound.write_wav import write_wav

VIDEO_TYPES: Mapping[str, str] = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
}
"""Suffixes of files that can be sent whole, and their media types."""


class OpenAIAnswerer(Answerer):
    """Sends a clip's frames as pictures, its sound as ``input_audio`` and its subtitle as text.

    Args:
        base_url: Such as ``http://localhost:8000/v1``.
        model: The model's name on the server.
        settings: What is shown, and how answers are drawn.
        video_as: ``frames``; or ``file``, for servers that take a whole video (``video_url``) and cut it themselves.
        system: A first message of the role ``system``; none by default, as published.
        max_video_bytes: Larger files are not sent whole.
        num_workers: Processes that decode.
        api_key_env: Environment variable that holds the key; this and what follows: see ``ServerModel``.
        revision: What tells versions of the model apart, if the name does not.
        timeout_seconds: Longest wait for one answer.
        num_retries: Further tries.
        backoff_seconds: Pause before the first further try.
        num_parallel: Requests at the same time.
        requests_per_minute: Most requests in a minute.
        tokens_per_minute: Most tokens in a minute.
        prompt_price: Price of a million tokens that are read.
        answer_price: Price of a million tokens that are written.
        max_cost: No request begins that could pass this cost; earlier runs count.
        max_failures: So many failures one after the other end the run.
        extra_body: Further fields of every request.

    Raises:
        ConfigError: If an argument does not fit.
    """

    name = "openai"
    target: ClassVar[str | None] = "base_url"

    def __init__(
        self,
        base_url: str,
        model: str,
        settings: AnswerSettings | None = None,
        video_as: str = "frames",
        system: str | None = None,
        max_video_bytes: int = 20 * 2**20,
        num_workers: int = 2,
        api_key_env: str | None = None,
        revision: str | None = None,
        timeout_seconds: float = 120.0,
        num_retries: int = 4,
        backoff_seconds: float = 1.0,
        num_parallel: int = 4,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        prompt_price: float | None = None,
        answer_price: float | None = None,
        max_cost: float | None = None,
        max_failures: int = 20,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        if video_as not in ("frames", "file"):
            raise ConfigError(f"video_as is {video_as!r}; it must be frames or file")
        chosen = settings or get_profile("fast")
        self.answer_settings = chosen.changed(max_tokens=chosen.sampling.max_tokens or LONGEST_ANSWER)
        self.video_as, self.system, self.max_video_bytes = video_as, system, max_video_bytes
        self.num_workers = num_workers
        self.server = ServerModel(
            model,
            base_url,
            api_key_env=api_key_env,
            revision=revision,
            timeout_seconds=timeout_seconds,
            num_retries=num_retries,
            backoff_seconds=backoff_seconds,
            num_parallel=num_parallel,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            prompt_price=prompt_price,
            answer_price=answer_price,
            max_cost=max_cost,
            max_failures=max_failures,
            extra_body=extra_body,
        )

    def title(self) -> str:
        """The model's name."""
        return self.server.model

    def identity(self) -> Mapping[str, Any]:
        """Model, revision, prompt, what is shown and how answers are drawn."""
        return {"answerer": self.name, **self.server.identity(), **self.shown_and_drawn()}

    def shown_and_drawn(self) -> Mapping[str, Any]:
        """Media, words and sampling."""
        whole = {"video_as": "file", "max_video_bytes": self.max_video_bytes} if self.video_as == "file" else {}
        shown = self.answer_settings.shown() | whole
        words = {"wording": wording_record(), "system": self.system}
        return {"shown": shown, **words, "sampling": self.answer_settings.sampling.to_json()}

    def settings(self) -> Mapping[str, Any]:
        """Address and name of the key's environment variable."""
        return self.server.settings()

    def taken_by(self, answers: Iterable[Answer]) -> Mapping[str, Any]:
        """Tokens, and their cost where prices are known."""
        found, prices = dict(super().taken_by(answers)), self.server.budget.prices
        if prices is not None:
            found["cost"] = prices.of(found.get("prompt_tokens", 0), found.get("answer_tokens", 0))
        return found

    def recall(self, answers: Iterable[Answer]) -> None:
        """Count what earlier runs cost against the bound."""
        for one in answers:
            if one.prompt_tokens is not None and one.answer_tokens is not None:
                self.server.budget.count(one.prompt_tokens, one.answer_tokens)

    def answer(self, asked: Sequence[Asked], run: int = 0) -> Iterator[Answer]:
        """Answer every question; see ``Answerer``.

        Raises:
            ConfigError: If the server does not exist, or refuses the key or the model.
            DataError: If nothing can be answered any more, or the bound on the cost is reached.
        """
        sent: list[tuple[Asked, dict[str, str]]] = []
        unread: deque[Answer] = deque()
        settings = self.answer_settings
        decoded = set(settings.modalities) - {"text", *(["video"] if self.video_as == "file" else [])}

        def prompts() -> Iterator[Prompt]:
            media = None
            if decoded:
                media = read_media(asked, replace(settings, modalities=tuple(decoded)), self.num_workers)
            for one in asked:
                found = next(media) if media is not None else ShownMedia()
                contents, missing = self._contents(one, found)
                says = "text" in settings.modalities and one.subtitle and one.subtitle.strip()
                if found.problem is not None or not (contents or says):
                    reason = found.problem or f"there is nothing to show: {'; '.join(missing.values()) or 'no words'}"
                    unread.append(Answer.failed(one.key, reason))
                    continue
                sent.append((one, missing))
                words = Text(words_for(one, settings.modalities))
                told = [Message((Text(self.system),), "system")] if self.system else []
                yield [*told, Message((*contents, words))]

        for position, reply in self.server.replies(prompts(), settings.for_run(run)):
            while unread:
                yield unread.popleft()
            one, missing = sent[position]
            yield Answer.of_reply(one.key, reply, **({"missing": missing} if missing else {}))
        yield from unread

    def _contents(self, asked: Asked, media: ShownMedia) -> tuple[list[Content], dict[str, str]]:
        """The media of a message, and what the clip lacks."""
        settings, missing = self.answer_settings, dict(media.missing)
        contents: list[Content] = []
        if "video" in settings.modalities and self.video_as == "file":
            whole = self._whole(asked)
            if isinstance(whole, str):
                missing["video"] = whole
            else:
                contents.append(whole)
        if media.frames is not None:
            form = settings.picture_form
            contents += [Picture(write_picture(frame, form), MEDIA_TYPES[form]) for frame in media.frames]
        if media.waveform is not None:
            contents.append(Sound(write_wav(media.waveform, settings.sample_rate_hz)))
        return contents, missing

    def _whole(self, asked: Asked) -> Video | str:
        """The file itself, or why it is not sent."""
        path: Path | None = asked.video
        if path is None:
            return "the folder holds no video of it"
        if path.suffix.lower() not in VIDEO_TYPES:
            return f"{path.suffix} files are not sent whole; known: {', '.join(VIDEO_TYPES)}"
        try:
            size = path.stat().st_size
            if size > self.max_video_bytes:
                return f"the file has {size:,} bytes, more than max_video_bytes ({self.max_video_bytes:,})"
            return Video(path.read_bytes(), VIDEO_TYPES[path.suffix.lower()])
        except OSError as error:
            return f"{path.name} cannot be read: {error.strerror}"
