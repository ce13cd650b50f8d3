"""The looks of the speakers of the synthetic corpus: skin, hair, eyes and clothes, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affectgpt.demo.corpus.canvas import Color

SKINS: tuple[Color, ...] = (
    (255, 224, 196),
    (247, 206, 170),
    (232, 184, 143),
    (214, 160, 116),
    (186, 130, 90),
    (150, 100, 68),
    (118, 77, 52),
)
HAIRS: tuple[Color, ...] = (
    (42, 32, 30),
    (74, 48, 34),
    (120, 76, 44),
    (176, 122, 62),
    (222, 184, 110),
    (168, 72, 38),
    (150, 150, 156),
)
IRISES: tuple[Color, ...] = ((74, 52, 36), (92, 124, 78), (66, 112, 164), (110, 84, 52), (60, 66, 74))
CLOTHES: tuple[Color, ...] = (
    (196, 72, 72),
    (64, 112, 168),
    (80, 140, 96),
    (226, 160, 60),
    (110, 84, 150),
    (70, 74, 86),
)
BACKDROPS: tuple[Color, ...] = (
    (176, 212, 232),
    (236, 214, 178),
    (190, 220, 190),
    (226, 196, 212),
    (204, 200, 228),
    (214, 218, 222),
    (164, 188, 196),
)
HAIR_STYLES = ("short", "long", "bob", "bun", "curls", "buzz")


@dataclass(frozen=True)
class Look:
    """A speaker's appearance, the same in all of their clips.

    Attributes:
        skin: Colour of the skin.
        hair: Colour of hair and brows.
        iris: Colour of the eyes.
        shirt: Colour of the clothes.
        hair_style: One of ``HAIR_STYLES``.
        parting: Where the fringe parts, -1 left to 1 right.
        width: Half width of the head; 0.5 is usual.
        height: Half height of the head; 0.62 is usual.
        eye_distance: From the middle of the face to the middle of an eye.
        brow_width: Thickness of the brows.
        nose: Size of the nose; 1 is usual.
        freckles: Whether there are freckles.
        glasses: Whether thin glasses are worn.
    """

    skin: Color
    hair: Color
    iris: Color
    shirt: Color
    hair_style: str
    parting: float
    width: float
    height: float
    eye_distance: float
    brow_width: float
    nose: float
    freckles: bool
    glasses: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Look:
        """Draw a speaker; darker skin usually comes with darker hair."""
        skin = int(rng.integers(len(SKINS)))
        hair = int(rng.integers(len(HAIRS) if skin < 3 else 3 if skin < 5 else 1))
        width = rng.uniform(0.47, 0.54)
        return cls(
            skin=SKINS[skin],
            hair=HAIRS[hair],
            iris=IRISES[rng.integers(len(IRISES))] if skin < 4 else IRISES[0],
            shirt=CLOTHES[rng.integers(len(CLOTHES))],
            hair_style=HAIR_STYLES[rng.integers(len(HAIR_STYLES))],
            parting=rng.uniform(-0.8, 0.8),
            width=width,
            height=rng.uniform(0.59, 0.65),
            eye_distance=width * rng.uniform(0.40, 0.45),
            brow_width=rng.uniform(0.045, 0.065),
            nose=rng.uniform(0.8, 1.25),
            freckles=bool(rng.uniform() < 0.2),
            glasses=bool(rng.uniform() < 0.15),
        )
