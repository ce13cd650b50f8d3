"""Makes folders of the MER-UniBench test sets, in the authors' layout and in those of the sets' makers."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from affectgpt.datamodules.unibench.folder_layouts import PROCESSED
from affectgpt.datamodules.unibench.sets import TEST_SETS
from clipmaker import make_clip

# How many utterances of each class session 5 of IEMOCAP has.
IEMOCAP_COUNTS = {"neu": 384, "hap": 143, "exc": 299, "sad": 245, "ang": 170}


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def touch(path: Path, content: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if content:
        path.write_bytes(content)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


def sample_name(name: str, number: int) -> str:
    return {
        "meld": f"test_dia{number // 10}_utt{number % 10}",
        "iemocap": f"Ses05F_impro{number // 100:02d}_M{number % 100:03d}",
        "mosi": f"03bSnISJMiM_{number}",
        "mosei": f"-3g5yACwYnA_{number}",
        "sims": f"video_{number // 100:04d}_{number % 100:04d}",
        "simsv2": f"aqgy3_{number:05d}",
    }.get(name, f"sample_{number:08d}")


def gold_value(name: str, number: int) -> str | float:
    test_set = TEST_SETS[name]
    if test_set.task == "open":
        return "['joyful', 'calm']" if number % 7 else "[]"
    if test_set.gold_range is not None:
        low, high = test_set.gold_range
        return round(low + (high - low) * (number % 5) / 4, 3)
    return test_set.labels[number % min(len(test_set.labels), 6)]


def make_shaded_meld(root: Path, count: int) -> tuple[Path, list[str]]:
    """``make_processed`` of MELD with clips that differ in brightness; number 3 is cut, number 4 is mute."""
    meld, names = make_processed(root, "meld", count, clip=make_clip(0.3))
    for number, name in enumerate(names):
        clip = make_clip(0.3, shade=30 + 30 * number, audio=number != 4)
        (meld / "subvideo" / f"{name}.mp4").write_bytes(clip[:90] if number == 3 else clip)
    return meld, names


def make_processed(
    root: Path, name: str, count: int | None = None, *, clip: bytes = b"", media: bool = True
) -> tuple[Path, list[str]]:
    """The authors' copy of a set with ``count`` samples (all of the published split by default) and train samples."""
    layout, test_set = PROCESSED[name], TEST_SETS[name]
    folder = root / layout.folder
    folder.mkdir(parents=True)
    names = [sample_name(name, number) for number in range(test_set.num_samples if count is None else count)]
    gold = {one: gold_value(name, number) for number, one in enumerate(names)}
    others = [f"Ses0{s}F_impro01_F{n:03d}" if name == "iemocap" else f"train{s}_{n}" for s in (1, 2) for n in range(3)]
    if layout.corpus:
        numbered = name in ("meld", "iemocap")

        def entry(value: Any) -> dict[str, Any]:
            if layout.value == "val":
                return {"emo": 0, "val": value}
            return {"emo": test_set.labels.index(value) if numbered else value, "val": -10}

        corpus = {one: entry(value) for one, value in gold.items()}
        train = {one: entry(gold_value(name, 1)) for one in others}
        arrays = {"train_corpus": train, layout.corpus: corpus}
        if layout.name_at:
            arrays = {layout.corpus: {**train, **corpus}}
        np.savez_compressed(folder / layout.labels, **{key: np.array(value) for key, value in arrays.items()})
    else:
        write_csv(folder / layout.labels, ("name", "openset"), gold.items())
    if media:
        rows = [(one, f"words of {one}", f"{one} 的话") for one in [*others, *names]]
        if name == "ovmerdplus":
            write_csv(folder / layout.subtitles, ("name", "sentence"), [row[:2] for row in rows[len(others) :]])
        else:
            write_csv(folder / layout.subtitles, ("name", "english", "chinese"), rows)
        for one in names:
            touch(folder / layout.video / f"{one}.{'avi' if name == 'iemocap' else 'mp4'}", clip)
    return folder, names


def make_meld_csv(path: Path, rows: Iterable[tuple[str, str]]) -> Path:
    """MELD's own table of ``(test_diaX_uttY, label)``."""
    header = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
    lines = []
    for number, (name, label) in enumerate(rows, start=1):
        dialogue, utterance = name.removeprefix("test_dia").split("_utt")
        said = f"Why do all your café mugs, {number}?"
        lines.append(
            (number, said, "Mark", label, "neutral", dialogue, utterance, 3, 19, "00:14:38,127", "00:14:40,378")
        )
    return write_csv(path, header.split(","), lines)


def make_mmsa(folder: Path, name: str, count: int, *, table: str = "label.csv", clip: bytes = b"") -> list[str]:
    """The layout of MMSA: a table of all splits, and clips in ``Raw/VIDEO/CLIP.mp4``."""
    rows, names = [], []
    for number in range(count + 4):
        mode = "test" if number < count else ("train", "valid")[number % 2]
        one = sample_name(name, number)
        video, _, part = one.rpartition("_")
        # the table of CH-SIMS has plain numbers, and its files four digits
        rows.append(
            (video, int(part) if name == "sims" else part, f"text {number}", gold_value(name, number), "", mode)
        )
        touch(folder / "Raw" / video / f"{part}.mp4", clip)
        if mode == "test":
            names.append(one)
    write_csv(folder / table, ("video_id", "clip_id", "text", "label", "annotation", "mode"), rows)
    return names


def make_iemocap(folder: Path) -> None:
    """IEMOCAP's own session 5: evaluations, transcripts and sentences as sound."""
    place = folder / "Session5" / "dialog"
    turns = [kind for kind, count in IEMOCAP_COUNTS.items() for _ in range(count)] + ["fru", "xxx", "oth"] * 20
    for part in range(0, len(turns), 100):
        dialogue = f"Ses05F_impro{part // 100:02d}"
        evaluation, said = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""], []
        for number, kind in enumerate(turns[part : part + 100]):
            name = f"{dialogue}_M{number:03d}"
            evaluation += [f"[{number}.2901 - {number}.9357]\t{name}\t{kind}\t[2.5000, 2.5000, 2.5000]"]
            evaluation += ["C-E2:\tNeutral;\t()", "A-E3:\tval 3; act 2; dom  2;\t()", ""]
            said.append(f"{name} [00{number:02d}.2901-00{number:02d}.9357]: I said {number}.")
            touch(folder / "Session5" / "sentences" / "wav" / dialogue / f"{name}.wav")
        for sub, lines in (("EmoEvaluation", evaluation), ("transcriptions", said)):
            (place / sub).mkdir(parents=True, exist_ok=True)
            (place / sub / f"{dialogue}.txt").write_text("\n".join(lines) + "\n")
