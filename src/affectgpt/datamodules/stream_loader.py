"""A DataLoader over a stream that knows where in the epoch to begin, and replaces what cannot be read."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from affectgpt.datamodules.questions import Task, question_and_answer, question_for
from affectgpt.errors import AffectGPTError, DataError
from affectgpt.manifests.record import SampleError
from affectgpt.prompts.template import PromptStyle
from affectgpt.prompts.wordings import OFFICIAL
from affectgpt.shards.open_shards import OpenShards
from affectgpt.streaming.bad_samples import BadSampleBudget
from affectgpt.streaming.stream import BadSample, SampleAddress, ShardStream
from affectgpt.types import Batch, Clip

WORKER_TIMEOUT_SECONDS = 900.0

ClipQuestion = tuple[Clip, str, str | None]


class QuestionStream(IterableDataset[ClipQuestion | BadSample]):
    """Clips with the question for each, and the answer to learn.

    Args:
        clips: The stream of clips; its seed and epoch draw the question where both can be asked.
        task: What is asked.
        answered: Whether an answer is needed; a clip without one is then a bad sample.
        style: Wording of questions and answers.
        check: Called with clip, question and answer; raises an ``AffectGPTError`` for what cannot be learnt, which is
            then a bad sample.
    """

    def __init__(
        self,
        clips: ShardStream,
        task: Task,
        *,
        answered: bool,
        style: PromptStyle = OFFICIAL,
        check: Callable[[Clip, str, str], None] | None = None,
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
            yield self._ask(address, clip)

    def load(self, pieces: tuple[tuple[int, int], ...]) -> Iterator[ClipQuestion | BadSample]:
        """The samples at some positions of the epoch, in this process."""
        readers = OpenShards(self.clips.indexes, self.clips.cache, 1)
        try:
            for address in self.clips.walk(pieces):
                yield self._ask(address, self.clips.load(readers, address))
        finally:
            readers.close()

    def _ask(self, address: SampleAddress, clip: Clip | BadSample) -> ClipQuestion | BadSample:
        if isinstance(clip, BadSample):
            return clip
        if not self.answered:
            return clip, question_for("description" if self.task == "description" else "labels", self.style), None
        draw = {"seed": self.clips.seed, "epoch": self.clips.epoch}
        name = self.clips.name_in_set(address, clip)  # the draw stays when a set is mixed with others, or is moved
        try:
            question, answer = question_and_answer(self.task, clip, **draw, style=self.style, name=name)
            if self.check is not None:
                self.check(clip, question, answer)
        except SampleError as error:
            return self.clips.bad(address, clip.key, error)
        except AffectGPTError as error:
            return self.clips.bad(address, clip.key, SampleError(clip.key, "ask", "does_not_fit", str(error)))
        return clip, question, answer


def collate_questions(samples: list[ClipQuestion | BadSample]) -> Batch | list[ClipQuestion | BadSample]:
    """Make a batch; its answers are ``None`` where no sample has one.

    Returns:
        The batch; or the samples as they are where some are bad, for the loader to replace.
    """
    from affectgpt.datamodules.collate import collate

    asked = [sample for sample in samples if not isinstance(sample, BadSample)]
    if len(asked) < len(samples):
        return samples
    clips, questions, answers = zip(*asked, strict=True)
    return collate(clips, questions, None if answers[0] is None else answers)


def leave_signals_to_main(worker: int) -> None:
    """Ignore SIGTERM and SIGINT in a worker.

    Schedulers and terminals send them to the whole process group; the main process would find its workers dead before
    it could finish the batch and write a checkpoint. Workers end when the main process lets them go, or is gone itself.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a tokenizer that was used before the fork says so at length


class StreamLoader(DataLoader[ClipQuestion | BadSample]):
    """Batches of a stream.

    Where to begin is asked when the first batch is wanted, and told to the stream before the workers are forked: a
    worker that outlives the epoch would go on counting in its own copy, or not at all, so workers do not persist.

    Bad samples are replaced here, in the main process, batch by batch in the order of the epoch: so which sample stands
    in for which does not depend on the number of workers.

    Args:
        stream: What to read.
        begin: Tells the stream where to begin; ``None`` if the order never changes.
        budget: Where bad samples are written down; ``None`` if the stream gives none.
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
        super().__init__(stream, collate_fn=collate_questions, **options)

    def set_epoch(self, epoch: int, skip_batches: int = 0) -> None:
        """Choose what the next iteration reads; for loops of your own, in a Trainer the datamodule does it.

        Args:
            epoch: Number of the epoch.
            skip_batches: Batches of it that were read before; nothing of them is touched.
        """
        self._chosen = (epoch, skip_batches)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self._chosen is not None:
            self._stream.clips.set_epoch(self._chosen[0], self._stream.clips.whole, self._chosen[1])
        elif self._begin is not None:
            self._begin(self._stream.clips)
        batches = super().__iter__()
        try:
            for batch in batches:
                yield self._mended(batch) if isinstance(batch, list) else batch
        except DataError as error:
            # torch passes a worker's error on with the worker's traceback as its message; ours would keep the workers
            error = error.with_traceback(None) if self.num_workers else error
            raise DataError(str(error).rstrip().rpartition("DataError: ")[2]) from error
        except RuntimeError as error:
            if not str(error).startswith("DataLoader timed out"):
                raise
            for worker in getattr(batches, "_workers", ()):  # they ignore SIGTERM, and Python would wait for their end
                worker.kill()
            raise DataError(
                f"no batch came from the workers for {self.timeout:g} s: a file system that does not answer, or a "
                "machine far too busy; look at both, and try again with num_workers=0 to see where it waits"
            ) from error

    def _mended(self, samples: list[ClipQuestion | BadSample]) -> Batch:
        """The batch with a sample from this rank's reserve in place of each bad one, as long as there are any."""
        clips = self._stream.clips
        spare = self._stream.load(clips.plan.reserve_of(clips.rank, clips.reserve_used))
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
        if self._budget is not None and clips.whole.world_size == 1:  # ranks meet at steps of their own
            self._budget.meet()
            self._budget.check()
        if not good:
            raise DataError(
                f"all {len(samples)} samples of a batch are bad and this rank's reserve is empty; the last: "
                f"{samples[-1].reason if isinstance(samples[-1], BadSample) else ''}"
            )
        batch = self.collate_fn(good)
        assert isinstance(batch, Batch)
        return batch.pin_memory() if self.pin_memory else batch
