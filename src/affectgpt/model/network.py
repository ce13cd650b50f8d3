"""The network: encoders, pooling, pre-fusion and projectors in front of a language model.

Shape letters are those of ``affectgpt.types``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from affectgpt.encoders.base import Encoder
from affectgpt.encoders.build import build_encoder
from affectgpt.encoders.streams import MULTI, StreamSpec
from affectgpt.errors import ConfigError
from affectgpt.features.feeding import stand_ins
from affectgpt.fusion.base import Pooling, PreFusion
from affectgpt.fusion.projector import Projector
from affectgpt.llm.answer_sampling import AnswerSampling
from affectgpt.llm.base import LLMHead
from affectgpt.llm.scatter import check_slots, scatter_slots, sent
from affectgpt.llm.shared_prompts import padded_answers
from affectgpt.llm.written_answers import WrittenAnswers
from affectgpt.media.profile import MediaProfile
from affectgpt.model.contract import check_encoder, check_encoding, check_fusion, check_llm, check_projector
from affectgpt.model.output import Output
from affectgpt.model.slot_content import SlotContent, shown
from affectgpt.part import Part
from affectgpt.prompts.render import PromptIds, Renderer
from affectgpt.prompts.wordings import get_style
from affectgpt.registry import LLMS, POOLINGS, PREFUSIONS, PROJECTORS, Spec
from affectgpt.types import Batch, Features, Modality, rows_kept


class Network(nn.Module):
    """The parts of the model, and the path of a batch through them.

    Each stream is encoded, pooled to a few tokens and projected to the LLM's width; the pre-fusion joins streams into
    the ``multi`` tokens. All tokens are scattered into the slots of the prompt (paper, section 3).

    Args:
        streams: Stream name to its spec, with its source set.
        llm: The language model.
        prefusion: What joins streams before the LLM.
        prefusion_inputs: See ``AffectGPT``.
        projector: What maps the tokens of each slot to the LLM's width.
        style: Name of the prompt's wording.
        max_tokens: Longest sequence, answer included.
        media: How clips are decoded.
        slots: See ``AffectGPT``.
        features: See ``AffectGPT``.
        carried: Name to shape of tensors that the model does not use but stores with the rest.
        allow_import: See ``AffectGPT``.
        packing: See ``AffectGPT``.

    Attributes:
        specs: Stream name to its spec.
        num_tokens: Slot to the number of its tokens.
        slots: What the prompt shows.
        prefusion_inputs: Streams that the pre-fusion joins.
        is_sharded: Whether ranks share the weights (FSDP); every rank must then run the same parts, whatever its batch
            holds.

    Raises:
        ConfigError: If a part is unknown, an argument is wrong, or the parts do not fit together.
    """

    def __init__(
        self,
        streams: Mapping[str, StreamSpec],
        llm: Spec,
        *,
        prefusion: Spec,
        prefusion_inputs: Sequence[str] | None,
        projector: Spec,
        style: str,
        max_tokens: int,
        media: MediaProfile,
        slots: Sequence[str] | None,
        features: str | Sequence[str] | None,
        carried: Mapping[str, Sequence[int]],
        allow_import: bool,
        packing: bool = False,
    ) -> None:
        super().__init__()
        self.specs = dict(streams)
        self.media = media
        standing = stand_ins(self.specs, media, features)
        self.encoders = nn.ModuleDict(
            {
                name: standing.get(name) or _build_encoder(name, spec, media, allow_import)
                for name, spec in self.specs.items()
            }
        )
        for name, spec in self.specs.items():
            check_encoding(self.encoder(name), media.source(str(spec.source)).blank(1))
        widths = {name: int(self.encoder(name).out_dim) for name in self.specs}
        self.poolings = nn.ModuleDict(
            {
                name: POOLINGS.build(spec.pooling, allow_import=allow_import, in_dim=widths[name])
                for name, spec in self.specs.items()
            }
        )
        self.prefusion_inputs = _prefusion_inputs(self.specs, media, prefusion_inputs)
        self.prefusion: PreFusion = PREFUSIONS.build(
            prefusion, allow_import=allow_import, in_dims=[widths[n] for n in self.prefusion_inputs]
        )
        for name in self.specs:
            check_fusion(self.pooling(name))
        check_fusion(self.prefusion)
        self.llm: LLMHead = LLMS.build(llm, allow_import=allow_import)
        check_llm(self.llm)
        self.num_tokens = {name: int(self.pooling(name).num_tokens) for name in self.specs}
        token_dims = {name: int(self.pooling(name).out_dim) for name in self.specs}
        if self.prefusion.num_tokens:
            self.num_tokens[MULTI] = self.prefusion.num_tokens
            token_dims[MULTI] = self.prefusion.out_dim
        self.slots = _slots(self.num_tokens, slots)
        self.projectors = nn.ModuleDict(
            {
                name: PROJECTORS.build(projector, allow_import=allow_import, in_dim=dim, out_dim=self.llm.hidden_dim)
                for name, dim in token_dims.items()
            }
        )
        for built in self.projectors.values():
            assert isinstance(built, Projector)
            check_projector(built)
        self.carried = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(torch.zeros(tuple(shape)), False) for name, shape in carried.items()}
        )
        sources = {name: media.source(str(spec.source)) for name, spec in self.specs.items()}
        self.style = get_style(style).extended({name: source.wordings for name, source in sources.items()})
        self.renderer = Renderer(self.style, self.llm.tokenizer, max_tokens)
        self.packing = packing
        self.is_sharded = False

    def encoder(self, name: str) -> Encoder:
        """The encoder of a stream."""
        encoder = self.encoders[name]
        assert isinstance(encoder, Encoder)
        return encoder

    def pooling(self, name: str) -> Pooling:
        """The pooling of a stream."""
        pooling = self.poolings[name]
        assert isinstance(pooling, Pooling)
        return pooling

    def forward(
        self,
        batch: Batch,
        max_new_tokens: int | None = None,
        hide: Sequence[str] = (),
        slot_dropout: float = 0.0,
        sampling: AnswerSampling | None = None,
    ) -> Output:
        """Answer a batch, or compute the loss of its answers.

        Args:
            batch: Clips, questions, and answers to learn.
            max_new_tokens: Longest answer to write, in tokens; ``None`` computes loss and logits instead.
            hide: Slots to leave out of every prompt: streams, ``multi``, or ``subtitle``. A hidden stream is hidden
                from the pre-fusion too.
            slot_dropout: Share of slots to leave out at random.
            sampling: How answers are drawn; greedily by default.

        Raises:
            AlignmentError: If the number of placeholders differs from the number of feature tokens.
            DataError: If the media have another shape than the encoders take.
        """
        features = self._features(batch)
        content = self._content(features, hide, slot_dropout)
        writing = max_new_tokens is not None
        answers = None if writing or batch.answer_ids else batch.answers
        prompt = self.render(content, batch.questions, batch.subtitles, answers, batch.keys, hide, batch.wordless)
        used = tuple(content.used)
        if max_new_tokens is not None:
            written = self.write(prompt, content, max_new_tokens, sampling)
            return Output(None, None, None, used, prompt.is_cut, written=written, features=features)
        if batch.answer_ids is not None:
            return self._judge(prompt, content, batch.answer_ids)
        if prompt.labels is None:
            embeds = self.place(prompt, content)
            logits = self.llm(embeds, sent(prompt.keep, embeds.device)).logits
            return Output(None, None, logits, used, prompt.is_cut)
        losses, learnt = self._learn(prompt, content)
        positions, padding = prompt.keep.numel(), int((~prompt.keep).sum())
        sums = (losses.sum(1), learnt.sum(1))
        return Output(*sums, None, used, prompt.is_cut, positions, padding, losses, learnt)

    def look(self, batch: Batch, hide: Sequence[str] = (), slot_dropout: float = 0.0) -> SlotContent:
        """Run the encoders, poolings, pre-fusion and projectors; the arguments are those of ``forward``."""
        return self._content(self._features(batch), hide, slot_dropout)

    def render(
        self,
        content: SlotContent,
        questions: Sequence[str],
        subtitles: Sequence[str | None],
        answers: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
        hide: Sequence[str] = (),
        wordless: Sequence[bool] = (),
    ) -> PromptIds:
        """The prompts of samples, on the CPU: padded on the left, or on the right where there are answers to learn.

        Samples in ``wordless`` have no subtitle in their prompt, see ``Batch``.

        Raises:
            AlignmentError: If the number of placeholders differs from the number of feature tokens.
        """
        shows_words = "subtitle" in self.slots and "subtitle" not in hide
        left_out = wordless or [False] * len(subtitles)
        words = [
            (text or "") if shows_words and not out else None for text, out in zip(subtitles, left_out, strict=True)
        ]
        prompt = self.renderer(content.used, self.num_tokens, questions, words, answers, keys)
        keys = [str(i) for i in range(len(questions))] if keys is None else keys
        check_slots(prompt.slot_index, prompt.slots, self.num_tokens, content.present, keys)
        return prompt

    def place(self, prompt: PromptIds, content: SlotContent) -> Tensor:
        """Embeddings of prompts with the feature tokens in them, float ``[B, L, E]``."""
        # slots that no sample fills are scattered too, so that every rank runs the same operations and every parameter
        # gets a gradient
        slots = [*prompt.slots, *(name for name in content.tokens if name not in prompt.slots)]
        embeds = self.llm.embed(sent(prompt.ids, content.device))
        return scatter_slots(embeds, prompt.slot_index, slots, content.tokens, content.present)

    def write(
        self, prompt: PromptIds, content: SlotContent, max_new_tokens: int, sampling: AnswerSampling | None = None
    ) -> WrittenAnswers:
        """Answers to prompts; see ``LLMHead.write``."""
        embeds = self.place(prompt, content)
        keep = sent(prompt.keep, embeds.device)
        return self.llm.write(embeds, keep, max_new_tokens, self.style.stop, sampling)

    def _judge(self, prompt: PromptIds, content: SlotContent, answer_ids: Sequence[Sequence[Sequence[int]]]) -> Output:
        """The losses of groups of answers to prompts as they are when answers are written, one row an answer."""
        answers = [answer for group in answer_ids for answer in group]
        ids, answered = padded_answers(answers, int(self.llm.tokenizer.pad_token_id))
        embeds = self.place(prompt, content)
        losses = self.llm.group_losses(embeds, prompt.keep, ids, answered)
        positions = prompt.keep.numel() + answered.numel()
        padding = positions - int(prompt.keep.sum()) - int(answered.sum())
        answered = sent(answered, embeds.device)
        sums = (losses.sum(1), answered.sum(1))
        return Output(*sums, None, tuple(content.used), prompt.is_cut, positions, padding, losses, answered)

    def _learn(self, prompt: PromptIds, content: SlotContent) -> tuple[Tensor, Tensor]:
        """Cross-entropy of every token of the answers, float32 ``[B, L]``, and where there is one, bool ``[B, L]``."""
        row, numbers = prompt.packed() if self.packing else (prompt, None)
        embeds = self.place(row, content)
        given: list[Tensor | None] = [row.keep, row.labels, numbers]
        if not self.llm.reads_on_host:
            given = [None if value is None else sent(value, embeds.device) for value in given]
        out = self.llm(embeds, *given)
        losses, learnt = out.token_losses, out.learnt
        if losses is None or learnt is None:
            raise ConfigError(
                f"the head {type(self.llm).__name__} was given labels, and gave no token_losses or learnt"
            )
        if numbers is not None:  # back to a row for each sample
            shape = prompt.keep.shape
            positions = sent(prompt.keep.flatten().nonzero().squeeze(1), embeds.device)
            losses, learnt = (
                value.new_zeros(shape.numel()).index_copy(0, positions, value.flatten()).view(shape)
                for value in (losses, learnt)
            )
        return losses, learnt

    def encode(self, name: str, batch: Batch) -> Features:
        """Features of a stream, ``hidden`` ``[B, T, D]``: those that came with the batch, or else the encoder's."""
        if name in batch.features:
            return batch.features[name]
        source = str(self.specs[name].source)
        if source in batch.media and self._reads(name):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.encoder(name).frozen):
                features: Features = self.encoders[name](batch.media[source], batch.keep[source])
            return features
        # no sample in the batch has the input, or nothing reads it: encode one blank step, so that all ranks run the
        # same parts
        device = next(self.projectors.parameters()).device
        keep = torch.zeros(len(batch), 1, dtype=torch.bool, device=device)
        if self.is_sharded or (self.encoder(name).training and self.specs[name].trainable):
            blank: Features = self.encoders[name](self.media.source(source).blank(len(batch)).to(device), keep)
            return blank
        return Features(torch.zeros(len(batch), 1, self.encoder(name).out_dim, device=device), keep)

    def slot_tokens(self, batch: Batch) -> dict[str, Tensor]:
        """The tokens that the LLM gets for each slot: stream name or ``multi`` to float ``[B, K, E]``."""
        return self._tokens(self._features(batch))

    def _features(self, batch: Batch) -> dict[str, Features]:
        return {name: self.encode(name, batch) for name in self.specs}

    def _content(self, features: Mapping[str, Features], hide: Sequence[str], slot_dropout: float) -> SlotContent:
        there = self._there(features, hide, slot_dropout)
        return SlotContent(self._tokens(features, there), self._present(there, hide, slot_dropout))

    def _tokens(self, features: Mapping[str, Features], there: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Tokens of every slot, projected to the LLM's width: ``[B, K, E]`` each."""
        tokens = {name: self.poolings[name](features[name]) for name in self.specs}
        if MULTI in self.num_tokens:
            joined = [features[name] for name in self.prefusion_inputs]
            if self.prefusion.any_subset and there is not None:  # what is hidden in a prompt is not joined either
                joined = [shown(one, there[name]) for one, name in zip(joined, self.prefusion_inputs, strict=True)]
            tokens[MULTI] = self.prefusion(joined)
        return {name: self.projectors[name](value) for name, value in tokens.items()}

    def shard_units(self) -> list[nn.Module]:
        """The layers of the encoders, encoders as a whole where they are frozen, and the layers of the LLM."""
        units: list[nn.Module] = []
        for encoder in map(self.encoder, self.specs):
            units += encoder.shard_units()
            if encoder.frozen and any(True for _ in encoder.parameters()):
                units.append(encoder)
        return [*units, *self.llm.shard_units()]

    def parts(self) -> dict[str, Part]:
        """Prefix of a tensor's name to its part, for those that may read weights from other files: encoders and LLM."""
        return {**{f"encoders.{name}.": self.encoder(name) for name in self.specs}, "llm.": self.llm}

    def restored_keys(self) -> Iterator[str]:
        """Names in the state dict that a checkpoint may leave out."""
        trainable = {name for name, p in self.named_parameters() if p.requires_grad}
        buffers = {name for name, _ in self.named_buffers()}
        for start, part in self.parts().items():
            prefixes = tuple(start + prefix for prefix in part.restored_prefixes() if not part.was_trained)
            own = trainable | {start + key for key in part.own_keys()}
            for key in self.state_dict():
                if prefixes and key.startswith(prefixes) and key not in own:
                    if key in buffers and not part.frozen and start != "llm.":
                        continue  # running statistics of an encoder in training
                    yield key

    def _there(self, features: Mapping[str, Features], hide: Sequence[str], slot_dropout: float) -> dict[str, Tensor]:
        """Which samples show each stream: bool ``[B]`` on the CPU, whether or not the prompt has a slot for it."""
        unknown = [name for name in hide if name not in (*self.num_tokens, "subtitle")]
        if unknown:
            raise ConfigError(f"cannot hide {unknown[0]!r}; there are {', '.join((*self.num_tokens, 'subtitle'))}")
        there = torch.stack([rows_kept(features[name].keep) for name in self.specs])
        if slot_dropout > 0:
            there &= torch.rand(there.shape) >= slot_dropout
        return {name: row & (name not in hide) for name, row in zip(self.specs, there, strict=True)}

    def _present(self, there: Mapping[str, Tensor], hide: Sequence[str], slot_dropout: float) -> dict[str, list[bool]]:
        """For each slot, which samples bring it."""
        present = dict(there)
        if MULTI in self.num_tokens:
            inputs = torch.stack([there[name] for name in self.prefusion_inputs])
            joined = inputs.any(0) if self.prefusion.any_subset else inputs.all(0)
            if slot_dropout > 0:
                joined &= torch.rand(joined.shape) >= slot_dropout
            present[MULTI] = joined & (MULTI not in hide)
        return {name: [bool(one) and name in self.slots for one in row.tolist()] for name, row in present.items()}

    def _reads(self, name: str) -> bool:
        """Whether anything in the prompt depends on a stream."""
        return name in self.slots or (MULTI in self.slots and name in self.prefusion_inputs)


def _build_encoder(name: str, spec: StreamSpec, media: MediaProfile, allow_import: bool) -> Encoder:
    encoder = build_encoder(spec.encoder, allow_import=allow_import)
    check_encoder(encoder)
    modality = media.source(str(spec.source)).modality
    if encoder.modality != modality:
        raise ConfigError(
            f"stream {name!r} reads {spec.source!r}, which is {modality}, with the encoder "
            f"{Spec.of(spec.encoder).name!r}, which reads {encoder.modality}; change the source or the encoder"
        )
    if not spec.trainable:
        encoder.freeze()
    return encoder


def _prefusion_inputs(
    specs: Mapping[str, StreamSpec], media: MediaProfile, given: Sequence[str] | None
) -> tuple[str, ...]:
    if given is not None:
        unknown = [name for name in given if name not in specs]
        if unknown:
            raise ConfigError(f"prefusion_inputs: unknown stream {unknown[0]!r}; known: {', '.join(specs)}")
        return tuple(given)
    kinds = {name: media.source(str(spec.source)).modality for name, spec in specs.items()}
    # the picture first and the sound second, as published
    order = [
        kind for kind in dict.fromkeys((Modality.VISUAL, Modality.AUDIO, *kinds.values())) if kind in kinds.values()
    ]
    return tuple(next(name for name, kind in kinds.items() if kind == wanted) for wanted in order)


def _slots(num_tokens: Mapping[str, int], given: Sequence[str] | None) -> frozenset[str]:
    known = (*num_tokens, "subtitle")
    unknown = [name for name in given or () if name not in known]
    if unknown or (given is not None and not given):
        wrong = f"unknown slot {unknown[0]!r}" if unknown else "no slot at all"
        raise ConfigError(f"slots: {wrong}; the prompt can show {', '.join(known)}")
    return frozenset(known if given is None else given)
