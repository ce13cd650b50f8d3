"""Runs the blocks of a page one after the other, as a reader would who pastes them into a terminal."""

from __future__ import annotations

import csv
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from affectgpt.cli.main import main
from affectgpt.media import isolation
from pageblocks import ROOT, Block, Command, read_blocks, read_commands

FILE_OF_BLOCK = re.compile(r"# (\S+\.(?:yaml|py))\n")
READY = re.compile(r"serving \S+ at http|the page is at http")
LONG_STEPS = 20
NUMBER = re.compile(r"[-+]?\d(?:[\d,.]*\d)?")
DIGEST = re.compile(r"\b[0-9a-f]{12}\b")
PAGES = {
    "start": (
        *("README.md", "docs/faq.md", "docs/data.md", "docs/command_line.md", "docs/voting.md", "docs/scoring.md"),
        *("docs/zh/data.md", "docs/zh/faq.md", "docs/zh/index.md", "docs/zh/scoring.md"),
    ),
    "model": (
        *("docs/app.md", "docs/features.md", "docs/missing_views.md", "docs/official.md", "docs/rewards.md"),
        *("docs/serve.md", "docs/speed.md", "docs/training.md", "docs/watch.md"),
    ),
    "score": ("docs/annotate.md", "docs/baselines.md", "docs/bench.md", "docs/challenge.md", "docs/harnesses.md"),
}
"""The pages whose commands run, by the test file that runs them."""
PUBLIC = ("/data/", "http://localhost:8000/v1", "https://api.example.com/v1")
"""What the pages write for the folder of the test sets, and for a model behind a server."""


class OwnProcess:
    """Does the job of an isolated process in this one; what isolation is worth is tested in ``tests/media``."""

    def __init__(self, job: bytes) -> None:
        self.do = pickle.loads(job)

    def stop(self) -> None:
        """There is nothing to stop."""


