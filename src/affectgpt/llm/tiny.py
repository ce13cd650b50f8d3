"""A tiny causal LM over bytes, for tests and trials, with nothing to download."""

from __future__ import annotations

from typing import Any

from affectgpt.llm.causal_lm import HuggingFaceHead


class TinyLM(HuggingFaceHead):
    """A Llama of a few thousand weights that reads and writes bytes; randomly initialised.

    Args:
        dim: Width of the embeddings.
        layers: Number of layers.
        heads: Attention heads.
        lora: Adapters, see ``CausalLM``; ``None`` for none.
        trainable: Whether the model's own weights are trained.
        max_tokens: Longest sequence.
    """

    def __init__(
        self,
        dim: int = 64,
        layers: int = 2,
        heads: int = 4,
        lora: dict[str, Any] | None = None,
        trainable: bool = True,
        max_tokens: int = 2048,
    ) -> None:
        super().__init__()
        from transformers import LlamaConfig, LlamaForCausalLM

        tokenizer = byte_tokenizer()
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=dim,
            intermediate_size=2 * dim,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=max_tokens,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=False,
            attn_implementation="sdpa",
        )
        self.attach(LlamaForCausalLM(config), tokenizer, lora, trainable)
        self.attention_reason = "the tiny model runs no other"


def byte_tokenizer() -> Any:
    """A tokenizer whose tokens are the 256 bytes and three special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    marks = ["<pad>", "<bos>", "<eos>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate([*marks, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")
