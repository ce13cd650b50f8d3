"""Reads one entry of a manifest, from any kind of file, strictly into a ``Record``."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from affectgpt.errors import ConfigError
from affectgpt.manifests.record import AUDIO_SUFFIXES, VIDEO_SUFFIXES, Record, SampleError
from affectgpt.media.profile import MediaProfile
from affectgpt.metrics.labels import is_missing
from affectgpt.registry import SOURCES
from affectgpt.registry.builtin_parts import SOURCE_TABLE
from affectgpt.text import clean_label, clean_name, clean_text, mixed_scripts

Entries: TypeAlias = Iterator[tuple[str, Mapping[str, Any] | SampleError]]
"""Location of an entry (``manifest.csv:7``), and the entry or its fault."""

MAX_KEY_BYTES = 80
MAX_SHOWN = 200
# Marks that pandas, which wrote the published sets, reads as missing values; case matters: "none" may be a word
PLACEHOLDERS = frozenset(
    ("nan", "NaN", "-nan", "-NaN", "null", "NULL", "None", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "#N/A N/A")
)
_KEY = re.compile(r"[\w-]+")
_LABEL_COMMAS = re.compile("[,;\uff0c\uff1b\u3001]")
_FILES: Mapping[str, frozenset[str]] = {
    "video": frozenset(VIDEO_SUFFIXES),
    "audio": AUDIO_SUFFIXES,
    "faces": frozenset({"npy"}),
}


def source_suffixes() -> dict[str, frozenset[str]]:
    """The sources from plug-ins that an entry may name a file of, with the endings of such a file.

    Looking them up takes some milliseconds for each, so it is done once for a manifest. A plug-in that is broken has no
    endings here: the entry that names its file is refused with the reason.
    """
    found = {}
    for name in SOURCES:
        if name not in SOURCE_TABLE:
            try:
                found[name] = frozenset(MediaProfile().source(name).suffixes)
            except ConfigError:
                found[name] = frozenset()
    return found


class NotedEntry(dict[str, Any]):
    """An entry, with notes on values that its reader changed.

    Attributes:
        notes: One sentence for each change.
    """

    notes: tuple[str, ...] = ()


def fault(location: str, code: str, message: str, key: str = "") -> SampleError:
    """Make the fault of an entry, with its location and, if known, its key."""
    who = f" ({key!r})" if key else ""
    return SampleError(clean_text(key or location), "manifest", code, clean_text(f"{location}{who}: {message}"))


def read_entry(
    entry: Mapping[str, Any],
    folder: Path,
    location: str,
    *,
    cells: bool = False,
    sources: Mapping[str, frozenset[str]] | None = None,
) -> Record:
    """Make a record from an entry.

    Unpaired surrogates become U+FFFD, and invisible characters are removed from names and labels. Both are noted, and
    so are words that mix letters of similar-looking scripts.

    Args:
        entry: ``name``, ``video`` or ``audio``, and the other keys of a manifest.
        folder: The folder that paths in the entry are relative to.
        location: The file and line it was read from, for messages.
        cells: Whether it is a row of a table, where a list of labels may be written as text.
        sources: What ``source_suffixes`` gives.

    Raises:
        SampleError: If the entry has no valid name, a value of the wrong type, or a file that does not exist.
    """
    return _Entry(entry, folder, location, cells, source_suffixes() if sources is None else sources).read()


class _Entry:
    """Reads an entry key by key; the remaining keys become ``extra``."""

    def __init__(
        self,
        entry: Mapping[str, Any],
        folder: Path,
        location: str,
        cells: bool,
        sources: Mapping[str, frozenset[str]],
    ) -> None:
        self.entry = dict(entry)
        self.suffixes = {**_FILES, **sources}
        self.sources = sources
        self.folder = folder
        self.location = location
        self.cells = cells
        self.key = ""
        self.notes: list[str] = list(entry.notes) if isinstance(entry, NotedEntry) else []

    def fault(self, code: str, message: str) -> SampleError:
        return fault(self.location, code, message, self.key)

    def read(self) -> Record:
        self.key = self.take_key()
        video, audio, faces = (self.take_file(name) for name in _FILES)
        found = {name: path for name in self.sources if name in self.entry and (path := self.take_file(name))}
        if video is None and audio is None and not found:
            raise self.fault("no_media", "neither 'video' nor 'audio' is given; name a media file")
        return Record(
            key=self.key,
            video=video,
            audio=audio,
            faces=faces,
            subtitle=self.take_text("subtitle"),
            labels=self.take_labels(),
            description=self.take_text("description"),
            split=self.take_text("split"),
            source_files=found,
            extra={clean_text(str(name)): self.plain(name, value) for name, value in self.entry.items()},
            notes=tuple(self.notes),
        )

    def take(self, name: str) -> Any:
        """The value; ``None`` if there is none or it marks a missing value, which is noted."""
        value = self.entry.pop(name, None)
        if is_missing(value):
            return None
        if isinstance(value, str) and value.strip() in PLACEHOLDERS:
            self.notes.append(f"{name} {value!r} was read as a missing value")
            return None
        return value

    def cleaned(self, name: str, value: str, clean: Callable[[str], str]) -> str:
        """The cleaned text; a note is made if cleaning changed it."""
        kept = clean(value)
        if kept.split() != value.split():
            self.notes.append(f"{name} {ascii(value)[:MAX_SHOWN]} was read as {ascii(kept)[:MAX_SHOWN]}")
        scripts = None if clean is clean_text else mixed_scripts(kept)
        if scripts is not None:
            self.notes.append(f"{name} {ascii(kept)[:MAX_SHOWN]} mixes letters of {scripts} in one word")
        return kept

    def take_key(self) -> str:
        key = self.entry.pop("name", None)
        if not isinstance(key, str):
            raise self.fault("no_name", f"'name' must be a string that names the sample, but is {_shown(key)}")
        key = self.cleaned("name", key, clean_name)
        if not _KEY.fullmatch(key) or len(key.encode()) > MAX_KEY_BYTES:
            raise self.fault(
                "bad_name",
                f"the name {_shown(key)} cannot be a key in a shard; use letters, digits, '-' and '_' (no dot, slash "
                f"or space), at most {MAX_KEY_BYTES} bytes",
            )
        return key

    def take_text(self, name: str) -> str | None:
        value = self.take(name)
        if value is not None and not isinstance(value, str):
            raise self.fault("wrong_type", f"{name!r} must be a string or null, but is {_shown(value)}")
        return self.cleaned(name, value, clean_text).strip() or None if value else None

    def take_labels(self) -> tuple[str, ...]:
        labels = self.take("labels")
        if labels is None or labels == "":
            return ()
        if self.cells and isinstance(labels, str):
            labels = _split_labels(labels)
        if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
            kept = tuple(self.cleaned("label", label, clean_label) for label in labels)
            if all(kept):
                return kept
        raise self.fault(
            "wrong_type", f"'labels' must be a list of words, such as [\"happy\"], but is {_shown(labels)}"
        )

    def take_file(self, name: str) -> Path | None:
        value = self.take(name)
        if value is None or (self.cells and value == ""):
            return None
        if not isinstance(value, str) or not value:
            raise self.fault("wrong_type", f"{name!r} must be a file name, but is {_shown(value)}")
        path = self.find(name, value)
        if name == "faces" and path.is_dir():
            self.check_pictures(path)
            return path
        if not self.suffixes[name]:
            MediaProfile().source(name)  # says why the plug-in cannot be used
        if not value.lower().endswith(tuple(f".{suffix}" for suffix in self.suffixes[name])):
            raise self.fault(
                "unknown_suffix",
                f"{name!r} is {_shown(value)}, but must end in one of: {', '.join(sorted(self.suffixes[name]))}",
            )
        if not path.is_file():
            raise self.fault(
                "missing_file", f"{name!r} names {_shown(str(path), 1000)}, which is not a file; check the path"
            )
        return path

    def check_pictures(self, folder: Path) -> None:
        """Refuse a folder of face crops that cannot be listed or contains a broken link."""
        try:
            gone = [path for path in folder.iterdir() if not path.exists()]
        except OSError as error:
            message = f"'faces' names the folder {str(folder)!r}, which cannot be opened ({error.strerror})"
            raise self.fault("missing_file", message) from error
        if gone:
            raise self.fault("missing_file", f"'faces' names {str(gone[0])!r}, a broken link; repair or remove it")

    def find(self, name: str, value: str) -> Path:
        """The path of a file; names that differ only in Unicode normalisation (NFC or NFD) are the same."""
        path = self.folder / value
        try:
            if path.exists():
                return path
            for form in ("NFC", "NFD"):
                twin = self.folder / unicodedata.normalize(form, value)
                if twin.exists():
                    self.notes.append(f"{name} {ascii(value)[:MAX_SHOWN]} was found as {ascii(twin.name)[:MAX_SHOWN]}")
                    return twin
        except OSError as error:  # such as a name that is too long
            message = f"{name!r} names {_shown(value)}, which cannot be accessed ({error.strerror}); check the path"
            raise self.fault("missing_file", message) from error
        return path

    def plain(self, name: str, value: Any) -> Any:
        """A value of ``extra`` as plain JSON: dates as text, NaN as null."""
        if is_missing(value):
            return None
        try:
            text = json.dumps(value, default=lambda odd: odd.isoformat(), allow_nan=False, ensure_ascii=False)
            kept = clean_text(text)
            if kept != text:
                self.notes.append(f"{clean_text(str(name))} held an unpaired surrogate, which became U+FFFD")
            return json.loads(kept)
        except (TypeError, ValueError, AttributeError, RecursionError):
            message = f"{name!r} is {_shown(value)}, which is not plain JSON; leave it out"
            raise self.fault("wrong_type", message) from None


def _shown(value: object, most: int = MAX_SHOWN) -> str:
    """A value for a message, shortened."""
    try:
        text = repr(value)
    except RecursionError:
        return "nested too deeply to be shown"
    return text if len(text) <= most else f"{text[:most]}..."


def _split_labels(text: str) -> list[str] | str:
    """Split the labels in a cell: a list in JSON or Python syntax, or words separated by commas or semicolons.

    Examples:
        >>> _split_labels("['ill at ease', 'calm']"), _split_labels("happy; calm"), _split_labels("[]")
        (['ill at ease', 'calm'], ['happy', 'calm'], [])
    """
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        for reader in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                found = reader(text)
                return found if isinstance(found, list) else text
        text = text[1:-1]
    pieces = [piece.strip().strip("'\"").strip() for piece in _LABEL_COMMAS.split(text)]
    return [piece for piece in pieces if piece]
