"""Decodes the clips of test sets into batches; unreadable clips are passed on as such, never dropped."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from affectgpt.datamodules.collate import collate
from affectgpt.datamodules.unibench.samples import BenchSample, BenchSet
from affectgpt.errors import DataError
from affectgpt.media.clip import load_clip
from affectgpt.media.decode.container import is_endless
from affectgpt.media.faces.base import FaceDetector
from affectgpt.media.faces.face_arrays import read_faces
from affectgpt.media.isolation import map_in_order
from affectgpt.media.profile import MediaProfile
from affectgpt.metrics.labels import parse_labels
from affectgpt.registry import FACE_DETECTORS
from affectgpt.streaming.order import share_of_rank
from affectgpt.types import Batch, Clip

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unreadable:
    """A clip that gets no answer.

    Attributes:
        set_name: The test set.
        key: The sample.
        reason: Why it cannot be read.
    """

    set_name: str
    key: str
    reason: str


class BenchClips(Dataset[Clip | Unreadable]):
    """The clips of test sets, by number.

    Args:
        clips: The samples with the set that each belongs to.
        profile: The settings of decoding.
        prefixed: Whether to prefix keys with the set's name, because sets share sample names.
        face_detector: Detector for clips without face crops; ``None`` leaves the face out.
    """

    def __init__(
        self,
        clips: Sequence[tuple[BenchSet, BenchSample]],
        profile: MediaProfile,
        *,
        prefixed: bool = False,
        face_detector: str | None = None,
    ) -> None:
        self.clips = clips
        self.profile = profile
        self.prefixed = prefixed
        self.face_detector = face_detector
        self._detector: FaceDetector | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_detector": None}  # each worker builds its own

    def crashed(self, number: int, how: str) -> Unreadable:
        """The result of a clip that crashes the process that decodes it."""
        bench_set, sample = self.clips[number]
        reason = f"clip {sample.key!r} crashes the process that decodes it ({how}); leave it out, or convert it"
        return Unreadable(bench_set.test_set.name, sample.key, reason)

    def __getitem__(self, number: int) -> Clip | Unreadable:
        bench_set, sample = self.clips[number]
        name = bench_set.test_set.name
        try:
            return self._load(bench_set, sample, f"{name}/{sample.key}" if self.prefixed else sample.key)
        except DataError as error:
            return Unreadable(name, sample.key, str(error))
        except OSError as error:
            return Unreadable(name, sample.key, f"{error.filename!r} cannot be read: {error.strerror}")

    def _load(self, bench_set: BenchSet, sample: BenchSample, key: str) -> Clip:
        source = sample.video or sample.audio
        if source is None:
            raise DataError(f"clip {sample.key!r}: the folder has no video or sound file for it")
        task = bench_set.test_set.task
        clip, _ = load_clip(
            source,
            self.profile,
            key=key,
            audio=sample.audio if sample.video is not None else None,
            subtitle=sample.subtitle,
            labels=() if task == "sentiment" else parse_labels(sample.gold),
            faces=self._faces(sample),
            faces_channels="bgr",  # the authors' crops are stored as OpenCV wrote them
            extra={"set": bench_set.test_set.name, "gold": sample.gold},
        )
        return clip

    def _faces(self, sample: BenchSample) -> Any:
        if "face" not in self.profile.sources:
            return None
        if sample.faces is not None:
            if is_endless(sample.faces):
                raise DataError(f"clip {sample.key!r}: {str(sample.faces)!r} is a pipe or a device, and no face crops")
            return read_faces(sample.faces.read_bytes(), sample.key)
        if self._detector is None and self.face_detector is not None:
            self._detector = FACE_DETECTORS.build(self.face_detector)  # once in each worker
        return self._detector


class RankShare(DistributedSampler[Any]):
    """The share of the clips that a rank reads, a contiguous run; see ``share_of_rank``.

    It is a ``DistributedSampler`` so that Lightning does not divide the clips among the ranks a second time.

    Args:
        clips: All clips.
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(self, clips: BenchClips, rank: int, world_size: int) -> None:
        super().__init__(clips, num_replicas=world_size, rank=rank, shuffle=False)
        share = share_of_rank(len(clips), rank, world_size)
        self._numbers = [number for start, stop in share for number in range(start, stop)]

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


