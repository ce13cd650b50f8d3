"""What reaches a terminal: no command, no hidden or turned text, no markup; and errors of the system as one line."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectgpt.cli import demo, main, parts
from affectgpt.cli.explain import explain
from affectgpt.cli.progress import Progress
from affectgpt.cli.terminal import ShownFormatter, make_console, say, shown, shown_lines
from affectgpt.errors import DataError
from affectgpt.files import write_whole
from fulldisk import largest_file

EVIL = "clip\x1b[31m\x9b2J\u202e[/run] [bold]:smile:\u200b\ufeff\ud83d\x07.mp4"
HARMFUL = [chr(c) for c in (*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2066, 0x200B, 0xFEFF, 0xAD, 0xD83D, 0xE0041)]


def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "affectgpt.cli.main", *args]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=240)


def test_nothing_that_a_terminal_obeys_is_left() -> None:
    for character in HARMFUL:
        assert character not in shown(f"a{character}b")
        assert json.loads(f'"{shown(character)}"') == character  # escapes of JSON, so printed JSON stays the same
    assert shown("高兴 naïve 👩\u200d🔬 क\u200dष [/run]") == "高兴 naïve 👩\u200d🔬 क\u200dष [/run]"
    assert shown_lines("a\n\tb\x1b") == "a\n\tb\\u001b"


@given(st.text())
def test_any_text_is_one_line_that_utf8_can_hold(text: str) -> None:
    assert len((shown(text) or "x").splitlines()) == 1
    assert shown(text).encode("utf-8").isascii() or not text.isascii()
    assert shown(shown(text)) == shown(text)


def test_say_and_consoles_take_text_for_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL)
    say(EVIL, err=True)
    make_console().print(shown(EVIL))
    captured = capsys.readouterr()
    for shown_text in (captured.out, captured.err):
        assert "[/run] [bold]:smile:" in shown_text
        assert not any(character in shown_text for character in HARMFUL if character != "\n")


def test_a_bar_and_its_lines_take_any_title(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(EVIL, "clips") as progress:
        progress.say(EVIL)
        progress.update(0, 2)
        progress.update(1, 2)
    assert "\\u001b[31m" in capsys.readouterr().err


def test_lines_of_the_log_are_escaped() -> None:
    record = logging.LogRecord("affectgpt", logging.WARNING, "f.py", 1, "bad sample %s", (EVIL,), None)
    assert ShownFormatter("%(message)s").format(record) == f"bad sample {shown(EVIL)}"


def test_error_lines_are_escaped_and_no_colour_leaves_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "gold.csv").write_text("name,label\na,joy\n", "utf-8")
    done = run("score", "meld", str(tmp_path / "no\x1b[2J[/run].csv"), str(tmp_path / "gold.csv"))
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr
    assert "no\\u001b[2J[/run].csv" in done.stderr


def test_a_stream_that_lacks_a_character_gets_its_escape() -> None:
    done = run("pärts\u9ad8", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "p\\u00e4rts\\u9ad8" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("verb", [[], ["check"]])
def test_a_full_disk_under_the_output_is_one_line(verb: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-u", "-m", "affectgpt.cli.main", *verb, "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=240,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: standard output: No space left on device; the disk is full; make room, or name a folder on another disk"
    ]


def test_what_argparse_says_of_a_wrong_call_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["check", "shards", "--no\x1b[2Jsuch"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "usage: affectgpt check" in said
    assert "--no\\u001b[2Jsuch" in said


def test_checking_shards_imports_neither_lightning_nor_matplotlib() -> None:
    code = "import sys, affectgpt.cli.check, affectgpt.shards.check as c; "
    code += "print([n for n in ('lightning', 'matplotlib', 'transformers', 'torchmetrics') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out/a.tar"), r"^out/a\.tar: No space.*make room"),
        (OSError(errno.ENOSPC, "No space left on device"), "^No space left.*make room"),
        (PermissionError(errno.EACCES, "Permission denied", "in.csv"), r"^in\.csv: Permission denied; .*chmod"),
        (OSError(errno.EROFS, "Read-only file system", "r/x"), "^r/x: Read-only.*can be written"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a", None, "b"), "^a -> b: No such file"),
        (RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/3"), "could not be written.*full"),
        (ValueError("I/O error: No space left on device (os error 28)"), "could not be written.*full"),
        (RuntimeError("could not determine the home directory for '~/.cache'"), "no home folder.*AFFECTGPT_CACHE"),
        (KeyError("getpwuid(): uid not found: 1234"), "no home folder.*HOME"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (MemoryError(), "memory is used up"),
    ],
)
def test_what_the_system_refuses_is_one_line_with_exit_code_1(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(parts, "run", fail)
    assert main.main(["parts"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(line.removeprefix("error: "))
    with pytest.raises(type(error)):
        main.main(["parts", "--debug"])


def test_half_an_emoji_is_named_with_the_text_around_it() -> None:
    with pytest.raises(UnicodeEncodeError) as failure:
        io.TextIOWrapper(io.BytesIO(), "utf-8").write("I am so happy \ud83d")
    found = explain(failure.value)
    assert found is not None
    assert "'I am so happy \\ud83d'" in found


def test_a_mistake_of_ours_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert explain(RuntimeError("boom")) is None
    assert explain(TypeError("x")) is None
    assert explain(DataError("mend it")) == "mend it"


def test_exit_codes_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help"]) == 0
    shown_text = capsys.readouterr().out
    assert "exit codes:" in shown_text
    for code in main.EXIT_CODES:
        assert f"\n  {code:<3}  " in shown_text


def test_the_demo_says_where_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no folder")
    assert main.main(["demo", "--out", str(tmp_path / "file" / "[/run]\x1b")]) == 1
    assert "[/run]\\u001b" in capsys.readouterr().err
    assert demo.run is not None


def test_a_file_that_fills_the_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large") as failure, largest_file(1000):
        write_whole(tmp_path / "answers.jsonl", b"x" * 5000)
    assert explain(failure.value) is not None
    assert str(explain(failure.value)).startswith(f"{tmp_path / 'answers.jsonl'}: File too large")
    assert not list(tmp_path.iterdir())
