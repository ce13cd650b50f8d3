"""Reads a test set from the authors' processed copy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from affectgpt.datamodules.unibench.folder_layouts import FACES_FOLDER, ProcessedLayout
from affectgpt.datamodules.unibench.samples import BenchSample, BenchSet, Difference, as_score, check_keys
from affectgpt.datamodules.unibench.set_tables import files_by_name, read_rows, read_words
from affectgpt.datamodules.unibench.sets import TestSet
from affectgpt.errors import DataError, first_few
from affectgpt.manifests.record import AUDIO_SUFFIXES
from affectgpt.metrics.npz import read_npz
from affectgpt.text import clean_label, clean_name


def read_processed(test_set: TestSet, layout: ProcessedLayout, folder: Path, *, media: bool) -> BenchSet:
    """Read a set.

    Args:
        test_set: The set.
        layout: The layout of its files.
        folder: The authors' folder.
        media: Whether to also find clips and words, not only gold labels.

    Raises:
        DataError: If a file is missing or damaged, or names are repeated.
    """
    label_file = folder / layout.labels
    notes: list[str] = []
    gold = _gold_of_npz(test_set, layout, label_file) if layout.corpus else _gold_of_csv(layout, folder, notes)
    check_keys(gold, label_file)
    if not media:
        return BenchSet(
            test_set, label_file, "processed", tuple(BenchSample(k, v) for k, v in gold.items()), (), tuple(notes)
        )
    # Earlier copies of the authors have some names without "_new", or with a hyphen.
    subtitles = _existing(folder, layout.subtitles, layout.subtitles.replace("_", "-"))
    video = _existing(folder, layout.video, layout.video.removesuffix("_new"))
    words = read_words(subtitles, layout.words, notes)
    videos = files_by_name(video, notes=notes)
    sounds = files_by_name(folder / layout.audio, AUDIO_SUFFIXES, notes)
    faces = _faces(folder / FACES_FOLDER, list(gold))
    samples = tuple(
        BenchSample(key, value, words.get(key), videos.get(key), sounds.get(key), faces.get(key))
        for key, value in gold.items()
    )
    differences = []
    unseen = tuple(key for key in gold if key not in videos)
    if unseen:
        differences.append(Difference("media", f"{len(unseen)} clips are not in {video}: {first_few(unseen)}", unseen))
    unsaid = tuple(key for key in gold if key not in words)
    if unsaid:
        differences.append(
            Difference("subtitles", f"{len(unsaid)} samples have no row in {subtitles}: {first_few(unsaid)}", unsaid)
        )
    wordless = sum(key in words and words[key] is None for key in gold)
    if wordless:
        notes.append(f"{wordless} of {len(gold)} samples have no spoken words: their cell is empty")
    if video.name != layout.video:
        notes.append(f"the clips are those of {video.name}, not of {layout.video}")
    for what, found in (("a sound file of their own", sounds), ("face crops", faces)):
        num_found = sum(key in found for key in gold)
        if num_found < len(gold):
            notes.append(f"{num_found} of {len(gold)} clips have {what}")
    return BenchSet(test_set, label_file, "processed", samples, tuple(differences), tuple(notes))


def _existing(folder: Path, *names: str) -> Path:
    """The first of several names that exists, or else the first name."""
    return next((folder / name for name in names if (folder / name).exists()), folder / names[0])


def _gold_of_npz(test_set: TestSet, layout: ProcessedLayout, label_file: Path) -> dict[str, str | float]:
    arrays = read_npz(label_file)
    corpus = arrays.get(layout.corpus)
    if not isinstance(corpus, Mapping):
        raise DataError(
            f"{label_file} has no split {layout.corpus!r}, only {', '.join(arrays) or 'nothing'}; "
            f"expected the label file of the authors' copy of {test_set.title}"
        )
    gold: dict[str, str | float] = {}
    for name, entry in corpus.items():
        key = clean_name(str(name))
        if layout.name_at is not None:
            position, letter = layout.name_at
            if key[position : position + 1] != letter:
                continue
        if not isinstance(entry, Mapping) or layout.value not in entry:
            raise DataError(f"{label_file}, sample {key!r} is {entry!r}; expected a mapping with {layout.value!r}")
        value = entry[layout.value]
        if key in gold:
            raise DataError(f"{label_file} has the sample {key!r} more than once, in names that look the same")
        gold[key] = (
            _label(test_set, value, key, label_file) if layout.value == "emo" else as_score(value, key, label_file)
        )
    return gold


def _label(test_set: TestSet, value: Any, key: str, label_file: Path) -> str:
    if isinstance(value, str):
        return clean_label(value)
    if isinstance(value, int | np.integer) and 0 <= int(value) < len(test_set.labels):
        return test_set.labels[int(value)]
    many = len(test_set.labels)
    raise DataError(
        f"{label_file}, sample {key!r}: the gold label is {value!r}; expected a word, or a number below {many}"
    )


def _gold_of_csv(layout: ProcessedLayout, folder: Path, notes: list[str]) -> dict[str, str | float]:
    """Read open labels in the order of the table of spoken words, which lists the samples."""
    label_file = folder / layout.labels
    rows = read_rows(label_file, ("name", layout.value), notes)
    check_keys((clean_name(row["name"]) for row in rows), label_file)
    gold = {clean_name(row["name"]): row[layout.value].strip() for row in rows}
    order_from = folder / layout.subtitles
    if not order_from.is_file():
        return dict(gold)
    order = [clean_name(row["name"]) for row in read_rows(order_from, ("name",))]
    unlabelled = [key for key in order if key not in gold]
    if unlabelled:
        raise DataError(
            f"{order_from} names {len(unlabelled)} samples that {label_file} does not: {first_few(unlabelled)}"
        )
    return {key: gold[key] for key in dict.fromkeys([*order, *gold])}


def _faces(folder: Path, keys: list[str]) -> dict[str, Path]:
    """Face crops: ``NAME.npy``, or else ``NAME/NAME.npy``; a folder may hold both forms."""
    found = files_by_name(folder, frozenset({"npy"}))
    if folder.is_dir():
        nested = {key: folder / key / f"{key}.npy" for key in keys if key not in found}
        found |= {key: path for key, path in nested.items() if path.is_file()}
    return found
