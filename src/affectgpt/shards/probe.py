"""Reads and decodes the files of a record to check that they are whole, and makes a sample from them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from affectgpt.errors import DataError, MediaError
from affectgpt.manifests.record import FACES_SUFFIX, Record, SampleError
from affectgpt.media.decode.decoder import Decoded, decode
from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.faces.face_arrays import read_faces
from affectgpt.media.faces.find import find_faces
from affectgpt.media.limits import MAX_LOADED_BYTES, too_large
from affectgpt.media.material import Material, SourceFile, read_source_files
from affectgpt.media.profile import MediaProfile
from affectgpt.registry import FACE_DETECTORS
from affectgpt.shards.forms.frames import FramesRecipe, count_pictures
from affectgpt.shards.tar_writer import Sample

_CROP = MediaProfile(frame_height=0, frame_width=0, sources=("image",))
_PROBE = MediaProfile(num_frames=8, frame_height=32, frame_width=32)


@dataclass(frozen=True)
class Prepare:
    """The work on one record: a picklable function.

    Attributes:
        recipe: How to store frames and sound; ``None`` stores the original files.
        detector: Detector for clips without face crops: a name in ``FACE_DETECTORS``, or ``None``.
    """

    recipe: FramesRecipe | None = None
    detector: str | None = None

    def __post_init__(self) -> None:
        if self.detector is not None:
            _detector(self.detector)  # refuse a wrong name now, before the first clip

    def __call__(self, record: Record) -> Sample | SampleError:
        """Read the files of a record, and decode them to check that they are whole.

        Returns:
            The sample or its fault, picklable.
        """
        try:
            return self._prepare(record)
        except SampleError as problem:
            return problem
        except OSError as error:
            message = f"clip {record.key!r}: {error.filename!r} cannot be read: {error.strerror}"
            return SampleError(record.key, "probe", "unreadable", message)

    def _prepare(self, record: Record) -> Sample:
        contents = {path: _read(path, record) for path in (record.video, record.audio) if path is not None}
        profile = _PROBE if self.recipe is None else self.recipe.profile
        windows_do = self.recipe is None  # the form 'frames' stores the whole waveform
        decoded = {
            path: _decode(content, path, record, profile, windows_do=windows_do) for path, content in contents.items()
        }
        seen = decoded[record.video] if record.video is not None else None
        heard = decoded[record.audio] if record.audio is not None else seen
        files = self._source_files(record)
        facts = _facts(record, seen, heard, list(decoded.values()), sorted(files))
        faces = self._faces(record, contents, facts)
        if self.recipe is None:
            members = {path.suffix.lower().lstrip("."): content for path, content in contents.items()}
            if faces is not None:
                members[FACES_SUFFIX] = faces
        else:
            facts["stored"] = self.recipe.to_json()
            crops = None if faces is None else read_faces(faces, record.key)
            channels = facts["extra"].pop("faces_channels", "rgb")
            members = self.recipe.members(seen, heard, crops, channels, record.key)
            facts["num_stored"] = count_pictures(members)
        members |= {f"{name}.{file.suffix}": file.content for name, file in files.items()}
        return Sample(record.key, members, facts)

    def _source_files(self, record: Record) -> dict[str, SourceFile]:
        """The files of sources from plug-ins, each read by its source once as a check."""
        profile = MediaProfile(sources=tuple(record.source_files)) if record.source_files else MediaProfile()
        try:
            files = read_source_files(record.source_files, profile, record.key)
            for name in files:
                profile.source(name).steps_of(name, Material(record.key, profile, files=files))
        except DataError as error:
            code = error.code if isinstance(error, MediaError) and error.code == "too_large" else "bad_source"
            raise SampleError(record.key, "probe", code, str(error)) from error
        return files

    def _faces(self, record: Record, contents: Mapping[Path, bytes], facts: dict[str, Any]) -> bytes | None:
        """The face crops as an npy file: those of the record, or those that the detector finds."""
        if record.faces is not None:
            facts["has_faces"] = True
            try:
                faces, notes = _given_faces(record)
                facts["media_notes"] += notes
                return faces
            except DataError as error:
                raise SampleError(record.key, "probe", "bad_faces", str(error)) from error
        if self.detector is None or not facts["has_video"] or record.video is None:
            return None
        profile = MediaProfile() if self.recipe is None else self.recipe.profile
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums of floats depend on the number of threads, but shards must not
        try:
            found = find_faces(contents[record.video], profile, _detector(self.detector), key=record.key)
        finally:
            torch.set_num_threads(threads)
        facts["faces_coverage"] = 0.0 if found is None else round(found.coverage, 3)
        if found is None or not len(found.kept):
            facts["missing"]["face"] = "no face was found"
            return None
        facts["has_faces"] = True
        return _npy(found.kept)


def crashed(record: Record, how: str) -> SampleError:
    """The fault of a record whose decoding crashed its process; ``how`` says it in words."""
    message = (
        f"clip {record.key!r}: decoding {', '.join(map(str, record.files()))} crashed its process ({how}); the file "
        "breaks the decoder, or needs too much memory: leave it out, or convert it"
    )
    return SampleError(record.key, "probe", "crashed", message)


def _facts(
    record: Record, seen: Decoded | None, heard: Decoded | None, decoded: list[Decoded], files: list[str]
) -> dict[str, Any]:
    """The json member; ``has_video`` and ``has_audio`` are what could be decoded, not what the header claims."""
    lack = "the clip is only sound" if heard is not None else "the clip has no media file"
    missing = {} if seen is not None else {"visual": lack}
    for kind, part in (("visual", seen), ("audio", heard)):
        if part is not None and kind in part.missing:
            missing[kind] = part.missing[kind]
    return {
        **record.to_json(),
        "duration_seconds": round(max(part.duration_seconds for part in decoded), 3) if decoded else None,
        "has_video": seen is not None and seen.frames is not None,
        "has_audio": heard is not None and heard.has_sound,
        "has_faces": False,
        "picture": seen is not None and seen.picture,
        "missing": missing,
        "media_notes": [note for part in decoded for note in part.notes],
        **({"source_files": files} if files else {}),
    }


def _read(path: Path, record: Record) -> bytes:
    if (num_bytes := path.stat().st_size) > MAX_LOADED_BYTES:
        error = too_large(f"clip {record.key!r}: {str(path)!r}", f"has {num_bytes:,} bytes", "MAX_LOADED_BYTES")
        raise SampleError(record.key, "probe", error.code, str(error))
    return path.read_bytes()


def _decode(content: bytes, path: Path, record: Record, profile: MediaProfile, *, windows_do: bool) -> Decoded:
    try:
        decoded = decode(content, profile, key=record.key, thorough=True, windows_do=windows_do)
    except DataError as error:
        code = "undecodable" if content else "empty_file"
        if isinstance(error, MediaError) and error.code == "too_large":
            code = error.code
        raise SampleError(record.key, "probe", code, f"{error} [{path}]") from error
    if path == record.audio and not decoded.has_sound:
        message = f"clip {record.key!r}: {str(path)!r} is given as its audio, but has no sound track; leave 'audio' out"
        raise SampleError(record.key, "probe", "no_sound", message)
    return decoded


@cache
def _detector(name: str) -> FaceDetector:
    detector: FaceDetector = FACE_DETECTORS.build(name)
    return detector


def _given_faces(record: Record) -> tuple[bytes, list[str]]:
    """The face crops of a record as an npy file, and notes on damage; pictures in a folder become one file."""
    files = record.face_files()
    if record.faces in files:
        content = _read(files[0], record)
        read_faces(content, record.key)
        return content, []
    crops = []
    notes = []
    for path in files:
        decoded = decode(_read(path, record), _CROP, key=record.key)
        assert decoded.frames is not None
        crops.append(decoded.frames[0].permute(1, 2, 0).numpy())
        notes += [f"face crop {path.name!r} is damaged: {note}" for note in decoded.notes]
    if len({crop.shape for crop in crops}) != 1:
        sizes = ", ".join(sorted({f"{crop.shape[1]}x{crop.shape[0]}" for crop in crops})) or "none at all"
        raise DataError(
            f"clip {record.key!r}: face crops must be pictures of one size, but {record.faces} holds {sizes}"
        )
    return _npy(np.stack(crops)), notes


def _npy(array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
