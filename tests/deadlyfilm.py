"""A reader of films that dies at a time in the film, as FFmpeg does of some files; a spawned process imports it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from affectgpt.watch.film_reading import FilmReader, Look, Seen


class DeadlyReader(FilmReader):
    """Dies of a segmentation fault whenever it is to read beyond a time; with a file, only until that exists.

    Args:
        seconds: The time.
        once: A file that it makes when it dies, and then dies no more.
    """

    def __init__(self, seconds: float, once: Path | None = None) -> None:
        super().__init__()
        self.seconds, self.once = seconds, once

    def __call__(self, look: Look) -> Seen:
        died = self.once is not None and self.once.exists()
        if look.end_seconds is not None and look.end_seconds > self.seconds and not died:
            if self.once is not None:
                self.once.touch()
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # without a report of faulthandler
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().__call__(look)
