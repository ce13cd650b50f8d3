"""One function a medium keeps text from anywhere text."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectgpt.pages.escaping import for_csv, for_html, for_json, for_markdown, one_line

ANY = st.text(alphabet=st.characters(exclude_categories=()))  # halves of surrogate pairs too


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
@pytest.mark.parametrize("before", ["", " ", "\t", "\r\n", "\x00", "\xa0"])
def test_a_cell_is_no_formula(sign, before):
    assert for_csv(f"{before}{sign}1+1").startswith("'")


def test_plain_text_stays_as_it_is():
    for text in ("my-model_v2 (30)", "Qwen2.5-7B", "高兴", "naïve", "a.b/c"):
        assert for_csv(text) == for_html(text) == for_markdown(text) == one_line(text) == text


@given(ANY)
def test_everything_can_be_written_and_nothing_gets_out(text):
    for written in (for_csv(text), for_html(text), for_markdown(text), for_json([text])):
        written.encode("utf-8")
        assert "\x1b" not in written
    assert not set("<>\"'") & set(for_html(text))
    assert not set("<>\n") & set(for_markdown(text))
    assert json.loads(for_json([text])) == [text]
    out = io.StringIO()
    csv.writer(out).writerow([for_csv(text), "b"])
    (row,) = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert row[1] == "b"


def test_markdown_is_neither_html_nor_a_link_nor_another_cell():
    assert for_markdown("<b>|[x](y)`z`*w*") == "&lt;b&gt;\\|\\[x\\](y)\\`z\\`\\*w\\*"
    assert [for_markdown(text) for text in ("# a", "- a", "1. a")] == ["\\# a", "\\- a", "1\\. a"]
