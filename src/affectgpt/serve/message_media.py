"""Reads the media and the question out of the messages of a chat."""

from __future__ import annotations

import asyncio
import base64
import binascii
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from affectgpt.serve.chat_form import (
    ChatMessage,
    ChatRequest,
    PicturePart,
    SoundPart,
    SoundUrlPart,
    SourceUrl,
    TextPart,
    VideoPart,
)
from affectgpt.serve.clip_reading import SentFile, Upload
from affectgpt.serve.error_form import ServiceError

Fetch = Callable[[str], Awaitable[bytes]]


@dataclass(frozen=True)
class ChatContent:
    """What a chat holds.

    Attributes:
        visual: The URL of the video or picture, or ``None``.
        sound: The URL of the sound, or its base64 data, or ``None``.
        question: The words of the last message of the user.
        sources: Source name to its file, for sources from plug-ins.
        ignored: What was left out.
    """

    visual: str | None
    sound: str | SoundPart | None
    question: str
    sources: Mapping[str, SourceUrl]
    ignored: tuple[str, ...]


def read_chat(request: ChatRequest) -> ChatContent:
    """Find the media and the question.

    The model answers one question about one clip: a video or a picture, or a sound, or both. The media may be in any
    message of the user, so that a chat that goes on keeps its clip; the question is the text of the last one.

    Raises:
        ServiceError: 422 if there is no clip, or more than one.
    """
    visuals: list[str] = []
    sounds: list[str | SoundPart] = []
    users = [message for message in request.messages if message.role == "user"]
    if not users:
        raise _wrong("no message has the role user; put the clip and the question into one")
    for message in users:
        for part in message.content if isinstance(message.content, list) else ():
            match part:
                case VideoPart():
                    visuals.append(part.video_url.url)
                case PicturePart():
                    visuals.append(part.image_url.url)
                case SoundUrlPart():
                    sounds.append(part.audio_url.url)
                case SoundPart():
                    sounds.append(part)
    if len(visuals) > 1 or len(sounds) > 1:
        raise _wrong(
            f"there are {len(visuals)} videos and pictures and {len(sounds)} sounds, but the model looks at one clip: "
            "send one video_url or image_url, and at most one input_audio; frames belong into one video"
        )
    if not visuals and not sounds and not request.sources:
        raise _wrong("there is nothing to look at or listen to; add a video_url, image_url or input_audio")
    left_out = [m for m in request.messages if m is not users[-1] and (m.role != "user" or _words_of(m))]
    ignored = [f"message of the role {message.role}" for message in left_out]
    ignored += sorted(name for name, value in (request.model_extra or {}).items() if value is not None)
    return ChatContent(
        visuals[0] if visuals else None,
        sounds[0] if sounds else None,
        _words_of(users[-1]),
        request.sources or {},
        tuple(ignored),
    )


async def fetch_chat(content: ChatContent, subtitle: str | None, fetch: Fetch) -> Upload:
    """The media of a chat, decoded from base64 or fetched.

    Raises:
        ServiceError: 422 if they cannot be read; what ``fetch`` raises.
    """
    sound = None
    if isinstance(content.sound, SoundPart):
        sound = await asyncio.to_thread(_base64, content.sound.input_audio.data, "input_audio")
    elif content.sound is not None:
        sound = await _get(content.sound, "audio_url", fetch)
    files = {
        name: SentFile(await _get(file.url, f"source {name}", fetch), _file_name(file))
        for name, file in content.sources.items()
    }
    if content.visual is None:
        return Upload(sound, subtitle=subtitle, files=files)
    visual = await _get(content.visual, "video_url or image_url", fetch)
    return Upload(visual, audio=sound, subtitle=subtitle, files=files)


def _file_name(file: SourceUrl) -> str | None:
    """What ends as the file of a source does; a data URL alone does not say it."""
    if file.format is not None:
        return f".{file.format}"
    return None if _is_data(file.url) else urllib.parse.urlsplit(file.url).path


def _words_of(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content.strip()
    return "\n".join(part.text for part in message.content or () if isinstance(part, TextPart)).strip()


async def _get(url: str, what: str, fetch: Fetch) -> bytes:
    if not _is_data(url):
        return await fetch(url)
    head, comma, data = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise _wrong(f"the {what} is a data URL without base64; expected such as data:video/mp4;base64,AAAA")
    return await asyncio.to_thread(_base64, data, what)  # of megabytes; others go on meanwhile


def _is_data(url: str) -> bool:
    return url[:5].lower() == "data:"


def _base64(data: str, what: str) -> bytes:
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong(f"the data of {what} is not base64 ({error})") from error
    if not content:
        raise _wrong(f"the data of {what} is empty")
    return content


def _wrong(message: str) -> ServiceError:
    return ServiceError(422, message, "invalid_field", "messages")
