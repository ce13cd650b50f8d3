"""Shows the progress of answering test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from affectgpt.cli.terminal import shown

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def answer_bars(console: Console) -> Iterator[Callable[[str, str, int, int], None]]:
    """Progress bars, one per name and set.

    Args:
        console: The console for the bars.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, transient=True) as bar:
            tasks: dict[tuple[str, str], Any] = {}

            def tell(name: str, set_name: str, done: int, total: int) -> None:
                if (name, set_name) not in tasks:
                    tasks[name, set_name] = bar.add_task(shown(f"{name} {set_name}"), total=total)
                    if done > 0:
                        console.print(shown(f"{name}, {set_name}: {done} of {total} answers exist already"))
                bar.update(tasks[name, set_name], completed=done)

            yield tell
    except KeyboardInterrupt:
        console.print("stopped; the same command resumes from here")
        raise
