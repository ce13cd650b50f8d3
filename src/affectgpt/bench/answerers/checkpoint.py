"""Answers with a checkpoint of ours, in batches; the model is loaded when the first clip needs it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from affectgpt.bench.answerers.answer_settings import MODALITIES, AnswerSettings, get_profile
from affectgpt.bench.answerers.base import Answer, Answerer, Asked
from affectgpt.errors import CheckpointError
from affectgpt.files import digest_of, digest_of_file
from affectgpt.types import Modality

if TYPE_CHECKING:
    from affectgpt.datamodules.unibench.clip_loader import BenchLoader
    from affectgpt.llm.answer_sampling import AnswerSampling
    from affectgpt.model import AffectGPT
    from affectgpt.types import Batch, Prediction


@dataclass
class _Loaded:
    """Holds the model once it is loaded, for every answerer of its checkpoint."""

    model: AffectGPT | None = None


WINDOW = 128
"""Clips that are sorted by length at a time, see ``AnsweringPlan``; a run that is killed answers so many again."""


class CheckpointAnswerer(Answerer):
    """Answers with one checkpoint, which is shown clips as it was trained.

    Args:
        model: The file that training wrote, or a folder that ``save_pretrained`` wrote.
        settings: Which modalities are shown, and how answers are drawn.
        device: Where the model runs.
        batch_size: Clips at a time; halved where the device's memory does not hold them.
        num_workers: Processes that decode.
        face_detector: What finds the face where a clip has no crops; ``None`` leaves the face out.
        allow_import: Import parts that the checkpoint names as code.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
    """

    name = "affectgpt"
    target: ClassVar[str | None] = "model"

    def __init__(
        self,
        model: str | Path,
        settings: AnswerSettings | None = None,
        device: str = "cpu",
        batch_size: int = 8,
        num_workers: int = 2,
        face_detector: str | None = "centerface",
        allow_import: bool = False,
    ) -> None:
        self.checkpoint = Path(model)
        self.answer_settings = settings or get_profile("fast")
        self.device, self.batch_size, self.num_workers = device, batch_size, num_workers
        self.face_detector, self.allow_import = face_detector, allow_import
        self._loaded = _Loaded()
        stored, files = _settings_of(self.checkpoint, allow_import)
        self._style = str(stored.get("style", "official"))
        self._max_new_tokens = stored.get("max_new_tokens")
        self._digest = digest_of([sha256_of(file) for file in files])

    def title(self) -> str:
        """The name of the file or folder."""
        return name_of(self.checkpoint)

    @property
    def question(self) -> str:
        """The label question of the model's style."""
        from affectgpt.prompts.wordings import get_style

        return get_style(self._style).label_question

    def identity(self) -> Mapping[str, Any]:
        """Digest of the weights, limit of the answer, face detector, and what differs from showing all, greedily."""
        chosen = self.answer_settings
        found: dict[str, Any] = {
            "checkpoint": self._digest,
            "max_new_tokens": chosen.sampling.max_tokens or self._max_new_tokens,
            "face_detector": self.face_detector,
        }
        if chosen.sampling.temperature > 0:
            found["sampling"] = chosen.sampling.to_json()
        return found if chosen.modalities == MODALITIES else found | {"modalities": list(chosen.modalities)}

    def shown_and_drawn(self) -> Mapping[str, Any]:
        """Modalities, sampling and face detector; how media are decoded belongs to the checkpoint."""
        chosen = self.answer_settings
        sampling = chosen.sampling.to_json() | {"max_tokens": chosen.sampling.max_tokens or self._max_new_tokens}
        shown = {"modalities": list(chosen.modalities), "face_detector": self.face_detector}
        return {"shown": shown, "sampling": sampling}

    def settings(self) -> Mapping[str, Any]:
        """Device and batch size."""
        return {"device": self.device, "batch_size": self.batch_size}

    def inputs(self) -> Mapping[str, Any]:
        """The prompt with its slots, and how media are decoded; nothing before the model is loaded."""
        return {} if self._loaded.model is None else _inputs_of(self._loaded.model)

    def showing(self, modalities: Sequence[str]) -> Self:
        """The same checkpoint, shown these modalities alone; the model is loaded once for both."""
        other = copy.copy(self)
        other.answer_settings = self.answer_settings.changed(modalities)
        return other

    def answer(self, asked: Sequence[Asked], run: int = 0) -> Iterator[Answer]:
        """Answer every question, sorted by the length of the prompts, a window at a time; see ``Answerer``."""
        from affectgpt.model.answer_set import AnsweringPlan, answer_set

        failed: list[Answer] = []

        def batches() -> Iterator[Batch]:
            for read in self.read(asked):
                if isinstance(read, Answer):
                    failed.append(read)
                else:
                    yield read

        if asked:
            model = self.load()
            hide = _hidden(model, self.answer_settings.modalities)
            plan = AnsweringPlan(None, WINDOW, self._limit(model), self._sampling(run), tuple(hide))
            for found in answer_set(model, batches(), plan):
                for one in found:
                    facts = one.to_json()
                    yield Answer(facts.pop("key"), text=facts.pop("text"), extra=facts)
                while failed:
                    yield failed.pop()
        yield from failed

    def read(self, asked: Sequence[Asked]) -> Iterator[Batch | Answer]:
        """The clips in batches, on the model's device, and those that cannot be read as failed answers."""
        if not asked:
            return
        model = self.load()
        for question in dict.fromkeys(one.question for one in asked):
            alike = longest_first([one for one in asked if one.question == question])
            unreadable: dict[str, dict[str, str]] = {}
            for batch in self._loader(model, alike, question, unreadable):
                yield batch.to(model.device)
                yield from _taken_out(unreadable)
            yield from _taken_out(unreadable)

    def _loader(
        self, model: AffectGPT, asked: Sequence[Asked], question: str, unreadable: dict[str, dict[str, str]]
    ) -> BenchLoader:
        from affectgpt.datamodules.unibench.clip_loader import BenchClips, BenchLoader

        clips = BenchClips([_unlabelled(one) for one in asked], model.media, face_detector=self.face_detector)
        return BenchLoader(
            clips,
            question,
            unreadable,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            pin_memory=model.device.type == "cuda",
        )

    def write(self, batch: Batch, run: int = 0) -> Iterator[Answer]:
        """Answer a batch that ``read`` gave."""
        from affectgpt.model.answer_set import sampling_of

        model = self.load()
        hide = _hidden(model, self.answer_settings.modalities)
        sampling = sampling_of(self._sampling(run), batch.keys, batch.questions)
        for one in _answer(model, batch, self._limit(model), hide, sampling):
            facts = one.to_json()
            yield Answer(facts.pop("key"), text=facts.pop("text"), extra=facts)

    def blind_answer(self, question: str) -> str:
        """What the model answers, the most likely word each time, though nothing is shown to it.

        Args:
            question: The question.
        """
        from affectgpt.datamodules.collate import collate
        from affectgpt.part import in_eval_mode
        from affectgpt.types import Clip

        model = self.load()
        nothing = collate([Clip("nothing", media={})], [question], profile=model.media).to(model.device)
        with in_eval_mode(model):
            return _answer(model, nothing, self._limit(model), (), None)[0].text

    def _limit(self, model: AffectGPT) -> int:
        return self.answer_settings.sampling.max_tokens or model.max_new_tokens

    def _sampling(self, run: int) -> AnswerSampling | None:
        """How the answers of a repetition are drawn; ``None`` for greedily."""
        from affectgpt.llm.answer_sampling import AnswerSampling

        drawn = self.answer_settings.for_run(run)
        return AnswerSampling(drawn.temperature, drawn.top_p, seed=drawn.seed) if drawn.temperature > 0 else None

    def load(self) -> AffectGPT:
        """The model, which is loaded when it is first asked for.

        Raises:
            CheckpointError: If it cannot be.
        """
        if self._loaded.model is None:
            from affectgpt.model import AffectGPT

            self._loaded.model = AffectGPT.load(self.checkpoint, allow_import=self.allow_import).to(self.device)
        return self._loaded.model


