"""Decodes a clip with PyAV: the file's bytes to frames and waveform, in one thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import av
import torch
from av.container import InputContainer

from affectgpt.errors import MediaError
from affectgpt.media.decode.container import audio_stream, describe, is_picture, opened, video_stream
from affectgpt.media.decode.timeline import Timeline, read_timeline
from affectgpt.media.decode.torchcodec import Taken, take_tracks
from affectgpt.media.decode.tracks import AudioTrack, VideoTrack
from affectgpt.media.pictures.still import read_picture
from affectgpt.media.profile import MediaProfile
from affectgpt.types import Modality

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Decoded:
    """The media of one clip.

    Attributes:
        frames: uint8 ``[T, 3, H, W]``, RGB, upright; ``None`` where there are none or the profile asks for none.
        waveform: float32 ``[N]``, mono, in [-1, 1], at the profile's rate; ``None`` likewise.
        duration_seconds: Length of the longer track; 0 for a picture.
        picture: Whether the file is a still picture, which gives one frame.
        missing: Modality (``"visual"`` or ``"audio"``) to the reason why the clip lacks it; only what was asked for.
        notes: What was skipped or cut on the way, in words; empty for a sound file.
    """

    frames: Tensor | None
    waveform: Tensor | None
    duration_seconds: float
    picture: bool = False
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def decode(
    source: str | Path | bytes, profile: MediaProfile, key: str | None = None, *, thorough: bool = False
) -> Decoded:
    """Decode a video, a sound or a picture.

    The file is read twice, and decoded once. The first reading takes the time stamps of its packets, so that a wrong
    header does no harm. The second decodes forward and keeps, for the middle of each of ``profile.num_frames`` equal
    intervals of the video, the frame that is on screen then: the last one whose presentation time is not after it. A
    video with fewer frames repeats some; a picture gives one. (With ``visual_policy="official"`` frames are chosen by
    their number instead, see ``MediaProfile``.) At most two frames of full size are held at a time,
    unless the profile keeps the size of the clip.

    Of an H.264 video only the packets that those frames need are decoded (see ``packet_plan``); the result is the same,
    and is checked: where a frame is damaged or does not come, everything is decoded.

    Packets that cannot be decoded are skipped and counted in ``notes``.

    Args:
        source: A file, or its content.
        profile: Number and size of the frames, sample rate, and which modalities to decode.
        key: The sample's name, for messages.
        thorough: Whether to decode every frame up to the last that is needed, to find damage in the others too.

    Returns:
        The media; a modality that the file has no track for is ``None``, with the reason in ``missing``.

    Raises:
        MediaError: If the file is missing, empty, no media at all, or nothing in its tracks can be decoded.
    """
    name = describe(source, key)
    wanted = [modality for modality in Modality if profile.wants(modality)]
    with opened(source, name) as container:
        picture = is_picture(container)
        claimed_seconds = (container.duration or 0) / av.time_base
        streams = {Modality.VISUAL: video_stream(container), Modality.AUDIO: audio_stream(container)}
        if not any(streams.values()):
            kinds = ", ".join(sorted({stream.type for stream in container.streams}))
            lack = f"no video and no audio track, only {kinds}" if kinds else "no track at all, perhaps it is cut"
            raise MediaError(f"{name} has {lack}; give a video, sound or picture file", "no_tracks")
        video = streams[Modality.VISUAL]
        indices = {modality: None if stream is None else stream.index for modality, stream in streams.items()}
        timeline = read_timeline(container, video) if video is not None and Modality.VISUAL in wanted else None

    if picture and profile.visual_policy == "official" and Modality.VISUAL in wanted:
        absent = {Modality.AUDIO.value: _absent(Modality.AUDIO, picture)} if Modality.AUDIO in wanted else {}
        return Decoded(torch.from_numpy(read_picture(source, profile, name)), None, 0.0, picture, absent)
    present = {modality: index for modality in wanted if (index := indices[modality]) is not None}
    missing = {modality.value: _absent(modality, picture) for modality in wanted if indices[modality] is None}
    tracks: Mapping[Modality, VideoTrack | AudioTrack | Taken] = {}
    problem = None
    if present and profile.backend == "torchcodec" and not picture:
        tracks = take_tracks(source, name, present, timeline, profile)
    elif present:
        num_frames = 1 if picture else profile.num_frames
        read = partial(_read, source, name, present, timeline, num_frames, profile)
        tracks, problem = read(thorough=thorough)
        if not all(track.is_certain for track in tracks.values()):
            tracks, problem = read(thorough=True)

    notes = [f"reading stopped early: {problem}"] if problem else []
    arrays = {}
    for modality, track in tracks.items():
        arrays[modality] = track.result()
        notes += track.notes()
        if arrays[modality] is None:
            missing[modality.value] = f"nothing of its {track.codec} {track.kind} track could be decoded"
    found = {modality: array for modality, array in arrays.items() if array is not None}
    if tracks and not found:
        reasons = "; ".join(missing.values())
        raise MediaError(f"{name} is broken: {reasons}. Fetch it again, or leave it out")
    frames, waveform = found.get(Modality.VISUAL), found.get(Modality.AUDIO)
    return Decoded(
        frames=None if frames is None else torch.from_numpy(frames),
        waveform=None if waveform is None else torch.from_numpy(waveform),
        duration_seconds=0.0 if picture else max((t.seconds for t in tracks.values()), default=claimed_seconds),
        picture=picture,
        missing=missing,
        notes=tuple(notes),
    )


def _read(
    source: str | Path | bytes,
    name: str,
    indices: Mapping[Modality, int],
    timeline: Timeline | None,
    num_frames: int,
    profile: MediaProfile,
    *,
    thorough: bool,
) -> tuple[dict[Modality, VideoTrack | AudioTrack], str | None]:
    """Decode the tracks with these indices; they, and what stopped the reading."""
    tracks: dict[Modality, VideoTrack | AudioTrack] = {}
    with opened(source, name) as container:
        for modality, index in indices.items():
            stream = container.streams[index]
            if modality is Modality.VISUAL and timeline is not None:
                tracks[modality] = VideoTrack(stream, timeline, num_frames, profile, thorough)
            else:
                tracks[modality] = AudioTrack(stream, profile, of_video=video_stream(container) is not None)
        return tracks, _feed(container, list(tracks.values()))


def _feed(container: InputContainer, tracks: list[VideoTrack | AudioTrack]) -> str | None:
    """Feed the packets to their tracks until the end, or until all are full; what stopped the reading, or None."""
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


def _absent(modality: Modality, picture: bool) -> str:
    if picture:
        return "the file is a picture"
    return f"the file has no {'video' if modality is Modality.VISUAL else 'audio'} track"
