"""Keeps the answers of chat models on disk, so that a run can be resumed and repeated exactly."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from affectgpt.errors import DataError
from affectgpt.files import cache_folder

_WAIT_SECONDS = 60.0
_CHUNK = 500


class AnswerCache:
    """A table of answers by key in one SQLite file, which several processes may share.

    A stored answer is never replaced: if two processes answer the same prompt, both use the answer stored first.

    Args:
        path: The file; created with its folder on first use. By default ``answers.sqlite`` in the user's cache folder,
            or in the folder that the environment variable ``AFFECTGPT_CACHE`` names.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        folder = cache_folder()
        self.path = folder / "answers.sqlite" if path is None else Path(path)

    def get(self, keys: Iterable[str]) -> dict[str, str]:
        """Look up the stored answers by key; keys without an answer are left out.

        Raises:
            DataError: If the file is not such a table.
        """
        wanted = list(keys)
        found: dict[str, str] = {}
        try:
            with closing(self._open()) as table:
                for start in range(0, len(wanted), _CHUNK):
                    chunk = wanted[start : start + _CHUNK]
                    marks = ",".join("?" * len(chunk))
                    found.update(table.execute(f"SELECT key, answer FROM answers WHERE key IN ({marks})", chunk))
        except sqlite3.Error as error:
            raise self._broken(error) from error
        return found

    def put(self, key: str, answer: str) -> str:
        """Store an answer unless the key has one, and return the stored answer.

        Raises:
            DataError: If the file is not such a table, or cannot be written.
        """
        try:
            with closing(self._open()) as table:
                with table:
                    table.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, answer))
                stored: tuple[str] = table.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._broken(error) from error
        return stored[0]

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        table = sqlite3.connect(self.path, timeout=_WAIT_SECONDS)
        try:
            table.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
        except sqlite3.Error:
            table.close()
            raise
        return table

    def _broken(self, error: sqlite3.Error) -> DataError:
        return DataError(
            f"the answer cache {self.path} cannot be used: {error}. Delete it, or name another file with 'cache'"
        )
