"""Reads a test set from its original distribution."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from affectgpt.datamodules.unibench.folder_layouts import IEMOCAP_LABELS, OriginalLayout
from affectgpt.datamodules.unibench.samples import BenchSample, BenchSet, Difference, as_score, check_keys
from affectgpt.datamodules.unibench.set_tables import read_rows
from affectgpt.datamodules.unibench.sets import TestSet
from affectgpt.errors import DataError, first_few
from affectgpt.manifests.record import AUDIO_SUFFIXES
from affectgpt.text import clean_label, clean_name


@dataclass(frozen=True)
class _Row:
    fields: Mapping[str, str]
    gold: str | float
    words: str | None


def read_original(test_set: TestSet, layout: OriginalLayout, folder: Path, *, media: bool) -> BenchSet:
    """Read a set.

    Args:
        test_set: The set.
        layout: The layout of its files.
        folder: The folder of the distribution.
        media: Whether to also find clips, not only gold labels.

    Raises:
        DataError: If a file is missing or damaged, or names are repeated.
    """
    label_file = folder / layout.labels
    notes: list[str] = []
    rows = list(_READERS[layout.form](label_file, notes))
    keys = [clean_name(layout.name.format(**row.fields)) for row in rows]
    check_keys(keys, label_file)
    if not media:
        gold = tuple(BenchSample(key, row.gold) for key, row in zip(keys, rows, strict=True))
        return BenchSet(test_set, label_file, "original", gold, (), tuple(notes))
    samples = []
    for key, row in zip(keys, rows, strict=True):
        clip = next((p for p in (folder / form.format(**row.fields) for form in layout.clip) if p.is_file()), None)
        heard = clip is not None and clip.suffix.lower().lstrip(".") in AUDIO_SUFFIXES
        samples.append(
            BenchSample(key, row.gold, row.words, video=None if heard else clip, audio=clip if heard else None)
        )
    differences = []
    absent = tuple(sample.key for sample in samples if sample.video is None and sample.audio is None)
    if absent:
        example = layout.clip[0].format(**rows[keys.index(absent[0])].fields)
        message = f"{len(absent)} clips are not in {folder} (such as {example}): {first_few(absent)}"
        differences.append(Difference("media", message, absent))
    num_heard = sum(sample.audio is not None for sample in samples)
    if num_heard:
        notes.append(f"{num_heard} clips are only sound: this distribution has no videos of single utterances")
    wordless = sum(row.words is None for row in rows)
    if wordless:
        notes.append(f"{wordless} of {len(rows)} samples have no spoken words")
    if test_set.language == "zh":
        notes.append("the spoken words are Chinese; the authors give the model their own English translation")
    return BenchSet(test_set, label_file, "original", tuple(samples), tuple(differences), tuple(notes))


def _read_meld(label_file: Path, notes: list[str]) -> Iterator[_Row]:
    for row in read_rows(label_file, ("Utterance", "Emotion", "Dialogue_ID", "Utterance_ID"), notes):
        fields = {"dialogue": row["dialogue_id"].strip(), "utterance": row["utterance_id"].strip()}
        yield _Row(fields, clean_label(row["emotion"]).lower(), row["utterance"].strip() or None)


def _read_mmsa(label_file: Path, notes: list[str]) -> Iterator[_Row]:
    for row in read_rows(label_file, ("video_id", "clip_id", "text", "label", "mode"), notes):
        if row["mode"].strip().lower() == "test":
            fields = {"video": row["video_id"].strip(), "clip": row["clip_id"].strip()}
            gold = as_score(row["label"], "_".join(fields.values()), label_file)
            yield _Row(fields, gold, row["text"].strip() or None)


def _read_sims_index(label_file: Path, notes: list[str]) -> Iterator[_Row]:
    """``label_M.csv`` beside ``test_index.csv`` (row numbers of the split) and ``Translation.csv`` (English words)."""
    rows = read_rows(label_file, ("video_id", "clip_id", "label"), notes)
    folder = label_file.parents[1]
    words: dict[tuple[str, str], str] = {}
    if (folder / "Translation.csv").is_file():
        for row in read_rows(folder / "Translation.csv", ("video_id", "clip_id", "English"), notes):
            words[row["video_id"].strip(), row["clip_id"].strip()] = row["english"].strip()
    index = folder / "test_index.csv"
    for entry in read_rows(index, ("index",)):
        text = entry["index"].strip()
        if not text.isdigit() or int(text) >= len(rows):
            raise DataError(f"{index} asks for row {text!r}, but {label_file} has {len(rows)} rows")
        row = rows[int(text)]
        video, clip = row["video_id"].strip(), row["clip_id"].strip()
        gold = as_score(row["label"], f"{video}_{clip}", label_file)
        yield _Row({"video": video, "clip": clip}, gold, words.get((video, clip)) or None)


_TURN = re.compile(r"^\[[\d.]+ - [\d.]+\]\s+(\S+)\s+(\w+)\s")
_SAID = re.compile(r"^(\S+) \[[\d.]+-[\d.]+\]:\s*(.*)$")


def _read_iemocap(label_file: Path, notes: list[str]) -> Iterator[_Row]:
    """A folder of evaluations, one file per dialogue; the words are in ``transcriptions`` next to it."""
    words: dict[str, str] = {}
    for path in sorted((label_file.parent / "transcriptions").glob("Ses*.txt")):
        for line in _lines(path, notes):
            said = _SAID.match(line.strip())
            if said:
                words[said.group(1)] = said.group(2).strip()
    for path in sorted(label_file.glob("Ses*.txt")):
        for line in _lines(path, notes):
            turn = _TURN.match(line)
            if turn and turn.group(2) in IEMOCAP_LABELS:
                utterance = turn.group(1)
                fields = {"dialogue": utterance.rpartition("_")[0], "utterance": utterance}
                yield _Row(fields, IEMOCAP_LABELS[turn.group(2)], words.get(utterance) or None)


def _lines(path: Path, notes: list[str]) -> list[str]:
    """Lines of a text file; bytes that are not UTF-8 become U+FFFD, which is noted."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    if "\ufffd" in text:
        notes.append(f"{path.name} is not UTF-8; unreadable bytes became U+FFFD")
    return text.splitlines()


_READERS: Mapping[str, Callable[[Path, list[str]], Iterator[_Row]]] = {
    "meld": _read_meld,
    "mmsa": _read_mmsa,
    "sims-index": _read_sims_index,
    "iemocap": _read_iemocap,
}
