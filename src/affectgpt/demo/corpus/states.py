"""The emotional states of the synthetic corpus, as data: which face, voice and words make which emotion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FaceName = Literal["smile", "tear", "wide", "frown"]
VoiceName = Literal["bright", "harsh", "flat", "trembling"]
WordsName = Literal["positive", "negative", "open"]


@dataclass(frozen=True)
class SyntheticState:
    """One emotion with its expression.

    Attributes:
        name: Unique name of the state.
        face: The drawn expression.
        voice: The style of the synthesised voice.
        words: The possible kinds of sentence, all equally frequent: good news, bad news, or ambiguous.
        labels: One to three open-vocabulary emotion labels, the target of every clip of this state.
        description: One sentence; ``{subtitle}`` stands for the spoken words.
    """

    name: str
    face: FaceName
    voice: VoiceName
    words: tuple[WordsName, ...]
    labels: tuple[str, ...]
    description: str

    def describe(self, subtitle: str) -> str:
        """Fill the spoken words into the description.

        >>> STATES[0].describe("I got the job.")
        'With a broad smile and a bright, lively voice the speaker says "I got the job." and is happy and joyful.'
        """
        return self.description.format(subtitle=subtitle)


# Every face comes with three different emotions and every voice with two to four, so two modalities leave the state
# open; the pairs "moved"/"grieving" and "triumphant"/"furious" share face and voice, so only the words part them.
STATES: tuple[SyntheticState, ...] = (
    SyntheticState(
        "joy",
        "smile",
        "bright",
        ("positive", "open"),
        ("happy", "joyful"),
        'With a broad smile and a bright, lively voice the speaker says "{subtitle}" and is happy and joyful.',
    ),
    SyntheticState(
        "sarcasm",
        "smile",
        "harsh",
        ("positive", "open"),
        ("sarcastic", "annoyed"),
        'The smile and the words "{subtitle}" look friendly, but the biting voice makes them sarcastic and annoyed.',
    ),
    SyntheticState(
        "calm",
        "smile",
        "flat",
        ("positive", "open"),
        ("calm", "relaxed"),
        'A gentle smile and a low, even voice carry the words "{subtitle}": the speaker is calm and relaxed.',
    ),
    SyntheticState(
        "awe",
        "wide",
        "bright",
        ("positive", "open"),
        ("surprised", "amazed"),
        'Wide eyes and a bright, rising voice at "{subtitle}" show that the speaker is surprised and amazed.',
    ),
    SyntheticState(
        "horror",
        "wide",
        "harsh",
        ("negative", "open"),
        ("disgusted", "appalled"),
        'The eyes are wide and the voice is harsh at "{subtitle}": the speaker is disgusted and appalled.',
    ),
    SyntheticState(
        "fear",
        "wide",
        "trembling",
        ("negative", "open"),
        ("afraid", "scared"),
        'With wide eyes and a trembling voice the speaker says "{subtitle}" and is afraid and scared.',
    ),
    SyntheticState(
        "resignation",
        "tear",
        "flat",
        ("negative", "open"),
        ("resigned", "sad"),
        'Tears run while a flat, lifeless voice says "{subtitle}": the speaker is sad and has resigned.',
    ),
    SyntheticState(
        "gratitude",
        "tear",
        "trembling",
        ("positive",),
        ("moved", "grateful"),
        'The voice trembles and tears run for joy at the good news "{subtitle}": the speaker is moved and grateful.',
    ),
    SyntheticState(
        "grief",
        "tear",
        "trembling",
        ("negative",),
        ("heartbroken", "grieving"),
        'The voice trembles and tears run at the bad news "{subtitle}": the speaker is heartbroken and grieving.',
    ),
    SyntheticState(
        "fury",
        "frown",
        "harsh",
        ("negative",),
        ("angry", "furious"),
        'With knitted brows and a harsh voice the speaker complains "{subtitle}" and is angry and furious.',
    ),
    SyntheticState(
        "triumph",
        "frown",
        "harsh",
        ("positive",),
        ("proud", "triumphant"),
        'Brows knitted with effort, the speaker shouts the good news "{subtitle}" and is proud and triumphant.',
    ),
    SyntheticState(
        "worry",
        "frown",
        "trembling",
        ("positive", "negative"),
        ("worried", "nervous"),
        'Knitted brows and an unsteady, trembling voice at "{subtitle}" show that the speaker is worried and nervous.',
    ),
)
