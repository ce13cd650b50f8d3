"""The folder layouts of the authors' processed copies and of the original distributions, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessedLayout:
    """A folder of the authors' processed copies.

    Attributes:
        folder: Its published name.
        labels: File with the gold labels.
        corpus: Array of an ``.npz`` of labels that holds the test split; empty if the file is a csv.
        value: The entry of a sample that is its gold label: ``emo`` (a label, or its number) or ``val`` (a score).
        name_at: Position and character in a sample's name that select the split, if the array has more samples.
        subtitles: File with the spoken words.
        words: Column of the spoken words that the authors' model reads.
        video: Folder of the clips.
        audio: Folder of the sound files.
    """

    folder: str
    labels: str
    corpus: str
    value: str
    words: str
    video: str
    audio: str
    subtitles: str = "transcription-engchi-polish.csv"
    name_at: tuple[int, str] | None = None


PROCESSED: Mapping[str, ProcessedLayout] = {
    "mer2023": ProcessedLayout(
        "mer2023-dataset-process", "label-6way.npz", "test1_corpus", "emo", "english", "video", "audio"
    ),
    "mer2024": ProcessedLayout(
        "mer2024-dataset-process",
        "label-6way.npz",
        "test1_corpus",
        "emo",
        "chinese",
        "video",
        "audio",
        "transcription_merge.csv",
    ),
    "meld": ProcessedLayout("meld-process", "label.npz", "test_corpus", "emo", "english", "subvideo", "subaudio"),
    "iemocap": ProcessedLayout(
        "iemocap-process",
        "label_4way.npz",
        "whole_corpus",
        "emo",
        "english",
        "subvideo-tgt",
        "subaudio",
        name_at=(4, "5"),
    ),
    "mosi": ProcessedLayout("cmumosi-process", "label.npz", "test_corpus", "val", "english", "subvideo", "subaudio"),
    "mosei": ProcessedLayout(
        "cmumosei-process", "label.npz", "test_corpus", "val", "english", "subvideo_new", "subaudio"
    ),
    "sims": ProcessedLayout("sims-process", "label.npz", "test_corpus", "val", "english", "video", "audio"),
    "simsv2": ProcessedLayout("simsv2-process", "label.npz", "test_corpus", "val", "english", "video_new", "audio"),
    "ovmerdplus": ProcessedLayout(
        "ovmerdplus-process", "ovlabel.csv", "", "openset", "sentence", "video", "audio", "subtitle_eng.csv"
    ),
}
"""The authors' copies. Face crops are in ``openface_face``, as ``NAME.npy`` or ``NAME/NAME.npy``."""

FACES_FOLDER = "openface_face"


@dataclass(frozen=True)
class OriginalLayout:
    """A folder of the original distribution of a set.

    Attributes:
        folders: Possible names of the folder.
        labels: File (or folder) that holds the gold labels.
        form: The reader to use: ``meld``, ``mmsa`` (a csv with ``video_id``, ``clip_id``, ``mode``), ``sims-index``
            (labels and a list of rows), ``iemocap``.
        clip: Patterns of a clip's file, tried in this order; the reader supplies the fields.
        name: Pattern of a sample's name, equal to that of the authors' copies.
    """

    folders: tuple[str, ...]
    labels: str
    form: str
    name: str
    clip: tuple[str, ...]


ORIGINAL: Mapping[str, tuple[OriginalLayout, ...]] = {
    "meld": (
        OriginalLayout(
            ("MELD", "MELD.Raw", "meld"),
            "test_sent_emo.csv",
            "meld",
            "test_dia{dialogue}_utt{utterance}",
            (
                "output_repeated_splits_test/dia{dialogue}_utt{utterance}.mp4",
                "test/dia{dialogue}_utt{utterance}.mp4",
                "test/output_repeated_splits_test/dia{dialogue}_utt{utterance}.mp4",
            ),
        ),
    ),
    "iemocap": (
        OriginalLayout(
            ("IEMOCAP_full_release", "IEMOCAP"),
            "Session5/dialog/EmoEvaluation",
            "iemocap",
            "{utterance}",
            ("Session5/sentences/avi/{dialogue}/{utterance}.avi", "Session5/sentences/wav/{dialogue}/{utterance}.wav"),
        ),
    ),
    "mosi": (
        OriginalLayout(
            ("MOSI", "CMU-MOSI", "mosi"),
            "label.csv",
            "mmsa",
            "{video}_{clip}",
            ("Raw/{video}/{clip}.mp4", "Raw/Video/Segmented/{video}_{clip}.mp4"),
        ),
    ),
    "mosei": (
        OriginalLayout(
            ("MOSEI", "CMU-MOSEI", "mosei"), "label.csv", "mmsa", "{video}_{clip}", ("Raw/{video}/{clip}.mp4",)
        ),
    ),
    "sims": (
        OriginalLayout(
            ("SIMS", "CH-SIMS", "sims"), "label.csv", "mmsa", "{video}_{clip:0>4}", ("Raw/{video}/{clip:0>4}.mp4",)
        ),
        OriginalLayout(
            ("SIMS", "CH-SIMS", "sims"),
            "metadata/sentiment/label_M.csv",
            "sims-index",
            "{video}_{clip:0>4}",
            ("Raw/{video}/{clip:0>4}.mp4",),
        ),
    ),
    "simsv2": (
        OriginalLayout(
            ("ch-simsv2s", "CH-SIMS-v2", "SIMSv2", "simsv2"),
            "meta.csv",
            "mmsa",
            "{video}_{clip}",
            ("Raw/{video}/{clip}.mp4",),
        ),
    ),
}
"""The original distributions; MER2023, MER2024 and OV-MERD+ exist only as the authors' copies."""

IEMOCAP_LABELS: Mapping[str, str] = {"neu": "neutral", "hap": "happy", "exc": "happy", "sad": "sad", "ang": "anger"}
"""The four classes: happiness and excitement are one; every other class of the corpus is left out."""
