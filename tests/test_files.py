"""JSON is parsed, or refused with its place."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectgpt.errors import DataError
from affectgpt.files import parse_json


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 100_000, "1" * 5000, b"\xff", "nul"])
def test_what_is_no_json_is_refused_with_its_place(text: str | bytes) -> None:
    with pytest.raises(DataError, match=r"x\.json is (not JSON|nested too deeply)"):
        parse_json(text, "x.json")


@given(st.binary(max_size=20))
def test_only_errors_of_ours_come_out(content: bytes) -> None:
    with contextlib.suppress(DataError):
        parse_json(content, "x.json")


def test_a_byte_order_mark_is_no_part_of_it() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}', "x.json") == {"a": 1}
