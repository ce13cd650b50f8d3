"""Names, messages and owners of the registry."""

from __future__ import annotations

import pytest

from affectgpt.encoders import Encoder
from affectgpt.errors import ConfigError
from affectgpt.registry import ENCODERS, POOLINGS, Registry, Spec


def table(**builtins: str) -> Registry[object]:
    return Registry("encoder", "affectgpt.encoders.base:Encoder", builtins, "affectgpt.test_group")


def test_unknown_name_gets_near_matches_and_the_list() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown encoder 'tiny-vison'. Did you mean 'tiny-vision'.*Known: .*tiny-audio"
    ):
        ENCODERS.build("tiny-vison")


def test_wrong_argument_gets_what_the_part_takes() -> None:
    with pytest.raises(
        ConfigError, match=r"'tiny-vision': got an unexpected keyword argument 'sise'. It takes: .*size: int"
    ):
        ENCODERS.build({"name": "tiny-vision", "args": {"sise": 3}})


def test_missing_argument_is_named() -> None:
    with pytest.raises(ConfigError, match="missing a required argument: 'in_dim'"):
        POOLINGS.build("mean")


def test_taken_name_names_both_owners() -> None:
    registry = table(face="affectgpt.encoders.tiny:TinyVisionEncoder")
    with pytest.raises(ConfigError, match=r"'face' is taken by affectgpt .*TinyVisionEncoder.*Mine cannot register it"):

        @registry.register("face")
        class Mine(Encoder):
            pass


def test_overwrite_takes_a_name_and_registering_twice_is_no_conflict() -> None:
    registry = table(face="affectgpt.encoders.tiny:TinyVisionEncoder")

    class Mine(Encoder):
        pass

    registry.register("face", overwrite=True)(Mine)
    registry.register("face")(Mine)
    assert registry.get("face") is Mine


def test_dotted_name_builds_and_is_refused_from_a_checkpoint() -> None:
    name = "affectgpt.encoders.tiny:TinyVisionEncoder"
    assert ENCODERS.build({"name": name, "args": {"dim": 8}}).out_dim == 8
    with pytest.raises(ConfigError, match="allow_import=True"):
        ENCODERS.build(name, allow_import=False)


def test_a_thing_that_is_no_part_is_refused() -> None:
    with pytest.raises(ConfigError, match="is the class OrderedDict, which is not a Encoder"):
        ENCODERS.build("collections:OrderedDict")


def test_broken_part_names_its_cause_and_leaves_the_others_alone() -> None:
    registry = table(good="affectgpt.encoders.tiny:TinyVisionEncoder", bad="affectgpt.nowhere:Nothing")
    with pytest.raises(ConfigError, match=r"needs the module 'affectgpt\.nowhere'"):
        registry.get("bad")
    problems = {entry.name: entry.problem for entry in registry.check()}
    assert problems["good"] is None
    assert "affectgpt.nowhere" in str(problems["bad"])


def test_missing_extra_is_named() -> None:
    registry = Registry("encoder", "affectgpt.encoders.base:Encoder", {"x": "gradio.nothing:X"}, "affectgpt.test_group")
    with pytest.raises(ConfigError, match=r"pip install 'affectgpt\[app\]'"):
        registry.get("x")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "given as a name or as"),
        ({"args": {}}, "given as a name or as"),
        ({"name": "a", "arg": {}}, "unknown key 'arg'"),
        ({"name": "a", "args": {"x": object()}}, "plain JSON"),
    ],
)
def test_spec_refuses_what_is_no_spec(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Spec.of(value)  # type: ignore[arg-type]


def test_names_of_an_open_family_pass_the_rest_of_the_name() -> None:
    encoder = ENCODERS.build({"name": "timm/test_vit", "args": {"pretrained": False}})
    assert encoder.hparams["model"] == "test_vit"
