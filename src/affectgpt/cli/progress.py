"""Shows the progress of long work: a bar on a terminal, an occasional line in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from affectgpt.cli.terminal import make_console, shown, shown_lines

_SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Speed and remaining time of a piece of work, on the standard error stream.

    Args:
        title: Name of the work.
        unit: Unit of the count.
    """

    def __init__(self, title: str, unit: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.title, self.unit = shown(title), shown(unit)
        self._console = make_console(err=True)
        name = TextColumn("{task.description}", markup=False)
        speed, left = TextColumn("{task.fields[speed]}", markup=False), TimeRemainingColumn()
        remark = TextColumn("{task.fields[remark]}", markup=False)
        columns = (name, BarColumn(), MofNCompleteColumn(), speed, left, remark)
        self._bar = Bar(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task: Any = None
        self._first = (0, 0.0)
        self._last_line = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(shown_lines(text))

    def update(self, done: int, total: int, remark: str = "") -> None:
        """Show the progress; work that is finished at the first call does not count for the speed.

        Args:
            done: Finished units.
            total: All units.
            remark: Additional text, such as the cost so far.
        """
        now = time.monotonic()
        if self._task is None:
            self._task = self._bar.add_task(self.title, total=total, completed=done, speed="", remark="")
            self._first = (done, now)
            self._last_line = now
            return
        speed = (done - self._first[0]) / max(now - self._first[1], 1e-9)
        note = shown(remark)
        self._bar.update(self._task, completed=done, total=total, speed=f"{speed:.1f} {self.unit}/s", remark=note)
        if not self._console.is_terminal and now - self._last_line > _SECONDS_BETWEEN_LINES and speed:
            self._last_line = now
            left = round((total - done) / speed)
            clock = f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"
            self.say(
                f"{self.title}: {done} of {total} {self.unit}, {speed:.1f}/s, {clock} left"
                + (f", {note}" if note else "")
            )
