"""The prompts with which MER-Caption was made, as data with their sources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affectgpt.errors import ConfigError, did_you_mean

UNKNOWN = "unknown"
"""Stands in a prompt for a field that the clip does not have."""
_FIELD = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class StagePrompt:
    """A prompt of a stage.

    Attributes:
        text: With ``{field}`` where the value of a field goes.
        source: Where the wording comes from.
    """

    text: str
    source: str = "your pipeline"

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it holds, each once."""
        return tuple(dict.fromkeys(_FIELD.findall(self.text)))

    def fill(self, fields: Mapping[str, Any]) -> str:
        """The prompt for a clip; braces within the values stay as they are.

        Examples:
            >>> StagePrompt("Subtitle: {subtitle}. Seen: {visual_clues}").fill({"subtitle": "{Hi}"})
            'Subtitle: {Hi}. Seen: unknown'
        """
        return _FIELD.sub(lambda found: _said(fields.get(found[1])), self.text)


PROMPTS: Mapping[str, StagePrompt] = {
    "merge": StagePrompt(
        "Please act as an expert in the field of emotions. We provide acoustic and visual clues that may be related to "
        "the character's emotional state, along with the original subtitle of the video. Please analyze which parts "
        "can infer the emotional state and explain the reasons. During the analysis, please integrate the textual, "
        "audio, and visual clues.\n\nAcoustic clues: {audio_clues}\nVisual clues: {visual_clues}\n"
        "Original subtitle: {subtitle}",
        "Lian et al. 2025 (arXiv 2501.16566), appendix G, word for word; the order of the clues after it is ours",
    ),
    "audio-clues": StagePrompt(
        "[Subtitle content of the video: {subtitle}] Please predict the emotional state of the individual in the "
        "audio.",
        "the authors' code for SALMONN (OV-MER), with the subtitle",
    ),
    "audio-clues-no-subtitle": StagePrompt(
        "Please predict the emotional state of the individual in the audio.",
        "the authors' code for SALMONN (OV-MER), without the subtitle",
    ),
    "visual-clues": StagePrompt(
        "Subtitle content of this video: {subtitle}; As an expert in the field of emotions, please focus on the facial "
        "expressions, body movements, environment, subtitle content, etc., in the video and recognize all possible "
        "emotional states of the individual.",
        "the authors' code for Chat-UniVi (OV-MER), with the subtitle; published with temperature 0.2",
    ),
    "visual-clues-no-subtitle": StagePrompt(
        "As an expert in the field of emotions, please focus on the facial expressions, body movements, environment, "
        "etc., in the video and recognize all possible emotional states of the individual.",
        "the authors' code for Chat-UniVi (OV-MER), without the subtitle",
    ),
    "describe": StagePrompt(
        "Subtitle content of this video: {subtitle}; As an expert in the field of emotions, please focus on the facial "
        "expressions, body movements, environment, subtitle content, etc., in the video to discern clues related to "
        "the emotions of the individual. Please provide a detailed description and ultimately predict the emotional "
        "state of the individual in the video.",
        "the authors' code for video models (OV-MER), with the subtitle",
    ),
    "merge-small": StagePrompt(
        "Describe how the person in a video feels, in two or three sentences. Use only what is given here. End with: "
        "The person feels ...\n\nVoice: {audio_clues}\nFace: {visual_clues}\nWords: {subtitle}",
        "our own, for small local models, which repeat the long one",
    ),
}


def find_prompt(name: str) -> StagePrompt:
    """A published prompt by its name, or a text of one's own, which holds a space.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name in PROMPTS:
        return PROMPTS[name]
    if " " not in name.strip():
        raise ConfigError(f"no prompt is called {name!r}.{did_you_mean(name, PROMPTS)} Known: {', '.join(PROMPTS)}")
    return StagePrompt(name)


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or UNKNOWN
    return UNKNOWN if value is None or not str(value).strip() else str(value).strip()
