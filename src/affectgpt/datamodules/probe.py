"""Reads the files of a manifest's line, and decodes them to see that they are whole."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from affectgpt.datamodules.schema import FACES_SUFFIX, Record, SampleError
from affectgpt.datamodules.writer import Sample
from affectgpt.errors import DataError
from affectgpt.media.decode import Decoded, decode
from affectgpt.media.face_arrays import read_faces
from affectgpt.media.profile import MediaProfile

_CROP = MediaProfile(frame_height=0, frame_width=0, sources=("image",))
_PROBE = MediaProfile(num_frames=8, frame_height=32, frame_width=32)


def probe_record(record: Record) -> Sample | SampleError:
    """Read the files of a record, and decode them to see that they are whole.

    Returns:
        The sample, or what is wrong with it: an answer that another process can send.
    """
    try:
        return _probe(record)
    except SampleError as problem:
        return problem


def crashed(record: Record) -> SampleError:
    """The fault of a record whose decoding killed its process."""
    message = (
        f"clip {record.key!r}: decoding {', '.join(map(str, record.files()))} killed its process; the file breaks the "
        "decoder, or needs more memory than there is: leave it out, or convert it"
    )
    return SampleError(record.key, "probe", "crashed", message)


def _probe(record: Record) -> Sample:
    members: dict[str, bytes] = {}
    decoded: list[Decoded] = []
    try:
        for path in (record.video, record.audio):
            if path is not None:
                content = path.read_bytes()
                decoded.append(_decode(content, path, record))
                members[path.suffix.lower().lstrip(".")] = content
        if record.faces is not None:
            members[FACES_SUFFIX] = _read_faces(record)
    except OSError as error:
        message = f"clip {record.key!r}: {error.filename!r} cannot be read: {error.strerror}"
        raise SampleError(record.key, "probe", "unreadable", message) from error
    except SampleError:
        raise
    except DataError as error:
        raise SampleError(record.key, "probe", "bad_faces", str(error)) from error
    facts = {
        **record.to_json(),
        "duration_seconds": round(max(media.duration_seconds for media in decoded), 3),
        "has_video": any(media.frames is not None for media in decoded),
        "has_audio": any(media.waveform is not None for media in decoded),
        "has_faces": FACES_SUFFIX in members,
        "media_notes": [note for media in decoded for note in media.notes],
    }
    return Sample(record.key, members, facts)


def _read_faces(record: Record) -> bytes:
    """The face crops of a record as an npy file; pictures in a folder become one."""
    files = record.face_files()
    if record.faces in files:
        content = files[0].read_bytes()
        read_faces(content, record.key)
        return content
    crops = []
    for path in files:
        frames = decode(path.read_bytes(), _CROP, key=record.key).frames
        assert frames is not None
        crops.append(frames[0].permute(1, 2, 0).numpy())
    if len({crop.shape for crop in crops}) != 1:
        sizes = ", ".join(sorted({f"{crop.shape[1]}x{crop.shape[0]}" for crop in crops})) or "none at all"
        raise DataError(f"clip {record.key!r}: pictures of one size make face crops, but {record.faces} holds {sizes}")
    file = io.BytesIO()
    np.save(file, np.stack(crops))
    return file.getvalue()


def _decode(content: bytes, path: Path, record: Record) -> Decoded:
    try:
        decoded = decode(content, _PROBE, key=record.key)
    except DataError as error:
        code = "undecodable" if content else "empty_file"
        raise SampleError(record.key, "probe", code, f"{error} [{path}]") from error
    if path == record.audio and decoded.waveform is None:
        message = f"clip {record.key!r}: {str(path)!r} is given as its audio, but has no sound; leave 'audio' out"
        raise SampleError(record.key, "probe", "no_sound", message)
    return decoded
