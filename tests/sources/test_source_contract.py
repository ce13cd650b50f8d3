"""The contract of sources: what the built-in ones give, and what is refused of others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from affectgpt.errors import ConfigError, DataError
from affectgpt.media import MediaProfile
from affectgpt.media.material import Material, SourceFile
from affectgpt.registry import SOURCES
from affectgpt.sources import Source
from affectgpt.types import Modality

SMALL = MediaProfile(num_frames=2, frame_height=16, frame_width=12, num_segments=2, segment_seconds=0.1)


@dataclass(frozen=True)
class Gaze(Source):
    """Points on the screen, comma by comma."""

    points: int = 2

    modality = Modality("gaze")
    suffixes = ("txt", "gaze.bin")

    @property
    def step_shape(self) -> tuple[int, ...]:
        return (self.points,)

    def read(self, content: bytes, suffix: str) -> Tensor:
        return torch.tensor([float(number) for number in content.split(b",")]).reshape(-1, self.points)


@pytest.fixture
def gaze(monkeypatch: pytest.MonkeyPatch) -> type[Source]:
    monkeypatch.setitem(SOURCES._local, "gaze", ("tests:Gaze", Gaze))
    return Gaze


@pytest.mark.parametrize("name", list(SOURCES))
def test_every_source_fits_its_own_description(name):
    source = SMALL.source(name)
    source.check_contract(name)
    blank, specimen = source.blank(3), source.specimen()
    assert (len(blank), len(specimen)) == (3, 1)
    assert blank.shape[1] == 1
    assert blank.abs().max() == 0
    for clips in (blank, specimen):
        source.check(clips[0])
        assert source.fits(clips[0])
    assert not torch.equal(specimen[:, 0], specimen[:, 1])
    assert torch.equal(specimen, source.specimen())
    values, keep = source.collate({1: specimen[0], 2: blank[0]}, 4)
    assert keep.tolist() == [[False, False], [True, True], [True, False], [False, False]]
    assert torch.equal(values[1], specimen[0])
    assert json.loads(json.dumps(source.settings())) == source.settings()
    with pytest.raises(DataError, match=r"must be .* with at least one step, but is float64"):
        source.check(torch.zeros(2, dtype=torch.float64))


def test_the_fields_of_the_profile_are_divided_among_the_built_in_sources():
    """What stored features are compared by: any new field must be put under one or both."""
    fields = {name for name in SMALL.to_json() if name != "sources"}
    assert {*SMALL.source("frame").settings(), *SMALL.source("audio").settings()} == fields


def test_a_source_registered_here_is_used_at_once_and_again_when_it_changes(gaze, monkeypatch):
    profile = MediaProfile(sources=("gaze",), source_args={"gaze": {"points": 3}})
    assert profile.source("gaze").step_shape == (3,)
    assert MediaProfile.of(json.loads(json.dumps(profile.to_json()))) == profile
    assert profile != MediaProfile(sources=("gaze",))
    assert profile.source("gaze").settings() == {"points": 3, "version": 1}

    class Longer(Gaze):
        version = 2

    monkeypatch.setitem(SOURCES._local, "gaze", ("tests:Longer", Longer))
    assert profile.source("gaze").settings() == {"points": 3, "version": 2}


def test_lost_steps_are_left_out(gaze):
    profile = MediaProfile(sources=("gaze",))

    def steps(content: bytes) -> Any:
        files = {"gaze": SourceFile(content, "txt")}
        return profile.source("gaze").steps_of("gaze", Material("k", profile, files=files))

    assert steps(b"1,2,nan,4,5,6").tolist() == [[1, 2], [5, 6]]
    assert steps(b"nan,2") == "all of its 1 steps were lost"
    with pytest.raises(DataError, match=r"clip 'k': its gaze cannot be read \(RuntimeError"):
        steps(b"1,2,3")
    assert profile.source("gaze").steps_of("gaze", Material("k", profile)) == "no file was given"


def broken(**changes: Any) -> type[Source]:
    base = {"modality": Modality("x"), "suffixes": ("txt",), "step_shape": (2,), "read": lambda *_: torch.ones(1, 2)}
    made = type("Odd", (Source,), {**base, **changes})
    return dataclass(frozen=True)(made) if changes.get("frozen", True) else made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen": False}, "is no frozen dataclass"),
        ({"modality": "x"}, "has no modality"),
        ({"step_shape": 3}, "has the step_shape 3"),
        ({"suffixes": ()}, r"has the suffixes \(\)"),
        ({"suffixes": (".txt",)}, "has the suffixes"),
        ({"read": Source.read}, "has no method read"),
    ],
)
def test_what_a_source_must_declare(changes, message, monkeypatch):
    monkeypatch.setitem(SOURCES._local, "odd", ("tests:Odd", broken(**changes)))
    with pytest.raises(ConfigError, match=message):
        MediaProfile().source("odd")


@pytest.mark.parametrize("name", ["subtitle", "multi", "My Gaze", "a.b"])
def test_names_that_mean_something_else_are_refused(name, monkeypatch):
    monkeypatch.setitem(SOURCES._local, name, ("tests:Gaze", Gaze))
    with pytest.raises(ConfigError, match="cannot be called so"):
        MediaProfile().source(name)


def test_a_modality_is_an_open_name():
    assert Modality("visual") == Modality.VISUAL == "visual"
    assert f"{Modality('pose-track')}" == "pose-track"
    for odd in ("", "Pose", "a b", None, "x" * 50):
        with pytest.raises(ConfigError, match="a modality is a name in lower case"):
            Modality(odd)
