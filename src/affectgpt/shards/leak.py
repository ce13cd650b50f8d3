"""Finds clips that two sets share, by name and by content, so that nothing is tested on what it was trained on."""

from __future__ import annotations

import hashlib
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectgpt.errors import DataError, first_few
from affectgpt.manifests.manifest import Layout, survey_manifest
from affectgpt.manifests.mer2026 import clip_of_key
from affectgpt.manifests.record import AUDIO_SUFFIXES, VIDEO_SUFFIXES, Record
from affectgpt.manifests.text_tables import DELIMITERS, read_table
from affectgpt.shards.index import INDEX_FILE, read_index
from affectgpt.shards.read import split_name
from affectgpt.shards.remote import is_remote
from affectgpt.shards.tar_headers import scan_members
from affectgpt.text import clean_name

_BLOCK = 1 << 20
_MEDIA_COLUMNS = frozenset(("video", "audio"))


@dataclass(frozen=True)
class ListedClip:
    """One clip of a set.

    Attributes:
        name: Of the clip; several samples may be about one.
        path: File that holds its picture or sound; ``None`` where only the name is known.
        offset: Where that begins in the file.
        size: Bytes of it.
    """

    name: str
    path: Path | None = None
    offset: int = 0
    size: int = 0


@dataclass(frozen=True)
class ListedSet:
    """The clips of a set.

    Attributes:
        location: Where it was read.
        clips: In order, each name once.
        has_content: Whether pictures and sounds can be compared, or names alone.
    """

    location: str
    clips: tuple[ListedClip, ...]
    has_content: bool


