"""A Hugging Face chat model that runs in this process."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from affectgpt.chat.base import ChatModel, seed_of
from affectgpt.chat.messages import Prompt, text_of
from affectgpt.chat.sampling import LEAST_TEMPERATURE, Sampling
from affectgpt.errors import CheckpointError, ConfigError, reason_of

_WEIGHTS = (".safetensors", ".bin", ".gguf")
_PROBE_BYTES = 1 << 20
_COMMIT = re.compile("[0-9a-f]{40}")


class LocalModel(ChatModel):
    """Answers with ``transformers``, in batches; the model is loaded when the first prompt is not in the cache.

    Args:
        model: Name on the Hugging Face hub, or a folder.
        revision: Commit, tag or branch on the hub.
        device: Such as ``cuda`` or ``cpu``; ``auto`` takes a GPU if there is one.
        dtype: Name of a torch dtype; ``auto`` takes the one that the weights were saved in.
        batch_size: Prompts per batch.
        gguf_file: The file in the folder or repository, if the weights are GGUF.

    Raises:
        ConfigError: If the batch size is below 1.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 8,
        gguf_file: str | None = None,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
        self.model, self.revision, self.device, self.dtype = model, revision, device, dtype
        self.batch_size, self.gguf_file = batch_size, gguf_file
        self._identity: dict[str, str | None] | None = None
        self._loaded: tuple[Any, Any] | None = None

    def identity(self) -> dict[str, str | None]:
        """The name with its commit; for a folder, a digest of its files replaces the commit.

        Raises:
            CheckpointError: If the model does not exist.
        """
        if self._identity is None:
            folder = Path(self.model)
            if folder.is_dir():
                self._identity = {"model": folder.name, "revision": folder_digest(folder)}
            else:
                self._identity = {"model": self.model, "revision": self._commit()}
        return self._identity

    def settings(self) -> dict[str, Any]:
        """Device, dtype and batch size."""
        return {"backend": "local", "device": self.device, "dtype": self.dtype, "batch_size": self.batch_size}

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, str]]:
        """Position and answer of every prompt; see ``ChatModel``.

        Raises:
            ConfigError: If a prompt is more than one text.
        """
        texts = [text_of(prompt) for prompt in prompts]
        for start in range(0, len(prompts), self.batch_size):
            batch = [text for text in texts[start : start + self.batch_size] if text is not None]
            if len(batch) < len(texts[start : start + self.batch_size]):
                raise ConfigError(
                    f"the chat model {self.model!r} reads one text, but got pictures, sound or several turns; ask a "
                    "server (base_url), or answer clips with the answerer transformers"
                )
            for offset, answer in enumerate(self._answer(batch, sampling)):
                yield start + offset, answer

    def _answer(self, prompts: Sequence[str], sampling: Sampling) -> list[str]:
        import torch
        from transformers import GenerationConfig

        model, tokenizer = self._load()
        texts = [_as_chat(tokenizer, prompt) for prompt in prompts]
        # A chat template writes the special tokens itself.
        special = not tokenizer.chat_template
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=special).to(model.device)
        drawn: dict[str, Any] = {}
        if sampling.temperature > 0:
            temperature = max(sampling.temperature, LEAST_TEMPERATURE)
            drawn = {"do_sample": True, "temperature": temperature, "top_p": sampling.top_p, "top_k": 0}
        config = GenerationConfig(
            max_new_tokens=sampling.max_tokens, repetition_penalty=sampling.repetition_penalty, **drawn
        )
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(seed_of("\0".join(prompts), sampling.seed))
            generated = model.generate(**inputs, generation_config=config)
        width = inputs["input_ids"].shape[1]
        answers: list[str] = tokenizer.batch_decode(generated[:, width:], skip_special_tokens=True)
        return answers

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer

            device = self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
            source = {"revision": self.revision, "gguf_file": self.gguf_file, "trust_remote_code": False}
            try:
                tokenizer = AutoTokenizer.from_pretrained(self.model, **source)
                model = AutoModelForCausalLM.from_pretrained(self.model, dtype=self.dtype, weights_only=True, **source)
            except Exception as error:  # a damaged folder may fail in any way
                raise self._missing(error) from error
            tokenizer.padding_side = "left"
            if tokenizer.pad_token_id is None:
                tokenizer.pad_token = tokenizer.eos_token
            forget_generation(model, tokenizer)
            self._loaded = model.to(device).eval(), tokenizer
        return self._loaded

    def _commit(self) -> str | None:
        # A full commit hash needs no look-up, so a finished run can be repeated without the hub and without the
        # weights.
        if self.revision is not None and _COMMIT.fullmatch(self.revision):
            return self.revision
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(
                self.model, revision=self.revision, gguf_file=self.gguf_file, trust_remote_code=False
            )
        except Exception as error:
            raise self._missing(error) from error
        commit: str | None = getattr(config, "_commit_hash", None)
        return commit or self.revision

    def _missing(self, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"the chat model {self.model!r} cannot be loaded: {reason_of(error)}. Name a folder or a model on the hub, "
            "or give base_url to ask a server"
        )


def forget_generation(model: Any, tokenizer: Any) -> None:
    """Let a model forget how it would generate by itself; what ends an answer stays.

    ``generate`` takes from there whatever its caller leaves out, so that a model with settings such as ``do_sample`` or
    ``top_k`` would draw where it is asked for greedy answers, or by other rules than the record names.

    Args:
        model: A model of transformers that generates.
        tokenizer: Its tokenizer.
    """
    from transformers import GenerationConfig

    ends = model.generation_config.eos_token_id
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id if ends is None else ends, pad_token_id=tokenizer.pad_token_id
    )


def _as_chat(tokenizer: Any, prompt: str) -> str:
    if not tokenizer.chat_template:
        return prompt
    # The conversation is the prompt alone; some templates (Qwen's) still add their default system prompt.
    turns = [{"role": "user", "content": prompt}]
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return text


def folder_digest(folder: Path) -> str:
    """Digest of a model folder: its settings in full, and the name, size and both ends of each weight file."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in {*_WEIGHTS, ".json", ".jinja", ".model"}):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_PROBE_BYTES) if path.suffix in _WEIGHTS else file.read())
            if path.suffix in _WEIGHTS and size > _PROBE_BYTES:
                file.seek(max(_PROBE_BYTES, size - _PROBE_BYTES))
                digest.update(file.read())
    return f"sha256:{digest.hexdigest()}"
