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
from affectgpt.chat.local import LocalModel
from affectgpt.chat.reply import is_refusal
from affectgpt.errors import CheckpointError, ConfigError, DataError, reason_of
from affectgpt.files import digest_of

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

        model, processor = self._load()
        start = time.perf_counter()
        inputs = self._inputs(processor, batch).to(model.device, model.dtype)
        sampling = self.answer_settings.for_run(run)
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(int(digest_of([sampling.seed, [one.key for one, _ in batch]])[:8], 16))
            written = model.generate(**inputs, generation_config=_generation(model, processor, sampling))
        width = inputs["input_ids"].shape[1]
        new = written[:, width:]
        seconds = (time.perf_counter() - start) / len(batch)
        texts = processor.tokenizer.batch_decode(new, skip_special_tokens=True)
        pad = processor.tokenizer.pad_token_id
        found = []
        for row, ((one, media), text) in enumerate(zip(batch, texts, strict=True)):
            counts = int(inputs["attention_mask"][row].sum()), int((new[row] != pad).sum())
            extra = {"missing": media.missing} if media.missing else {}
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
            contents: list[dict[str, Any]] = []
            if media.frames is not None:
                contents += [{"type": "image"}] * len(media.frames)
                pictures.append(list(media.frames))
            if media.waveform is not None:
                contents.append({"type": "audio"})
                sounds.append(media.waveform.numpy())
            contents.append({"type": "text", "text": words_for(one, self.answer_settings.modalities)})
            turns = [{"role": "user", "content": contents}]
            prompts.append(processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
        given: dict[str, Any] = {"images": pictures} if pictures else {}
        if sounds:
            given |= {"audio": sounds, "sampling_rate": processor.feature_extractor.sampling_rate}
        return processor(text=prompts, padding=True, return_tensors="pt", add_special_tokens=False, **given)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import transformers

            source = {"revision": self.revision, "trust_remote_code": False}
            try:
                processor = transformers.AutoProcessor.from_pretrained(self.model, **source)
                kind = _auto_class(transformers, self.model, source)
                model = kind.from_pretrained(self.model, dtype=self.dtype, weights_only=True, **source)
            except (OSError, ValueError, ImportError) as error:
                raise CheckpointError(
                    f"the model {self.model!r} cannot be loaded: {reason_of(error)}. Name a folder with its "
                    "processor, or a model of the hub that transformers knows by itself"
                ) from error
            self._check(processor)
            processor.tokenizer.padding_side = "left"
            if processor.tokenizer.pad_token_id is None:
                processor.tokenizer.pad_token = processor.tokenizer.eos_token
            model = getattr(model, "thinker", model)  # of a model that speaks, what writes
            self._loaded = model.to(self.device).eval(), processor
        return self._loaded

    def _check(self, processor: Any) -> None:
        """Refuse what the processor does not take, before any clip is read.

        Raises:
            ConfigError: If it takes no pictures, no sound, or has no chat template.
        """
        if getattr(processor, "tokenizer", None) is None or not getattr(processor, "chat_template", None):
            raise ConfigError(f"the processor of {self.model!r} has no chat template; use a model for conversations")
        for modality, part in (("video", "image_processor"), ("audio", "feature_extractor")):
            if modality in self.answer_settings.modalities and getattr(processor, part, None) is None:
                others = [one for one in self.answer_settings.modalities if one != modality]
                raise ConfigError(
                    f"the processor of {self.model!r} ({type(processor).__name__}) takes no {modality}; show it the "
                    f"rest: --modalities {','.join(others) or 'text'}"
                )


def _auto_class(transformers: Any, model: str, source: Mapping[str, Any]) -> Any:
    """The first of transformers' classes for models that see or hear which knows the model.

    Raises:
        ValueError: If none does.
    """
    config = transformers.AutoConfig.from_pretrained(model, **source)
    for name in ("AutoModelForImageTextToText", "AutoModelForMultimodalLM", "AutoModelForSeq2SeqLM"):
        kind = getattr(transformers, name, None)
        if kind is not None and type(config) in kind._model_mapping:
            return kind
    raise ValueError(f"transformers knows no {config.model_type!r} model that sees or hears and writes")


def _generation(model: Any, processor: Any, sampling: Sampling) -> Any:
    """The settings of generation, without the model's own defaults, which would add some that the record lacks."""
    from transformers import GenerationConfig

    drawn: dict[str, Any] = {}
    if sampling.temperature > 0:
        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    tokenizer = processor.tokenizer
    return GenerationConfig(
        max_new_tokens=sampling.max_tokens,
        repetition_penalty=sampling.repetition_penalty,
        eos_token_id=model.generation_config.eos_token_id or tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **drawn,
    )


def _size(asked: Asked) -> int:
    """Bytes of a clip's files and words, which grow with what a model is shown."""
    files = [path for path in (asked.video, asked.audio) if path is not None]
    return len(asked.subtitle or "") + sum(path.stat().st_size for path in files if path.is_file())


def _joined(missing: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in missing.items()) or "no words"