@dataclass(frozen=True)
class Leak:
    """What two sets share.

    Attributes:
        first: Location of one set, with the number of its clips.
        second: Of the other.
        same: Names in both whose content is the same.
        differing: Names in both whose content differs: another recoding of the clip, or a namesake.
        names_only: Names in both, where one of the sets has no content to compare.
        twins: Clips of equal content under two names, the first set's and the second's.
    """

    first: tuple[str, int]
    second: tuple[str, int]
    same: tuple[str, ...]
    differing: tuple[str, ...]
    names_only: tuple[str, ...]
    twins: tuple[tuple[str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the first set's clips that the second has too, under whatever name."""
        return tuple(sorted({*self.same, *self.differing, *self.names_only, *(name for name, _ in self.twins)}))

    def describe(self) -> str:
        """What is shared, in one sentence."""
        kinds = [
            (len(self.same), "by name and content"),
            (len(self.differing), "by name, with other content"),
            (len(self.names_only), "by name (content could not be compared)"),
            (len(self.twins), "by content, under another name"),
        ]
        told = ", ".join(f"{count} {how}" for count, how in kinds if count) or "nothing"
        (first, size), (second, other) = self.first, self.second
        few = f": {first_few(self.names)}" if self.names else ""
        return f"{first} ({size} clips) and {second} ({other}) share {told}{few}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "first": {"location": self.first[0], "clips": self.first[1]},
            "second": {"location": self.second[0], "clips": self.second[1]},
            "shared": len(self.names),
            "same": list(self.same),
            "differing": list(self.differing),
            "names_only": list(self.names_only),
            "twins": [list(pair) for pair in self.twins],
        }


def find_leak(
    first: str | Path | ListedSet,
    second: str | Path | ListedSet,
    progress: Callable[[int, int], None] | None = None,
) -> Leak:
    """Compare two sets by the names of their clips, and by the content of pictures and sounds.

    Only contents of equal size are read: others cannot be equal.

    Args:
        first: A shard folder, a manifest, a folder of media, or a table of names; see ``list_set``.
        second: The same.
        progress: Called with bytes read and to be read.

    Raises:
        DataError: If a set cannot be read.
    """
    sets = [given if isinstance(given, ListedSet) else list_set(given) for given in (first, second)]
    one, other = ({clip.name: clip for clip in listed.clips} for listed in sets)
    shared = sorted(set(one) & set(other))
    comparable = all(listed.has_content for listed in sets)
    by_size: list[dict[int, list[ListedClip]]] = [defaultdict(list), defaultdict(list)]
    if comparable:
        for found, listed in zip(by_size, sets, strict=True):
            for clip in listed.clips:
                if clip.path is not None:
                    found[clip.size].append(clip)
    wanted = [clip for size in by_size[0] if size in by_size[1] for found in by_size for clip in found[size]]
    digests = _digests(wanted, progress)

    def digest(clip: ListedClip) -> str | None:
        return digests.get((str(clip.path), clip.offset))

    known = [name for name in shared if one[name].path is not None and other[name].path is not None and comparable]
    same = [name for name in known if digest(one[name]) is not None and digest(one[name]) == digest(other[name])]
    of_content: dict[str, list[str]] = defaultdict(list)
    for clip in sets[1].clips:
        if (content := digest(clip)) is not None:
            of_content[content].append(clip.name)
    twins = [
        (clip.name, name)
        for clip in sets[0].clips
        for name in of_content.get(digest(clip) or "", ())
        if name != clip.name
    ]
    return Leak(
        first=(sets[0].location, len(sets[0].clips)),
        second=(sets[1].location, len(sets[1].clips)),
        same=tuple(same),
        differing=tuple(sorted(set(known) - set(same))),
        names_only=tuple(sorted(set(shared) - set(known))),
        twins=tuple(sorted(twins)),
    )


def list_set(location: str | Path, layout: Layout | None = None) -> ListedSet:
    """The clips of a set.

    Args:
        location: A shard folder; a manifest; a folder of media, or one with ``video`` and ``audio`` in it, of which the
            videos count; or a table with a column ``name`` and no media, of which the names are compared.
        layout: How a folder is laid out.

    Raises:
        DataError: If it cannot be read, or lies at a URL.
    """
    if is_remote(location):
        raise DataError(f"{location} is a URL; fetch the set first: its contents are compared where they lie")
    path = Path(location)
    if (path / INDEX_FILE).is_file():
        return _list_shards(path)
    if layout is None and all((path / kind).is_dir() for kind in ("video", "audio")):
        path /= "video"  # a tree of the MER releases, whose folders have the same names in them
    if layout is None and path.suffix.lower() in DELIMITERS and path.is_file():
        table = read_table(path)
        if "name" in table.columns and not _MEDIA_COLUMNS & set(table.columns):
            names = [clean_name(row["name"]) for row in table.dicts()]
            return ListedSet(str(path), tuple(map(ListedClip, dict.fromkeys(names))), has_content=False)
    scan = survey_manifest(path, layout)
    if scan.problems and not scan.records:
        raise scan.problems[0]
    clips = _each_once(_of_record(record) for record in scan.records)
    # a name whose file is missing is still a name of the set
    known = {clip.name for clip in clips}
    nameless = [ListedClip(clip_of_key(p.key)) for p in scan.problems if p.key and ":" not in p.key]
    return ListedSet(str(path), (*clips, *_each_once(c for c in nameless if c.name not in known)), has_content=True)


def _list_shards(folder: Path) -> ListedSet:
    index = read_index(folder)
    holds_media = index.form == "media"  # other forms hold what was made of the clips
    clips: dict[str, ListedClip] = {}
    for shard in index.shards:
        path = folder / shard.name
        try:
            with path.open("rb") as file:
                for member, offset, size in scan_members(file):
                    key, suffix = split_name(member)
                    name = clip_of_key(key)
                    clips.setdefault(name, ListedClip(name))
                    is_picture, is_sound = suffix in VIDEO_SUFFIXES, suffix in AUDIO_SUFFIXES
                    if holds_media and (is_picture or (is_sound and clips[name].path is None)):
                        clips[name] = ListedClip(name, path, offset, size)
        except (OSError, tarfile.TarError) as error:
            raise DataError(f"shard {str(path)!r} cannot be read ({error}); fetch it again, or pack again") from error
    return ListedSet(str(folder), tuple(clips.values()), holds_media)


def _of_record(record: Record) -> ListedClip:
    path = record.video or record.audio
    return ListedClip(clip_of_key(record.key), path, 0, 0 if path is None else path.stat().st_size)


def _each_once(clips: Iterable[ListedClip]) -> tuple[ListedClip, ...]:
    found: dict[str, ListedClip] = {}
    for clip in clips:
        found.setdefault(clip.name, clip)
    return tuple(found.values())


def _digests(clips: Sequence[ListedClip], progress: Callable[[int, int], None] | None) -> dict[tuple[str, int], str]:
    """Sha256 of the clips' content, by file and offset."""
    total, done = sum(clip.size for clip in clips), 0
    found: dict[tuple[str, int], str] = {}
    for clip in sorted(clips, key=lambda one: (str(one.path), one.offset)):
        assert clip.path is not None
        digest, left = hashlib.sha256(), clip.size
        try:
            with clip.path.open("rb") as file:
                file.seek(clip.offset)
                while left and (block := file.read(min(left, _BLOCK))):
                    digest.update(block)
                    left -= len(block)
        except OSError as error:
            raise DataError(f"{clip.path} cannot be read ({error.strerror}); check the file") from error
        found[str(clip.path), clip.offset] = digest.hexdigest()
        done += clip.size
        if progress is not None:
            progress(done, total)
    return found
