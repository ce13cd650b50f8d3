"""Answers with a program of any language, which reads questions and writes answers as JSON lines."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from affectgpt.bench.answerers.answer_settings import AnswerSettings, get_profile
from affectgpt.bench.answerers.base import KINDS, Answer, Answerer, Asked
from affectgpt.bench.answerers.running_program import RunningProgram
from affectgpt.errors import ConfigError, DataError
from affectgpt.files import digest_of_file

_SHOWN = 200


class ProgramAnswerer(Answerer):
    """Starts a program once, writes a line for each clip to it, and reads a line for each from it.

    To the program goes ``{"key", "question", "subtitle", "video", "audio", "faces", "modalities", "sampling", "run"}``;
    files are absolute paths, and what the clip lacks or is not to be shown is null. From it comes ``{"key", "text"}``,
    or ``{"key", "kind": "refused" | "failed", "reason"}``; the order is free, and ``prompt_tokens``,
    ``answer_tokens`` and any further field are kept. What it writes to its standard error stands in the reasons.

    A clip whose program ends, writes no JSON, or stays silent has failed, with the reason; the program is then started
    anew for the others.

    Args:
        command: The program with its arguments, as in a shell; no shell runs it.
        settings: Which modalities are shown, and how answers are to be drawn.
        num_ahead: Clips that are written before their answers are there, for programs that answer in batches.
        timeout_seconds: Longest silence before a program counts as stuck.
        max_failures: So many ends of the program one after the other, with no answer between, end the run.

    Raises:
        ConfigError: If there is no command, or a number is below 1.
    """

    name = "command"
    target: ClassVar[str | None] = "command"

    def __init__(
        self,
        command: str,
        settings: AnswerSettings | None = None,
        num_ahead: int = 1,
        timeout_seconds: float = 300.0,
        max_failures: int = 5,
    ) -> None:
        try:
            self.words = shlex.split(command)
        except ValueError as error:
            raise ConfigError(f"answerer command: {command!r} cannot be read as a command: {error}") from None
        if not self.words or num_ahead < 1 or max_failures < 1 or not timeout_seconds > 0:
            raise ConfigError(
                f"answerer command: command is {command!r}, num_ahead {num_ahead}, max_failures {max_failures} and "
                f"timeout_seconds {timeout_seconds}; give a program, and numbers above 0"
            )
        self.command, self.answer_settings = command, settings or get_profile("fast")
        self.num_ahead, self.timeout_seconds, self.max_failures = num_ahead, timeout_seconds, max_failures

    def title(self) -> str:
        """The name of the program, or of the first script among its arguments."""
        # os.path and not pathlib, which raises where a program given as text is longer than any name
        script = next((word for word in self.words[1:] if os.path.isfile(word)), self.words[0])
        return Path(script).stem

    def identity(self) -> Mapping[str, Any]:
        """The command, digests of the files that it names, and what is shown and drawn."""
        files = {word: digest_of_file(word) for word in self.words[1:] if os.path.isfile(word)}
        return {"answerer": self.name, "command": self.words, "files": files, **self.shown_and_drawn()}

    def shown_and_drawn(self) -> Mapping[str, Any]:
        """Modalities, and the sampling that the program is told."""
        chosen = self.answer_settings
        return {"shown": {"modalities": list(chosen.modalities)}, "sampling": chosen.sampling.to_json()}

    def settings(self) -> Mapping[str, Any]:
        """Clips ahead and time-out."""
        return {"num_ahead": self.num_ahead, "timeout_seconds": self.timeout_seconds}

    def answer(self, asked: Sequence[Asked], run: int = 0) -> Iterator[Answer]:
        """Answer every question; see ``Answerer``.

        Raises:
            ConfigError: If the program cannot be started.
            DataError: If it ends ``max_failures`` times one after the other without an answer.
        """
        waiting = list(asked)[::-1]
        fruitless = 0
        while waiting:
            with RunningProgram(self.words) as program:
                under_way: dict[str, Asked] = {}
                problem = None
                while problem is None and (waiting or under_way):
                    while waiting and len(under_way) < self.num_ahead and problem is None:
                        one = waiting.pop()
                        under_way[one.key] = one
                        problem = program.write(self._question(one, run))
                    found = program.read(self.timeout_seconds) if problem is None else problem
                    answer = found if isinstance(found, str) else _answer_of(found, under_way)
                    if isinstance(answer, str):
                        problem = answer
                    else:
                        fruitless = 0
                        del under_way[answer.key]
                        yield answer
                if problem is None:
                    program.finish()
                    return
                told = program.end()
            reason = f"{problem}{told}"
            fruitless += 1
            for key in under_way:
                yield Answer.failed(key, reason)
            if fruitless >= self.max_failures and waiting:
                raise DataError(
                    f"the program {self.words[0]!r} gave no answer {fruitless} times one after the other; the last "
                    f"time: {reason}. What was answered is kept: mend it, and run again"
                )

    def _question(self, asked: Asked, run: int) -> dict[str, Any]:
        shown = self.answer_settings.modalities

        def path(file: Path | None) -> str | None:
            return None if file is None else str(file.resolve())

        # a clip's own file holds both tracks, so that a program that is shown one of them must heed the modalities
        return {
            "key": asked.key,
            "question": asked.question,
            "subtitle": asked.subtitle if "text" in shown else None,
            "video": path(asked.video) if {"video", "audio"} & set(shown) else None,
            "audio": path(asked.audio) if "audio" in shown else None,
            "faces": path(asked.faces) if "video" in shown else None,
            "modalities": list(shown),
            "sampling": self.answer_settings.for_run(run).to_json(),
            "run": run,
        }


def _answer_of(row: Mapping[str, Any], under_way: Mapping[str, Asked]) -> Answer | str:
    """The answer in a line, or what is wrong with it."""
    key, kind = row.get("key"), row.get("kind", "answered")
    if not isinstance(key, str) or key not in under_way:
        return f"the program answered {key!r:.{_SHOWN}}, which it was not asked, or twice"
    if kind not in KINDS:
        return f"the program gave {key!r} the kind {kind!r:.{_SHOWN}}; known: {', '.join(KINDS)}"
    text = row.get("text", "")
    if not isinstance(text, str) or (kind == "answered" and not text.strip()):
        return f"the program gave {key!r} no text, but {text!r:.{_SHOWN}}"
    if kind != "answered" and not isinstance(row.get("reason"), str):
        row = {**row, "reason": f"the program says {kind}, without a reason"}
    return Answer.from_json({name: value for name, value in row.items() if name not in ("run", "error")})
