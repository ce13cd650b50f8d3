"""Decodes a clip with PyAV: the file's bytes to frames and waveform, in one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import av
import torch

from affectgpt.errors import MediaError
from affectgpt.media.decode.container import audio_stream, describe, is_picture, opened, video_stream
from affectgpt.media.decode.judge import beyond_limits
from affectgpt.media.decode.reading import FileToRead, Reading, read_tracks
from affectgpt.media.decode.timeline import Timeline, read_timeline
from affectgpt.media.decode.torchcodec import take_tracks
from affectgpt.media.decode.video_track import VideoTrack
from affectgpt.media.decode.views import View
from affectgpt.media.limits import too_large
from affectgpt.media.memory import bounded_memory, is_out_of_memory
from affectgpt.media.pictures.still import read_picture
from affectgpt.media.profile import MediaProfile
from affectgpt.types import Modality

_TRACKS = (Modality.VISUAL, Modality.AUDIO)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Decoded:
    """The media of one clip.

    Attributes:
        frames: uint8 ``[T, 3, H, W]``, RGB, upright; ``None`` if the file has none or the profile does not ask for
            them.
        waveform: float32 ``[N]``, mono, finite and in [-1, 1], at the profile's rate; ``None`` in the same cases, and
            if ``windows`` replace it.
        duration_seconds: Length of the longer track; 0 for a picture.
        picture: Whether the file is a still picture, which gives one frame.
        missing: Modality (``"visual"`` or ``"audio"``) to the reason why the clip lacks it, for modalities in the
            profile.
        notes: What was skipped, cut, replaced or clipped, in words; empty for a sound file.
        windows: The windows of the profile, float32 ``[S, size]``, if the sound is too long to keep whole.
        frame_times: When each frame is shown, in seconds, if the backend reports it.
    """

    frames: Tensor | None
    waveform: Tensor | None
    duration_seconds: float
    picture: bool = False
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    windows: Tensor | None = None
    frame_times: tuple[float, ...] = ()

    @property
    def has_sound(self) -> bool:
        """Whether a sound was decoded."""
        return self.waveform is not None or self.windows is not None


def decode(
    source: str | Path | bytes,
    profile: MediaProfile,
    key: str | None = None,
    *,
    thorough: bool = False,
    windows_do: bool = False,
) -> Decoded:
    """Decode a video, a sound or a picture.

    The file is read twice and decoded once. The first pass reads the time stamps of the packets, because headers can be
    wrong. The second pass decodes forward. It divides the video into ``profile.num_frames`` equal intervals and keeps
    the frame that is on screen at the middle of each: the last one whose presentation time is not later. A video with
    fewer frames repeats some; a picture gives one. (With ``visual_policy="official"`` frames are chosen by their number
    instead, see ``MediaProfile``.) At most two frames of full size are in memory at a time, unless the profile keeps
    the size of the clip.

    In an H.264 video, only the packets that those frames need are decoded (see ``packet_plan``). The result is the
    same, and is checked: if a frame is damaged or missing, everything is decoded.

    Packets that cannot be decoded are skipped and counted in ``notes``. Sizes are checked before memory is allocated,
    see ``affectgpt.media.limits``.

    Args:
        source: A file, or its content.
        profile: Number and size of the frames, sample rate, and which modalities to decode.
        key: The sample's name, for messages.
        thorough: Whether to decode every frame up to the last needed one, to find damage in the others as well.
        windows_do: Whether the profile's windows are enough if the sound is longer than half an hour; it is then
            decoded twice, first to find its length.

    Returns:
        The media; a modality that the file has no track for is ``None``, with the reason in ``missing``.

    Raises:
        MediaError: If the file is missing, empty, too large or not a media file, or nothing in its tracks can be
            decoded.
    """
    return decode_views(source, [View(profile, windows_do)], key, thorough=thorough)[0]


def decode_views(
    source: str | Path | bytes, views: Sequence[View], key: str | None = None, *, thorough: bool = False
) -> list[Decoded]:
    """Decode a file once for several views; see ``decode``.

    Returns:
        One entry per view, the same as if the file had been decoded for that view alone.

    Raises:
        MediaError: See ``decode``; modalities that only one view lacks are in its ``missing``.
    """
    name = describe(source, key)
    try:
        with bounded_memory():
            return _decode(source, views, name, thorough=thorough)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise too_large(name, "needs more memory", "MAX_WORKER_BYTES") from error


def _decode(source: str | Path | bytes, views: Sequence[View], name: str, *, thorough: bool) -> list[Decoded]:
    wanted = [modality for modality in _TRACKS if any(view.profile.wants(modality) for view in views)]
    with opened(source, name) as container:
        picture = is_picture(container)
        claimed_seconds = 0.0 if picture else (container.duration or 0) / av.time_base
        found = {Modality.VISUAL: video_stream(container), Modality.AUDIO: audio_stream(container)}
        if not any(found.values()):
            kinds = ", ".join(sorted({stream.type for stream in container.streams}))
            lack = f"no video and no audio track, only {kinds}" if kinds else "no track at all, perhaps it is cut"
            raise MediaError(f"{name} has {lack}; give a video, sound or picture file", "no_tracks")
        streams = {modality: stream for modality in wanted if (stream := found[modality]) is not None}
        judged = {modality: beyond_limits(stream, views, picture=picture) for modality, stream in streams.items()}
        large = {modality: why for modality, why in judged.items() if why is not None}
        if large and len(large) == len(streams):
            raise MediaError(f"{name}: {'; '.join(large.values())}; convert it, or leave it out", "too_large")
        absent = {**{m: _absent(m, picture) for m in wanted if m not in streams}, **large}
        indices = {modality: stream.index for modality, stream in streams.items() if modality not in large}
        video = streams[Modality.VISUAL] if Modality.VISUAL in indices else None
        timeline = None if video is None else read_timeline(container, video, name)
        for view in views:
            if view.every_frame and timeline is not None and video is not None:
                why = beyond_limits(video, [_counted(view, timeline)], picture=picture)
                if why is not None:
                    raise MediaError(f"{name}: {why}; choose fewer or smaller frames", "too_large")
        is_jpeg = video is not None and video.codec_context.name == "mjpeg"

    results: dict[View, Decoded] = {}
    file = FileToRead(source, name, indices, timeline, picture)
    by_pillow = [v for v in views if picture and v.profile.visual_policy == "official" and _wants_video(v)]
    by_torchcodec = [v for v in views if v.profile.backend == "torchcodec" and not picture and not is_jpeg]
    for view in by_pillow:
        frames, notes = read_picture(source, view.profile, name)
        results[view] = Decoded(torch.from_numpy(frames), None, 0.0, True, _lacks(view, absent), notes)
    for view in by_torchcodec if indices else ():
        taken = take_tracks(source, name, indices, timeline, view.profile)
        results[view] = _result(view, file, Reading(taken, None), absent, claimed_seconds)
    rest = [view for view in views if view not in results]
    if rest:
        reading = read_tracks(file, rest, thorough=thorough) if indices else Reading({}, None)
        results |= {view: _result(view, file, reading, absent, claimed_seconds) for view in rest}
    if indices and not any(one.frames is not None or one.has_sound for one in results.values()):
        reasons = "; ".join(dict.fromkeys(why for one in results.values() for why in one.missing.values()))
        raise MediaError(f"{name} is broken: {reasons}. Fetch it again, or leave it out")
    return [results[view] for view in views]


def _result(
    view: View, file: FileToRead, reading: Reading, absent: Mapping[Modality, str], claimed_seconds: float
) -> Decoded:
    """The result of one view."""
    missing = _lacks(view, absent)
    notes = [f"reading stopped early: {reading.problem}"] if reading.problem else []
    arrays: dict[Modality, Tensor] = {}
    windows = None
    times: tuple[float, ...] = ()
    seconds = [0.0 if file.picture else claimed_seconds]
    tracks = {modality: track for modality, track in reading.tracks.items() if view.profile.wants(modality)}
    for modality, track in tracks.items():
        array = track.result(view)
        if array is not None:
            arrays[modality] = torch.from_numpy(array)
        elif reading.windows is not None and view in reading.lengths and modality == Modality.AUDIO:
            track = reading.windows
            windows = torch.from_numpy(track.windows(view))
        else:
            missing[str(modality)] = track.why_nothing(view)
        notes += track.notes(view)
        if isinstance(track, VideoTrack):
            times = track.times(view)
    if tracks and not file.picture:
        seconds = [track.seconds(view) for track in tracks.values()]
    return Decoded(
        frames=arrays.get(Modality.VISUAL),
        waveform=arrays.get(Modality.AUDIO),
        duration_seconds=max(seconds),
        picture=file.picture,
        missing=missing,
        notes=tuple(notes),
        windows=windows,
        frame_times=times,
    )


def _lacks(view: View, absent: Mapping[Modality, str]) -> dict[str, str]:
    return {str(modality): why for modality, why in absent.items() if view.profile.wants(modality)}


def _counted(view: View, timeline: Timeline) -> View:
    """For a view of every frame, set their number."""
    profile = replace(view.profile, num_frames=max(timeline.num_packets, 1))
    return replace(view, profile=profile)


def _wants_video(view: View) -> bool:
    return view.profile.wants(Modality.VISUAL)


def _absent(modality: Modality, picture: bool) -> str:
    if picture:
        return "the file is a picture"
    return f"the file has no {'video' if modality == Modality.VISUAL else 'audio'} track"
