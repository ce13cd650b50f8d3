"""Reads the spoken words from subtitle files: SubRip, WebVTT, and (Advanced) SubStation Alpha."""

from __future__ import annotations

import html
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import pysubs2

from affectgpt.errors import DataError
from affectgpt.manifests.text_tables import read_text

SUBTITLE_SUFFIXES = frozenset({"srt", "vtt", "ass", "ssa"})

# hours, minutes, seconds, fraction; hours and fraction may be missing
_STAMP = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMING = re.compile(rf"^\s*{_STAMP}\s*-{{1,3}}>\s*{_STAMP}(?:\s.*)?$")
_STAMP_IN_TEXT = re.compile(r"<\d[\d:.]*>")
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]*>")
_OVERRIDE = re.compile(r"\{\\[^}]*\}")
_ENTITY = re.compile(r"&#?\w+;")
_NOT_CUES = ("WEBVTT", "NOTE", "STYLE", "REGION")


@dataclass(frozen=True)
class Cue:
    """What is said between two times.

    Attributes:
        start_seconds: When it begins.
        end_seconds: When it ends.
        text: The words on one line, without markup.
    """

    start_seconds: float
    end_seconds: float
    text: str


def read_subtitle(path: Path) -> str:
    """The words of a subtitle file in order of time, without numbers, times and markup.

    Raises:
        DataError: If the file cannot be read, or has text but no line with times.
    """
    return " ".join(" ".join(cue.text for cue in read_cues(path)).split())


def read_cues(path: Path) -> list[Cue]:
    """What a subtitle file says when, in order of time.

    Raises:
        DataError: If the file cannot be read, or has text but no line with times.
    """
    text = read_text(path)
    kind = path.suffix.lower().lstrip(".")
    cues = _cues_by_blocks(text, kind) if kind in ("srt", "vtt") else text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warnings concern layers and margins
            found = pysubs2.SSAFile.from_string(
                cues, format_="srt" if kind in ("srt", "vtt") else kind, keep_html_tags=True
            )
    except Exception as error:  # any error of the parser is the file's fault
        raise DataError(f"{str(path)!r} cannot be read as .{kind} ({error}); correct it, or remove it") from error
    found.sort()
    events = [event for event in found if not event.is_comment and not event.is_drawing]
    if not found and _has_words(text):
        raise DataError(f"{str(path)!r} has no line with times, which a .{kind} file needs; correct it, or rename it")
    said = [_plain(event.text) if kind in ("srt", "vtt") else event.plaintext for event in events]
    return [
        Cue(event.start / 1000, event.end / 1000, " ".join(words.split()))
        for event, words in zip(events, said, strict=True)
    ]


def _cues_by_blocks(text: str, kind: str) -> str:
    """The cues in the form that pysubs2 reads without loss: a number, whole times, the text, and a number at the end.

    pysubs2 ignores times without hours or fraction, reads a last line of digits as the next cue's number, and does not
    support names of cues and comments of WebVTT.
    """
    lines = [_STAMP_IN_TEXT.sub("", line) for line in re.split(r"\r\n|\r|\n", text)]
    if kind == "vtt":
        lines = _without_comments(lines)
    cues: list[str] = []
    number = 0
    last_name = ""
    for position, line in enumerate(lines):
        times = _TIMING.match(line)
        if times is None:
            cues.append(line)
            continue
        before = lines[position - 1].strip() if position else ""
        starts_block = position < 2 or not lines[position - 2].strip()
        follows = before.isdecimal() and last_name.isdecimal() and int(before) == int(last_name) + 1
        is_name = bool(before) and (follows or (starts_block and (kind == "vtt" or before.isdecimal())))
        if is_name and cues:
            cues.pop()
        last_name = before if is_name else ""
        number += 1
        cues += ["", str(number), f"{_whole(times.groups()[:4])} --> {_whole(times.groups()[4:])}"]
    return "\n".join([*cues, "", str(number + 1)])


def _without_comments(lines: list[str]) -> list[str]:
    kept: list[str] = []
    in_comment = False
    for number, line in enumerate(lines):
        starts_block = number == 0 or not lines[number - 1].strip()
        if starts_block:
            in_comment = line.split(" ")[0].split("\t")[0].strip() in _NOT_CUES
        if not in_comment:
            kept.append(line)
        elif not line.strip():
            in_comment = False
    return kept


def _whole(stamp: tuple[str | None, ...]) -> str:
    """A complete time, ``HH:MM:SS,mmm``."""
    hours, minutes, seconds, fraction = stamp
    return f"{int(hours or 0):02d}:{int(minutes or 0):02d}:{int(seconds or 0):02d},{(fraction or '0').ljust(3, '0')}"


def _plain(text: str) -> str:
    text = _OVERRIDE.sub("", _TAG.sub("", text.replace("\\N", "\n").replace("\\h", " ")))
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text)


def _has_words(text: str) -> bool:
    return any(line.strip() and not line.startswith(_NOT_CUES) for line in text.splitlines())
