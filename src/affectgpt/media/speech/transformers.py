"""Speech recognition by models of transformers, such as Whisper and wav2vec2."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from affectgpt.errors import ConfigError, reason_of
from affectgpt.media.speech.base import SAMPLE_RATE_HZ, Asr
from affectgpt.media.speech.hub import local_model


class TransformersAsr(Asr):
    """Writes down speech with a model of transformers.

    Args:
        model: A folder, or a model on the hub.
        device: Where it runs.
        revision: Version of a model on the hub.

    Raises:
        ConfigError: If the model cannot be loaded, or does not recognise speech.
    """

    def __init__(self, model: str, device: str = "cpu", revision: str | None = None) -> None:
        from transformers import pipeline

        model = local_model(model, "transformers", revision)
        try:
            self._pipeline: Any = pipeline(
                "automatic-speech-recognition", model=model, device=device, revision=revision, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(
                f"speech recogniser 'transformers': {model!r} cannot be loaded ({reason_of(error)}); give a folder or "
                "a model on the hub, such as 'openai/whisper-small'"
            ) from error

    def transcribe(self, waveform: Tensor, language: str | None = None) -> tuple[str, str | None]:
        """Write down one stretch of speech; see ``Asr.transcribe``."""
        options: dict[str, Any] = {}
        generation = getattr(self._pipeline.model, "generation_config", None)
        if language is not None and getattr(generation, "lang_to_id", None):
            options["generate_kwargs"] = {"language": language, "task": "transcribe"}
        heard = self._pipeline({"raw": waveform.cpu().numpy(), "sampling_rate": SAMPLE_RATE_HZ}, **options)
        return str(heard["text"]), language
