"""The prompt styles as data: the published one, and a brief one for small models."""

from __future__ import annotations

from collections.abc import Mapping

from affectgpt.errors import ConfigError, did_you_mean
from affectgpt.prompts.published_layouts import LAYOUTS
from affectgpt.prompts.template import AnswerEnd, PromptStyle

OFFICIAL = PromptStyle(
    name="official",
    opening="###Human: ",
    slots={
        "multi": ("The audio and video merged info is: <Multi>", "</Multi>. "),
        "audio": ("The audio content is as follows: <Audio>", "</Audio>. "),
        "frame": ("Meanwhile, we uniformly sample raw frames from the video: <Video>", "</Video>. "),
        "face": (
            "Meanwhile, we uniformly sample raw frames from the video and extract faces from these frames: <Video>",
            "</Video>. ",
        ),
        "image": ("The image content is as follows: <Image>", "</Image>. "),
    },
    other_slot=("The {name} content is as follows: <Video>", "</Video>. "),
    subtitle=("The subtitle of this video is: <Subtitle>", "</Subtitle>. "),
    closing=("Now, please answer my question based on all the provided information. ", " ###Assistant: "),
    label_question="Please recognize all possible emotional states of the character.",
    description_question="Please infer the person's emotional state and provide your reasoning process.",
    label_answer="The character's emotional state is {labels}.",
    answer_end="###",
    stop=AnswerEnd(strings=("###",), pieces=(("###",), ("##", "#"), ("#", "##")), mark="Assistant:"),
    train_bos=True,
    answer_bos=False,
    layouts=LAYOUTS,
    empty_subtitle=True,
    former_digests=("6b589ef202c5a884",),  # composed layouts with missing inputs in a different wording
)
"""The style that the released checkpoints were trained with, character by character."""

BRIEF = PromptStyle(
    name="brief",
    opening="",
    slots=dict.fromkeys(("multi", "audio", "frame", "face", "image"), ("", "")),
    other_slot=("", ""),
    subtitle=("", "\n"),
    closing=("", ""),
    label_question="Emotions:",
    description_question="Reasons:",
    label_answer=" {labels}",
)
"""A style with as few tokens as possible, for small models and short training."""

STYLES: Mapping[str, PromptStyle] = {style.name: style for style in (OFFICIAL, BRIEF)}


def get_style(name: str) -> PromptStyle:
    """Get a prompt style by name.

    Raises:
        ConfigError: If there is no style of that name.
    """
    if name not in STYLES:
        hint = did_you_mean(name, STYLES)
        raise ConfigError(f"unknown prompt style {name!r}.{hint} Known: {', '.join(sorted(STYLES))}")
    return STYLES[name]
