"""Answers the clips of a test set with a checkpoint, sample by sample resumable, and writes the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectgpt.bench.answer_log import LOG_SUFFIX, AnswerLog
from affectgpt.bench.extract import LabelExtractor, SentimentReader
from affectgpt.bench.npz_writer import write_openset, write_sentiments
from affectgpt.errors import CheckpointError
from affectgpt.files import digest_of, digest_of_file

if TYPE_CHECKING:
    from affectgpt.datamodules.unibench import BenchSet, UniBenchDataModule
    from affectgpt.model import AffectGPT
    from affectgpt.types import Batch, Prediction


Progress = Callable[[str, str, int, int], None]
"""Called with checkpoint, set, answered samples and all samples."""


@dataclass(frozen=True)
class Answered:
    """What a checkpoint made of a test set.

    Attributes:
        predictions: The file to score: label lists, or the sentiments of a sentiment set.
        identity: What decided the answers.
        unreadable: Samples that got no answer, with the reasons; they count as empty answers.
        extractor: How labels were read out of the answers.
        sentiment_reader: How sentiments were read off the labels, of a sentiment set.
    """

    predictions: Path
    identity: Mapping[str, Any]
    unreadable: Mapping[str, str]
    extractor: Mapping[str, Any]
    sentiment_reader: Mapping[str, Any] | None


class CheckpointRunner:
    """Answers test sets with one checkpoint.

    The model is loaded when the first sample needs it: a run whose answers are all there only reads them.

    Args:
        checkpoint: The file that training wrote, a folder that ``save_pretrained`` wrote, or a hub id.
        data: The test sets; its media profile and style are set to the model's.
        out: Folder for the answers; in the authors' layout, ``results-SET/SYSTEM/CHECKPOINT-openset.npz``.
        system: Name of the system.
        device: Where the model runs.
        max_new_tokens: Longest answer, in tokens; the model's own limit by default.
        allow_import: Import parts that the checkpoint names as code.
        progress: Is told after each batch.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        data: UniBenchDataModule,
        out: str | Path,
        *,
        system: str,
        device: str = "cpu",
        max_new_tokens: int | None = None,
        allow_import: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.checkpoint = Path(checkpoint)
        self.name = name_of(self.checkpoint)
        self.data = data
        self.out = Path(out)
        self.system = system
        self.device = device
        self.max_new_tokens = max_new_tokens
        self.allow_import = allow_import
        self.progress = progress
        self._model: AffectGPT | None = None
        settings, files = _settings_of(self.checkpoint, allow_import)
        self._style = str(settings.get("style", "official"))
        self._identity = {
            "checkpoint": digest_of([sha256_of(file) for file in files]),
            "max_new_tokens": max_new_tokens or settings.get("max_new_tokens"),
            "face_detector": data.face_detector,
        }

    def log_of(self, name: str) -> AnswerLog:
        """The log of one set's answers."""
        question = self._question()
        identity = {**self._identity, "set": name, "question": question}
        return AnswerLog(self._path(name, LOG_SUFFIX), identity)

    def answer(self, bench_set: BenchSet, extractor: LabelExtractor, reader: SentimentReader) -> Answered:
        """Answer a set, or what is left of it, and write its labels.

        Raises:
            CheckpointError: If the checkpoint does not fit.
            DataError: If the log of answers is damaged.
        """
        name = bench_set.test_set.name
        with self.log_of(name) as log:
            self._ask(bench_set, log)
            answers = {s.key: log.answers[s.key]["text"] for s in bench_set.samples if s.key in log.answers}
            unreadable = dict(log.errors)
        keys = [sample.key for sample in bench_set.samples]
        found = extractor.extract([answers.get(key) for key in keys])
        labels = dict(zip(keys, found, strict=True))
        predictions = write_openset(self._path(name, "-openset.npz"), labels)
        sentiment = None
        if bench_set.test_set.task == "sentiment":
            sentiments = dict(zip(keys, reader.read(found), strict=True))
            predictions = write_sentiments(self._path(name, "-openset-sentiment.npz"), sentiments)
            sentiment = reader.record()
        identity = {**log.identity, "run": log.run, **log.notes}
        return Answered(predictions, identity, unreadable, extractor.record(), sentiment)

    def _ask(self, bench_set: BenchSet, log: AnswerLog) -> None:
        name, total = bench_set.test_set.name, len(bench_set)
        wanted = {sample.key for sample in bench_set.samples}
        done = wanted & log.answers.keys()
        self._tell(name, len(done), total)
        if done == wanted:
            return
        model = self._load()
        log.note(_inputs_of(model))
        noted = self.data.unreadable.setdefault(name, {})
        noted.clear()
        written: set[str] = set()

        def note_errors() -> None:
            log.add_errors({key: reason for key, reason in noted.items() if key not in written})
            written.update(noted)

        for batch in self.data.loader(name, skip=done):
            answers = _answer(model, batch.to(model.device), self.max_new_tokens)
            log.add(answer.to_json() for answer in answers)
            note_errors()
            self._tell(name, len(wanted & log.answers.keys()) + len(written), total)
        note_errors()

    def _load(self) -> AffectGPT:
        if self._model is None:
            from affectgpt.model import AffectGPT

            self._model = AffectGPT.load(self.checkpoint, allow_import=self.allow_import).to(self.device)
            self.data.profile, self.data.style = self._model.media, self._model.style
        return self._model

    def _question(self) -> str:
        from affectgpt.prompts.wordings import get_style

        return get_style(self._style).label_question

    def _path(self, name: str, suffix: str) -> Path:
        return self.out / f"results-{name}" / self.system / f"{self.name}{suffix}"

    def _tell(self, name: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(self.name, name, done, total)


def _inputs_of(model: AffectGPT) -> dict[str, Any]:
    """What the model is given for a clip that lacks nothing: the prompt with its slots, and how media are decoded."""
    from affectgpt.prompts.template import Field, Slot

    slots = [name for name in model.network.num_tokens if name in model.slots]
    words = {"question": model.style.label_question, "subtitle": "{subtitle}"}
    pieces = []
    for piece in model.style.layout(slots, subtitle="subtitle" in model.slots):
        if isinstance(piece, Slot):
            pieces.append(f"[{piece.name}: {model.network.num_tokens[piece.name]} token(s)]")
        else:
            pieces.append(words[piece.name] if isinstance(piece, Field) else piece.text)
    return {"prompt": "".join(pieces), "media": model.media.to_json()}


def _answer(model: AffectGPT, batch: Batch, max_new_tokens: int | None) -> list[Prediction]:
    """Answer a batch; in halves where the device's memory does not hold it."""
    from affectgpt.model.answer import answer_batch
    from affectgpt.training.halving import in_halves

    return in_halves(
        lambda part: answer_batch(model, batch.part(part.start, part.stop), max_new_tokens), batch.keys, model.device
    )


def name_of(checkpoint: str | Path) -> str:
    """What a checkpoint is called: the name of its file or folder, without the ending."""
    path = Path(checkpoint)
    return path.stem if path.suffix in (".ckpt", ".pth") else path.resolve().name


def _settings_of(checkpoint: Path, allow_import: bool) -> tuple[Mapping[str, Any], list[Path]]:
    """The model's arguments, and the files that its digest is made of."""
    from affectgpt.checkpoints import model_folder
    from affectgpt.checkpoints.io import load_checkpoint

    if checkpoint.suffix == ".pth":
        raise CheckpointError(
            f"{checkpoint} is in the released format, without the networks that it was trained over; turn it into ours "
            "first: affectgpt convert"
        )
    if checkpoint.is_file() or checkpoint.suffix == ".ckpt":
        return load_checkpoint(checkpoint, allow_import=allow_import)["hyper_parameters"], [checkpoint]
    stored = model_folder.read(checkpoint, None, {}, allow_import=allow_import)
    return stored.config, [stored.folder / model_folder.CONFIG, stored.folder / model_folder.WEIGHTS]


def sha256_of(path: Path) -> str:
    """Sha256 of a file, in hex.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        return digest_of_file(path)
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}") from error
