"""AffectGPT: encoders, pooling, pre-fusion and projectors in front of a language model.

Shape letters are those of ``affectgpt.types``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from affectgpt.checkpoints.stored_model import StoredModel
from affectgpt.encoders.base import Encoder
from affectgpt.encoders.build import build_encoder
from affectgpt.encoders.streams import MULTI, StreamSpec, read_streams
from affectgpt.errors import ConfigError
from affectgpt.features.feeding import FedByFeatures, stand_ins
from affectgpt.fusion.base import Pooling, PreFusion
from affectgpt.fusion.projector import Projector
from affectgpt.llm.base import LLMHead
from affectgpt.llm.scatter import check_slots, scatter_slots
from affectgpt.media.profile import MediaProfile
from affectgpt.media.speech.base import Asr
from affectgpt.model.scores import StageScores
from affectgpt.part import Part
from affectgpt.prompts.render import Renderer
from affectgpt.prompts.wordings import get_style
from affectgpt.registry import LLMS, POOLINGS, PREFUSIONS, Spec
from affectgpt.training.optim import OptimSpec, build_optimizer
from affectgpt.types import SOURCES, Batch, Features, Modality, Prediction


class Output(NamedTuple):
    """What one pass of the model gives; a tuple, so that FSDP finds the tensors in it.

    Attributes:
        loss: Mean cross-entropy over the answers' tokens, or ``None`` without answers.
        logits: Float ``[B, L, V]`` where there is neither a loss to compute nor an answer to write, else ``None``.
        texts: Written answers, empty when none were asked for.
        used: For each sample, the slots that were filled.
        num_cut: Samples whose subtitle was shortened to fit.
    """

    loss: Tensor | None
    logits: Tensor | None
    texts: tuple[str, ...]
    used: tuple[tuple[str, ...], ...]
    num_cut: int


class AffectGPT(FedByFeatures, StoredModel):
    """The model of the paper, composed of registered parts.

    Each stream is encoded, pooled to a few tokens and projected to the LLM's width; the pre-fusion joins streams into
    the ``multi`` tokens. All are scattered into the slots of the prompt (paper, section 3).

    Args:
        streams: Stream name to its spec. The name is the stream's slot in the prompt.
        llm: The language model.
        prefusion: What joins streams before the LLM; ``none`` for nothing.
        prefusion_inputs: Streams to join, in order; by default the first visual and the first audio stream.
        style: Wording of the prompt: ``official`` or ``brief``.
        max_tokens: Longest sequence, answer included.
        max_new_tokens: Longest answer when writing.
        media: How clips are decoded: a named profile (``official``), or the fields of ``MediaProfile``; its sources
            follow from the streams.
        optim: Optimiser settings, see ``OptimSpec``.
        slot_dropout: Share of stream tokens, and of ``multi`` tokens, that are left out of a training prompt at
            random, so that the model also learns to answer without them.
        slots: What the prompt shows: names of streams, ``multi``, ``subtitle``; by default everything. A stream that is
            not shown still takes part in the pre-fusion, as long as ``multi`` is.
        wheel: Vocabulary of the validation metrics: ``builtin``, or the folder of the official tables.
        official: What the released checkpoint that the model came from said beside its weights, and the shapes of
            those among them that this model has no use for and carries along; set by ``from_official``.
        features: Feature shards that the model will be fed from: encoders that they make needless are not loaded, see
            ``feature_cache.stand_ins``. It belongs to the run, not to the model: a checkpoint loads as the full model.

    Raises:
        ConfigError: If a part is unknown, an argument is wrong, or parts do not fit together.
    """

    def __init__(
        self,
        streams: Mapping[str, StreamSpec],
        llm: Spec | str,
        prefusion: Spec | str = "attention",
        prefusion_inputs: Sequence[str] | None = None,
        style: str = "official",
        max_tokens: int = 1024,
        max_new_tokens: int = 128,
        media: dict[str, Any] | str | MediaProfile | None = None,
        optim: OptimSpec | None = None,
        slot_dropout: float = 0.0,
        wheel: str = "builtin",
        official: Mapping[str, Any] | None = None,
        slots: list[str] | None = None,
        features: str | list[str] | None = None,
    ) -> None:
        specs = read_streams(streams)
        sources = tuple(dict.fromkeys(str(spec.source) for spec in specs.values()))
        self.media = replace(MediaProfile.of(media), sources=sources)
        self.optim = OptimSpec.of(optim)
        self._init_args |= {
            "streams": {name: spec.to_json() for name, spec in specs.items()},
            "llm": Spec.of(llm).to_json(),
            "prefusion": Spec.of(prefusion).to_json(),
            "media": self.media.to_json(),
            "optim": self.optim.to_json(),
        }
        del self._init_args["features"]
        super().__init__()
        self.strict_loading = False  # frozen weights may be left out; on_load_checkpoint compares the names
        self.specs = specs
        self.slot_dropout = slot_dropout
        self.max_new_tokens = max_new_tokens
        standing = stand_ins(specs, self.media, features)
        self.encoders = nn.ModuleDict(
            {name: standing.get(name) or self._build_encoder(name, spec) for name, spec in specs.items()}
        )
        widths = {name: int(self.encoder(name).out_dim) for name in specs}
        self.poolings = nn.ModuleDict(
            {name: POOLINGS.build(spec.pooling, in_dim=widths[name]) for name, spec in specs.items()}
        )
        self.prefusion_inputs = self._prefusion_inputs(prefusion_inputs)
        self.prefusion: PreFusion = PREFUSIONS.build(prefusion, in_dims=[widths[n] for n in self.prefusion_inputs])
        self.llm: LLMHead = LLMS.build(llm)
        self.num_tokens = {name: int(self.pooling(name).num_tokens) for name in specs}
        token_dims = {name: int(self.pooling(name).out_dim) for name in specs}
        if self.prefusion.num_tokens:
            self.num_tokens[MULTI] = self.prefusion.num_tokens
            token_dims[MULTI] = self.prefusion.out_dim
        self.slots = self._slots(slots)
        self.projectors = nn.ModuleDict({n: Projector(dim, self.llm.hidden_dim) for n, dim in token_dims.items()})
        carried = (official or {}).get("carried", {})
        self.carried = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(torch.zeros(shape), False) for name, shape in carried.items()}
        )
        self.style = get_style(style)
        self.renderer = Renderer(self.style, self.llm.tokenizer, max_tokens)
        self._scores = StageScores(wheel)
        self._is_sharded = False

    def pooling(self, name: str) -> Pooling:
        """The pooling of a stream."""
        pooling = self.poolings[name]
        assert isinstance(pooling, Pooling)
        return pooling

    def forward(self, batch: Batch, max_new_tokens: int | None = None, hide: Sequence[str] = ()) -> Output:
        """Answer a batch, or compare with its answers.

        Args:
            batch: Clips, questions, and answers to learn.
            max_new_tokens: Write answers of at most so many tokens; ``None`` computes loss and logits instead.
            hide: Slots to leave out of every prompt: streams, ``multi``, or ``subtitle``. A hidden stream is hidden
                from the pre-fusion too.

        Raises:
            AlignmentError: If placeholders and feature tokens do not fit.
            DataError: If the media have another shape than the encoders take.
        """
        writing = max_new_tokens is not None
        features = {name: self._encode(name, batch) for name in self.specs}
        present = self._present(features, hide)
        shows_words = "subtitle" in self.slots and "subtitle" not in hide
        subtitles = [(words or "") if shows_words else None for words in batch.subtitles]
        used = [tuple(name for name in present if present[name][i]) for i in range(len(batch))]
        prompt = self.renderer(
            used, self.num_tokens, batch.questions, subtitles, None if writing else batch.answers, batch.keys
        )
        check_slots(prompt.slot_index, prompt.slots, self.num_tokens, present, batch.keys)
        tokens = self._tokens(features)
        prompt = prompt.to(next(iter(tokens.values())).device)
        # every slot is scattered, empty ones too: each rank then runs the same operations, with a gradient for each
        slots = [*prompt.slots, *(name for name in tokens if name not in prompt.slots)]
        embeds = scatter_slots(self.llm.embed(prompt.ids), prompt.slot_index, slots, tokens, present)
        if max_new_tokens is not None:
            texts = self.llm.generate(embeds, prompt.keep, max_new_tokens, self.style.stop)
            return Output(None, None, tuple(texts), tuple(used), prompt.num_cut)
        out = self.llm(embeds, prompt.keep, prompt.labels)
        return Output(out.loss, out.logits, (), tuple(used), prompt.num_cut)

    @torch.no_grad()
    def generate(self, batch: Batch, max_new_tokens: int | None = None, hide: Sequence[str] = ()) -> list[str]:
        """Write one answer a sample, greedily, as a batch with a key-value cache; see ``forward``."""
        with answering(self):
            out: Output = self(batch, max_new_tokens or self.max_new_tokens, hide)
        return list(out.texts)

    def predict(
        self,
        clip: str | Path | bytes,
        subtitle: str | None = None,
        *,
        question: str | None = None,
        audio: str | Path | bytes | None = None,
        max_new_tokens: int | None = None,
        key: str | None = None,
        face_detector: str | Mapping[str, Any] | None = "centerface",
        asr: Asr | str | Mapping[str, Any] | None = None,
    ) -> Prediction:
        """Answer one clip.

        Args:
            clip: A media file, or its bytes.
            subtitle: Spoken words, if known.
            question: What to ask; by default for all possible emotional states, as published.
            audio: A separate sound file, instead of the clip's own track.
            max_new_tokens: Longest answer.
            key: Name of the clip in messages; by default the file's name.
            face_detector: What finds the face for a stream that reads ``face``; ``None`` leaves the face out.
            asr: What hears the words of a clip without subtitle: an ``Asr``, or ``NAME:MODEL`` of ``ASRS``.

        Raises:
            DataError: If the file cannot be decoded.
        """
        from affectgpt.model.answer import answer_clip

        with answering(self):
            return answer_clip(self, clip, subtitle, question, audio, max_new_tokens, key, face_detector, asr)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch, with slots left out at random if ``slot_dropout`` says so.

        Raises:
            ConfigError: If the batch has no answers.
        """
        out: Output = self(batch)
        if out.loss is None:
            raise ConfigError("a training batch needs answers; the datamodule was asked for none")
        self.log("train/loss", out.loss.detach(), prog_bar=True, batch_size=len(batch))
        if out.num_cut:
            self.log("train/cut_subtitles", float(out.num_cut), reduce_fx="sum", batch_size=len(batch))
        return out.loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and wheel score of one batch."""
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and wheel score of one batch."""
        self._evaluate("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """Answers of one batch."""
        from affectgpt.model.answer import answer_batch

        return answer_batch(self, batch)

    def on_validation_epoch_end(self) -> None:
        """Log the wheel score of the epoch."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the wheel score of the epoch."""
        self._log_scores("test")

    def setup(self, stage: str) -> None:
        """Check that the datamodule prepares clips as the model expects them.

        Raises:
            ConfigError: If its media profile or its wording is another.
        """
        datamodule = getattr(self.trainer, "datamodule", None)
        theirs = getattr(datamodule, "profile", None)
        if isinstance(theirs, MediaProfile) and theirs != self.media:
            raise ConfigError(
                f"the datamodule decodes clips with {theirs.to_json()}, the model expects {self.media.to_json()}; "
                "give both the same media profile"
            )
        wording = getattr(datamodule, "style", self.style)
        if wording != self.style:
            raise ConfigError(
                f"the datamodule asks in the style {wording.name!r}, the model in {self.style.name!r}; "
                "give both the same style"
            )

    def configure_optimizers(self) -> Any:
        """AdamW with a warm-up, see ``OptimSpec``."""
        optimizer, schedule = build_optimizer(self.named_parameters(), self.optim)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_model(self) -> None:
        """Shard the parts one by one, then the whole, when the strategy asks for it (FSDP2)."""
        if self.device_mesh is None or self._is_sharded:
            return
        if self.device_mesh["tensor_parallel"].size() > 1:
            raise ConfigError(
                f"the strategy asks for tensor parallelism over {self.device_mesh['tensor_parallel'].size()} devices, "
                "which the model does not have; give data_parallel_size: (all devices), tensor_parallel_size: 1"
            )
        from affectgpt.training.sharding import shard_model

        self._is_sharded = True
        shard_model(self, self.shard_units(), self.device_mesh["data_parallel"])

    def shard_units(self) -> list[nn.Module]:
        """The layers of the encoders and of the LLM, one by one."""
        parts = [*(self.encoder(name) for name in self.specs), self.llm]
        return [unit for part in parts for unit in part.shard_units()]

    def parts(self) -> dict[str, Part]:
        """Encoders and LLM, which may read weights from files of their own, by the start of their tensors' names."""
        return {**{f"encoders.{name}.": self.encoder(name) for name in self.specs}, "llm.": self.llm}

    def restored_keys(self) -> Iterator[str]:
        """Names in the state dict that need not be in a checkpoint."""
        trainable = {name for name, p in self.named_parameters() if p.requires_grad}
        buffers = {name for name, _ in self.named_buffers()}
        for start, part in self.parts().items():
            prefixes = tuple(start + prefix for prefix in part.restored_prefixes() if not part.was_trained)
            for key in self.state_dict():
                if prefixes and key.startswith(prefixes) and key not in trainable:
                    if key in buffers and not part.frozen and start != "llm.":
                        continue  # running statistics of an encoder in training
                    yield key

    def saves_shards(self) -> bool:
        """Whether the strategy writes checkpoints in shards."""
        return self._is_sharded and bool(getattr(self.trainer.strategy, "_save_distributed_checkpoint", False))

    def _build_encoder(self, name: str, spec: StreamSpec) -> Encoder:
        encoder = build_encoder(spec.encoder)
        if encoder.modality != SOURCES[str(spec.source)]:
            raise ConfigError(
                f"stream {name!r} reads {spec.source!r}, which is {SOURCES[str(spec.source)]}, with the encoder "
                f"{Spec.of(spec.encoder).name!r}, which reads {encoder.modality}; change the source or the encoder"
            )
        if not spec.trainable:
            encoder.freeze()
        return encoder

    def _prefusion_inputs(self, given: Sequence[str] | None) -> tuple[str, ...]:
        if given is not None:
            unknown = [name for name in given if name not in self.specs]
            if unknown:
                raise ConfigError(
                    f"prefusion_inputs: no stream is called {unknown[0]!r}; there are {', '.join(self.specs)}"
                )
            return tuple(given)
        kinds = {name: SOURCES[str(spec.source)] for name, spec in self.specs.items()}
        firsts = [next((n for n, k in kinds.items() if k is kind), None) for kind in Modality]
        return tuple(name for name in firsts if name is not None)

    def _encode(self, name: str, batch: Batch) -> Features:
        """Features of a stream: those that came with the batch, or the encoder's."""
        if name in batch.features:
            return batch.features[name]
        source = str(self.specs[name].source)
        if source in batch.media and self._reads(name):
            features: Features = self.encoders[name](batch.media[source], batch.keep[source])
            return features
        # nobody in the batch has the input, or nothing reads it: one blank step, so that every rank does the same
        device = next(self.projectors.parameters()).device
        keep = torch.zeros(len(batch), 1, dtype=torch.bool, device=device)
        if self._is_sharded or (self.training and self.specs[name].trainable):
            blank: Features = self.encoders[name](self._blank(source, len(batch)).to(device), keep)
            return blank
        return Features(torch.zeros(len(batch), 1, self.encoder(name).out_dim, device=device), keep)

    def _blank(self, source: str, batch_size: int) -> Tensor:
        if SOURCES[source] is Modality.AUDIO:
            return torch.zeros(batch_size, 1, self.media.segment_samples)
        size = (self.media.frame_height or 224, self.media.frame_width or 224)
        return torch.zeros(batch_size, 1, 3, *size, dtype=torch.uint8)

    def _present(self, features: Mapping[str, Features], hide: Sequence[str]) -> dict[str, list[bool]]:
        """For each slot, which samples bring it; one transfer from the device for all streams."""
        unknown = [name for name in hide if name not in (*self.num_tokens, "subtitle")]
        if unknown:
            raise ConfigError(f"cannot hide {unknown[0]!r}; there are {', '.join((*self.num_tokens, 'subtitle'))}")
        names = list(self.specs)
        there = torch.stack([features[name].keep.any(1) for name in names]).cpu()
        if self.training and self.slot_dropout > 0:
            there &= torch.rand(there.shape) >= self.slot_dropout
        for i, name in enumerate(names):
            there[i] &= name not in hide
        present = {name: there[i].tolist() for i, name in enumerate(names)}
        if MULTI in self.num_tokens:
            joined = there[[names.index(name) for name in self.prefusion_inputs]].all(0)
            if self.training and self.slot_dropout > 0:
                joined &= torch.rand(joined.shape) >= self.slot_dropout
            present[MULTI] = (joined & (MULTI not in hide)).tolist()
        return {name: [shown and name in self.slots for shown in row] for name, row in present.items()}

    def _slots(self, given: Sequence[str] | None) -> frozenset[str]:
        known = (*self.num_tokens, "subtitle")
        unknown = [name for name in given or () if name not in known]
        if unknown or given == []:
            wrong = f"unknown slot {unknown[0]!r}" if unknown else "no slot at all"
            raise ConfigError(f"slots: {wrong}; the prompt can show {', '.join(known)}")
        return frozenset(known if given is None else given)

    def _reads(self, name: str) -> bool:
        """Whether anything in the prompt depends on a stream."""
        return name in self.slots or (MULTI in self.slots and name in self.prefusion_inputs)

    def slot_tokens(self, batch: Batch) -> dict[str, Tensor]:
        """What the language model is given for each slot: stream name, or ``multi``, to float ``[B, K, E]``."""
        return self._tokens({name: self._encode(name, batch) for name in self.specs})

    def _tokens(self, features: Mapping[str, Features]) -> dict[str, Tensor]:
        """Tokens of every slot, at the LLM's width: ``[B, K, E]`` each."""
        tokens = {name: self.poolings[name](features[name]) for name in self.specs}
        if MULTI in self.num_tokens:
            tokens[MULTI] = self.prefusion([features[name] for name in self.prefusion_inputs])
        return {name: self.projectors[name](value) for name, value in tokens.items()}

    def _evaluate(self, stage: str, batch: Batch) -> None:
        if batch.answers is not None:
            loss = self(batch).loss
            self.log(f"{stage}/loss", loss, prog_bar=True, sync_dist=True, batch_size=len(batch))
        asked = [question == self.style.label_question for question in batch.questions]
        gold = [labels if there else () for labels, there in zip(batch.labels, asked, strict=False)]
        if any(gold) or self._is_sharded:  # sharded ranks write together, or not at all
            from affectgpt.model.answer import answer_batch

            self._scores.add(stage, answer_batch(self, batch), gold or [()] * len(batch), self.device)

    def _log_scores(self, stage: str) -> None:
        for name, value in self._scores.take(stage, self.device).items():
            self.log(f"{stage}/{name}", value.float(), prog_bar=name == "f1")


@contextmanager
def answering(model: AffectGPT) -> Iterator[None]:
    """Eval mode for as long as answers are written: no dropout, no slot left out at random."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
