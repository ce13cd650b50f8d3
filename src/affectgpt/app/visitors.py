"""Who uploaded which file, so that nobody sees another's, and files go when their visitor does."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from affectgpt.errors import DataError

MOST_FILES = 12
"""Files that are kept of one visitor; the oldest go first."""
ORPHAN_SECONDS = 120.0
"""A file that nobody owns, such as an upload that broke off, goes when nothing was written to it for this long."""


@dataclass
class _Visitor:
    files: dict[Path, int] = field(default_factory=dict)  # size in bytes; oldest first
    seen: float = field(default_factory=time.monotonic)


class Visitors:
    """The visitors of the page; a visitor is a browser, known by a cookie that holds a random name.

    Two visitors who upload the same content may get one file; it goes when both are gone.

    Args:
        folder: Where uploads lie; nothing outside is ever deleted.
        max_held_bytes: Most bytes of all uploads together.
        keep_seconds: How long the files of a visitor are kept after the last page was closed.
    """

    def __init__(self, folder: Path, max_held_bytes: int, keep_seconds: float) -> None:
        self.folder = folder.resolve()
        self._max_held_bytes, self.keep_seconds = max_held_bytes, keep_seconds
        self._visitors: dict[str, _Visitor] = {}
        self._open_pages: Counter[str] = Counter()
        self._sessions: dict[str, str] = {}
        self.closing = asyncio.Event()
        """Set when the page stops, which ends the connections that tell that a page is open."""

    @staticmethod
    def new_name() -> str:
        """A name that nobody can guess."""
        return secrets.token_urlsafe(24)

    @property
    def held_bytes(self) -> int:
        """Bytes of all uploads that are kept."""
        return sum({path: size for one in self._visitors.values() for path, size in one.files.items()}.values())

    def has_room(self, num_bytes: int) -> bool:
        """Whether that much more may be kept; forgets visitors that are gone first."""
        self.sweep()
        return self.held_bytes + num_bytes <= self._max_held_bytes

    def add(self, visitor: str, path: str | Path) -> None:
        """Write down that a visitor uploaded a file."""
        found, path = self._visitors.setdefault(visitor, _Visitor()), Path(path).resolve()
        found.seen = time.monotonic()
        with suppress(OSError):
            found.files.pop(path, None)
            found.files[path] = path.stat().st_size
        for old in list(found.files)[:-MOST_FILES]:
            self.drop(visitor, old)

    def owns(self, visitor: str | None, path: str | Path) -> bool:
        """Whether a visitor uploaded a file."""
        found = self._visitors.get(visitor or "")
        return found is not None and Path(path).resolve() in found.files

    def check(self, visitor: str | None, path: str | Path | None) -> Path | None:
        """The path of an upload of this visitor; ``None`` without one.

        Raises:
            DataError: If the visitor did not upload it, or it is gone.
        """
        if path is None:
            return None
        if not self.owns(visitor, path) or not Path(path).is_file():
            raise DataError("this upload is no longer here; choose the file again")
        return Path(path).resolve()

    def drop(self, visitor: str, path: Path) -> None:
        """Forget a file of a visitor, and delete it if nobody else has it."""
        found = self._visitors.get(visitor)
        if found is None or found.files.pop(path, None) is None:
            return
        if any(path in other.files for other in self._visitors.values()) or self.folder not in path.parents:
            return
        with suppress(OSError):
            path.unlink()
        with suppress(OSError):  # only an empty folder goes
            path.parent.rmdir()

    @contextmanager
    def open_page(self, visitor: str) -> Iterator[None]:
        """A page that is open until the block ends."""
        self._open_pages[visitor] += 1
        try:
            yield
        finally:
            self._open_pages[visitor] -= 1
            if not self._open_pages[visitor]:
                del self._open_pages[visitor]
            if visitor in self._visitors:
                self._visitors[visitor].seen = time.monotonic()

    def is_here(self, visitor: str) -> bool:
        """Whether a page of the visitor is open."""
        return visitor in self._open_pages

    def may_use(self, visitor: str | None, session: str) -> bool:
        """Whether a session is the visitor's or nobody's; the first visitor who uses it has it."""
        owner = self._sessions.get(session)
        if owner is None and visitor is not None:
            if len(self._sessions) > 10_000:  # forgotten ones are no one's
                self._sessions = {s: v for s, v in self._sessions.items() if v in self._open_pages}
            self._sessions[session] = visitor
        return owner in (None, visitor)

    def sweep(self) -> None:
        """Delete the files of visitors of whom no page has been open for ``keep_seconds``, and files of nobody."""
        late = time.monotonic() - self.keep_seconds
        for visitor in [name for name, one in self._visitors.items() if one.seen <= late and not self.is_here(name)]:
            self._forget(visitor)
        owned = {path for one in self._visitors.values() for path in one.files}
        old = time.time() - ORPHAN_SECONDS
        for root, folders, files in os.walk(self.folder, topdown=False):  # passes over what goes meanwhile
            for path in [Path(root, name) for name in (*files, *folders)]:
                with suppress(OSError):  # a folder that is not empty, or a file that is gone
                    if path in owned or path.stat().st_mtime >= old:
                        continue
                    path.rmdir() if path.is_dir() else path.unlink()

    def _forget(self, visitor: str) -> None:
        for path in list(self._visitors.get(visitor, _Visitor()).files):
            self.drop(visitor, path)
        self._visitors.pop(visitor, None)
        self._sessions = {session: owner for session, owner in self._sessions.items() if owner != visitor}
