"""Golden numbers of tiny released models that are made on the spot: these run where the reference folder is absent."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from conftest import load_script

GOLDEN = Path(__file__).with_name("golden_released.json")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("tools/golden_released.py")


def assert_near(found: Any, wanted: Any, where: str) -> None:
    assert type(found) is type(wanted), where
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), f"{where}: no golden number; tools/golden_released.py prints them"
        for key in wanted:
            assert_near(found[key], wanted[key], f"{where}.{key}")
    elif isinstance(wanted, list):
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5), where
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-4), where
    else:
        assert found == wanted, where


@pytest.mark.parametrize("letter", "ABC")
def test_numbers_are_the_golden_ones(script, tmp_path, letter):
    assert_near(script.measure(letter, tmp_path), json.loads(GOLDEN.read_text("utf-8"))[letter], letter)


def test_every_configuration_has_golden_numbers(script):
    assert json.loads(GOLDEN.read_text("utf-8")).keys() == script.LAYOUTS.keys()
