"""The speech networks of torchaudio's pipelines as encoders: one vector per audio segment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from affectgpt.encoders.base import AudioSpec, Encoder
from affectgpt.errors import CheckpointError, ConfigError, did_you_mean, reason_of
from affectgpt.types import Features, Modality


class TorchaudioEncoder(Encoder):
    """A wav2vec 2.0, HuBERT or WavLM bundle; the feature is the mean of its last layers over layers and time.

    The bundle decides the weights, which are fetched unless ``weights`` says otherwise.

    Unlike in ``SpeechEncoder``, no layer passes a final layer norm before averaging, as in the bundle's
    ``extract_features``.

    Args:
        model: Name of a bundle in ``torchaudio.pipelines``, such as ``HUBERT_LARGE`` or ``WAVLM_BASE``.
        weights: ``"download"`` fetches the bundle's weights, ``"random"`` builds only the architecture; any other value
            is a local file with the bundle's state dict.
        layers: Number of last layers to average.

    Raises:
        CheckpointError: If the weights cannot be fetched or read, or do not fit.
        ConfigError: If the bundle does not exist, or ``layers`` is out of range.
    """

    modality = Modality.AUDIO
    location_args = ("weights",)

    def __init__(self, model: str = "WAV2VEC2_BASE", weights: str = "download", layers: int = 4) -> None:
        super().__init__()
        import torchaudio.models

        bundle = _bundle(model)
        params = dict(bundle._params)
        num_layers = params["encoder_num_layers"]
        if not 1 <= layers <= num_layers:
            raise ConfigError(f"TorchaudioEncoder: layers must be from 1 to {num_layers} for {model}, but is {layers}")
        is_wavlm = bundle._model_type == "WavLM"
        build = torchaudio.models.wavlm_model if is_wavlm else torchaudio.models.wav2vec2_model
        self.network: Any = build(**params)
        self._from_file = weights != "random"
        if self._from_file:
            self._load(model, weights, bundle)
        self.layers = layers
        self.out_dim = int(params["encoder_embed_dim"])
        self.input_spec = AudioSpec(int(bundle.sample_rate), "segment" if bundle._normalize_waveform else "none")

    def forward(self, media: Tensor, keep: Tensor) -> Features:
        """Encode float32 segments ``[B, S, N]``; see ``Encoder.forward``."""
        hidden, _ = self.network.extract_features(self.preprocess(media, keep))
        vectors = torch.stack([layer.mean(1) for layer in hidden[-self.layers :]]).mean(0)
        return Features(vectors.unflatten(0, keep.shape), keep)

    def shard_units(self) -> list[nn.Module]:
        """The transformer's layers."""
        return list(self.network.encoder.transformer.layers)

    def restored_prefixes(self) -> list[str]:
        """The whole network, unless its weights are random."""
        return ["network."] if self._from_file else []

    def _load(self, model: str, weights: str, bundle: Any) -> None:
        try:
            if weights == "download":
                state = bundle._get_state_dict({"weights_only": True})
            elif Path(weights).is_file():
                state = torch.load(weights, map_location="cpu", weights_only=True)
            else:
                raise CheckpointError(
                    f"TorchaudioEncoder: no weight file for {model} at {weights!r}; give a file, 'download' or 'random'"
                )
            self.network.load_state_dict(state)
        except CheckpointError:
            raise
        except Exception as error:  # a network failure, a broken file and foreign weights all end here
            raise CheckpointError(
                f"TorchaudioEncoder: cannot load the weights of {model} ({weights}): {reason_of(error)}; fetch the "
                "bundle's state dict on another machine and give the file as weights=, or build with weights='random'"
            ) from error


def _bundle(name: str) -> Any:
    from torchaudio import pipelines

    bundles = {key: value for key, value in vars(pipelines).items() if isinstance(value, pipelines.Wav2Vec2Bundle)}
    if name not in bundles:
        hint = did_you_mean(name.upper(), bundles, most=3)
        raise ConfigError(
            f"torchaudio has no speech network called {name!r}.{hint} Known: {', '.join(sorted(bundles))}"
        )
    return bundles[name]
