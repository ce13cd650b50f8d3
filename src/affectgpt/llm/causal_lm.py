"""Any Hugging Face causal LM as a head, frozen with LoRA adapters by default."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F  # noqa: N812

from affectgpt.attention_backend import choose_attention
from affectgpt.deferred_weights import Entry, network_without_weights
from affectgpt.errors import CheckpointError, ConfigError, reason_of
from affectgpt.llm.answer_ends import AnswerEnds
from affectgpt.llm.answer_sampling import AnswerSampling, DrawnTokens, seeded
from affectgpt.llm.base import LLMHead, LLMOutput
from affectgpt.llm.cached_writing import CachedWriter
from affectgpt.llm.logprobs import AnswerLogProbs
from affectgpt.llm.lora import LoraSpec, add_lora
from affectgpt.llm.packed_attention import check_packing, packed_arguments, padded_mask, use_lengths
from affectgpt.llm.packed_rows import hide_first_labels, lengths_of, number_runs, positions_of
from affectgpt.llm.quantized import check_quantize, keep_trainable_layout, quantized_options
from affectgpt.llm.recomputed_layers import recompute_layers
from affectgpt.llm.scatter import sent
from affectgpt.llm.shared_prompts import SharedRows, shared_arguments, shares_prompts, try_sharing
from affectgpt.llm.special_tokens import set_tokens
from affectgpt.llm.split_decoder import split_decoder
from affectgpt.llm.split_linear import AgreedScores, TensorShare
from affectgpt.llm.token_losses import has_plain_output, token_losses
from affectgpt.llm.written_answers import WrittenAnswers
from affectgpt.prompts.render import IGNORE
from affectgpt.prompts.template import AnswerEnd

log = logging.getLogger(__name__)

PLAIN_CHOICE = {"repetition_penalty": 1.0, "num_beams": 1, "no_repeat_ngram_size": 0}
PLAIN_DRAW = {"min_p": 0.0, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0}
"""Neutral values for the generation settings that a model may bring along: only the caller's settings count."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class HuggingFaceHead(LLMHead):
    """Base of every head around a transformers model; subclasses supply the network and the tokenizer."""

    network: Any
    reads_on_host = True
    _packs = False  # whether a trial showed that the network keeps packed samples apart
    _shares: bool | None = None  # whether a trial showed that answers can share the pass over their prompt
    _writer: CachedWriter | None = None
    _plain_output: bool | None = None  # whether the logits are what the output layer gives, and nothing more

    def attach(self, network: Any, tokenizer: Any, lora: Mapping[str, Any] | None, trainable: bool) -> None:
        """Set the network and its tokenizer, freeze it, and add adapters.

        Args:
            network: A transformers causal LM.
            tokenizer: Its tokenizer; a missing padding token is replaced by the end-of-sequence token.
            lora: Arguments of ``LoraSpec``; ``None`` for no adapters.
            trainable: Whether the network's own weights are trained as well.
        """
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.tokenizer = tokenizer
        network.requires_grad_(trainable)
        if lora is not None:
            network = add_lora(network, LoraSpec.of(lora))
            if trainable:
                network.requires_grad_(True)
        self.network = network
        use_lengths(self._base())
        self.hidden_dim = int(network.get_input_embeddings().weight.shape[1])

    def embed(self, ids: Tensor) -> Tensor:
        """Look embeddings up: int64 ``[B, L]`` to ``[B, L, E]``."""
        found: Tensor = self.network.get_input_embeddings()(ids)
        return found

    def forward(
        self, embeds: Tensor, keep: Tensor, labels: Tensor | None = None, sample_ids: Tensor | None = None
    ) -> LLMOutput:
        """Run the model over embeddings; see ``LLMHead.forward``."""
        runs = None if sample_ids is None else number_runs(sample_ids, keep)
        seen = self._what_is_seen(embeds, keep, runs, learns=labels is not None)
        if labels is None:
            return LLMOutput(logits=self.network(**seen).logits.view(*keep.shape, -1))
        if runs is not None:
            labels = hide_first_labels(labels, runs)
        losses_BL, learnt_BL = self._label_losses(seen, labels)
        return LLMOutput(token_losses=losses_BL, learnt=learnt_BL)

    def logprobs(
        self, embeds: Tensor, keep: Tensor, labels: Tensor, sample_ids: Tensor | None = None
    ) -> AnswerLogProbs:
        """Log-probabilities of given answers, with the logits of a few tokens at a time; see ``LLMHead.logprobs``.

        If the model is sharded, call it inside the forward pass of the whole model.
        """
        runs = None if sample_ids is None else number_runs(sample_ids, keep)
        if runs is not None:
            labels = hide_first_labels(labels, runs)
        losses_BL, _ = self._label_losses(self._what_is_seen(embeds, keep, runs, learns=True), labels)
        return AnswerLogProbs.of(-losses_BL, labels, keep, sample_ids)

    def answer_logits(self, embeds: Tensor, keep: Tensor, labels: Tensor) -> Tensor:
        """What predicts the tokens of given answers, and no logits besides; see ``LLMHead.answer_logits``."""
        if self._plain_output is None:
            self._plain_output = has_plain_output(self._base())
        if not self._plain_output:
            return super().answer_logits(embeds, keep, labels)
        seen = self._what_is_seen(embeds, keep, None, learns=True)
        hidden = self._base().get_decoder()(**seen).last_hidden_state[:, :-1].flatten(0, 1)
        at_M = (labels[:, 1:] != IGNORE).flatten().nonzero().squeeze(1)
        found: Tensor = self._base().get_output_embeddings()(hidden.index_select(0, sent(at_M, embeds.device)))
        return found

    def group_losses(self, embeds: Tensor, keep: Tensor, ids: Tensor, answered: Tensor) -> Tensor:
        """Cross-entropy of several answers to each prompt, which is computed once; see ``LLMHead.group_losses``.

        Models whose attention takes no mask of our own compute the prompt again for each answer.
        """
        base = self._base()
        if not shares_prompts(base, keep.shape[1] + len(ids) // len(keep) * ids.shape[1]):
            return super().group_losses(embeds, keep, ids, answered)
        if self._shares is None:
            self._shares = try_sharing(base)
            if not self._shares:
                log.info("%s computes a prompt again for each of its answers", type(base).__name__)
        if not self._shares:
            return super().group_losses(embeds, keep, ids, answered)
        keep, ids, answered = keep.cpu(), ids.cpu(), answered.cpu()
        rows = SharedRows.of(keep, answered)
        answers = self.embed(sent(ids, embeds.device)).to(embeds.dtype).view(len(embeds), -1, embeds.shape[2])
        index = sent(rows.token, embeds.device)[:, :, None].expand(-1, -1, embeds.shape[2])
        laid = torch.cat([embeds, answers], 1).gather(1, index)
        losses_M = self._losses(shared_arguments(base, laid, rows), rows.before, ids[answered])
        losses_NA = losses_M.new_zeros(answered.shape)
        return losses_NA.masked_scatter(sent(answered, embeds.device), losses_M)

    def _label_losses(self, seen: dict[str, Any], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of every label, float32 ``[B, L]``, 0 where nothing is learnt; and where something is.

        The logits at position t predict the token at t + 1; no others are computed.
        """
        device = seen["inputs_embeds"].device
        learnt_BL = labels != IGNORE
        learnt_BL[:, 0] = False
        at_M = learnt_BL.flatten().nonzero().squeeze(1)  # no wait where the labels are on the CPU
        losses_M = self._losses(seen, at_M - 1, labels.flatten()[at_M])
        losses = losses_M.new_zeros(labels.numel()).index_copy(0, sent(at_M, device), losses_M)
        return losses.view(labels.shape), sent(learnt_BL, device)

    def _losses(self, seen: dict[str, Any], before_M: Tensor, target_M: Tensor) -> Tensor:
        """Cross-entropy of tokens, float32 ``[M]``, each predicted at a position of all rows, end to end."""
        base, embeds = self._base(), seen["inputs_embeds"]
        target_M = sent(target_M, embeds.device)
        if self._plain_output is None:
            self._plain_output = has_plain_output(base)
        if self._plain_output:
            hidden = base.get_decoder()(**seen).last_hidden_state.flatten(0, 1)
            hidden_ME = hidden.index_select(0, sent(before_M, embeds.device))
            output = base.get_output_embeddings()
            return token_losses(hidden_ME, target_M, output, base.config.get_text_config().vocab_size)
        # it caps or scales what its output layer gives, and computes its logits itself
        rows_M, columns_M = before_M // embeds.shape[1], before_M % embeds.shape[1]
        columns, column_M = columns_M.unique(return_inverse=True)
        logits = self.network(**seen, logits_to_keep=sent(columns, embeds.device)).logits.flatten(0, 1)
        logits_MV = logits.index_select(0, sent(rows_M * len(columns) + column_M, embeds.device))
        return F.cross_entropy(logits_MV.float(), target_M, reduction="none")

    @torch.no_grad()
    def write(
        self,
        embeds: Tensor,
        keep: Tensor,
        max_new_tokens: int,
        stop: AnswerEnd | None = None,
        sampling: AnswerSampling | None = None,
    ) -> WrittenAnswers:
        """Write answers with a key-value cache; see ``LLMHead.write``."""
        stop, sampling = stop or AnswerEnd(), sampling or AnswerSampling()
        if self._writer is None:
            self._writer = CachedWriter(self._base(), self.tensor_share)
        runs = self._runs(stop)
        ends = AnswerEnds(self.tokenizer, self._eos(), runs, () if runs else stop.strings)
        if self._is_sharded() or not self._writer.suits(keep.shape[1] + max_new_tokens):
            ids = self._write_with_transformers(embeds, keep, max_new_tokens, stop, sampling)
        else:
            with seeded(sampling.seed, embeds.device):
                ids = self._writer.write(embeds, keep, max_new_tokens, sampling, ends, self.tokenizer.pad_token_id)
        ids = ids.cpu()
        found = [ends.find(row) for row in ids.tolist()]
        if runs:
            marks = self.tokenizer.bos_token, self.tokenizer.eos_token
            texts = [stop.read_published(text, *marks) for text in self.tokenizer.batch_decode(ids)]
        else:
            texts = [stop.read(text) for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]
        lengths = [ids.shape[1] if length is None else length for length in found]
        return WrittenAnswers.of(texts, ids, lengths, [length is not None for length in found])

    @contextmanager
    def without_adapters(self) -> Iterator[None]:
        """Be the model without its adapters for a while; see ``LLMHead.without_adapters``."""
        if not hasattr(self.network, "disable_adapter"):
            raise ConfigError(f"the head {type(self).__name__} was built without adapters (lora: null)")
        with self.network.disable_adapter():
            yield

    def _write_with_transformers(
        self, embeds: Tensor, keep: Tensor, max_new_tokens: int, stop: AnswerEnd, sampling: AnswerSampling
    ) -> Tensor:
        """The same by ``generate`` of transformers, for sharded models and those with a memory of another kind."""
        from transformers import LogitsProcessorList, StoppingCriteriaList

        runs = self._runs(stop)
        more: dict[str, Any] = {}
        if runs:
            more = {"stopping_criteria": StoppingCriteriaList([_EndsWith(runs)])}
        elif stop.strings:
            more = {"stop_strings": list(stop.strings), "tokenizer": self.tokenizer}
        drawn: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        draws = sampling.row_draws(len(keep))
        scores: list[Any] = [] if self.tensor_share is None else [AgreedScores(self.tensor_share)]
        if draws is not None:
            scores.append(DrawnTokens(sampling, draws))
        elif not sampling.is_greedy:
            drawn = {
                "do_sample": True,
                "temperature": sampling.divisor,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k,
                "num_return_sequences": sampling.num_answers,
                **PLAIN_DRAW,
            }
        with seeded(sampling.seed, embeds.device):
            ids: Tensor = self.network.generate(
                inputs_embeds=embeds,
                attention_mask=keep.long(),
                max_new_tokens=max_new_tokens,
                use_cache=True,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self._eos(),
                logits_processor=LogitsProcessorList(scores),
                synced_gpus=self._is_sharded(),
                **PLAIN_CHOICE,
                **drawn,
                **more,
            )
        return ids

    def _eos(self) -> list[int]:
        """The tokens that end an answer by themselves."""
        found = self.network.generation_config.eos_token_id
        if found is None:
            found = self.tokenizer.eos_token_id
        return list(found) if isinstance(found, list | tuple) else [found]

    def _what_is_seen(self, embeds: Tensor, keep: Tensor, runs: Tensor | None, *, learns: bool) -> dict[str, Any]:
        """Arguments of the network for one pass without a cache; where it learns, nobody reads what padding gives."""
        if runs is None:
            mask = padded_mask(self._base(), keep, embeds.device) if learns else sent(keep.long(), embeds.device)
            return {"inputs_embeds": embeds, "attention_mask": mask, "use_cache": False}
        check_packing(self._base(), self._packs, lengths_of(runs), embeds.device)
        self._packs = True
        return packed_arguments(self._base(), embeds, runs, sent(positions_of(runs), embeds.device))

    def _base(self) -> Any:
        """The causal LM itself, with the adapters in its layers."""
        return self.network.get_base_model() if hasattr(self.network, "get_base_model") else self.network

    def _runs(self, stop: AnswerEnd) -> list[list[int]]:
        """The sequences of tokens that end an answer; none if the tokenizer splits one of the pieces."""
        runs = [[self.tokenizer.encode(piece, add_special_tokens=False) for piece in run] for run in stop.pieces]
        whole = all(len(ids) == 1 for run in runs for ids in run)
        return [[ids[0] for ids in run] for run in runs] if whole else []

    def own_keys(self) -> list[str]:
        """The adapters."""
        return [name for name, _ in self.named_parameters() if ".lora_" in name]

    def _is_sharded(self) -> bool:
        """Whether ranks share the weights; each must then take as many steps as the rank with the longest answer."""
        return any(isinstance(p, DTensor) for p in self.network.parameters())

    def shard_units(self) -> list[nn.Module]:
        """The transformer layers, which FSDP shards one by one."""
        return list(self._base().get_decoder().layers)

    def split(self, share: TensorShare, entries: Sequence[Entry]) -> list[Entry]:
        """Split the transformer layers by the plan of transformers; see ``LLMHead.split``."""
        left, self.tensor_share = split_decoder(self._base(), share, entries), share
        return left


class CausalLM(HuggingFaceHead):
    """A causal LM from a local folder or the Hugging Face hub.

    Args:
        path: Local folder, or hub id such as ``Qwen/Qwen2.5-7B-Instruct``.
        lora: Adapters: ``rank``, ``alpha``, ``dropout``, ``targets``; ``None`` for none. The defaults are the
            published ones.
        dtype: Type of the frozen weights: ``float32``, ``bfloat16`` or ``float16``; adapters stay in float32.
        attention: ``auto``, or a name that transformers knows.
        trainable: Whether the model's own weights are trained too.
        gradient_checkpointing: Whether to recompute activations in the backward pass: slower, with less memory.
        revision: Commit or tag on the hub; pin it for reproducible results.
        tokens: Special tokens to use in place of the tokenizer's own: ``bos``, ``eos`` or ``pad`` to a token of its
            vocabulary, such as the published model's ``{"bos": "<|im_start|>", "pad": "<|im_end|>"}``.

        quantize: ``nf4`` keeps the frozen weights of linear layers in 4 bits (QLoRA, arXiv 2305.14314), a quarter of
            bfloat16; ``dtype`` is what they are computed in. It needs the extra ``quantized``.

    Raises:
        ConfigError: If an argument is wrong, or bitsandbytes is needed and not installed.
        CheckpointError: If the folder or hub id cannot be read.
    """

    def __init__(
        self,
        path: str,
        lora: dict[str, Any] | None = {},  # noqa: B006  never changed; {} is "the published adapters"
        dtype: str = "float32",
        attention: str = "auto",
        trainable: bool = False,
        gradient_checkpointing: bool = False,
        revision: str | None = None,
        tokens: dict[str, str] | None = None,
        quantize: str | None = None,
    ) -> None:
        super().__init__()
        check_quantize(quantize, trainable=trainable)
        if dtype not in DTYPES:
            raise ConfigError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
        from safetensors import SafetensorError
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        adapters_read_weights = lora is not None and LoraSpec.of(lora).reads_weights
        implementation, reason = choose_attention(attention, DTYPES[dtype])
        log.info("attention backend of %s: %s (%s)", path, implementation, reason)
        try:
            source = {"revision": revision, "trust_remote_code": False}
            tokenizer = AutoTokenizer.from_pretrained(path, **source)
            options = {"dtype": DTYPES[dtype], "attn_implementation": implementation, "trust_remote_code": False}
            if torch.get_default_device().type == "meta":  # shapes only, without weights
                network = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path, **source), **options)
            else:
                network = None
                if quantize is None and not adapters_read_weights:
                    network = network_without_weights(
                        lambda: AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path, **source), **options),
                        *(path, revision),
                    )
                if network is None:
                    options |= quantized_options(quantize, DTYPES[dtype])
                    network = AutoModelForCausalLM.from_pretrained(
                        path, revision=revision, weights_only=True, **options
                    )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError, UnpicklingError) as error:
            raise CheckpointError(
                f"cannot read a causal LM from {path!r}: {reason_of(error)}. Give a folder that "
                "save_pretrained wrote, or the id of a public model on a machine that reaches the hub"
            ) from error
        set_tokens(tokenizer, tokens or {}, path)
        marks = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
        needed = max(tokenizer.vocab_size, *(1 + mark for mark in marks if mark is not None))
        rows = network.get_input_embeddings().weight.shape[0]
        if needed > rows:
            raise CheckpointError(
                f"the tokenizer in {path!r} has {needed} tokens, but the network's embedding has {rows} rows: they do "
                "not belong together; take both from the same model"
            )
        keep_trainable_layout(network)
        if gradient_checkpointing:
            recompute_layers(network)
        self.attach(network, tokenizer, lora, trainable)
        self.attention_reason = reason

    def restored_prefixes(self) -> list[str]:
        """The frozen network is read from ``path``; a checkpoint holds the adapters only."""
        return ["network."]


class _EndsWith:
    """A stopping criterion of transformers: ends a row once its last tokens equal one of the sequences."""

    def __init__(self, runs: list[list[int]]) -> None:
        self.runs = runs

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        done = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        for run in self.runs:
            if input_ids.shape[1] >= len(run):
                done |= (input_ids[:, -len(run) :] == torch.tensor(run, device=input_ids.device)).all(1)
        return done
