"""Speech transformers (HuBERT, wav2vec 2.0, WavLM, data2vec): one vector per audio segment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from affectgpt.encoders.base import AudioSpec, Encoder
from affectgpt.encoders.weights import load_config, load_network, read_preprocessor
from affectgpt.errors import ConfigError
from affectgpt.types import Features, Modality

MODEL_TYPES = ("data2vec-audio", "hubert", "wav2vec2", "wavlm")


class SpeechEncoder(Encoder):
    """A speech transformer; the feature is the mean of its last hidden states over layers and time.

    The last hidden state is the network's output. In networks with a final layer norm it is therefore normalised while
    the earlier ones are not, as in the published model. Each segment is encoded separately, and normalised separately
    unless ``normalize`` is ``clip``; other clips of a batch have no influence. Layer drop and SpecAugment are off, also
    in training.

    Args:
        path: Local folder, or id on the hub.
        layers: Number of last hidden states to average.
        revision: Branch, tag or commit on the hub.
        dtype: Type of the weights: ``float32``, ``bfloat16`` or ``float16``.
        normalize: ``none``, ``segment`` or ``clip`` (as published), see ``AudioSpec``; ``None`` takes ``segment`` or
            ``none``, as the folder's ``preprocessor_config.json`` says.
        attention: ``auto``, ``flash_attention_2``, ``_3`` or ``_4``, ``sdpa``, ``flex`` or ``eager``.

    Raises:
        CheckpointError: If the weights cannot be read.
        ConfigError: If the network has another type, ``layers`` is out of range, or ``dtype`` is unknown.
    """

    modality = Modality.AUDIO
    idle_weights = ("masked_spec_embed",)  # random if the file lacks it; only SpecAugment reads it, which is off

    def __init__(
        self,
        path: str,
        layers: int = 4,
        revision: str | None = None,
        dtype: str = "float32",
        normalize: str | None = None,
        attention: str = "auto",
    ) -> None:
        super().__init__()
        from transformers import AutoModel

        owner = type(self).__name__
        config: Any = load_config(owner, path, revision, MODEL_TYPES)
        if not 1 <= layers <= config.num_hidden_layers:
            raise ConfigError(
                f"{owner}: layers must be from 1 to {config.num_hidden_layers}, the number of layers in {path!r}, but "
                f"is {layers}"
            )
        config.layerdrop = 0.0
        config.apply_spec_augment = False
        preprocessor = read_preprocessor(owner, path, revision)
        if normalize is None:
            # If the file is missing: networks with layer norm in every convolution were trained on normalised sound.
            trained_so = preprocessor.get("do_normalize", getattr(config, "feat_extract_norm", "layer") == "layer")
            normalize = "segment" if trained_so else "none"
        self.layers = layers
        self.out_dim = int(config.hidden_size)
        self.input_spec = AudioSpec(
            sample_rate_hz=int(preprocessor.get("sampling_rate", 16_000)),
            normalize=normalize,
            min_samples=_receptive_field(config.conv_kernel, config.conv_stride),
        )
        self.network = load_network(owner, AutoModel, path, revision, dtype, attention, config=config)
        # Each layer's input is the output of the layer before it. Hooks average it over time at once, whereas
        # output_hidden_states would keep every layer in memory (and returns its last entry before the final layer norm
        # in transformers 5, but after it in transformers 4). The hooks are permanent, because a compiled graph cannot
        # set and remove them.
        self._earlier: list[Tensor] = []
        network_layers = list(self.network.encoder.layers)
        for layer in network_layers[len(network_layers) - layers + 1 :]:
            layer.register_forward_pre_hook(self._note)

    def forward(self, media: Tensor, keep: Tensor) -> Features:
        """Encode float32 segments ``[B, S, N]``; see ``Encoder.forward``."""
        self._earlier.clear()
        last: Tensor = self.network(self.preprocess(media, keep)).last_hidden_state
        vectors = torch.stack([*self._earlier, last.mean(1)]).mean(0)
        self._earlier.clear()
        return Features(vectors.unflatten(0, keep.shape), keep)

    def _note(self, _layer: nn.Module, args: tuple[Any, ...]) -> None:
        """Forward pre-hook: keep the output of the layer before, averaged over time, ``[B*S, D]``."""
        self._earlier.append(args[0].mean(1))

    def shard_units(self) -> list[nn.Module]:
        """The transformer's layers."""
        return list(self.network.encoder.layers)

    def restored_prefixes(self) -> list[str]:
        """The whole network is read from ``path``."""
        return ["network."]


def hubert_large_chinese(
    path: str = "TencentGameMate/chinese-hubert-large",
    revision: str | None = None,
    dtype: str = "float32",
    normalize: str | None = None,
    attention: str = "auto",
) -> SpeechEncoder:
    """The acoustic encoder of the published model: Chinese HuBERT-large, 1024 wide, last four hidden states.

    Args:
        path: Local folder with the same weights, or id on the hub.
        revision: Branch, tag or commit on the hub.
        dtype: See ``SpeechEncoder``.
        normalize: See ``SpeechEncoder``; ``clip`` is as published.
        attention: See ``SpeechEncoder``.

    Raises:
        CheckpointError: If the weights cannot be read.
    """
    return SpeechEncoder(path, 4, revision, dtype, normalize, attention)


def _receptive_field(kernels: list[int], strides: list[int]) -> int:
    """Smallest number of samples from which the convolutions compute one step."""
    samples = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples
