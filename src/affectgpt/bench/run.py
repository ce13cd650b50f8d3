"""Has the clips of a test set answered, sample by sample resumable, and writes the labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectgpt.bench.answer_log import LOG_SUFFIX, AnswerLog
from affectgpt.bench.answerers.base import Answer, Answerer, Asked
from affectgpt.bench.extract import LabelExtractor, SentimentReader
from affectgpt.bench.extract.base import UNKNOWN
from affectgpt.bench.npz_writer import write_openset, write_sentiments
from affectgpt.errors import DataError, first_few

if TYPE_CHECKING:
    from affectgpt.datamodules.unibench import BenchSet
    from affectgpt.manifests.record import Record

Progress = Callable[[str, str, int, int], None]
"""Called with the answerer's name, the set, answered samples and all samples."""

_UNFIT = re.compile(r"[^\w.=,+-]+")


@dataclass(frozen=True)
class Answered:
    """The answers of an answerer to a test set.

    Attributes:
        predictions: The file to score, with label lists, or with sentiments for a sentiment set.
        identity: The settings that decided the answers.
        failed: Samples without an answer, with the reasons; they have no labels.
        refused: Samples that were declined, with the reasons; they have no labels either.
        extractor: How labels were read out of the answers.
        sentiment_reader: How sentiments were derived from the labels of a sentiment set; ``None`` for others.
        record: What the answers cost, such as tokens and time.
        labels: The labels of every sample, in the order of the set.
        texts: The answers and the words of refusals, unchanged.
    """

    predictions: Path
    identity: Mapping[str, Any]
    failed: Mapping[str, str]
    refused: Mapping[str, str]
    extractor: Mapping[str, Any]
    sentiment_reader: Mapping[str, Any] | None
    record: Mapping[str, Any]
    labels: Mapping[str, Sequence[str]]
    texts: Mapping[str, str]


def asked_of_records(records: Iterable[Record], question: str, name: str) -> list[Asked]:
    """The clips of a manifest with a question, without their labels.

    Args:
        records: The clips.
        question: The question.
        name: Name of the list.
    """
    return [
        Asked(
            one.key,
            question,
            name,
            one.subtitle,
            one.video,
            one.audio,
            one.faces if one.faces is not None and one.faces.is_file() else None,
        )
        for one in records
    ]


def asked_of(bench_set: BenchSet, question: str) -> list[Asked]:
    """The clips of a set with a question, without their true labels."""
    return [
        Asked(one.key, question, bench_set.test_set.name, one.subtitle, one.video, one.audio, one.faces)
        for one in bench_set.samples
    ]


