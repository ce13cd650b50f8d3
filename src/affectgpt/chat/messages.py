"""Prompts for chat models: messages of text, pictures, sound and video, and their form for servers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from affectgpt.text import clean_text

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Text:
    """Words of a message.

    Attributes:
        text: The words.
    """

    text: str


@dataclass(frozen=True)
class Picture:
    """A still picture.

    Attributes:
        content: The bytes of its file.
        media_type: Such as ``image/png`` or ``image/jpeg``.
    """

    content: bytes
    media_type: str = "image/png"


@dataclass(frozen=True)
class Sound:
    """A sound.

    Attributes:
        content: The bytes of its file.
        form: ``wav`` or ``mp3``, as ``input_audio`` names it.
    """

    content: bytes
    form: str = "wav"


@dataclass(frozen=True)
class Video:
    """A whole video, for models that read one.

    Attributes:
        content: The bytes of its file.
        media_type: Such as ``video/mp4``.
    """

    content: bytes
    media_type: str = "video/mp4"


Content = Text | Picture | Sound | Video


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Attributes:
        contents: The contents in order.
        role: Role of the speaker.
    """

    contents: tuple[Content, ...]
    role: Role = "user"


Prompt = str | Sequence[Message]
"""A prompt: a text, which is one message of the user, or a conversation."""


def as_messages(prompt: Prompt) -> tuple[Message, ...]:
    """A prompt as a conversation."""
    return (Message((Text(prompt),)),) if isinstance(prompt, str) else tuple(prompt)


def text_of(prompt: Prompt) -> str | None:
    """The words of a prompt that is one text of the user; ``None`` for any other conversation."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0].role == "user" and all(isinstance(one, Text) for one in prompt[0].contents):
        return "\n".join(one.text for one in prompt[0].contents if isinstance(one, Text))
    return None


def to_wire(prompt: Prompt) -> list[dict[str, Any]]:
    """The ``messages`` of a chat completion: media are data URLs and ``input_audio``, words without media plain text.

    Examples:
        >>> to_wire("How does she feel?")
        [{'role': 'user', 'content': 'How does she feel?'}]
        >>> shown = Message((Picture(b"...", "image/jpeg"), Text("And here?")))
        >>> [one["type"] for one in to_wire([shown])[0]["content"]]
        ['image_url', 'text']
    """
    return [{"role": one.role, "content": _wire_contents(one.contents)} for one in as_messages(prompt)]


def prompt_record(prompt: Prompt) -> list[dict[str, Any]]:
    """A prompt as plain JSON for a digest or a log: media are their sha256, so that it stays small."""
    return [{"role": one.role, "contents": [_recorded(part) for part in one.contents]} for one in as_messages(prompt)]


def _wire_contents(contents: Iterable[Content]) -> str | list[dict[str, Any]]:
    listed = list(contents)
    if all(isinstance(one, Text) for one in listed):
        # the one form that every server accepts
        return "\n".join(clean_text(one.text) for one in listed if isinstance(one, Text))
    return [_wire(one) for one in listed]


def _wire(content: Content) -> dict[str, Any]:
    match content:
        case Text():
            return {"type": "text", "text": clean_text(content.text)}
        case Picture():
            return {"type": "image_url", "image_url": {"url": _data_url(content.media_type, content.content)}}
        case Sound():
            data = base64.b64encode(content.content).decode("ascii")
            return {"type": "input_audio", "input_audio": {"data": data, "format": content.form}}
        case Video():
            return {"type": "video_url", "video_url": {"url": _data_url(content.media_type, content.content)}}


def _data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _recorded(content: Content) -> dict[str, Any]:
    if isinstance(content, Text):
        return {"text": clean_text(content.text)}
    kind = content.form if isinstance(content, Sound) else content.media_type
    return {"media": kind, "sha256": hashlib.sha256(content.content).hexdigest()}
