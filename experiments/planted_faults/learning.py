"""Trains the classifiers that vote and the students that learn from what a filter keeps, on decoded clips in memory."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.data import IterableDataset

from affectgpt.classifier import EmotionClassifier
from affectgpt.datamodules.collate import collate
from affectgpt.demo.pretrain import HIDDEN_DIM
from affectgpt.files import digest_of, read_json, write_whole
from affectgpt.media import MediaProfile, load_clip
from affectgpt.training.plain_trainer import plain_trainer
from affectgpt.types import Batch, Clip

MEDIA = {"num_frames": 2, "frame_height": 64, "frame_width": 64, "num_segments": 1, "segment_seconds": 1.0}
"""What voters and students see and hear of a clip: less than the demo's model, for speed."""
BATCH_SIZE, TEST_BATCH_SIZE = 8, 50

BASIC = {
    "joy": "happy", "sarcasm": "angry", "calm": "happy", "awe": "surprised", "horror": "disgusted", "fear": "afraid",
    "resignation": "sad", "gratitude": "happy", "grief": "sad", "fury": "angry", "triumph": "happy", "worry": "afraid",
}  # fmt: skip
"""State to the one of six basic emotions that somebody who must choose one would choose."""
SENTIMENT = {
    state: {"happy": "positive", "surprised": "neutral"}.get(basic, "negative") for state, basic in BASIC.items()
}


def _streams(dim: int, channels: int, num_mels: int, pooling: str) -> dict[str, Any]:
    encoders = {
        "frame": {"name": "tiny-vision", "args": {"dim": dim, "channels": channels}},
        "audio": {"name": "tiny-audio", "args": {"dim": dim, "num_mels": num_mels}},
    }
    return {name: {"encoder": one, "pooling": pooling, "trainable": True} for name, one in encoders.items()}


VOTERS: Mapping[str, Mapping[str, Any]] = {
    "plain": {"streams": _streams(64, 16, 64, "mean"), "prefusion": "none"},
    "attention": {"streams": _streams(48, 16, 40, "attention-softmax"), "prefusion": "attention-softmax"},
    "published": {"streams": _streams(96, 12, 80, "mean"), "prefusion": "attention"},
}
"""The designs of the classifiers that vote: encoders of other sizes, other poolings, other pre-fusions."""
STUDENT: Mapping[str, Any] = {"streams": _streams(64, 16, 64, "mean"), "prefusion": "none"}
"""The demo's two encoders under the classifier that trains them there; the language model is left out."""


CLASS_OF = {"emotion": BASIC, "sentiment": SENTIMENT}


@dataclass(frozen=True)
class VoterJob:
    """A classifier to train.

    Attributes:
        kind: ``emotion`` or ``sentiment``.
        design: A name in ``VOTERS``.
        videos: The clean clips' files.
        states: State of each.
        steps: Training steps.
        seed: Of weights and order.
        checkpoint: Where it goes.
    """

    kind: str
    design: str
    videos: tuple[str, ...]
    states: tuple[str, ...]
    steps: int
    seed: int
    checkpoint: str


@dataclass(frozen=True)
class Lesson:
    """What a student is to learn.

    Attributes:
        videos: The clips' files.
        labels: Label set of each clip.
        steps: Training steps.
        seed: Of weights and order.
    """

    videos: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    steps: int
    seed: int


def decode_into(path: Path, videos: Sequence[Path]) -> None:
    """Store decoded clips by file, so that each process reads them and none decodes them; those that are there stay."""
    known = load_clips(path) if path.exists() else {}
    missing = [video for video in videos if str(video) not in known]
    if not missing:
        return
    profile = MediaProfile.of(MEDIA)
    media = {key: {name: value.clone() for name, value in clip.media.items()} for key, clip in known.items()}
    media |= {str(video): dict(load_clip(video, profile)[0].media) for video in missing}
    torch.save(media, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def load_clips(path: Path) -> dict[str, Clip]:
    """Read what ``decode_into`` stored."""
    stored = torch.load(path, weights_only=True, mmap=True)
    return {key: Clip(key, media) for key, media in stored.items()}


def train_classifier(
    design: Mapping[str, Any], clips: Sequence[Clip], labels: Sequence[Sequence[str]], steps: int, seed: int
) -> tuple[EmotionClassifier, lightning.Trainer]:
    """Train a classifier of the label sets that occur, encoders included, and return it with its trainer."""
    _be_quiet()
    lightning.seed_everything(seed, verbose=False)
    classes = sorted({tuple(sorted(set(one))) for one in labels})
    classifier = EmotionClassifier(classes=classes, hidden_dim=HIDDEN_DIM, **design)
    trainer = plain_trainer(steps, accelerator="cpu")
    batches = _Batches(clips, labels, steps, seed)
    trainer.fit(classifier, torch.utils.data.DataLoader(batches, batch_size=None))
    return classifier.eval(), trainer


def train_voter(job: VoterJob, media: Path) -> str:
    """Train one classifier that votes, and return the path of its checkpoint."""
    torch.set_num_threads(1)
    path = Path(job.checkpoint)
    if not path.exists():
        known = load_clips(media)
        clips = [known[video] for video in job.videos]
        labels = [(CLASS_OF[job.kind][state],) for state in job.states]
        _, trainer = train_classifier(VOTERS[job.design], clips, labels, job.steps, job.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        trainer.save_checkpoint(path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    return str(path)


def teach(lesson: Lesson, media: Path, tests: Sequence[str], store: Path) -> list[list[str]]:
    """Train a student, and return the labels that it gives each test clip; an earlier run's are read from ``store``.

    Whoever learns from one label set alone knows no other answer, and from none, no answer.
    """
    if len(set(map(frozenset, lesson.labels))) < 2:
        return [list(lesson.labels[0]) if lesson.labels else [] for _ in tests]
    path = store / f"{digest_of(asdict(lesson))}.json"
    if path.exists():
        found: list[list[str]] = read_json(path, most_bytes=10_000_000)
        return found
    torch.set_num_threads(1)
    known = load_clips(media)
    student, _ = train_classifier(STUDENT, [known[v] for v in lesson.videos], lesson.labels, lesson.steps, lesson.seed)
    answers: list[list[str]] = []
    with torch.inference_mode():
        for first in range(0, len(tests), TEST_BATCH_SIZE):
            clips = [known[key] for key in tests[first : first + TEST_BATCH_SIZE]]
            answers += [list(said.labels) for said in student.predict_step(collate(clips, [""] * len(clips)), 0)]
    path.parent.mkdir(exist_ok=True)
    write_whole(path, json.dumps(answers))
    return answers


class _Batches(IterableDataset[Batch]):
    """Clips in random order, all once before any comes again, in as many batches as there are steps."""

    def __init__(self, clips: Sequence[Clip], labels: Sequence[Sequence[str]], steps: int, seed: int) -> None:
        self.clips, self.labels, self.steps, self.seed = clips, labels, steps, seed

    def __iter__(self) -> Iterator[Batch]:
        draw = torch.Generator().manual_seed(self.seed)
        waiting: list[int] = []
        for _ in range(self.steps):
            while len(waiting) < BATCH_SIZE:
                waiting += torch.randperm(len(self.clips), generator=draw).tolist()
            chosen, waiting = waiting[:BATCH_SIZE], waiting[BATCH_SIZE:]
            clips = [Clip(self.clips[i].key, self.clips[i].media, labels=tuple(self.labels[i])) for i in chosen]
            yield collate(clips, [""] * len(clips))


def _be_quiet() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
