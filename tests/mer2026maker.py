"""Makes a small folder in the shape of the MER2026 release: tables, media, and the archives of a subset."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from clipmaker import make_clip, make_wav

TRAIN = ["samplenew_1", "samplenew_2", "samplenew_3"]
HUMAN = ["samplenew_2", "samplenew3_4"]  # the first is in the training list too
CANDIDATES = ["samplenew4_5", "samplenew4_6"]
PAIRS = [
    ("samplenew_1", "She is glad.\nShe smiles.", "She is angry.", "a1"),
    ("samplenew3_4", "He is calm.", "He is tired, and sad.", "a2"),
    ("samplenew_1", "She is bored.", "She is glad.", "a2"),
    ("samplenew_2", "Both fit.", "Both do.", "same"),
]


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    """Write a table of text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def make_release(folder: Path, *, media: bool = True, faces: bool = True) -> Path:
    """The tables of the release, and a tiny clip for each name."""
    write_table(folder / "track1_train.csv", ["name", "discrete"], [[n, "happy"] for n in TRAIN])
    write_table(folder / "track2_train_human.csv", ["name", "openset"], [[n, "calm, at ease"] for n in HUMAN])
    write_table(
        folder / "track2_train_mercaptionplus.csv", ["name", "openset"], [[n, "[happy, ill at ease]"] for n in TRAIN]
    )
    write_table(folder / "track1_track2_candidate.csv", ["name"], [[n] for n in CANDIDATES])
    write_table(folder / "track3_emoprefer.csv", ["name", "a1", "a2", "preference"], PAIRS)
    write_table(folder / "track3_candidate.csv", ["name", "a1", "a2"], [pair[:3] for pair in PAIRS])
    names = sorted({*TRAIN, *HUMAN, *CANDIDATES})
    spoken = [[name, f"好 {name}", "" if name == "samplenew_3" else f"well, {name}"] for name in names]
    write_table(folder / "subtitle_chieng.csv", ["name", "chinese", "english"], spoken)
    if media:
        for kind, files in clips_of(names, faces=faces).items():
            for name, content in files.items():
                path = folder / kind / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    return folder


def clips_of(names: Sequence[str], *, faces: bool = True) -> dict[str, dict[str, bytes]]:
    """Folder to file to content: a clip, a sound and face crops a name, each of its own."""
    found: dict[str, dict[str, bytes]] = {"video": {}, "audio": {}, "openface_face": {}}
    known = sorted({*TRAIN, *HUMAN, *CANDIDATES})
    for name in names:
        number = known.index(name) if name in known else len(known)
        found["video"][f"{name}.mp4"] = make_clip(seconds=0.4 + 0.1 * number, audio=False)
        found["audio"][f"{name}.wav"] = make_wav(0.3 + 0.1 * number)
        if faces:
            crops = BytesIO()
            np.save(crops, np.full((2, 112, 112, 3), 10 * number, np.uint8))
            found["openface_face"][f"{name}/{name}.npy"] = crops.getvalue()
    return found


def make_archives(folder: Path, subset: str, names: Sequence[str]) -> Path:
    """The archives of a subset as they are published, in two parts, with folders of their own inside."""
    kinds = {
        "video": ("video_7z", "video"),
        "audio": ("audio_7z", "audio"),
        "openface_face": ("openface_7z", "openface"),
    }
    for kind, files in clips_of(names).items():
        top, prefix = kinds[kind]
        location = folder / top / f"{prefix}_{subset}"
        location.mkdir(parents=True, exist_ok=True)
        for part, chosen in enumerate((list(files)[::2], list(files)[1::2]), start=1):
            with zipfile.ZipFile(location / f"{prefix}_split_{part:04d}.zip", "w") as archive:
                for name in chosen:
                    archive.writestr(f"{kind}/{name}", files[name])
        (location / "chunk_map.tsv").write_text("chunk\tname\n", "utf-8")
    return folder