def longest_first(asked: Sequence[Asked]) -> list[Asked]:
    """The clips by the length of their words, the longest first.

    Prompts of one length waste no padding, and what does not fit the memory shows at the start.
    """
    return sorted(asked, key=lambda one: len(one.subtitle or ""), reverse=True)


def name_of(checkpoint: str | Path) -> str:
    """What a checkpoint is called: the name of its file or folder, without the ending."""
    path = Path(checkpoint)
    return path.stem if path.suffix in (".ckpt", ".pth") else path.resolve().name


def sha256_of(path: Path) -> str:
    """Sha256 of a file, in hex.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        return digest_of_file(path)
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}") from error


def _taken_out(unreadable: dict[str, dict[str, str]]) -> Iterator[Answer]:
    """The clips that turned out to be unreadable since the last call."""
    for noted in unreadable.values():
        while noted:
            yield Answer.failed(*noted.popitem())


def _unlabelled(asked: Asked) -> Any:
    """The clip as the loader takes it, without its true label."""
    from affectgpt.datamodules.unibench.samples import BenchSample, BenchSet
    from affectgpt.datamodules.unibench.sets import TestSet

    unknown = BenchSet(TestSet(asked.set_name or "clips", asked.set_name, "open", 0), Path(), "list", ())
    return unknown, BenchSample(asked.key, "", asked.subtitle, asked.video, asked.audio, asked.faces)


def _hidden(model: AffectGPT, modalities: Sequence[str]) -> list[str]:
    """The slots that show what is not to be shown."""
    if {*MODALITIES} <= {*modalities}:
        return []
    named = {Modality.VISUAL: "video" in modalities, Modality.AUDIO: "audio" in modalities}
    kinds = {name: model.network.encoder(name).modality for name in model.network.specs}
    hidden = [name for name, kind in kinds.items() if not named.get(kind, False)]  # only what is named is shown
    return hidden if "text" in modalities else [*hidden, "subtitle"]


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


def _answer(
    model: AffectGPT, batch: Batch, max_new_tokens: int, hide: Sequence[str], sampling: AnswerSampling | None
) -> list[Prediction]:
    """Answer a batch; in halves where the device's memory does not hold it."""
    from affectgpt.model.answer import answer_batch
    from affectgpt.training.halving import in_halves

    return in_halves(
        lambda part: answer_batch(
            model,
            batch.rows(range(part.start, part.stop)),
            max_new_tokens,
            hide,
            None if sampling is None else sampling.rows(range(part.start, part.stop)),
        ),
        batch.keys,
        model.device,
    )


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
