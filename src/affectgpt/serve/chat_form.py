"""OpenAI's form of a chat completion, as far as the service understands it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_CHARACTERS = 8000
MAX_MESSAGES = 64
MAX_SOURCES = 16

Text = Annotated[str, Field(max_length=MAX_CHARACTERS)]
SourceName = Annotated[str, Field(max_length=40)]


class Url(BaseModel):
    """A URL of media."""

    url: str = Field(description="`data:video/mp4;base64,...`, or a URL on a host that the service fetches from.")


class SoundData(BaseModel):
    """A sound in base64."""

    data: str
    format: str = Field(max_length=20)


class SourceUrl(Url):
    """The file of a source from a plug-in."""

    format: str | None = Field(
        default=None, max_length=40, description="Its ending, such as `csv`; by default that of the URL."
    )


class TextPart(BaseModel):
    """Words."""

    type: Literal["text"]
    text: Text


class VideoPart(BaseModel):
    """A video."""

    type: Literal["video_url"]
    video_url: Url


class PicturePart(BaseModel):
    """A still picture."""

    type: Literal["image_url"]
    image_url: Url


class SoundUrlPart(BaseModel):
    """A sound by URL."""

    type: Literal["audio_url"]
    audio_url: Url


class SoundPart(BaseModel):
    """A sound."""

    type: Literal["input_audio"]
    input_audio: SoundData


Part = Annotated[TextPart | VideoPart | PicturePart | SoundUrlPart | SoundPart, Field(discriminator="type")]


class ChatMessage(BaseModel):
    """A turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[Part] | None = None


class StreamOptions(BaseModel):
    """What a stream tells at its end."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A request for a chat completion."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    model: str = Field(max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2, description="Without one the answer is greedy.")
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    n: Literal[1] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    subtitle: Text | None = Field(default=None, description="The words spoken in the clip; a field of our own.")

    sources: dict[SourceName, SourceUrl] | None = Field(
        default=None, max_length=MAX_SOURCES, description="Files of sources from plug-ins, by name; a field of our own."
    )

    @model_validator(mode="after")
    def _refuse_what_changes_the_answer(self) -> ChatRequest:
        """Refuse settings that a client relies on; harmless ones are listed as ignored."""
        given = self.model_extra or {}
        for name in ("tools", "functions", "audio"):
            if given.get(name):
                raise ValueError(f"{name} is not supported by this model; leave it out")
        for name in ("logprobs", "top_logprobs"):
            if given.get(name):
                raise ValueError(f"{name} is not supported; leave it out")
        wanted = given.get("response_format")
        if wanted is not None and wanted != {"type": "text"}:
            raise ValueError("response_format must be text; this model writes free text")
        return self


class Usage(BaseModel):
    """Tokens of a completion."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ReplyMessage(BaseModel):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: str | None = None


class Choice(BaseModel):
    """The one answer."""

    index: int = 0
    message: ReplyMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class ChatCompletion(BaseModel):
    """A chat completion."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    affectgpt: dict[str, Any] = Field(
        description="Of our own: labels, sentiment, what was used, missing and heard, seconds, and settings and "
        "messages that were `ignored`."
    )
