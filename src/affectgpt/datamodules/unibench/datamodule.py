"""The datamodule of MER-UniBench: folders of test sets in, batches out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import lightning
import torch

from affectgpt.datamodules.questions import question_for
from affectgpt.datamodules.unibench.clip_loader import BenchClips, BenchLoader, RankShare
from affectgpt.datamodules.unibench.finding import find_sets, read_set
from affectgpt.datamodules.unibench.samples import BenchSample, BenchSet
from affectgpt.datamodules.unibench.sets import TEST_SETS, get_test_set
from affectgpt.errors import ConfigError, DataError
from affectgpt.media.profile import MediaProfile
from affectgpt.prompts.wordings import get_style


class UniBenchDataModule(lightning.LightningDataModule):
    """Reads the test sets of MER-UniBench for ``test`` and ``predict``.

    Batches come in the order of the sets, and of the samples in each. If several sets are read, a sample's key is
    ``set/name``, because sets share names. Every rank makes the same number of steps; the last one reads some of the
    first samples again if they do not divide evenly. ``affectgpt bench`` answers and scores in one command.

    An unreadable clip is logged and recorded in ``unreadable``; it gets no answer, which the benchmark counts as an
    empty answer.

    Args:
        data: Folder of a set, folder that holds sets, or several of these.
        sets: Names of the sets to read; by default all that are there.
        batch_size: Samples in a batch, on each rank.
        num_workers: Processes that decode, on each rank.
        media: How clips are decoded: a ``MediaProfile``, its name, or its plain JSON.
        style: Prompt style of the question, the same as the model's (``official`` or ``brief``).
        allow_partial: Whether to accept sets that differ from the published split.
        face_detector: Detector for clips without face crops, for models that read ``face``; ``None`` leaves the face
            out.
        pin_memory: Whether to use page-locked memory; by default if there is a GPU.

    Attributes:
        unreadable: Set name to sample key to reason, filled while batches are read in this process.

    Raises:
        ConfigError: If an argument is invalid.
    """

    def __init__(
        self,
        data: str | list[str],
        sets: list[str] | None = None,
        *,
        batch_size: int = 8,
        num_workers: int = 2,
        media: dict[str, Any] | str | MediaProfile | None = None,
        style: str = "official",
        allow_partial: bool = False,
        face_detector: str | None = "centerface",
        pin_memory: bool | None = None,
    ) -> None:
        super().__init__()
        self.data = [data] if isinstance(data, str) else list(data)
        if not self.data:
            raise ConfigError("no data: give the folder of a test set, or one that holds several")
        if batch_size < 1 or num_workers < 0:
            raise ConfigError(f"batch_size={batch_size}, num_workers={num_workers}; at least 1 and 0 are needed")
        self.set_names = None if sets is None else [get_test_set(name).name for name in sets]
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.profile = MediaProfile.of(media)
        self.style = get_style(style)
        self.allow_partial = allow_partial
        self.face_detector = face_detector
        self.pin_memory = torch.cuda.is_available() if pin_memory is None else pin_memory
        self.unreadable: dict[str, dict[str, str]] = {}
        self._sets: dict[str, BenchSet] | None = None
        self.save_hyperparameters(logger=False)
        if isinstance(media, MediaProfile):
            self.hparams["media"] = media.to_json()  # checkpoints hold plain JSON

    @property
    def sets(self) -> Mapping[str, BenchSet]:
        """The sets by name, in the order of the benchmark; read at first use.

        Raises:
            DataError: If a set is missing or damaged, or differs from the published split.
        """
        if self._sets is None:
            names = self.set_names if self.set_names is not None else list(find_sets(self.data))
            if not names:
                raise DataError(
                    f"no test set in {', '.join(self.data)}; expected a folder such as meld-process, one that holds "
                    f"such folders, or any folder together with the sets' names ({', '.join(TEST_SETS)})"
                )
            self._sets = {
                name: read_set(name, self.data, allow_partial=self.allow_partial) for name in TEST_SETS if name in names
            }
        return self._sets

    def setup(self, stage: str) -> None:
        """Read the sets.

        Args:
            stage: ``"test"`` or ``"predict"``.

        Raises:
            ConfigError: If the stage is a training stage.
            DataError: See ``sets``.
        """
        if stage in ("fit", "validate"):
            asked = stage.lower()  # Lightning passes a member of an enumeration
            raise ConfigError(f"MER-UniBench is for tests, it has no data for {asked!r}; use the datamodule mercaption")
        assert self.sets

    def test_dataloader(self) -> BenchLoader:
        """Batches with labels, without answers to learn; sentiment sets have no labels."""
        return self._loader([(one, sample) for one in self.sets.values() for sample in one.samples])

    def predict_dataloader(self) -> BenchLoader:
        """The same batches."""
        return self.test_dataloader()

    def loader(self, name: str, skip: Collection[str] = ()) -> BenchLoader:
        """Batches of one set on one process, under the samples' own names.

        Args:
            name: The set.
            skip: Keys that need not be read again.
        """
        one = self.sets[get_test_set(name).name]
        return self._loader([(one, sample) for sample in one.samples if sample.key not in skip], alone=True)

    def _loader(self, samples: Sequence[tuple[BenchSet, BenchSample]], *, alone: bool = False) -> BenchLoader:
        clips = BenchClips(
            samples,
            self.profile,
            prefixed=not alone and len(self.sets) > 1,
            face_detector=self.face_detector,
        )
        rank, world_size = (0, 1) if alone else self._rank_and_world()
        return BenchLoader(
            clips,
            question_for("labels", self.style),
            self.unreadable,
            in_step=world_size > 1,
            sampler=RankShare(clips, rank, world_size),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
        )

    def _rank_and_world(self) -> tuple[int, int]:
        """Rank and number of ranks that read different data."""
        ranks = None if self.trainer is None else self.trainer.distributed_sampler_kwargs
        return (0, 1) if ranks is None else (int(ranks["rank"]), int(ranks["num_replicas"]))