class PageRunner:
    """Runs commands in a copy of the reader's folder, which is the current folder.

    Commands are run as printed, but for: the locations of ``PUBLIC``; options that end a training after two steps, keep
    work in this process, and accept test sets of a few clips; and the ports of what serves, which is stopped once it
    is ready.

    Args:
        folder: The copy.
        server: The base URL of a stand-in for a chat model.
        has_shared: Whether the authors' word tables and the released form of a checkpoint are in the folder.
        capsys: Reads what commands print.
        patch: Sets environment variables.
    """

    def __init__(
        self, folder: Path, server: str, has_shared: bool, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> None:
        self.folder, self.server, self.has_shared, self.capsys, self.patch = folder, server, has_shared, capsys, patch
        patch.setattr(isolation, "_Worker", OwnProcess)

    def run_page(self, page: str) -> None:
        """Run every block of a page that is not marked, and compare what the page says that it prints.

        A page in Chinese runs what differs from the page in English.
        """
        told, known = "", {block.text for block in blocks_of(page.replace("/zh/", "/"))} if "/zh/" in page else set()
        for block in blocks_of(page):
            if block.kind and (file := FILE_OF_BLOCK.match(block.text)):
                Path(file[1]).write_text(self._here(block.text), "utf-8")
        for block in blocks_of(page):
            if block.reason is not None or block.text in known:
                continue
            if block.kind == "bash":
                told = "".join([self.run(command, block.name) for command in read_commands(block.text)])
            elif block.kind in ("", "text") and block.follows == "bash" and block.shown is None:
                compare(block, told)

    def run(self, command: Command, name: str) -> str:
        """Run one command, and return what it printed.

        Raises:
            AssertionError: If it ends in another way than the page says, or prints nothing.
        """
        for key, value in command.variables:
            self.patch.setenv(key, self._expanded(self._here(value)))
        if not command.words or command.words[0] == "export":
            return ""
        words = [self._here(word) for word in command.words]
        if not self.has_shared and (needed := needs_shared(words)):
            if words[1] == "convert":
                shutil.copytree("spare-face", words[3])
            return f"(left out: {needed})"
        if words[0] == "affectgpt":
            with stopped_when_ready(words):
                code, told, noted = self._call(adapted(words[1:]))
        elif words[0] == "python":
            done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, timeout=120)
            code, told, noted = done.returncode, done.stdout, done.stderr
        else:
            raise AssertionError(f"{name}: {words[0]!r} cannot be run in a test; mark the block")
        assert code == command.code, f"{name}: {' '.join(words)}\nended with {code}\n{told}\n{noted}"
        assert (told + noted).strip(), f"{name}: {' '.join(words)} printed nothing"
        if command.output is not None:
            Path(command.output).expanduser().parent.mkdir(parents=True, exist_ok=True)
            Path(command.output).expanduser().write_text(told, "utf-8")
        return told + noted

    def _call(self, words: Sequence[str]) -> tuple[int, str, str]:
        self.capsys.readouterr()
        try:
            code = main(words)
        except SystemExit as end:  # --help
            code = int(end.code or 0)
        return code, *self.capsys.readouterr()

    def _expanded(self, value: str) -> str:
        """The value with ``$(python -c '...')`` run."""
        found = re.fullmatch(r"\$\(python -c '(.*)'\)", value)
        if found is None:
            return value
        code = [sys.executable, "-c", found[1]]
        return subprocess.run(code, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def _here(self, word: str) -> str:
        data, *servers = PUBLIC
        for server in servers:
            word = word.replace(server, self.server)
        word = word.replace("command:python ", f"command:{sys.executable} ")
        return word.replace(data, f"{self.folder}/data/")


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page."""
    return read_blocks([ROOT / page])


def needs_shared(words: Sequence[str]) -> str | None:
    """What a command needs that only comes from others, if anything."""
    needed = ("official", "wheel_2026", "checkpoint_000030_loss_0.602.pth")
    return next((word for word in words if word in needed), None)


def adapted(words: Sequence[str]) -> list[str]:
    """The words with options that make the command short."""
    verb, *rest = words
    more: list[str] = []
    if verb == "fit" and "--print_config" not in rest:
        trainer: dict[str, Any] = {}
        for flag, path in pairwise(rest):
            if flag == "--config":
                trainer |= yaml.safe_load(Path(path).read_text("utf-8")).get("trainer", {})
        if trainer.get("max_steps", 0) > LONG_STEPS or trainer.get("max_epochs", 0) > 2:
            more = ["--trainer.max_steps", "2"]
        if "bf16" in str(trainer.get("precision")):
            more += ["--trainer.precision", "32-true"]
    elif verb == "bench" and {"--data", "--gold", "--clips"} & {*rest} and "--list" not in rest:
        more = ["--allow-partial", "--resamples", "50", "--num-workers", "0"]
    elif verb == "encode" and "--num-workers" not in rest:
        more = ["--num-workers", "0"]
    elif verb == "annotate" and "--dry-run" not in rest and Path(rest[0]).suffix == ".yaml":
        more = ["--workers", "1"]
    elif verb == "pack":
        more = [] if "--workers" in rest else ["--workers", "0"]
    elif verb == "harness" and "--data" in rest and "--allow-partial" not in rest:
        more = ["--allow-partial"]
    elif verb == "submit" and "--candidates" in rest:
        with Path(rest[rest.index("--candidates") + 1]).open(encoding="utf-8") as table:
            more = ["--count", str(sum(1 for _ in csv.reader(table)) - 1)]
    elif verb in ("serve", "app") or "--page" in rest:
        more = ["--port", "0"]
    return [verb, *rest, *more]


@contextmanager
def stopped_when_ready(words: Sequence[str]) -> Iterator[None]:
    """Press Ctrl-C as soon as a service that the command starts takes requests."""
    if words[1] not in ("serve", "app") and "--page" not in words:
        yield
        return
    from affectgpt.serve import uvicorn_server

    startup = uvicorn_server._Server.startup

    async def startup_and_stop(self: Any, sockets: Any = None) -> None:
        await startup(self, sockets)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    uvicorn_server._Server.startup = startup_and_stop  # type: ignore[method-assign]
    try:
        yield
    finally:
        uvicorn_server._Server.startup = startup  # type: ignore[method-assign]


def compare(block: Block, told: str) -> None:
    """Each line that the page shows is printed, in this form: figures may differ, and ``...`` stands for anything."""
    printed = [_form(line) for line in told.splitlines()]
    for line in block.text.splitlines():
        form = _form(line)
        if form in ("", "..."):
            continue
        pattern = ".*".join(re.escape(piece) for piece in form.split("..."))
        assert any(re.fullmatch(pattern, one) for one in printed), f"{block.name}: not printed: {line}\n{told}"


def _form(line: str) -> str:
    return " ".join(NUMBER.sub("0", DIGEST.sub("0", line)).split())
