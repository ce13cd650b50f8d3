"""Reads the packets of a file and passes them to its tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.container import InputContainer

from affectgpt.media.decode.audio_track import AudioTrack
from affectgpt.media.decode.container import opened, video_stream
from affectgpt.media.decode.timeline import Timeline
from affectgpt.media.decode.torchcodec import Taken
from affectgpt.media.decode.tracks import Track
from affectgpt.media.decode.video_track import VideoTrack
from affectgpt.media.decode.views import View
from affectgpt.types import Modality


@dataclass(frozen=True)
class FileToRead:
    """What is known about a file before its packets are decoded.

    Attributes:
        source: The file, or its content.
        name: The clip, for messages.
        indices: Modality to the index of its stream, for the modalities to decode.
        timeline: The times of the video's frames; needed for a video track.
        picture: Whether it is a still picture.
    """

    source: str | Path | bytes
    name: str
    indices: Mapping[Modality, int]
    timeline: Timeline | None
    picture: bool


@dataclass(frozen=True)
class Reading:
    """The tracks after reading.

    Attributes:
        tracks: Modality to its track.
        problem: What stopped the reading, or ``None``.
        windows: The audio track of a second pass, for the views whose sound is too long to keep whole; or ``None``.
        lengths: These views, and the number of samples of their waveform.
    """

    tracks: Mapping[Modality, Track | Taken]
    problem: str | None
    windows: AudioTrack | None = None
    lengths: Mapping[View, int] = field(default_factory=dict)


def read_tracks(file: FileToRead, views: Sequence[View], *, thorough: bool) -> Reading:
    """Decode a file for its views.

    Args:
        file: The file.
        views: The views that need its tracks.
        thorough: Whether to decode every frame of a video; that also happens if the planned packets are not enough.
    """
    tracks, problem = _read(file, views, thorough=thorough)
    if not all(track.is_certain for track in tracks.values()):
        tracks, problem = _read(file, views, thorough=True)
    sound = tracks.get(Modality.AUDIO)
    if not isinstance(sound, AudioTrack):
        return Reading(tracks, problem)
    lengths = {view: length for view, length in sound.long_views().items() if view.windows_do}
    if not lengths or sound.is_endless:
        return Reading(tracks, problem)
    with opened(file.source, file.name) as container:
        stream = container.streams[file.indices[Modality.AUDIO]]
        of_video = video_stream(container) is not None
        windows = AudioTrack(stream, list(lengths), of_video=of_video, lengths=lengths)
        _feed(container, [windows])
        windows.end()
    return Reading(tracks, problem, windows, lengths)


def _read(
    file: FileToRead, views: Sequence[View], *, thorough: bool
) -> tuple[dict[Modality, VideoTrack | AudioTrack], str | None]:
    tracks: dict[Modality, VideoTrack | AudioTrack] = {}
    with opened(file.source, file.name) as container:
        for modality, index in file.indices.items():
            stream = container.streams[index]
            asking = [view for view in views if view.profile.wants(modality)]
            if modality == Modality.VISUAL and file.timeline is not None:
                tracks[modality] = VideoTrack(stream, file.timeline, asking, picture=file.picture, thorough=thorough)
            else:
                tracks[modality] = AudioTrack(stream, asking, of_video=video_stream(container) is not None)
        problem = _feed(container, list(tracks.values()))
        for track in tracks.values():
            track.end()
        return tracks, problem


def _feed(container: InputContainer, tracks: Sequence[VideoTrack | AudioTrack]) -> str | None:
    """Feed the packets to their tracks until the end, or until all are full; return what stopped it early, or None."""
    by_index = {track.index: track for track in tracks}
    try:
        for packet in container.demux([track.stream for track in tracks]):
            by_index[packet.stream.index].feed(packet)  # the last, empty packets have no stream_index
            if all(track.full for track in tracks):
                break
    except av.FFmpegError as error:
        for track in tracks:
            track.finish()
        return str(error.strerror or error)
    return None