class AnswerRun:
    """Asks an answerer about test sets, and keeps the answers.

    Each answer is on the disk before the next question is asked. Questions that the same answerer has already answered
    are not asked again, except those that failed.

    Args:
        answerer: The answerer.
        out: Folder for the answers; in the authors' layout, ``results-SET/SYSTEM/NAME-openset.npz``.
        system: Name of the system.
        name: Name of the files; by default the answerer's title.
        progress: Called after each answer.
    """

    def __init__(
        self,
        answerer: Answerer,
        out: str | Path,
        *,
        system: str,
        name: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.answerer, self.out, self.progress = answerer, Path(out), progress
        self.system = file_name(system)
        self.name = file_name(answerer.title() if name is None else name)

    def answer(
        self,
        asked: Sequence[Asked],
        set_name: str,
        extractor: LabelExtractor,
        reader: SentimentReader | None = None,
        run: int = 0,
    ) -> Answered:
        """Have questions answered, or what is left of them, and write the labels in their order.

        Args:
            asked: The clips with their questions.
            set_name: The test set.
            extractor: What reads labels out of answers.
            reader: What reads sentiments off labels, for a set of sentiments.
            run: Number of the repetition, from 0.

        Raises:
            ConfigError: If the answerer cannot answer at all.
            DataError: If the log of answers is damaged, or the answerer cannot go on.
        """
        with self.log_of(set_name, asked, run) as log:
            self._ask(asked, set_name, log, run)
            found = {key: Answer.from_json(row) for key, row in log.answers.items()}
            failed = {one.key: log.errors[one.key] for one in asked if one.key in log.errors}
        keys = [one.key for one in asked]
        refused = {key: str(found[key].reason) for key in keys if key in found and found[key].kind == "refused"}
        answered = [key for key in keys if key in found and key not in refused]
        labels = {key: list[str]() for key in keys}  # in the order of the list, whatever order they were answered in
        read = extractor.extract([found[key].text for key in answered])
        labels.update(zip(answered, read, strict=True))
        predictions = write_openset(self._path(set_name, "-openset.npz", run), labels)
        sentiment = None
        if reader is not None:
            # what has no answer has no sentiment; an empty list of labels would be read as neutral
            sentiments = dict.fromkeys(keys, UNKNOWN)
            sentiments.update(zip(answered, reader.read(read), strict=True))
            predictions = write_sentiments(self._path(set_name, "-openset-sentiment.npz", run), sentiments)
            sentiment = reader.record()
        identity = {**log.identity, "run": log.run, **log.notes}
        return Answered(
            predictions=predictions,
            identity=identity,
            failed=failed,
            refused=refused,
            extractor=extractor.record(),
            sentiment_reader=sentiment,
            record=self.answerer.taken_by(found.values()),
            labels=labels,
            texts={key: found[key].text for key in keys if key in found},
        )

    def file_stem(self, run: int = 0) -> str:
        """What the files of a repetition are called, without their endings."""
        return f"{self.name}.run{run + 1}" if run else self.name

    def log_of(self, set_name: str, asked: Sequence[Asked], run: int = 0) -> AnswerLog:
        """The log of one set's answers."""
        questions = list(dict.fromkeys(one.question for one in asked))
        question: Any = questions[0] if len(questions) == 1 else questions
        identity = {**self.answerer.identity(), "set": set_name, "question": question}
        return AnswerLog(self._path(set_name, LOG_SUFFIX, run), identity | ({"repetition": run} if run else {}))

    def _ask(self, asked: Sequence[Asked], set_name: str, log: AnswerLog, run: int) -> None:
        wanted = {one.key for one in asked}
        if len(wanted) < len(asked):
            raise DataError(
                f"{set_name}: {len(asked) - len(wanted)} names come twice; give each clip a name of its own"
            )
        left = [one for one in asked if one.key not in log.answers]
        num_done = len(asked) - len(left)
        self._tell(set_name, num_done, len(asked))
        self.answerer.recall(Answer.from_json(row) for row in log.answers.values())
        if not left:
            return
        open_keys = {one.key for one in left}
        for answer in self.answerer.answer(left, run):
            if answer.key not in open_keys:
                raise DataError(f"{self.answerer.name} answered {answer.key!r}, which was not asked, or twice")
            open_keys.discard(answer.key)
            log.note(self.answerer.inputs())
            self._keep(log, answer)
            self._tell(set_name, len(asked) - len(open_keys), len(asked))
        for key in sorted(open_keys):
            self._keep(log, Answer.failed(key, f"the answerer {self.answerer.name} gave no answer for it"))
        self._tell(set_name, len(asked), len(asked))

    def _keep(self, log: AnswerLog, answer: Answer) -> None:
        row = answer.to_json()
        if answer.kind == "failed":
            row["error"] = row.pop("reason", "no reason was given")
        log.add([row])

    def _path(self, set_name: str, suffix: str, run: int) -> Path:
        return self.out / f"results-{set_name}" / self.system / f"{self.file_stem(run)}{suffix}"

    def _tell(self, set_name: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(self.name, set_name, done, total)


def file_name(name: str) -> str:
    """A name that is fit for a file: a model's name may hold slashes.

    Examples:
        >>> file_name("Qwen/Qwen2.5-Omni-7B")
        'Qwen-Qwen2.5-Omni-7B'
    """
    return _UNFIT.sub("-", name).strip("-.") or "model"


def failures_in_words(failed: Mapping[str, str], most: int = 3) -> list[str]:
    """The reasons of failures, the most frequent first, each with how many samples it concerns."""
    by_reason: dict[str, list[str]] = {}
    for key, reason in failed.items():
        by_reason.setdefault(reason.replace(key, "NAME"), []).append(key)
    listed = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    told = [f"{len(keys):,} ({first_few(keys, 2)}): {failed[keys[0]]}" for _, keys in listed[:most]]
    return [*told, *([f"{len(listed) - most} further reasons"] if len(listed) > most else [])]
