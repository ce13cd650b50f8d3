"""What was decoded and read of a clip, from which its sources are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectgpt.errors import ConfigError, DataError, MediaError, did_you_mean
from affectgpt.media.decode.decoder import Decoded
from affectgpt.media.limits import MAX_LOADED_BYTES, too_large
from affectgpt.media.profile import MediaProfile

NO_CROPS = "no face crops in the sample"


@dataclass(frozen=True)
class SourceFile:
    """The file of a source that is not cut from the clip's own media.

    Attributes:
        content: Its bytes.
        suffix: Its ending, in lower case and without a dot; one of the source's ``suffixes``.
    """

    content: bytes
    suffix: str


@dataclass(frozen=True)
class Material:
    """What is there of a clip.

    Attributes:
        key: The sample's name, for messages.
        profile: The sources to prepare, and their sizes.
        seen: The decoded file with the frames, at the size of the profile; ``None`` if there is none.
        heard: The decoded file with the waveform, at the rate of the profile; may be the same.
        faces: Face crops, uint8 ``[T', H, W, 3]``, or why there are none.
        faces_channels: Order of their channels, ``rgb`` or ``bgr``.
        files: Source name to its file, for sources with files of their own.
    """

    key: str
    profile: MediaProfile
    seen: Decoded | None = None
    heard: Decoded | None = None
    faces: NDArray[np.uint8] | str = NO_CROPS
    faces_channels: str = "rgb"
    files: Mapping[str, SourceFile] = field(default_factory=dict)


def file_sources(profile: MediaProfile) -> dict[str, tuple[str, ...]]:
    """The sources of a profile that have files of their own, and the endings that these may have."""
    return {name: suffixes for name in profile.sources if (suffixes := profile.source(name).suffixes)}


def read_source_files(
    given: Mapping[str, str | Path | bytes | SourceFile], profile: MediaProfile, key: str
) -> dict[str, SourceFile]:
    """Read the files that were given for sources of a profile.

    Args:
        given: Source name to a path; or to the content of a file in the first of the source's ``suffixes``.
        profile: The sources that are read.
        key: The clip, for messages.

    Raises:
        ConfigError: If the profile has no such source, or the source has no file of its own.
        DataError: If a file cannot be read, is too large, or has another suffix.
    """
    return {name: _read(name, file, profile, key) for name, file in given.items()}


def source_file(name: str, content: bytes, file_name: str | None, profile: MediaProfile, key: str) -> SourceFile:
    """A file that somebody sent, as that of a source.

    Args:
        name: The source.
        content: The file.
        file_name: The name that it was sent with, whose ending counts; without one it has the source's first ending.
        profile: The sources that are read.
        key: The clip, for messages.

    Raises:
        ConfigError: If the profile has no such source, or the source has no file of its own.
        DataError: If the name has another ending.
    """
    suffixes = _suffixes(name, profile, key)
    return SourceFile(content, _suffix(name, file_name, suffixes, key) if file_name else suffixes[0])


def _read(name: str, file: str | Path | bytes | SourceFile, profile: MediaProfile, key: str) -> SourceFile:
    suffixes = _suffixes(name, profile, key)
    if isinstance(file, SourceFile):
        return file
    if isinstance(file, bytes):
        return SourceFile(file, suffixes[0])
    suffix = _suffix(name, str(file), suffixes, key)
    try:
        if (num_bytes := Path(file).stat().st_size) > MAX_LOADED_BYTES:
            raise too_large(f"clip {key!r}: {str(file)!r}", f"has {num_bytes:,} bytes", "MAX_LOADED_BYTES")
        return SourceFile(Path(file).read_bytes(), suffix)
    except OSError as error:
        raise MediaError(
            f"clip {key!r}: its {name} {str(file)!r} cannot be read: {error.strerror}; check the path", "unreadable"
        ) from error


def _suffixes(name: str, profile: MediaProfile, key: str) -> tuple[str, ...]:
    owned = file_sources(profile)
    if name not in owned:
        known = f"a file can be given for {', '.join(owned)}" if owned else "none that is read takes a file"
        raise ConfigError(f"clip {key!r}: a file was given for the source {name!r}.{did_you_mean(name, owned)} {known}")
    return owned[name]


def _suffix(name: str, file_name: str, suffixes: Sequence[str], key: str) -> str:
    suffix = next((one for one in suffixes if file_name.lower().endswith(f".{one}")), None)
    if suffix is None:
        raise DataError(f"clip {key!r}: its {name} is {file_name!r}, but must end in one of: {', '.join(suffixes)}")
    return suffix
