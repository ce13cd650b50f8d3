"""Speech recognition by faster-whisper: Whisper on CTranslate2, several times faster on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from affectgpt.errors import ConfigError
from affectgpt.media.speech.base import Asr
from affectgpt.media.speech.hub import local_model


class FasterWhisperAsr(Asr):
    """Writes down speech with faster-whisper, and leaves out what Whisper itself takes for no speech.

    Args:
        model: A size (``"small"``, ``"large-v3"``), a converted folder, or a model on the hub.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        compute_type: Type of the weights, such as ``"int8"`` or ``"float16"``.

    Raises:
        ConfigError: If the model cannot be loaded.
    """

    def __init__(self, model: str = "small", device: str = "auto", compute_type: str = "default") -> None:
        from faster_whisper import WhisperModel, utils

        sizes: Mapping[str, str] = getattr(utils, "_MODELS", {})  # size to model of the hub
        if model in sizes or "/" in model:
            model = local_model(sizes.get(model, model), "faster-whisper")
        try:
            self._model: Any = WhisperModel(model, device=device, compute_type=compute_type)
        except Exception as error:  # CTranslate2, the hub and the network each raise their own errors
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(
                f"speech recogniser 'faster-whisper': {model!r} cannot be loaded ({reason}); give a size such as "
                "'small', or a folder with a model of CTranslate2"
            ) from error

    def transcribe(self, waveform: Tensor, language: str | None = None) -> tuple[str, str | None]:
        """Write down one stretch of speech; see ``Asr.transcribe``."""
        # by default an unsure answer is drawn again at random, and the same sound gets other words in the next run
        pieces, info = self._model.transcribe(waveform.cpu().numpy(), language=language, beam_size=5, temperature=0.0)
        return "".join(piece.text for piece in pieces if piece.no_speech_prob <= 0.5), info.language
