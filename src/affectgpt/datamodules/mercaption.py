"""The datamodule of MER-Caption and sets like it: shard folders in, batches out."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch

from affectgpt.datamodules.questions import OUTSIDE_TRAINING, Task, check_task
from affectgpt.datamodules.stream_loader import QuestionStream, StreamLoader
from affectgpt.errors import ConfigError
from affectgpt.media.profile import MediaProfile
from affectgpt.prompts.wordings import get_style
from affectgpt.shards.cache import ShardCache
from affectgpt.shards.index import ShardIndex, read_index
from affectgpt.shards.remote import is_remote
from affectgpt.streaming.bad_samples import BadSampleBudget
from affectgpt.streaming.epoch_plan import EpochPlan
from affectgpt.streaming.length_windows import fitting_size
from affectgpt.streaming.resume import Bookmark
from affectgpt.streaming.stream import ShardStream
from affectgpt.types import Clip
from affectgpt.web import strip_secrets, without_secrets

ORDER_VERSION = 1
"""Increase it when the same arguments give another order."""

MEASURED = 512
"""Samples from whose lengths the size of batches of a number of tokens follows."""

DEALT_TOGETHER = 16
"""Batches of a window, where a number of tokens is asked for: larger ones save little more padding."""

TOLD_OF_SETS = ("source", "licence", "encoded_from", "pipeline", "review")
"""What the provenance of a set says that the card of a model tells too: origin, licence, and who labelled it."""

_STAGES = ("train", "val", "test", "predict")


class MERCaptionDataModule(lightning.LightningDataModule):
    """Streams shard folders made by ``affectgpt pack``.

    Training batches come in a new order in each epoch, the same for the same seed. Every rank makes the same number of
    steps: in training the samples that do not divide evenly are left out of the epoch, elsewhere the last rank reads
    some of the first ones again (nothing is left out or repeated on one rank).

    A stopped run continues exactly where its checkpoint was written; see ``Bookmark``.

    Args:
        train: Shard folder to train on; or several, ``[{"path": ..., "weight": ...}, ...]``, or a mapping of folders
            to weights. See ``mixture_lengths`` for what weights mean.
        val: Shard folder for validation.
        test: Shard folder for the test.
        predict: Shard folder to answer; its clips need no labels.
        batch_size: Samples in a training batch, on each rank.
        batch_tokens: About the most tokens of a training batch, padding included, in place of ``batch_size``, which
            follows from the lengths of the first samples. Where no model is trained that says what a token is, bytes
            of question, subtitle and answer count.
        batch_window: Training batches that are dealt out together: their samples are sorted by length and cut into
            batches of about the same number of tokens, with ``batch_size`` samples on average. 1: batches as they come.
            By default 16 with ``batch_tokens``, else 1.
        val_batch_size: Samples in any other batch; by default ``batch_size``.
        num_workers: Processes that decode, on each rank.
        media: How clips are decoded: a ``MediaProfile``, its name, or its plain JSON.
        style: Prompt style of questions and answers, the same as the model's (``official`` or ``brief``).
        task: ``"labels"``, ``"description"``, or ``"hybrid"``: in training one of both at random; elsewhere the labels.
            ``"preference"``: which of a pair of descriptions fits better, in training in a random order;
            ``"preference_swapped"``: the same with each in the other's place. ``"preferred"``: a description, of which
            the pair's better one is the answer, and the objective ``dpo`` learns from both.
        seed: Seed of order and questions.
        drop_last: Whether to leave out an incomplete last training batch.
        bad_sample_budget: Part of the training samples that may be bad. Up to it they are logged, written into
            ``bad_samples.jsonl`` in the trainer's log folder, and replaced; beyond it training stops. 0 stops at the
            first. The same part of the samples may be bad in the validations of a training, which go on without them
            (``bad_validation_samples.jsonl``). Any other stage stops at the first.
        mix_shards: Number of shards that are open, and mixed, at a time.
        cache_folder: Where shards from URLs are kept; see ``default_cache_folder``.
        cache_gigabytes: Largest size of this folder, in GiB.
        cache_decoded: Whether to keep decoded clips in memory, for small sets; needs ``num_workers=0``.
        pin_memory: Whether to use page-locked memory; by default if there is a GPU.

    Raises:
        ConfigError: If an argument is invalid.
    """

    def __init__(
        self,
        train: str | list[dict[str, Any]] | dict[str, float] | None = None,
        val: str | None = None,
        test: str | None = None,
        predict: str | None = None,
        *,
        batch_size: int = 8,
        batch_tokens: int | None = None,
        batch_window: int | None = None,
        val_batch_size: int | None = None,
        num_workers: int = 2,
        media: dict[str, Any] | str | MediaProfile | None = None,
        style: str = "official",
        task: str = "hybrid",
        seed: int = 42,
        drop_last: bool = True,
        bad_sample_budget: float = 0.001,
        mix_shards: int = 4,
        cache_folder: str | None = None,
        cache_gigabytes: float = 64.0,
        cache_decoded: bool = False,
        pin_memory: bool | None = None,
    ) -> None:
        super().__init__()
        self.sets: Mapping[str, dict[str, float | None]] = {
            name: _weights_of(name, given) for name, given in zip(_STAGES, (train, val, test, predict), strict=True)
        }
        if not any(self.sets.values()):
            raise ConfigError("no data: give a shard folder as train, val, test or predict; pack makes one")
        for name, value in (("batch_size", batch_size), ("val_batch_size", val_batch_size or batch_size)):
            if value < 1:
                raise ConfigError(f"{name}={value}, but a batch has at least one sample")
        for name, given in (("batch_tokens", batch_tokens), ("batch_window", batch_window)):
            if given is not None and given < 1:
                raise ConfigError(f"{name}={given}, but must be at least 1, or left out")
        if num_workers < 0 or (cache_decoded and num_workers):
            raise ConfigError(
                f"num_workers={num_workers}, cache_decoded={cache_decoded}: give 0 or more workers, and 0 if decoded "
                "clips are kept in memory, which a worker would lose after each epoch"
            )
        self.profile = MediaProfile.of(media)
        self.style = get_style(style)
        self.task: Task = check_task(task)
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        self.batch_window = batch_window or (1 if batch_tokens is None else DEALT_TOGETHER)
        self.val_batch_size = val_batch_size or batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.drop_last = drop_last
        self.mix_shards = mix_shards
        self.cache = ShardCache(Path(cache_folder) if cache_folder else None, int(cache_gigabytes * 2**30))
        self.cache_decoded = cache_decoded
        self.pin_memory = torch.cuda.is_available() if pin_memory is None else pin_memory
        self.budget = BadSampleBudget(bad_sample_budget)
        self.val_budget = BadSampleBudget(bad_sample_budget, "bad_validation_samples.jsonl")
        self._fits = False
        self._bookmark = Bookmark(self.budget, self.val_budget, lambda: self._stream("train"), self._definition)
        self._read: dict[str, ShardIndex] = {}
        self._streams: dict[tuple[str, int, int, bool], ShardStream] = {}
        self.save_hyperparameters(logger=False)
        if isinstance(media, MediaProfile):
            self.hparams["media"] = media.to_json()  # checkpoints hold plain JSON
        self.hparams.update(strip_secrets(dict(self.hparams)))  # checkpoints contain them

    def indexes(self, stage: str) -> list[ShardIndex]:
        """The indexes of a stage's folders.

        Raises:
            ConfigError: If the stage has no folder, or its folders have different forms.
            DataError: If a folder is incomplete.
        """
        if not self.sets.get(stage):
            given = ", ".join(name for name, value in self.sets.items() if value)
            raise ConfigError(f"no {stage} data: the datamodule has a folder for {given} only; give one as {stage}=...")
        indexes = [self._index(folder) for folder in self.sets[stage]]
        forms = {index.form: folder for index, folder in zip(indexes, self.sets[stage], strict=True)}
        if "features" in forms and len(forms) > 1:
            found = ", ".join(f"{without_secrets(folder)!r} has {form}" for form, folder in forms.items())
            raise ConfigError(
                f"{stage} mixes forms: {found}; a batch has either features or media, so encode all sets or none"
            )
        return indexes

    def sets_told(self, stage: str) -> list[dict[str, Any]]:
        """What a stage reads, for a model's card: each folder by name and digest, with what its index tells of it."""
        found = []
        folders = self.sets[stage]
        for (folder, weight), index in zip(folders.items(), self.indexes(stage) if folders else (), strict=True):
            told = {name: index.provenance.get(name) for name in TOLD_OF_SETS}
            name = without_secrets(folder) if is_remote(folder) else Path(folder).name
            facts = {"name": name, "digest": index.digest, "samples": index.samples, "weight": weight, **told}
            found.append({name: value for name, value in facts.items() if value is not None})
        return found

    def setup(self, stage: str) -> None:
        """Check the folders that a stage of the trainer needs.

        Args:
            stage: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
        """
        # Lightning passes an enum, whose name should not appear in messages
        stage = str(getattr(stage, "value", stage))
        self._fits = stage == "fit"
        for name in {"fit": ("train", "val"), "validate": ("val",)}.get(stage, (stage,)):
            if name == "train" and self.batch_tokens is not None:
                self.batch_size = self.size_for(self.batch_tokens, self._check("train"))
            if name != "val" or stage == "validate" or self.sets["val"]:
                self._questions(name)
        callbacks: list[Any] = [] if self.trainer is None else self.trainer.callbacks  # type: ignore[attr-defined]
        if stage == "fit" and self._bookmark not in callbacks:
            callbacks.insert(0, self._bookmark)  # before the callbacks that write checkpoints
        # its length is exact for any number of workers, and it does resume
        warnings.filterwarnings("ignore", message="Your `IterableDataset` has `__len__` defined")
        warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before the epoch ended")

    def state_dict(self) -> dict[str, Any]:
        """The position in the epoch, for Lightning to save."""
        return self._bookmark.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the position in the epoch from a checkpoint."""
        self._bookmark.restore(state_dict)

    def train_dataloader(self) -> StreamLoader:
        """Shuffled batches with answers, in a new order in each epoch."""
        return self._loader("train")

    def val_dataloader(self) -> StreamLoader | list[StreamLoader]:
        """Batches with answers, in the order of packing; none if there is no folder."""
        return self._loader("val") if self.sets["val"] else []

    def test_dataloader(self) -> StreamLoader:
        """Batches with answers, in the order of packing."""
        return self._loader("test")

    def predict_dataloader(self) -> StreamLoader:
        """Batches without answers, in the order of packing."""
        return self._loader("predict")

    def _index(self, folder: str) -> ShardIndex:
        if folder not in self._read:  # it looks at every shard, which takes seconds on a shared disk
            self._read[folder] = read_index(folder)
        return self._read[folder]

    def _stream(self, stage: str) -> ShardStream:
        train = stage == "train"
        rank, world_size = self._rank_and_world()
        budget = self._budget(stage)
        place = (stage, rank, world_size, budget is not None)
        if place in self._streams:
            return self._streams[place]
        indexes = self.indexes(stage)
        if budget is not None:
            budget.num_samples = sum(index.samples for index in indexes)
        stream = ShardStream(
            indexes,
            self.profile,
            weights=list(self.sets[stage].values()),
            shuffle=train,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            remainder="drop" if train else "repeat",
            block=self.batch_size if train else self.val_batch_size,
            window=self.batch_window if train else 1,
            whole_blocks=train and self.drop_last,
            held_back=self.budget.allowed if train else 0,
            tolerant=budget is not None and budget.allowed > 0,
            mix_shards=self.mix_shards,
            cache=self.cache,
            cache_decoded=self.cache_decoded,
        )
        if train and not stream.whole.steps:
            samples = stream.whole.samples
            raise ConfigError(
                f"{samples} training samples do not fill a batch of {self.batch_size} on each of {world_size} ranks; "
                "use a smaller batch_size, fewer ranks, or drop_last=False"
            )
        self._streams[place] = stream
        return stream

    def _budget(self, stage: str) -> BadSampleBudget | None:
        """Where the bad samples of a stage are counted; ``None`` where the first one ends it."""
        if stage == "val":
            return self.val_budget if self._fits else None
        return self.budget if stage == "train" else None

    def _questions(self, stage: str) -> QuestionStream:
        task: Task = self.task if stage == "train" else OUTSIDE_TRAINING.get(self.task, self.task)
        stream, check = self._stream(stage), self._check(stage)
        asked = QuestionStream(stream, task, answered=stage != "predict", style=self.style, check=check)
        stream.length = asked.length
        return asked

    def _loader(self, stage: str) -> StreamLoader:
        train = stage == "train"
        return StreamLoader(
            self._questions(stage),
            self._bookmark.begin if train else None,
            self._budget(stage),
            batch_size=self.batch_size if train else self.val_batch_size,
            num_workers=self.num_workers,
            drop_last=train and self.drop_last,
            pin_memory=self.pin_memory,
        )

    def size_for(self, batch_tokens: int, length: Callable[[Clip, str, str], int] | None) -> int:
        """The batch size with which the batches of the first samples have at most a number of tokens.

        Every rank finds the same, since it depends on the data and the seed alone.

        Args:
            batch_tokens: Most tokens of a batch, padding included.
            length: Gives the tokens of a clip with its question and answer; ``None`` for bytes.

        Raises:
            ConfigError: If a batch does not hold one sample.
        """
        stream = ShardStream(
            self.indexes("train"),
            self.profile,
            weights=list(self.sets["train"].values()),
            shuffle=True,
            seed=self.seed,
            mix_shards=self.mix_shards,
            cache=self.cache,
        )
        stream.length = QuestionStream(stream, self.task, answered=True, style=self.style, check=length).length
        lengths = stream.lengths(MEASURED)
        found = fitting_size(lengths, batch_tokens, self.batch_window)
        if not found:
            raise ConfigError(
                f"batch_tokens={batch_tokens}, but a sample has {max(lengths)} tokens; raise it, or give the model a "
                "smaller max_tokens"
            )
        return found

    def plan_for(self, world_size: int, batch_size: int) -> EpochPlan:
        """How an epoch of training is dealt out to some ranks."""
        samples = sum(index.samples for index in self.indexes("train"))
        held_back = int(self.budget.fraction * samples)
        return EpochPlan(((0, samples),), world_size, batch_size, self.drop_last, held_back, self.batch_window)

    def _check(self, stage: str) -> Callable[[Clip, str, str], int] | None:
        """What the model says about samples that it cannot learn, where bad ones are left out."""
        budget = self._budget(stage)
        model = None if self.trainer is None or budget is None else self.trainer.lightning_module
        make = getattr(model, "sample_check", None)
        return None if make is None else make()

    def _definition(self) -> dict[str, Any]:
        """What the order of an epoch depends on."""
        stream = self._stream("train")
        digests = [hashlib.sha256("".join(s.sha256 for s in index.shards).encode()) for index in stream.indexes]
        return {
            "order": ORDER_VERSION,
            "seed": self.seed,
            "mix_shards": self.mix_shards,
            "weights": list(self.sets["train"].values()),
            "samples": [index.samples for index in stream.indexes],
            "sha256": [digest.hexdigest()[:16] for digest in digests],
        }

    def _rank_and_world(self) -> tuple[int, int]:
        """Rank and number of ranks that read different data; tensor-parallel ranks of one model read the same."""
        ranks = None if self.trainer is None else self.trainer.distributed_sampler_kwargs
        if ranks is not None:
            return int(ranks["rank"]), int(ranks["num_replicas"])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1


def _weights_of(stage: str, given: Any) -> dict[str, float | None]:
    """Folder to weight, from any of the accepted forms."""
    if given is None:
        return {}
    if isinstance(given, str):
        return {given: None}
    entries = [{"path": path, "weight": weight} for path, weight in given.items()] if isinstance(given, dict) else given
    sets: dict[str, float | None] = {}
    for entry in entries:
        entry = {"path": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, Mapping) or not isinstance(entry.get("path"), str) or {*entry} - {"path", "weight"}:
            raise ConfigError(
                f"{stage}: a set is given as {{'path': FOLDER, 'weight': NUMBER}}, not as {strip_secrets(entry)!r}"
            )
        if entry["path"] in sets:
            raise ConfigError(
                f"{stage}: the folder {without_secrets(entry['path'])!r} is given twice; raise its weight instead"
            )
        weight = entry.get("weight")
        sets[entry["path"]] = None if weight is None else float(weight)
    if stage != "train" and len(sets) > 1:
        raise ConfigError(f"{stage}: {len(sets)} folders are given, but only training mixes sets; give one")
    return sets
