"""Reads and writes the JSON forms in which others keep described clips: ShareGPT, LLaMA-Factory, MERR."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from affectgpt.errors import ConfigError, DataError, did_you_mean
from affectgpt.files import draft, parse_json
from affectgpt.manifests.manifest import read_manifest
from affectgpt.manifests.record import AUDIO_SUFFIXES, Record
from affectgpt.text import clean_name, clean_text

FORMS = ("sharegpt", "llama-factory", "merr")
DEFAULT_QUESTION = "Please infer the person's emotional state and provide your reasoning process."
LABEL_QUESTION = "Please recognize all possible emotional states of the character."
MAX_FILE_BYTES = 2 * 2**30
_ROLES: Mapping[str, str] = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


def export_set(manifest: str | Path, out: str | Path, form: str, question: str = DEFAULT_QUESTION) -> tuple[int, int]:
    """Write the clips of a manifest in a form of others.

    ``sharegpt`` and ``llama-factory`` are JSON lines with a conversation a clip: the question with ``<video>`` (or
    ``<audio>``) before it, and the description, or the labels where there is none. ``merr`` is the one JSON object of
    Emotion-LLaMA, name to description. Paths are relative to the new file.

    Args:
        manifest: ``manifest.jsonl`` of an annotated set, or any other.
        out: File to write or replace.
        form: One of ``FORMS``.
        question: What is asked about a description.

    Returns:
        Clips that were written, and clips that were left out because they have neither description nor labels, or for
        ``merr`` no description.

    Raises:
        ConfigError: If the form is unknown.
        DataError: If the manifest cannot be read, or no clip is left.
    """
    _check(form)
    records = read_manifest(manifest)
    kept = [one for one in records if one.description or (one.labels and form != "merr")]
    if not kept:
        raise DataError(f"no clip of {str(manifest)!r} has a description to export as {form}")
    folder = Path(out).parent
    with draft(out) as path, path.open("w", encoding="utf-8") as file:
        if form == "merr":
            file.write(_dumped({record.key: _merr(record) for record in kept}, indent=1) + "\n")
        else:
            write = _sharegpt if form == "sharegpt" else _llama_factory
            for record in kept:
                file.write(_dumped(write(record, question, folder)) + "\n")
    return len(kept), len(records) - len(kept)


def import_set(
    source: str | Path, out: str | Path, form: str, media: str | Path | None = None
) -> tuple[int, list[str]]:
    """Make a manifest of clips that others described.

    Args:
        source: JSON lines, or one JSON list or object.
        out: Manifest to write or replace, ``.jsonl``.
        form: One of ``FORMS``.
        media: Folder that paths in the file are relative to, and in which ``NAME.mp4`` is looked for where the file
            names no media; by default the folder of the file.

    Returns:
        Entries that were written, and what is wrong with each of the others.

    Raises:
        ConfigError: If the form is unknown.
        DataError: If the file cannot be read, or no entry can be used.
    """
    _check(form)
    source, out = Path(source), Path(out)
    folder = source.parent if media is None else Path(media)
    read = _of_merr if form == "merr" else _of_conversation
    lines: list[dict[str, Any]] = []
    problems, taken = [], set[str]()
    for where, name, entry in _entries(source):
        try:
            line = read(name, entry, folder)
            if line["name"] in taken:
                raise DataError(f"its name {line['name']!r} came before")
            taken.add(line["name"])
            lines.append({n: os.path.relpath(v, out.parent) if n in ("video", "audio") else v for n, v in line.items()})
        except DataError as error:
            problems.append(f"{where}: {error}")
    if not lines:
        raise DataError(f"no entry of {str(source)!r} can be used as {form}{'; ' + problems[0] if problems else ''}")
    with draft(out) as path, path.open("w", encoding="utf-8") as file:
        file.writelines(_dumped(line) + "\n" for line in lines)
    return len(lines), problems


def _sharegpt(record: Record, question: str, folder: Path) -> dict[str, Any]:
    asked, answer = _turns(record, question)
    turns = [{"from": "human", "value": _media_words(record) + asked}, {"from": "gpt", "value": answer}]
    return {"id": record.key, "conversations": turns, **_media(record, folder)}


def _llama_factory(record: Record, question: str, folder: Path) -> dict[str, Any]:
    asked, answer = _turns(record, question)
    turns = [{"role": "user", "content": _media_words(record) + asked}, {"role": "assistant", "content": answer}]
    return {"id": record.key, "messages": turns, **_media(record, folder)}


def _merr(record: Record) -> dict[str, Any]:
    found = record.extra.get("annotation") or {}
    told = {"audio_prior_list": found.get("audio_clues"), "visual_prior_list": found.get("visual_clues")}
    return {
        **{name: value for name, value in told.items() if value},
        "text": record.subtitle or "",
        "emotion_labels": list(record.labels),
        "caption": record.description,
        "smp_reason_caption": record.description,
    }


def _turns(record: Record, question: str) -> tuple[str, str]:
    words = f"Subtitle content of the video: {record.subtitle}\n" if record.subtitle else ""
    if record.description:
        return words + question, record.description
    return words + LABEL_QUESTION, f"The character's emotional state is {', '.join(record.labels)}."


def _media_words(record: Record) -> str:
    return ("<video>" if record.video else "") + ("<audio>" if record.audio else "")


def _media(record: Record, folder: Path) -> dict[str, list[str]]:
    found = {"videos": record.video, "audios": record.audio}
    return {name: [os.path.relpath(path, folder)] for name, path in found.items() if path is not None}


def _entries(source: Path) -> Iterator[tuple[str, str | None, Any]]:
    """Location, name where the file is an object of names, and content of every entry."""
    try:
        if source.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{str(source)!r} has more than {MAX_FILE_BYTES:,} bytes; split it")
        text = source.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{str(source)!r} cannot be read ({error}); check the path") from error
    if source.suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield f"{source}:{number}", None, parse_json(line, f"{source}:{number}")
        return
    found = parse_json(text, str(source))
    if isinstance(found, dict):
        yield from ((f"{source}: {name!r}", name, entry) for name, entry in found.items())
    elif isinstance(found, list):
        yield from ((f"{source}: entry {number}", None, entry) for number, entry in enumerate(found))
    else:
        raise DataError(f"{str(source)!r} holds {found!r:.60}; expected a list or an object")


def _of_conversation(name: str | None, entry: Any, folder: Path) -> dict[str, Any]:
    turns = entry.get("conversations", entry.get("messages")) if isinstance(entry, dict) else None
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise DataError("it has no list of 'conversations' or 'messages'")
    said = [(_ROLES.get(str(t.get("from", t.get("role")))), t.get("value", t.get("content"))) for t in turns]
    answers = [text for role, text in said if role == "assistant" and isinstance(text, str) and text.strip()]
    if not answers:
        raise DataError("nobody answers in it")
    line: dict[str, Any] = {"description": clean_text(answers[0].strip())}
    for kind, fields in (
        ("video", ("videos", "video")),
        ("audio", ("audios", "audio")),
        ("picture", ("images", "image")),
    ):
        path = next((p for f in fields if (p := _first(entry.get(f))) is not None), None)
        if path is not None:
            line.setdefault("video" if kind == "picture" else kind, folder / path)
    if not ("video" in line or "audio" in line):
        raise DataError("it names no video, audio or image")
    given = name or entry.get("id") or Path(line.get("video") or line["audio"]).stem
    return {"name": clean_name(str(given)).replace("/", "-").replace(".", "_"), **line}


def _of_merr(name: str | None, entry: Any, folder: Path) -> dict[str, Any]:
    given = name or (entry.get("name", entry.get("id")) if isinstance(entry, dict) else None)
    if not isinstance(entry, dict) or not isinstance(given, str) or not given.strip():
        raise DataError("it is no object with a name")
    text = entry.get("smp_reason_caption") or entry.get("caption")
    if not isinstance(text, str) or not text.strip():
        raise DataError("it has neither 'smp_reason_caption' nor 'caption'")
    path = next((p for s in ("mp4", "avi", "mkv", "wav") if (p := folder / f"{given}.{s}").is_file()), None)
    if path is None:
        raise DataError(f"there is no {given}.mp4 in {str(folder)!r}")
    kind = "audio" if path.suffix[1:] in AUDIO_SUFFIXES else "video"
    line: dict[str, Any] = {"name": clean_name(given), kind: path, "description": clean_text(text.strip())}
    if isinstance(entry.get("text"), str) and entry["text"].strip():
        line["subtitle"] = clean_text(entry["text"].strip())
    emotion = entry.get("pseu_emotion") or entry.get("emotion")
    labels = entry.get("emotion_labels") or ([emotion] if isinstance(emotion, str) else [])
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels) and labels:
        line["labels"] = [label.strip() for label in labels if label.strip()]
    return line


def _first(value: Any) -> str | None:
    found = value[0] if isinstance(value, list) and value else value
    return found if isinstance(found, str) and found.strip() else None


def _check(form: str) -> None:
    if form not in FORMS:
        raise ConfigError(f"the form is {form!r}.{did_you_mean(form, FORMS)} Known: {', '.join(FORMS)}")


def _dumped(value: Any, indent: int | None = None) -> str:
    return clean_text(json.dumps(value, ensure_ascii=False, indent=indent))
