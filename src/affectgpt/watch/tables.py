"""The answers of a film as files: a table, JSON lines, subtitles (WebVTT, SubRip), and ELAN."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from affectgpt.files import write_whole
from affectgpt.watch.rows import Row, by_name

COLUMNS = ("start", "end", "person", "speaks", "words", "labels", "sentiment", "confidence", "missing", "answer")


def write_tables(rows: Sequence[Row], folder: str | Path, film: str | Path) -> list[Path]:
    """Write every form: ``answers.csv``, ``.jsonl``, ``.vtt``, ``.srt`` and ``.eaf``.

    Args:
        rows: The answers, in order of time.
        folder: Where to write.
        film: The file that was watched; ELAN opens it beside the annotations.

    Returns:
        The files.
    """
    forms: Mapping[str, Callable[[], str]] = {
        "csv": lambda: to_csv(rows),
        "jsonl": lambda: "".join(json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in rows),
        "vtt": lambda: to_vtt(rows),
        "srt": lambda: to_srt(rows),
        "eaf": lambda: to_eaf(rows, film),
    }
    written = []
    for suffix, form in forms.items():
        path = Path(folder) / f"answers.{suffix}"
        write_whole(path, form())
        written.append(path)
    return written


def to_csv(rows: Sequence[Row]) -> str:
    """A table with ``COLUMNS``; times in seconds, several labels with commas between them."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        missing = "; ".join(f"{name}: {why}" for name, why in row.missing.items())
        person = "" if row.person is None else row.person
        said = (row.words or "", row.answer, row.sentiment or "", f"{row.confidence:.4f}", missing, row.text)
        times = (f"{row.start_seconds:.3f}", f"{row.end_seconds:.3f}")
        table.writerow([*times, person, row.speaks, *map(_on_one_line, said)])
    return text.getvalue()


def to_vtt(rows: Sequence[Row]) -> str:
    """WebVTT: who, what is said, and the emotions."""
    cues = ["WEBVTT", ""]
    for row in rows:
        times = f"{_clock(row.start_seconds, '.')} --> {_clock(row.end_seconds, '.')}"
        cues += [times, *(_escaped(line) for line in _lines(row)), ""]
    return "\n".join(cues)


def to_srt(rows: Sequence[Row]) -> str:
    """SubRip: the same without markup."""
    cues: list[str] = []
    for number, row in enumerate(rows, 1):
        times = f"{_clock(row.start_seconds, ',')} --> {_clock(row.end_seconds, ',')}"
        cues += [str(number), times, *_lines(row), ""]
    return "\n".join(cues)


def to_eaf(rows: Sequence[Row], film: str | Path) -> str:
    """An annotation document of ELAN (EAF 3.0), with two tiers for each person: the emotions, and the words."""
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {"AUTHOR": "affectgpt", "DATE": "2000-01-01T00:00:00+00:00", "FORMAT": "3.0", "VERSION": "3.0"},
    )
    header = ElementTree.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    path = Path(film)
    kind = "audio/*" if path.suffix.lower() in (".wav", ".mp3", ".flac", ".ogg", ".m4a") else "video/*"
    ElementTree.SubElement(
        header, "MEDIA_DESCRIPTOR", {"MEDIA_URL": path.name, "RELATIVE_MEDIA_URL": f"./{path.name}", "MIME_TYPE": kind}
    )
    order = ElementTree.SubElement(root, "TIME_ORDER")
    slots: dict[float, str] = {}
    for seconds in sorted({time for row in rows for time in (row.start_seconds, row.end_seconds)}):
        slots[seconds] = f"ts{len(slots) + 1}"
        ElementTree.SubElement(
            order, "TIME_SLOT", {"TIME_SLOT_ID": slots[seconds], "TIME_VALUE": str(round(1000 * seconds))}
        )
    number = 0
    for name, own in by_name(rows).items():
        for tier, values in (
            (f"{name} emotions", [(row, row.answer) for row in own]),
            (f"{name} words", [(row, row.words or "") for row in own if row.words]),
        ):
            if not values:
                continue
            element = ElementTree.SubElement(
                root, "TIER", {"TIER_ID": tier, "LINGUISTIC_TYPE_REF": "utterance", "PARTICIPANT": name}
            )
            for row, value in values:
                number += 1
                outer = ElementTree.SubElement(element, "ANNOTATION")
                inner = ElementTree.SubElement(
                    outer,
                    "ALIGNABLE_ANNOTATION",
                    {
                        "ANNOTATION_ID": f"a{number}",
                        "TIME_SLOT_REF1": slots[row.start_seconds],
                        "TIME_SLOT_REF2": slots[row.end_seconds],
                    },
                )
                ElementTree.SubElement(inner, "ANNOTATION_VALUE").text = _printable(value)
    kinds = {"LINGUISTIC_TYPE_ID": "utterance", "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"}
    ElementTree.SubElement(root, "LINGUISTIC_TYPE", kinds)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _lines(row: Row) -> list[str]:
    """The lines of a subtitle; none is empty, since an empty line ends a cue."""
    who = f"{row.name}: " if row.person is not None else ""
    answer = row.answer or "no emotion named"
    lines = [f"{who}{_on_one_line(row.words)}"] if row.words else []
    return [*lines, f"[{'' if row.words else who}{_on_one_line(answer)}]"]


def _clock(seconds: float, point: str) -> str:
    """Hours, minutes, seconds and thousandths.

    Examples:
        >>> _clock(3725.0604, ",")
        '01:02:05,060'
    """
    thousandths = round(1000 * seconds)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _escaped(line: str) -> str:
    """A line of a WebVTT cue: no markup, and no arrow, which would begin another cue."""
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _printable(text: str) -> str:
    """Without characters that XML 1.0 cannot hold."""
    return "".join(one for one in text if one in "\t\n" or (ord(one) >= 0x20 and not 0xD800 <= ord(one) <= 0xDFFF))
