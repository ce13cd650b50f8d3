"""The datamodule of MER-Caption and sets like it: shard folders in, batches out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import lightning
import torch

from affectgpt.datamodules.index import ShardIndex, read_index
from affectgpt.datamodules.loader import AskedStream, StreamLoader
from affectgpt.datamodules.questions import Task, check_task
from affectgpt.datamodules.stream import ShardStream
from affectgpt.errors import ConfigError
from affectgpt.media.profile import MediaProfile
from affectgpt.prompts.official import get_style

_STAGES = ("train", "val", "test", "predict")


class MERCaptionDataModule(lightning.LightningDataModule):
    """Streams shard folders made by ``affectgpt pack``.

    Training batches come in a new order in each epoch, the same for the same seed. Every rank makes the same number of
    steps: in training the samples that do not divide evenly are left out of the epoch, elsewhere the last rank reads
    some of the first ones again (nothing is left out or repeated on one rank).

    Args:
        train: Shard folder to train on.
        val: Shard folder for validation.
        test: Shard folder for the test.
        predict: Shard folder to answer; its clips need no labels.
        batch_size: Samples in a training batch, on each rank.
        val_batch_size: Samples in any other batch; by default ``batch_size``.
        num_workers: Processes that decode, on each rank.
        media: How clips are decoded: a ``MediaProfile`` by name or as plain JSON.
        style: Wording of questions and answers, the model's own (``official`` or ``brief``).
        task: ``"labels"``, ``"description"``, or ``"hybrid"``: in training one of both by chance; elsewhere the labels.
        seed: Seed of order and questions.
        drop_last: Leave an incomplete last training batch out.
        mix_shards: Shards that are open, and mixed, at a time.
        cache_decoded: Keep decoded clips in memory, for small sets; needs ``num_workers=0``.
        pin_memory: Use page-locked memory; by default where a GPU is there.

    Raises:
        ConfigError: If an argument does not fit.
    """

    def __init__(
        self,
        train: str | None = None,
        val: str | None = None,
        test: str | None = None,
        predict: str | None = None,
        *,
        batch_size: int = 8,
        val_batch_size: int | None = None,
        num_workers: int = 2,
        media: dict[str, Any] | str | None = None,
        style: str = "official",
        task: str = "hybrid",
        seed: int = 42,
        drop_last: bool = True,
        mix_shards: int = 4,
        cache_decoded: bool = False,
        pin_memory: bool | None = None,
    ) -> None:
        super().__init__()
        self.folders: Mapping[str, str | None] = dict(zip(_STAGES, (train, val, test, predict), strict=True))
        if not any(self.folders.values()):
            raise ConfigError("no data: give a shard folder as train, val, test or predict; pack makes one")
        for name, value in (("batch_size", batch_size), ("val_batch_size", val_batch_size or batch_size)):
            if value < 1:
                raise ConfigError(f"{name}={value}, but a batch has at least one sample")
        if num_workers < 0 or (cache_decoded and num_workers):
            raise ConfigError(
                f"num_workers={num_workers}, cache_decoded={cache_decoded}: give 0 or more workers, and 0 where "
                "decoded clips are kept in memory, which a worker would lose after each epoch"
            )
        self.profile = MediaProfile.of(media)
        self.style = get_style(style)
        self.task: Task = check_task(task)
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size or batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.drop_last = drop_last
        self.mix_shards = mix_shards
        self.cache_decoded = cache_decoded
        self.pin_memory = torch.cuda.is_available() if pin_memory is None else pin_memory
        self._streams: dict[tuple[str, int, int], ShardStream] = {}
        self.save_hyperparameters(logger=False)

    def index(self, stage: str) -> ShardIndex:
        """The index of a stage's folder.

        Raises:
            ConfigError: If the stage has no folder.
            DataError: If the folder is not whole.
        """
        folder = self.folders.get(stage)
        if folder is None:
            given = ", ".join(name for name, value in self.folders.items() if value)
            raise ConfigError(f"no {stage} data: the datamodule has a folder for {given} only; give one as {stage}=...")
        return read_index(folder)

    def setup(self, stage: str) -> None:
        """Check the folders that a stage of the trainer needs.

        Args:
            stage: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
        """
        for name in {"fit": ("train", "val"), "validate": ("val",)}.get(stage, (stage,)):
            if name != "val" or stage == "validate" or self.folders["val"]:
                self.index(name)
        # its length is exact, whatever the number of workers
        warnings.filterwarnings("ignore", message="Your `IterableDataset` has `__len__` defined")

    def train_dataloader(self) -> StreamLoader:
        """Shuffled batches with answers; another order in each epoch."""
        return self._loader("train")

    def val_dataloader(self) -> StreamLoader | list[StreamLoader]:
        """Batches with answers, in the order of packing; none where no folder is given."""
        return self._loader("val") if self.folders["val"] else []

    def test_dataloader(self) -> StreamLoader:
        """Batches with answers, in the order of packing."""
        return self._loader("test")

    def predict_dataloader(self) -> StreamLoader:
        """Batches without answers, in the order of packing."""
        return self._loader("predict")

    def _loader(self, stage: str) -> StreamLoader:
        train = stage == "train"
        batch_size = self.batch_size if train else self.val_batch_size
        rank, world_size = self._place()
        stream = self._streams.get((stage, rank, world_size)) or ShardStream(
            self.index(stage),
            self.profile,
            shuffle=train,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            remainder="drop" if train else "repeat",
            block=batch_size,
            mix_shards=self.mix_shards,
            cache_decoded=self.cache_decoded,
        )
        self._streams[stage, rank, world_size] = stream
        if train and self.drop_last and len(stream) < batch_size:
            raise ConfigError(
                f"{len(stream)} training samples on this rank make no whole batch of {batch_size}; "
                "use a smaller batch_size, fewer ranks, or drop_last=False"
            )
        task: Task = "labels" if self.task == "hybrid" and not train else self.task
        return StreamLoader(
            AskedStream(stream, task, answered=stage != "predict", style=self.style),
            self._epoch if train else None,
            batch_size=batch_size,
            num_workers=self.num_workers,
            drop_last=train and self.drop_last,
            pin_memory=self.pin_memory,
        )

    def _epoch(self) -> int:
        return 0 if self.trainer is None else self.trainer.current_epoch

    def _place(self) -> tuple[int, int]:
        """Rank and number of ranks that read different data; ranks that share one model by tensors read the same."""
        place = None if self.trainer is None else self.trainer.distributed_sampler_kwargs
        if place is not None:
            return int(place["rank"]), int(place["num_replicas"])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1