_Collated = tuple[Batch | None, list[Unreadable]]


class BenchLoader(DataLoader[Clip | Unreadable]):
    """Batches of clips with the same question, without answers to learn.

    With workers, clips are decoded in isolated processes (``affectgpt.media.isolation``) rather than by the workers of
    a ``DataLoader``: a clip that crashes its process counts as unreadable, and the others are answered.

    Unreadable clips are logged, and recorded in ``unreadable``. A batch without readable clips is left out; if all
    ranks must make the same number of steps, a clip read before or next takes its place.

    Args:
        clips: The clips to read.
        question: The question.
        unreadable: Set name to key to reason; filled while iterating.
        in_step: Whether other ranks would wait for a step that is left out.
        options: Further arguments of ``DataLoader``.

    Raises:
        DataError: While iterating: if batches do not fit together, or a rank has no readable clip at all.
    """

    def __init__(
        self,
        clips: BenchClips,
        question: str,
        unreadable: dict[str, dict[str, str]],
        *,
        in_step: bool = False,
        **options: Any,
    ) -> None:
        self._unreadable = unreadable
        self._in_step = in_step
        self._clips = clips
        super().__init__(clips, collate_fn=_Collate(question, clips.profile), **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        collated: _Collated
        spare: Batch | None = None
        num_owed = 0
        try:
            for collated in self._collated():
                batch, unreadable = collated
                self._note(unreadable)
                if batch is not None:
                    spare = batch.rows(range(1))
                    yield batch
                elif self._in_step:
                    num_owed += 1
                while spare is not None and num_owed:
                    num_owed -= 1
                    yield spare
        except DataError as error:
            # torch passes a worker's error on with the worker's traceback as its message
            raise DataError(str(error).rstrip().rpartition("DataError: ")[2]) from error
        if num_owed:
            raise DataError("none of this rank's clips can be read; use fewer ranks, or repair the set")

    def _collated(self) -> Iterator[_Collated]:
        """For every batch of numbers, the batch of clips, and the unreadable ones."""
        batches: list[list[int]] = [list(numbers) for numbers in self.batch_sampler or ()]
        numbers = [number for batch in batches for number in batch]
        load = self._clips.__getitem__ if not self.num_workers else _Load(self._clips)
        found = map_in_order(load, numbers, self.num_workers, self._clips.crashed)
        for batch in batches:
            clips, unreadable = self.collate_fn([next(found) for _ in batch])
            yield (clips.pin_memory() if self.pin_memory and clips is not None else clips), unreadable

    def _note(self, unreadable: Sequence[Unreadable]) -> None:
        for one in unreadable:
            if one.key not in self._unreadable.setdefault(one.set_name, {}):
                _LOG.warning("%s, sample %r gets no answer: %s", one.set_name, one.key, one.reason)
            self._unreadable[one.set_name][one.key] = one.reason


class _Load:
    """Loads a clip by its number, on one thread, as the workers of a ``DataLoader`` do; picklable."""

    def __init__(self, clips: BenchClips) -> None:
        self.clips = clips

    def __call__(self, number: int) -> Clip | Unreadable:
        torch.set_num_threads(1)
        return self.clips[number]


class _Collate:
    """Collates the readable clips; picklable."""

    def __init__(self, question: str, profile: MediaProfile) -> None:
        self.question = question
        self.profile = profile

    def __call__(self, found: list[Clip | Unreadable]) -> _Collated:
        clips = [one for one in found if isinstance(one, Clip)]
        unreadable = [one for one in found if isinstance(one, Unreadable)]
        return (collate(clips, [self.question] * len(clips), profile=self.profile) if clips else None), unreadable
