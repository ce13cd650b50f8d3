"""A DataLoader over a stream that knows the epoch, and gives a worker's error as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from affectgpt.datamodules.questions import Task, question_and_answer, question_for
from affectgpt.datamodules.stream import ShardStream
from affectgpt.errors import DataError
from affectgpt.prompts.official import OFFICIAL
from affectgpt.prompts.template import PromptStyle
from affectgpt.types import Batch, Clip

WORKER_TIMEOUT_SECONDS = 900.0

Asked = tuple[Clip, str, str | None]


class AskedStream(IterableDataset[Asked]):
    """Clips with the question for each, and the answer to learn.

    Args:
        clips: The stream of clips; its seed and epoch draw the question where both can be asked.
        task: What is asked.
        answered: Whether an answer is needed; a clip without one is then an error.
        style: Wording of questions and answers.
    """

    def __init__(self, clips: ShardStream, task: Task, *, answered: bool, style: PromptStyle = OFFICIAL) -> None:
        super().__init__()
        self.style = style
        self.clips = clips
        self.task = task
        self.answered = answered

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Asked]:
        for clip in self.clips:
            if self.answered:
                seed, epoch = self.clips.seed, self.clips.epoch
                yield clip, *question_and_answer(self.task, clip, seed=seed, epoch=epoch, style=self.style)
            else:
                yield clip, question_for("description" if self.task == "description" else "labels", self.style), None


def collate_asked(samples: list[Asked]) -> Batch:
    """Make a batch; its answers are ``None`` where no sample has one."""
    from affectgpt.datamodules.collate import collate

    clips, questions, answers = zip(*samples, strict=True)
    return collate(clips, questions, None if answers[0] is None else answers)


class StreamLoader(DataLoader[Asked]):
    """Batches of a stream.

    The epoch is told to the stream before the workers are forked: a worker that outlives the epoch would go on counting
    in its own copy, or not at all, so workers do not persist.

    Args:
        stream: What to read.
        epoch: Tells the number of the epoch that begins; ``None`` if the order never changes.
        options: Further arguments of ``DataLoader``.
    """

    def __init__(self, stream: AskedStream, epoch: Callable[[], int] | None = None, **options: Any) -> None:
        self._epoch = epoch
        if options.get("num_workers"):
            options.setdefault("timeout", WORKER_TIMEOUT_SECONDS)
        super().__init__(stream, collate_fn=collate_asked, **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self._epoch is not None and isinstance(self.dataset, AskedStream):
            self.dataset.clips.set_epoch(self._epoch())
        try:
            yield from super().__iter__()
        except DataError as error:
            # torch passes a worker's error on with the worker's traceback as its message
            raise DataError(str(error).rstrip().rpartition("DataError: ")[2]) from error
