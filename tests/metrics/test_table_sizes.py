"""Archives that unpack to gigabytes, and damaged ones: refused in one line, in little memory and time."""

import codecs
import contextlib
import io
import pickle
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affectgpt.errors import DataError
from affectgpt.metrics.npz import MAX_ARRAY_BYTES, MAX_PICKLE_BYTES, read_npz
from affectgpt.metrics.wheel.word_tables import MAX_PART_BYTES, MAX_WORKBOOK_BYTES, _sheet

SPACE = 1_500_000_000  # address space of the child; numpy and openpyxl take a part of it
READ = """
import resource, sys
sys.path.insert(0, {source!r})
from pathlib import Path
from affectgpt.errors import DataError
{load}
resource.setrlimit(resource.RLIMIT_AS, ({space}, {space}))
try:
    {call}(Path(sys.argv[1]))
except DataError as error:
    print("REFUSED", error)
"""


def refusal(path, what):
    """What a child process with little memory says about a file."""
    source = str(__import__("pathlib").Path(__file__).resolve().parents[2] / "src")
    load, call = {
        "npz": ("from affectgpt.metrics.npz import read_npz", "read_npz"),
        "xlsx": ("import openpyxl\nfrom affectgpt.metrics.wheel.word_tables import _sheet", "_sheet"),
    }[what]
    code = READ.format(source=source, load=load, call=call, space=SPACE)
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("REFUSED"), done.stdout
    assert time.monotonic() - start < 60
    assert "MemoryError" not in done.stdout
    return done.stdout


def header(shape, dtype):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def archive(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in members.items():
            with out.open(name, "w", force_zip64=True) as file:
                for piece in content:
                    file.write(piece)
    return path


def pickled(value, protocol=4):
    return [header((), "|O") + pickle.dumps(value, protocol)]


ZEROS = [bytes(1 << 20)]


class Hex:
    """Asks pickle for a text that doubles thirty times."""

    def __reduce__(self):
        inner = b"aa"
        for _ in range(30):
            inner = _Later(inner)
        return (codecs.encode, (inner, "hex"))


class _Later:
    def __init__(self, inner):
        self.inner = inner

    def __reduce__(self):
        return (codecs.encode, (self.inner, "hex"))


class Big:
    """Asks numpy for gigabytes in a pickle of a hundred bytes."""

    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return (self.call, self.args)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: [header((300 << 20,), "|u1"), *ZEROS * 300], f"at most {MAX_ARRAY_BYTES:,} are read"),
        (lambda: [header((), "|O"), *ZEROS * 64], f"at most {MAX_PICKLE_BYTES:,} are read"),
        (lambda: [header((1 << 33,), "|u1"), b"12"], "declares 8,589,934,592 bytes"),
        (lambda: [header((1 << 40,), "|S0")], "declares 0 bytes"),
        (lambda: pickled(Hex()), "encoding 'hex', which is not data"),
        (lambda: pickled(Big(np.ndarray, (1 << 33,))), "cannot be read as .npz|not data"),
        (lambda: pickled(Big(np._core.multiarray._reconstruct, np.ndarray, (1 << 33,), b"b")), "numpy did not write"),
        (lambda: pickled(Big(np._core.multiarray.scalar, np.dtype("V2000000000"))), "scalar of"),
        (lambda: pickled(Big(bytearray, 1 << 33)), "builtins.bytearray, which is not data"),
    ],
)
def test_an_npz_is_judged_before_memory_is_taken(content, message, tmp_path):
    path = archive(tmp_path / "bomb.npz", {"a.npy": content()})
    assert path.stat().st_size < 6_000_000
    said = refusal(path, "npz")
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(said)


def test_many_members_are_judged_together(tmp_path):
    one = [header((200 << 20,), "|u1"), *ZEROS * 200]
    said = refusal(archive(tmp_path / "bomb.npz", {"a.npy": one, "b.npy": one}), "npz")
    assert f"at most {MAX_ARRAY_BYTES:,} are read" in said


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.floats(allow_nan=False)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def boxed(value):
    array = np.empty(1, dtype=object)
    array[0] = value
    return array


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), PLAIN, max_size=3))
@settings(max_examples=40, deadline=None)
def test_plain_data_comes_back(values):
    file = io.BytesIO()
    np.savez(file, **{name: boxed(value) for name, value in values.items()})
    file.seek(0)
    found = read_npz(file)
    assert {name: list(array) for name, array in found.items()} == {name: [value] for name, value in values.items()}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_numpy_writes_in_any_protocol_is_read(protocol, tmp_path):
    value = {"a": np.float64(0.5), "b": np.array(["x", None], dtype=object), "c": {"s"}, "d": b"\xff", "e": np.int64(3)}
    found = read_npz(archive(tmp_path / "a.npz", {"m.npy": pickled(value, protocol)}))["m"]
    assert (found["a"], list(found["b"]), found["c"], found["d"], found["e"]) == (0.5, ["x", None], {"s"}, b"\xff", 3)


