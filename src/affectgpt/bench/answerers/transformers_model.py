"""Answers with a model of transformers that sees or hears, through its own processor and chat template."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from affectgpt.bench.answerers.answer_settings import LONGEST_ANSWER, AnswerSettings, get_profile
from affectgpt.bench.answerers.asked_words import wording_record, words_for
from affectgpt.bench.answerers.base import Answer, Answerer, Asked
from affectgpt.bench.answerers.clip_media import ShownMedia, read_media
from affectgpt.bench.answerers.transformers_loading import load_model, prompt_of
from affectgpt.chat.local import LocalModel
from affectgpt.chat.reply import is_refusal
from affectgpt.errors import DataError, reason_of

if TYPE_CHECKING:
    from affectgpt.chat.sampling import Sampling

_Shown = tuple[Asked, ShownMedia]


class TransformersAnswerer(Answerer):
    """Runs a model in this process: Qwen2-VL, Qwen2-Audio, Qwen2.5-Omni, SmolVLM, and others that transformers knows.

    Frames are shown as pictures, the sound as a waveform at the rate of the model's processor. No code of a model's
    repository is run.

    Args:
        model: A folder, or a name on the Hugging Face hub.
        settings: What is shown, and how answers are drawn.
        revision: Commit, tag or branch on the hub.
        device: Where the model runs.
        dtype: Name of a torch dtype; ``auto`` as the weights were saved.
        batch_size: Clips at a time; halved where the device's memory does not hold them.
        num_workers: Processes that decode.

    Raises:
        ConfigError: If the batch size is below 1.
    """

    name = "transformers"
    target: ClassVar[str | None] = "model"

    def __init__(
        self,
        model: str,
        settings: AnswerSettings | None = None,
        revision: str | None = None,
        device: str = "cpu",
        dtype: str = "auto",
        batch_size: int = 8,
        num_workers: int = 2,
    ) -> None:
        chosen = settings or get_profile("fast")
        self.answer_settings = chosen.changed(max_tokens=chosen.sampling.max_tokens or LONGEST_ANSWER)
        self.model, self.revision, self.device, self.dtype = model, revision, device, dtype
        self.batch_size, self.num_workers = batch_size, num_workers
        self._stored = LocalModel(model, revision, device, dtype, batch_size)
        self._loaded: tuple[Any, Any] | None = None

    def title(self) -> str:
        """The name of the folder, or that on the hub."""
        return Path(self.model).resolve().name if Path(self.model).is_dir() else self.model

    def identity(self) -> Mapping[str, Any]:
        """Model and commit (of a folder a digest), dtype, prompt, what is shown and how answers are drawn."""
        return {"answerer": self.name, **self._stored.identity(), "dtype": self.dtype, **self.shown_and_drawn()}

    def shown_and_drawn(self) -> Mapping[str, Any]:
        """Media, words and sampling."""
        shown = self.answer_settings.shown()
        shown.pop("picture_form", None)  # nothing is written to a file
        shown.pop("sample_rate_hz", None)  # the processor's own
        return {"shown": shown, "wording": wording_record(), "sampling": self.answer_settings.sampling.to_json()}

    def settings(self) -> Mapping[str, Any]:
        """Device and batch size."""
        return {"device": self.device, "batch_size": self.batch_size}

    def answer(self, asked: Sequence[Asked], run: int = 0) -> Iterator[Answer]:
        """Answer every question, the largest clips first; see ``Answerer``.

        Raises:
            CheckpointError: If the model cannot be loaded.
            ConfigError: If its processor does not take what is to be shown.
        """
        _, processor = self._load()
        rate = getattr(getattr(processor, "feature_extractor", None), "sampling_rate", None)
        settings = replace(self.answer_settings, sample_rate_hz=rate or self.answer_settings.sample_rate_hz)
        # clips of one size waste no padding, and what does not fit the memory shows at the start
        ordered = sorted(asked, key=_size, reverse=True)
        waiting: dict[tuple[bool, bool], list[_Shown]] = {}
        for one, media in zip(ordered, read_media(ordered, settings, self.num_workers), strict=True):
            has = media.frames is not None, media.waveform is not None
            says = "text" in settings.modalities and one.subtitle and one.subtitle.strip()
            if media.problem is not None or not (any(has) or says):
                yield Answer.failed(one.key, media.problem or f"there is nothing to show: {_joined(media.missing)}")
                continue
            batch = waiting.setdefault(has, [])
            batch.append((one, media))
            if len(batch) == self.batch_size:
                yield from self._answer(waiting.pop(has), run)
        for batch in waiting.values():
            yield from self._answer(batch, run)

    def _answer(self, batch: list[_Shown], run: int) -> list[Answer]:
        """Answer a batch; in halves where the memory does not hold it, and one by one where something else is wrong."""
        from affectgpt.training.halving import in_halves

        model, _ = self._load()
        keys = [one.key for one, _ in batch]
        try:
            return in_halves(lambda part: self._write(batch[part], run), keys, model.device)
        except (DataError, ValueError, TypeError, RuntimeError, IndexError, KeyError) as error:
            if len(batch) == 1:
                missing = batch[0][1].missing
                told = f"; the clip has no {_joined(missing)}" if missing else ""
                return [Answer.failed(keys[0], f"the model cannot answer it: {reason_of(error)}{told}")]
        return [answer for shown in batch for answer in self._answer([shown], run)]

    def _write(self, batch: list[_Shown], run: int) -> list[Answer]:
        import torch
        from transformers import GenerationConfig

        model, processor = self._load()
        start = time.perf_counter()
        inputs = self._inputs(processor, batch).to(model.device, model.dtype)
        sampling = self.answer_settings.for_run(run)
        settings = GenerationConfig(
            max_new_tokens=sampling.max_tokens, repetition_penalty=sampling.repetition_penalty, do_sample=False
        )  # drawn answers are drawn by a processor of the logits
        with torch.inference_mode():
            written = model.generate(**inputs, generation_config=settings, **_drawing(sampling, batch))
        width = inputs["input_ids"].shape[1]
        new = written[:, width:]
        seconds = (time.perf_counter() - start) / len(batch)
        texts = processor.tokenizer.batch_decode(new, skip_special_tokens=True)
        pad = processor.tokenizer.pad_token_id
        found = []
        for row, ((one, media), text) in enumerate(zip(batch, texts, strict=True)):
            counts = int(inputs["attention_mask"][row].sum()), int((new[row] != pad).sum())
            extra: dict[str, Any] = {"missing": media.missing} if media.missing else {}
            if media.waveform is not None and (cut := _cut(processor, inputs, len(media.waveform))):
                extra["cut"] = {"audio": cut}
            if not text.strip():
                found.append(Answer(one.key, "failed", "", "the answer is empty", *counts, seconds, extra))
            elif is_refusal(text):
                found.append(Answer(one.key, "refused", text, "the answer is a stock refusal", *counts, seconds, extra))
            else:
                found.append(Answer(one.key, "answered", text, None, *counts, seconds, extra))
        return found

    def _inputs(self, processor: Any, batch: list[_Shown]) -> Any:
        """What the processor makes of the clips and their questions, padded on the left."""
        prompts, pictures, sounds = [], [], []
        for one, media in batch:
            kinds: list[str] = []
            if media.frames is not None:
                kinds += ["image"] * len(media.frames)
                pictures.append(list(media.frames))
            if media.waveform is not None:
                kinds.append("audio")
                sounds.append(media.waveform.numpy())
            prompts.append(prompt_of(processor, kinds, words_for(one, self.answer_settings.modalities)))
        given: dict[str, Any] = {"images": pictures} if pictures else {}
        if sounds:
            given |= {"audio": sounds, "sampling_rate": processor.feature_extractor.sampling_rate}
        return processor(text=prompts, padding=True, return_tensors="pt", add_special_tokens=False, **given)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            shown = self.answer_settings.modalities
            self._loaded = load_model(self.model, self.revision, self.device, self.dtype, shown)
        return self._loaded


def _drawing(sampling: Sampling, batch: Sequence[_Shown]) -> dict[str, Any]:
    """What draws the answers of a batch, each with a seed of its own; nothing for greedy ones."""
    from transformers import LogitsProcessorList

    from affectgpt.llm.answer_sampling import AnswerSampling, DrawnTokens
    from affectgpt.model.answer_set import sampling_of

    drawn = AnswerSampling(sampling.temperature, sampling.top_p, seed=sampling.seed)
    own = sampling_of(drawn, [one.key for one, _ in batch], [one.question for one, _ in batch])
    draws = None if own is None else own.row_draws(len(batch))
    if own is None or draws is None:
        return {}
    return {"logits_processor": LogitsProcessorList([DrawnTokens(own, draws)])}


def _cut(processor: Any, inputs: Mapping[str, Any], num_samples: int) -> str | None:
    """What was cut off a sound, in words: feature extractors such as Whisper's take a fixed number of seconds."""
    extractor = processor.feature_extractor
    window, features = getattr(extractor, "n_samples", None), inputs.get("input_features")
    if type(window) is not int or features is None or features.shape[-1] != getattr(extractor, "nb_max_frames", None):
        return None
    if num_samples <= window or len(features) > len(inputs["input_ids"]):  # the latter: long sounds are taken in pieces
        return None
    rate = extractor.sampling_rate
    return f"the processor takes the first {window / rate:g} s of {num_samples / rate:.1f} s"


def _size(asked: Asked) -> int:
    """Bytes of a clip's files and words, which grow with what a model is shown."""
    files = [path for path in (asked.video, asked.audio) if path is not None]
    return len(asked.subtitle or "") + sum(path.stat().st_size for path in files if path.is_file())


def _joined(missing: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in missing.items()) or "no words"
