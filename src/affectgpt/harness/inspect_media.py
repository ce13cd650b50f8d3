"""Shows a model of Inspect the frames and the sound of a clip, decoded when its turn comes."""

from __future__ import annotations

from pathlib import Path

from anyio import to_thread
from inspect_ai.model import Content, ContentAudio, ContentImage
from inspect_ai.solver import Generate, Solver, TaskState, solver

from affectgpt.bench.answerers.answer_settings import AnswerSettings, get_profile
from affectgpt.bench.answerers.base import Asked
from affectgpt.bench.answerers.clip_media import ReadMedia, ShownMedia
from affectgpt.media.pictures.write_picture import MEDIA_TYPES, write_picture
from affectgpt.media.sound.write_wav import write_wav
from affectgpt.pages.plotting import data_url

UNREADABLE = "unreadable"
"""The entry of a sample's metadata that says why its clip cannot be read."""


@solver
def show_media(modalities: list[str]) -> Solver:
    """Puts a clip's frames and its sound before the question; a clip that cannot be read gets an empty answer."""
    shown = [name for name, kind in (("video", "frames"), ("audio", "audio")) if kind in modalities]
    read = ReadMedia(get_profile("fast").changed(shown))

    async def show(state: TaskState, generate: Generate) -> TaskState:
        files = [Path(state.metadata[name]) if state.metadata[name] else None for name in ("video", "audio")]
        found = await to_thread.run_sync(read, Asked(str(state.sample_id), "", "", None, *files))
        if found.problem is not None:
            state.metadata[UNREADABLE] = found.problem
            state.completed = True
            return state
        message = state.messages[0]
        assert isinstance(message.content, list)
        message.content = [*_contents(found, read.settings), *message.content]
        return state

    return show


def _contents(found: ShownMedia, settings: AnswerSettings) -> list[Content]:
    """Frames as pictures and the waveform as a WAV file, both as data addresses."""
    contents: list[Content] = []
    for frame in () if found.frames is None else found.frames:
        picture = write_picture(frame, settings.picture_form)
        contents.append(ContentImage(image=data_url(picture, MEDIA_TYPES[settings.picture_form])))
    if found.waveform is not None:
        sound = write_wav(found.waveform, settings.sample_rate_hz)
        contents.append(ContentAudio(audio=data_url(sound, "audio/wav"), format="wav"))
    return contents
