"""The text of the prompt for other models than ours: the subtitle and the question, as published."""

from __future__ import annotations

from affectgpt.bench.answerers.base import Asked
from affectgpt.prompts.wordings import OFFICIAL

LABEL_QUESTION = OFFICIAL.label_question
"""The question that every model was asked for the published table."""


def words_for(asked: Asked, modalities: tuple[str, ...]) -> str:
    """The text that follows the media of a clip.

    The subtitle has the published wording, and is left out if ``text`` is not shown or the clip has none.

    Args:
        asked: The clip and the question.
        modalities: The modalities to show.

    Examples:
        >>> words_for(Asked("a", "How is she?", subtitle="I won!"), ("video", "text"))
        'The subtitle of this video is: <Subtitle>I won!</Subtitle>. Now, please answer my question based on all the
        provided information. How is she?'
    """
    said = asked.subtitle.strip() if asked.subtitle and "text" in modalities else ""
    subtitle = f"{OFFICIAL.subtitle[0]}{said}{OFFICIAL.subtitle[1]}" if said else ""
    return f"{subtitle}{OFFICIAL.closing[0]}{asked.question}"


def wording_record() -> list[str]:
    """The wording around subtitle and question, for the identity of an answer."""
    return [*OFFICIAL.subtitle, OFFICIAL.closing[0]]
