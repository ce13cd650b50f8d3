"""A DataLoader over a stream that starts at any position of the epoch, and replaces bad samples."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from affectgpt.datamodules.questions import (
    Task,
    is_preference,
    preference_question,
    question_and_answer,
    question_for,
)
from affectgpt.datamodules.worker_watch import WorkerDiedError, WorkerWatch
from affectgpt.errors import AffectGPTError, DataError
from affectgpt.manifests.record import SampleError
from affectgpt.media.profile import MediaProfile
from affectgpt.prompts.template import PromptStyle
from affectgpt.prompts.wordings import OFFICIAL
from affectgpt.shards.open_shards import OpenShards
from affectgpt.streaming.bad_samples import BadSampleBudget
from affectgpt.streaming.read_alone import read_alone
from affectgpt.streaming.stream import BadSample, SampleAddress, ShardStream
from affectgpt.training.stop_signals import SIGNALS
from affectgpt.types import Batch, Clip

log = logging.getLogger(__name__)

WORKER_TIMEOUT_SECONDS = 900.0
_MOST_UNEXPLAINED = 3
"""Deaths of workers in an iteration for which no clip is to blame."""

ClipQuestion = tuple[Clip, str, str | None]


class QuestionStream(IterableDataset[ClipQuestion | BadSample]):
    """Clips with the question for each, and the answer to learn.

    Args:
        clips: The stream of clips; its seed and epoch decide the question if both can be asked.
        task: The task of the run.
        answered: Whether an answer is needed; a clip without one is then a bad sample.
        style: Prompt style of questions and answers.
        check: Called with clip, question and answer; raises an ``AffectGPTError`` for a sample that cannot be learnt,
            which is then a bad sample. It gives the length of the sample, in tokens.
    """

    def __init__(
        self,
        clips: ShardStream,
        task: Task,
        *,
        answered: bool,
        style: PromptStyle = OFFICIAL,
        check: Callable[[Clip, str, str], int] | None = None,
    ) -> None:
        super().__init__()
        self.check = check
        self.style = style
        self.clips = clips
        self.task = task
        self.answered = answered

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[ClipQuestion | BadSample]:
        for address, clip in self.clips.samples():
            yield self.ask(address, clip)

    def batches(self) -> Iterator[list[ClipQuestion | BadSample]]:
        """The samples of each batch that this worker makes, where the stream says what a batch is."""
        for block in self.clips.loaded_blocks():
            yield [self.ask(address, clip) for address, clip in block]

    def load(self, pieces: tuple[tuple[int, int], ...]) -> Iterator[ClipQuestion | BadSample]:
        """The samples at some positions of the epoch, in this process."""
        readers = OpenShards(self.clips.indexes, self.clips.cache, 1)
        try:
            for address in self.clips.walk(pieces):
                yield self.ask(address, self.clips.load(readers, address))
        finally:
            readers.close()

    def ask(self, address: SampleAddress, clip: Clip | BadSample) -> ClipQuestion | BadSample:
        """A clip with its question."""
        if isinstance(clip, BadSample):
            return clip
        draw = {"seed": self.clips.seed, "epoch": self.clips.epoch}
        # the draw does not change if the set is mixed with others, or moved
        name = self.clips.name_in_set(address, clip)
        try:
            if not self.answered:
                return clip, self._question_alone(clip, name, **draw), None
            question, answer = question_and_answer(self.task, clip, **draw, style=self.style, name=name)
            if self.check is not None:
                self.check(clip, question, answer)
        except SampleError as error:
            return self.clips.bad(address, clip.key, error)
        except AffectGPTError as error:
            return self.clips.bad(address, clip.key, SampleError(clip.key, "ask", "does_not_fit", str(error)))
        return clip, question, answer

    def length(self, address: SampleAddress, words: Clip) -> int:
        """Tokens of a sample, from a clip that has its words alone; bytes where no model says what a token is."""
        draw = {"seed": self.clips.seed, "epoch": self.clips.epoch}
        try:
            question, answer = question_and_answer(
                self.task, words, **draw, style=self.style, name=self.clips.name_in_set(address, words)
            )
            if self.check is not None:
                return self.check(words, question, answer)
        except AffectGPTError:  # it is found bad when it is loaded
            return 1
        return len((question + (words.subtitle or "") + answer).encode(errors="replace"))

    def _question_alone(self, clip: Clip, name: str, **draw: int) -> str:
        """The question of a clip that is to be answered; only one about its descriptions depends on the clip."""
        if is_preference(self.task):
            return preference_question(self.task, clip, **draw, style=self.style, name=name)[0]
        return question_for("description" if self.task in ("description", "preferred") else "labels", self.style)


class _Batches(IterableDataset[list[ClipQuestion | BadSample]]):
    """The batches of a stream that deals them out by length."""

    def __init__(self, stream: QuestionStream) -> None:
        super().__init__()
        self._stream = stream

    def __len__(self) -> int:
        return -(-len(self._stream) // self._stream.clips.block)

    def __iter__(self) -> Iterator[list[ClipQuestion | BadSample]]:
        return self._stream.batches()


def collate_questions(
    samples: list[ClipQuestion | BadSample], profile: MediaProfile
) -> Batch | list[ClipQuestion | BadSample]:
    """Make a batch; its answers are ``None`` if no sample has one.

    Args:
        samples: Clips with their questions and answers.
        profile: How the clips were decoded.

    Returns:
        The batch; or, if some samples are bad, the samples themselves, for the loader to replace them.
    """
    from affectgpt.datamodules.collate import collate

    asked = [sample for sample in samples if not isinstance(sample, BadSample)]
    if len(asked) < len(samples):
        return samples
    clips, questions, answers = zip(*asked, strict=True)
    return collate(clips, questions, None if answers[0] is None else answers, profile)


def leave_signals_to_main(worker: int) -> None:
    """Ignore in a worker what schedulers and terminals announce the end with.

    They signal the whole process group; the main process would lose its workers before it could finish the batch and
    write a checkpoint, or a worker would run the main process's handler. Workers end when the main process stops them
    or ends itself.
    """
    for one in (*SIGNALS, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)
    # a tokenizer that was used before the fork prints a long warning otherwise
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


class StreamLoader(DataLoader[ClipQuestion | BadSample]):
    """Batches of a stream.

    The starting position is set on the stream before the workers are forked for an epoch. Workers do not persist over
    epochs, because each has its own copy of the stream, which would not get the new position.

    Bad samples are replaced in the main process, batch by batch in the order of the epoch, so that the replacements do
    not depend on the number of workers. A clip that kills the worker that decodes it is a bad sample too; without
    workers it ends this process.

    Args:
        stream: The stream to read; one with a ``window`` says itself what a batch is.
        begin: Sets the position of the stream; ``None`` if the order never changes.
        budget: Records bad samples; ``None`` if the stream yields none.
        options: Further arguments of ``DataLoader``.
    """

    def __init__(
        self,
        stream: QuestionStream,
        begin: Callable[[ShardStream], None] | None = None,
        budget: BadSampleBudget | None = None,
        **options: Any,
    ) -> None:
        self._stream = stream
        self._begin = begin
        self._budget = budget
        self._chosen: tuple[int, int] | None = None
        if options.get("num_workers"):
            options.setdefault("timeout", WORKER_TIMEOUT_SECONDS)
            options.setdefault("worker_init_fn", leave_signals_to_main)
        dataset: Any = stream
        if stream.clips.window > 1:
            dataset = _Batches(stream)
            options |= {"batch_size": None, "drop_last": False}  # the plan of the epoch drops what is left over
        super().__init__(dataset, collate_fn=partial(collate_questions, profile=stream.clips.profile), **options)

    def set_epoch(self, epoch: int, skip_batches: int = 0) -> None:
        """Set what the next iteration reads. Use it in your own training loops; in a Trainer the datamodule does it.

        Args:
            epoch: Number of the epoch.
            skip_batches: Number of batches already read; they are not read again.
        """
        self._chosen = (epoch, skip_batches)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        clips = self._stream.clips
        if self._chosen is not None:
            clips.set_epoch(self._chosen[0], clips.whole, self._chosen[1])
        elif self._begin is not None:
            self._begin(clips)
        position, owed, last = (clips.pieces, clips.blocks_read), 0, None
        try:
            for batch in self._batches():
                found = self._repaired(batch) if isinstance(batch, list) else batch
                owed += found is None
                last = last if found is None else found
                if found is not None:
                    yield found
                while owed and last is not None and clips.whole.world_size > 1:  # other ranks would wait for this one
                    owed -= 1
                    yield last.rows(range(1))
        except DataError as error:
            # torch re-raises a worker's error with the worker's traceback as message; our own error would keep the
            # workers alive
            error = error.with_traceback(None) if self.num_workers else error
            raise DataError(str(error).rstrip().rpartition("DataError: ")[2]) from error
        finally:
            clips.pieces, clips.blocks_read = position

    def _batches(self) -> Iterator[Any]:
        """What the workers make; where a clip kills a worker, it is found, and the others are read on."""
        if not self.num_workers:
            yield from super().__iter__()
            return
        num_unexplained = 0
        while True:
            batches, made = super().__iter__(), 0
            watch = WorkerWatch(getattr(batches, "_workers", ()))
            try:
                for batch in watch.follow(batches):
                    made += 1
                    yield batch
                return
            except WorkerDiedError as error:
                story = str(error)
            except RuntimeError as error:
                if not str(error).startswith("DataLoader timed out"):
                    raise
                raise DataError(
                    f"no batch came from the workers for {self.timeout:g} s: the file system does not answer, or the "
                    "machine is overloaded; check both, and use num_workers=0 to see where it waits"
                ) from error
            finally:  # also where whoever reads the batches stops, or has an error of its own
                watch.kill()
            log.warning("%s: what the workers had begun is read again, each clip in a process of its own", story)
            clips, num_known = self._stream.clips, len(self._stream.clips.known_bad)
            clips.go_on(made)
            num_begun = self.num_workers * (self.prefetch_factor or 2)
            for samples in self._read_alone(num_begun):
                clips.go_on(1)
                yield samples
            num_unexplained += num_known == len(clips.known_bad)
            if num_unexplained >= _MOST_UNEXPLAINED:
                raise DataError(
                    f"workers die again and again, and no clip that they read kills its process ({story}): most likely "
                    "the machine has too little memory; use fewer num_workers, or a smaller batch_size"
                )

    def _read_alone(self, num_batches: int) -> Iterator[Any]:
        """The next batches, each clip of them read in a process of its own."""
        clips = self._stream.clips
        blocks = list(islice(clips.blocks(), num_batches))
        with closing(read_alone(clips, [one for block in blocks for one in block], self.num_workers)) as found:
            for block in blocks:
                batch = self.collate_fn([self._stream.ask(*sample) for sample in islice(found, len(block))])
                yield batch.pin_memory() if self.pin_memory and isinstance(batch, Batch) else batch

    def _repaired(self, samples: list[ClipQuestion | BadSample]) -> Batch | None:
        """The batch with each bad sample replaced from this rank's reserve, as long as it lasts.

        Returns:
            ``None`` where nothing is left of a batch of a validation.
        """
        clips = self._stream.clips
        spare = self._stream.load(clips.reserve())
        good: list[ClipQuestion | BadSample] = []
        for sample in samples:
            bad: list[BadSample] = []
            found: ClipQuestion | BadSample | None = sample
            while isinstance(found, BadSample):
                bad.append(found)
                found = next(spare, None)
                clips.reserve_used += found is not None
            if found is not None:
                good.append(found)
            for item in bad:
                assert self._budget is not None
                self._budget.note(item, clips.epoch, None if found is None else found[0].key)
        # several ranks exchange bad samples at fixed steps instead, those that read the same too
        connected = torch.distributed.is_available() and torch.distributed.is_initialized()
        ranks = torch.distributed.get_world_size() if connected else clips.whole.world_size
        if self._budget is not None and ranks == 1:
            self._budget.meet()
            self._budget.check()
        if not good and not clips.has_reserve:
            return None
        if not good:
            raise DataError(
                f"all {len(samples)} samples of a batch are bad and this rank's reserve is empty; the last one: "
                f"{samples[-1].reason if isinstance(samples[-1], BadSample) else ''}"
            )
        batch = self.collate_fn(good)
        assert isinstance(batch, Batch)
        return batch.pin_memory() if self.pin_memory else batch
