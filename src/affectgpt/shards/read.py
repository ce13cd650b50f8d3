"""Reads the samples of one shard by position, without unpacking it."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from affectgpt.errors import AffectGPTError, ConfigError, DataError
from affectgpt.manifests.record import AUDIO_SUFFIXES, FACES_SUFFIX, VIDEO_SUFFIXES, SampleError
from affectgpt.media.clip import load_clip
from affectgpt.media.faces.face_arrays import read_faces
from affectgpt.media.material import SourceFile
from affectgpt.media.profile import MediaProfile
from affectgpt.shards.bounds import MAX_JSON_BYTES, MAX_MEMBER_BYTES
from affectgpt.shards.facts import read_facts
from affectgpt.shards.forms.features import FEATURES_SUFFIX, FeatureRecipe, ForeignFeaturesError, read_features
from affectgpt.shards.forms.frames import read_frames
from affectgpt.shards.tar_headers import scan_members
from affectgpt.types import Clip

_LOOKED_AT = 8
"""Samples beside one with foreign features that tell whether the shard as a whole is of another set."""


class ShardReader:
    """An open shard.

    Opening reads the headers of the tar, 512 bytes per member; the content of a sample is read on demand.

    Args:
        path: The tar.
        num_samples: Number of samples according to the index.
        recipe: How its features were made, for a shard that holds features.

    Raises:
        DataError: If the tar is broken, or has a different number of samples.
    """

    def __init__(self, path: Path, num_samples: int, recipe: FeatureRecipe | None = None) -> None:
        self.path = path
        self._recipe = recipe
        self._samples: list[tuple[str, dict[str, tuple[int, int]]]] = []
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise DataError(f"shard {str(path)!r} cannot be opened: {error.strerror}; check the path") from error
        try:
            for name, offset, size in scan_members(self._file):
                self._add(name, offset, size)
        except (OSError, tarfile.TarError) as error:
            self._file.close()
            raise DataError(f"shard {str(path)!r} cannot be read ({error}); fetch it again, or pack again") from error
        if len(self._samples) != num_samples:
            self._file.close()
            raise DataError(
                f"shard {str(path)!r} holds {len(self._samples)} samples, but the index says {num_samples}; "
                "fetch it again, or pack the set again"
            )

    def __len__(self) -> int:
        return len(self._samples)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def key(self, position: int) -> str:
        """Key of the sample at a position."""
        return self._samples[position][0]

    def read(self, position: int, only: str | None = None) -> tuple[str, dict[str, bytes]]:
        """Read a sample.

        Args:
            position: Of the sample in the shard.
            only: Read this member alone; by default all.

        Returns:
            The key, and the members: suffix (``"mp4"``, ``"json"``, ``"faces.npy"``) to content.

        Raises:
            SampleError: If a member is too large to be read into memory.
            DataError: If the shard ends too early.
        """
        key, members = self._samples[position]
        members = {suffix: found for suffix, found in members.items() if only in (None, suffix)}
        for suffix, (_, size) in members.items():
            most = MAX_JSON_BYTES if suffix == "json" else MAX_MEMBER_BYTES
            if size > most:
                name = "MAX_JSON_BYTES" if suffix == "json" else "MAX_MEMBER_BYTES"
                message = f"sample {key!r}: its member {suffix!r} has {size:,} bytes, more than {most:,} ({name})"
                raise SampleError(key, "load", "too_large", f"{message} [shard {str(self.path)!r}]")
        content = {}
        for suffix, (offset, size) in members.items():
            content[suffix] = os.pread(self._file.fileno(), size, offset)
            if len(content[suffix]) != size:
                raise DataError(f"shard {str(self.path)!r} is cut in sample {key!r}; fetch it again, or pack again")
        return key, content

    def load(self, position: int, profile: MediaProfile) -> Clip:
        """Read and decode a sample.

        Raises:
            SampleError: If it cannot be decoded; the message names the key and the shard.
            DataError: If the shard ends too early, or as a whole holds features of another set.
        """
        key, members = self.read(position)
        try:
            return load_sample(key, members, profile, self._recipe, f"sample {position} of shard {str(self.path)!r}")
        except SampleError as error:
            cause = error.__cause__
            if isinstance(cause, ForeignFeaturesError) and self._is_foreign(position):
                raise cause from None
            raise

    def read_words(self, position: int) -> Clip:
        """Read what is said and written of a sample, without its media and features.

        Raises:
            SampleError: If it cannot be read.
            DataError: If the shard ends too early.
        """
        key, members = self.read(position, only="json")
        try:
            return _words_of(key, read_facts(key, members))
        except AffectGPTError as error:
            raise SampleError(key, "load", "undecodable", f"{error} [shard {str(self.path)!r}]") from error

    def _is_foreign(self, position: int) -> bool:
        """Whether other samples of the shard hold features of another set too: those next to a foreign one."""
        others = [*range(position + 1, len(self)), *range(position)][:_LOOKED_AT]
        return bool(others) and all(self._has_foreign(other) for other in others)

    def _has_foreign(self, position: int) -> bool:
        try:
            key, members = self.read(position)
            _features_of(key, members, self._recipe)
        except ForeignFeaturesError:
            return True
        except DataError:
            return False
        return False

    def _add(self, name: str, offset: int, size: int) -> None:
        key, suffix = split_name(name)
        if not self._samples or self._samples[-1][0] != key:
            self._samples.append((key, {}))
        if suffix in self._samples[-1][1]:
            raise tarfile.ReadError(f"{name!r} is in it twice")
        self._samples[-1][1][suffix] = (offset, size)


def split_name(name: str) -> tuple[str, str]:
    """Key and suffix in the name of a member, as WebDataset splits it: at the first dot of the file's name.

    Examples:
        >>> split_name("part/clip-1.faces.npy")
        ('part/clip-1', 'faces.npy')
    """
    folder, slash, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return folder + slash + stem, suffix


def load_sample(
    key: str, members: Mapping[str, bytes], profile: MediaProfile, recipe: FeatureRecipe | None, where: str
) -> Clip:
    """Decode a sample; any error of ``decode_sample`` becomes a fault of the sample.

    Args:
        key: See ``decode_sample``.
        members: Suffix to content.
        profile: How media are decoded.
        recipe: How its features were made.
        where: Where the sample is, for the message.

    Raises:
        SampleError: If it cannot be decoded, for whatever reason; the message names the key and the source.
        ConfigError: If the whole shard cannot serve the profile, which is no fault of the sample.
    """
    try:
        return decode_sample(key, members, profile, recipe)
    except ConfigError:  # this concerns every sample of the shard, so none is left out
        raise
    except ForeignFeaturesError as error:
        raise SampleError(key, "load", "foreign_features", f"{error} [{where}]") from error
    except AffectGPTError as error:
        raise SampleError(key, "load", "undecodable", f"{error} [{where}]") from error
    except Exception as error:  # a decoder may raise anything, but one sample must not end a run
        message = f"sample {key!r} cannot be decoded ({type(error).__name__}: {error}) [{where}]"
        raise SampleError(key, "load", "undecodable", message) from error


def decode_sample(
    key: str, members: Mapping[str, bytes], profile: MediaProfile, recipe: FeatureRecipe | None = None
) -> Clip:
    """Make a clip from the result of ``ShardReader.read``.

    Args:
        key: The sample's key.
        members: Suffix to content.
        profile: How media are decoded.
        recipe: How its features were made, for a sample that holds features.

    Raises:
        DataError: If it cannot be decoded.
    """
    text = read_facts(key, members)
    if FEATURES_SUFFIX in members or recipe is not None:
        return _with_features(key, members, text, profile, recipe)
    return _with_media(key, members, text, profile)


def _with_features(
    key: str, members: Mapping[str, bytes], text: Mapping[str, Any], profile: MediaProfile, recipe: FeatureRecipe | None
) -> Clip:
    features = _features_of(key, members, recipe)
    rest = None if recipe is None else recipe.media_profile(profile)
    if rest is not None:
        try:
            clip = _with_media(key, members, text, rest)
        except DataError:  # a clip may lack all other media; only a clip without anything is an error
            clip = _with_media(key, members, text, profile)
        media = {name: value for name, value in clip.media.items() if name in rest.sources}
        return replace(clip, media=media, features=features)
    return replace(_words_of(key, text), features=features)


def _words_of(key: str, text: Mapping[str, Any]) -> Clip:
    """A clip without inputs."""
    return Clip(
        key=key,
        subtitle=(text.get("subtitle") or "").strip() or None,
        labels=tuple(text.get("labels") or ()),
        description=text.get("description"),
        duration_seconds=text.get("duration_seconds"),
        extra=text.get("extra") or {},
    )


def _features_of(key: str, members: Mapping[str, bytes], recipe: FeatureRecipe | None) -> dict[str, Tensor]:
    """The vectors of a sample.

    Raises:
        ForeignFeaturesError: If it has none where it should have some, or others, or some where it should have none.
    """
    if recipe is not None and FEATURES_SUFFIX in members:
        return read_features(members[FEATURES_SUFFIX], recipe, key)
    if recipe is None and FEATURES_SUFFIX not in members:
        return {}
    has, says = ("no features", "it should") if recipe is not None else ("features", "nothing of them")
    raise ForeignFeaturesError(
        f"sample {key!r} has {has}, but the index says {says}; it belongs to another set: encode again"
    )


def _with_media(key: str, members: Mapping[str, bytes], text: Mapping[str, Any], profile: MediaProfile) -> Clip:
    files = {name: file for name in profile.sources if (file := _source_file(name, members, profile)) is not None}
    if "stored" in text:
        return read_frames(key, members, text, profile, files)
    video = next((members[suffix] for suffix in members if suffix in VIDEO_SUFFIXES), None)
    audio = next((members[suffix] for suffix in members if suffix in AUDIO_SUFFIXES), None)
    source = video if video is not None else audio
    if source is None and not text.get("source_files"):
        raise DataError(f"sample {key!r} has no media member, only {', '.join(sorted(members))}; pack the set again")
    faces = None
    if FACES_SUFFIX in members and "face" in profile.sources:
        faces = read_faces(members[FACES_SUFFIX], key)
    clip, _ = load_clip(
        source,
        profile,
        key=key,
        audio=audio if video is not None else None,
        subtitle=text.get("subtitle"),
        labels=text.get("labels") or (),
        description=text.get("description"),
        faces=faces,
        faces_channels=(text.get("extra") or {}).get("faces_channels", "rgb"),
        extra=text.get("extra") or {},
        files=files,
    )
    return clip


def _source_file(name: str, members: Mapping[str, bytes], profile: MediaProfile) -> SourceFile | None:
    """The member that holds the file of a source, such as ``gaze.csv``; ``None`` if the sample lacks it."""
    for suffix in profile.source(name).suffixes:
        if f"{name}.{suffix}" in members:
            return SourceFile(members[f"{name}.{suffix}"], suffix)
    return None
