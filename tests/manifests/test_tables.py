"""Tables of text: no row is lost in a quotation, and text of several lines stays one cell."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectgpt.bench.external.answer_rows import read_rows
from affectgpt.bench.predictions import read_gold, read_predictions
from affectgpt.datamodules.unibench.set_tables import read_words
from affectgpt.errors import DataError
from affectgpt.manifests.manifest import scan_manifest
from affectgpt.manifests.text_tables import read_table

SAID = [("c1", "She told me:"), ("c2", '"I never want'), ("c3", "to see you"), ("c4", 'again."'), ("c5", "So.")]


def table_of(path: Path, header: str, row: str) -> Path:
    """A table of the five utterances, written without csv quoting."""
    lines = [header, *(row.format(name=name, words=words) for name, words in SAID)]
    sign = "," if path.suffix == ".csv" else "\t"
    path.write_text("\n".join(lines).replace("|", sign) + "\n")
    return path


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("name|video|subtitle|labels", "{name}|c.mp4|{words}|calm"),
        ("name|video|labels|subtitle", "{name}|c.mp4|calm|{words}"),
    ],
)
def test_a_quotation_over_rows_swallows_none(header: str, row: str, tmp_path: Path) -> None:
    (tmp_path / "c.mp4").write_bytes(b"x")
    records, problems = scan_manifest(table_of(tmp_path / "m.tsv", header, row))
    assert problems == []
    assert [(record.key, record.subtitle, record.labels) for record in records] == [
        (name, words, ("calm",)) for name, words in SAID
    ]
    with pytest.raises(DataError, match=r"m\.csv.*opens on line 3 and closes later, so that line 4"):
        scan_manifest(table_of(tmp_path / "m.csv", header, row))


def test_every_reader_refuses_a_csv_that_swallows_rows(tmp_path: Path) -> None:
    words = "opens on line 3 and closes later"
    for read, header in (
        (read_predictions, "name|text"),
        (read_gold, "name|label"),
        (read_rows, "id|text"),
        (lambda path: read_words(path, "english"), "name|english"),
    ):
        path = table_of(tmp_path / "x.csv", header, "{name}|{words}")
        with pytest.raises(DataError, match=words):
            read(path)


def test_names_that_are_words_or_follow_the_text_are_rows_too(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    for text in (
        'name,text\nanna,"so\nbert,sad\ncarl,angry"\n',
        'text,name\n"so,v1\nwell then,v2\nno",v3\nyes,v4\n',
        'id,a,b\n-HwX2H8Z4hY_3,x,"y\nq_2,x,y"\n_7pQ-1,x,y\n',
    ):
        path.write_text(text)
        with pytest.raises(DataError, match="a quotation opens on line"):
            read_table(path)


PROSE = [
    "The person is happy.\nHowever, sad.",
    '1. happy, calm\n2. sad, angry\n\nHe said "no", twice,\r\nand left.',
    "Line one\nand two, \u4e2d\u6587",
    "He paid 1,000\nor 2,000 for it",
    '{\n  "labels": ["happy", "calm"],\n  "why": "because"\n}',
]


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_text_of_several_lines_is_one_cell(columns: int, tmp_path: Path) -> None:
    rows = [[f"clip_{i}", *["x"] * (columns - 2), text] for i, text in enumerate([*PROSE, "short"])]
    for suffix, sign in ((".csv", ","), (".tsv", "\t")):
        path = tmp_path / f"x{suffix}"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=sign).writerows([[f"column{i}" for i in range(columns)], *rows])
        assert [list(row.cells) for row in read_table(path).rows] == rows


TEXT = st.text(st.characters(categories=("L", "N", "P", "Zs"), include_characters="\n,\t\"'"), max_size=12)


@given(st.lists(st.tuples(st.integers(0, 99).map("clip{}".format), TEXT), min_size=1, max_size=6))
def test_a_table_reads_back_as_it_was_written_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("t") / "x.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("name", "text"), *rows])
    try:
        found, message = [tuple(row.cells) for row in read_table(path).rows], ""
    except DataError as error:
        found, message = rows, str(error)
    assert found == rows
    assert not message or "a quotation opens on line" in message


def test_a_row_has_as_many_cells_as_the_header_in_every_reader(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("name,video,label\na,a.mp4\n")
    for read in (read_predictions, read_gold, read_rows, lambda path: read_words(path, "label")):
        with pytest.raises(DataError, match=r"x\.csv:2: 2 cells, but the header has 3"):
            read(path)
    _, problems = scan_manifest(path)
    assert [problem.code for problem in problems] == ["wrong_row"]


def test_another_encoding_is_refused_with_the_way_out_everywhere_but_in_published_sets(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("name,label\ncaf\u00e9,joy\n".encode("cp1252"))
    for read in (read_predictions, read_gold, read_rows, scan_manifest):
        with pytest.raises(DataError, match="iconv -f latin1"):
            read(path)
    assert read_words(path, "label") == {"caf\u00e9": "joy"}


def test_a_table_with_another_delimiter_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("name;video\na;a.mp4\n")
    with pytest.raises(DataError, match="separated by ';'"):
        scan_manifest(tmp_path / "m.csv")