@given(st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_npz_gives_our_own_error(tmp_path, data):
    file = io.BytesIO()
    np.savez(file, names=np.array(["a", "b"]), answers=np.array([{"x": [1, None]}, "y"], dtype=object))
    whole = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path / "damaged.npz"
    path.write_bytes(bytes(whole[:cut] if data.draw(st.booleans()) else whole))
    with contextlib.suppress(DataError):
        read_npz(path)


@given(st.binary(max_size=60))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_pickle_gives_our_own_error(tmp_path, content):
    with contextlib.suppress(DataError):
        read_npz(archive(tmp_path / "any.npz", {"a.npy": [header((), "|O") + content]}))


def workbook(path, sheet, **parts):
    """A workbook around the XML of one sheet."""
    openpyxl = pytest.importorskip("openpyxl", reason="the wheel extra reads workbooks")
    book, plain = openpyxl.Workbook(), io.BytesIO()
    book.active["A1"] = "level1"
    book.save(plain)
    with zipfile.ZipFile(plain) as made:
        members = {name: [made.read(name)] for name in made.namelist()}
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    members["xl/worksheets/sheet1.xml"] = [f"<worksheet {space}>".encode(), *sheet, b"</worksheet>"]
    return archive(path, {**members, **{name.replace("__", "/"): content for name, content in parts.items()}})


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        ([b"<sheetData>", *[b"<row><c/></row>" * 10_000] * 300, b"</sheetData>"], f"at most {MAX_WORKBOOK_BYTES:,}"),
        # The size that a sheet declares; rows far down; cells far to the right.
        ([b'<dimension ref="A1:XFD1048576"/><sheetData>', b'<row><c t="n"><v>1</v></c></row>' * 60_000], "10,000 rows"),
        ([b'<sheetData><row r="1048576"><c r="A1048576"/></row></sheetData>'], "10,000 rows"),
        ([b'<sheetData><row r="999999999999"><c/></row></sheetData>'], "10,000 rows"),
        ([b'<sheetData><row r="1"><c r="XFD1"><v>1</v></c></row></sheetData>'], "200 columns"),
        ([b"<sheetData><row>", b"<c/>" * 200_000, b"</row></sheetData>"], "200 columns"),
    ],
)
def test_a_workbook_is_judged_before_memory_is_taken(sheet, message, tmp_path):
    path = workbook(tmp_path / "wheel1.xlsx", sheet)
    assert path.stat().st_size < 300_000
    assert message in refusal(path, "xlsx")


def test_other_parts_of_a_workbook_have_their_limit(tmp_path):
    path = workbook(tmp_path / "wheel1.xlsx", [b"<sheetData/>"], **{"xl__styles.xml": [b"<xf/>" * 200_000]})
    assert f"'xl/styles.xml' unpacks to 1,000,000 bytes, and at most {MAX_PART_BYTES:,}" in refusal(path, "xlsx")


def test_entities_do_not_grow(tmp_path):
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    text = f'<!DOCTYPE x [<!ENTITY e0 "ha">{levels}]><worksheet xmlns="{space}"><sheetData><row><c t="str"><v>&e9;</v>'
    sheet = f"{text}</c></row></sheetData></worksheet>".encode()
    path = workbook(tmp_path / "wheel1.xlsx", [], **{"xl__worksheets__sheet1.xml": [sheet]})
    assert "cannot be read as a spreadsheet" in refusal(path, "xlsx")


def test_rows_declared_wide_are_still_read(tmp_path):
    rows = b'<row r="1"><c r="A1" t="str"><v>level1</v></c><c r="B1" t="str"><v>level2</v></c></row>'
    rows += b'<row r="3"><c r="A3" t="str"><v>happy</v></c><c r="D3" t="str"><v>left of nothing</v></c></row>'
    sheet = [b'<dimension ref="A1:XFD1048576"/><sheetData>', rows, b"</sheetData>"]
    assert _sheet(workbook(tmp_path / "a.xlsx", sheet)) == [("level1", "level2"), (None, None), ("happy", None)]
