"""Fetching the official word tables, keeping them compiled, and their compiled form of 2026."""

import functools
import http.server
import shutil
import sys

import numpy as np
import pytest

from affectgpt.errors import ConfigError, DataError
from affectgpt.metrics import EmotionWheel
from affectgpt.metrics.wheel.official_tables import read_official
from affectgpt.metrics.wheel.word_tables import FILES, read_tables
from serverthread import serving


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("AFFECTGPT_CACHE", str(folder))
    monkeypatch.delenv("AFFECTGPT_WHEEL_FOLDER", raising=False)
    return folder


@pytest.fixture
def tables(shared, tmp_path):
    return shutil.copytree(shared / "data" / "emotion_wheel", tmp_path / "tables")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        self.server.asked.append(args)


@pytest.fixture
def server(tables):
    handler = functools.partial(Quiet, directory=str(tables))
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    running.asked = []
    with serving(running):
        yield running


def address(server):
    return f"http://127.0.0.1:{server.server_port}"


def test_without_a_folder_the_tables_are_fetched_once(server, cache, monkeypatch):
    monkeypatch.setenv("AFFECTGPT_WHEEL_URL", address(server))
    wheel = EmotionWheel.official()
    assert (wheel.name, wheel.group("furious")) == ("official-2025", "mad")
    assert sorted(path.name for path in (cache / "emotion_wheel").iterdir()) == sorted(FILES)
    assert len(server.asked) == len(FILES)
    EmotionWheel.official()
    assert len(server.asked) == len(FILES)
    # What was altered on the disk is fetched again.
    (cache / "emotion_wheel" / "format.csv").write_text("altered")
    assert EmotionWheel.official().labels == wheel.labels
    assert len(server.asked) == len(FILES) + 1


def test_what_is_served_must_be_the_published_file(server, tables, cache):
    (tables / "synonym.xlsx").write_bytes(b"something else")
    with pytest.raises(
        DataError, match=r"synonym\.xlsx could not be fetched from http://127.*ValueError: (SHA256|sha256)"
    ):
        EmotionWheel.official(url=address(server))
    assert not (cache / "emotion_wheel" / "synonym.xlsx").exists()


def test_offline_the_error_says_where_to_put_the_files(shared, cache):
    with pytest.raises(DataError) as failure:
        EmotionWheel.official(url="http://127.0.0.1:1/nothing")
    message = str(failure.value)
    assert "format.csv could not be fetched from http://127.0.0.1:1/nothing/" in message
    assert f"into {cache / 'emotion_wheel'}" in message
    assert "Max retries" not in message
    assert "github" in message
    for name in FILES:
        shutil.copy(shared / "data" / "emotion_wheel" / name, cache / "emotion_wheel" / name)
    assert EmotionWheel.official(url="http://127.0.0.1:1/nothing").name == "official-2025"


def test_without_pooch_the_error_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ConfigError, match=r"pip install 'affectgpt\[wheel\]', or put format\.csv"):
        EmotionWheel.official()


def test_compiled_tables_load_without_openpyxl(tables, cache, monkeypatch):
    first = EmotionWheel.official(tables)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    second = EmotionWheel.official(tables)
    assert (second.name, second.labels) == (first.name, first.labels)
    assert second.groupings.keys() == first.groupings.keys()
    for key, grouping in first.groupings.items():
        assert second.groupings[key].groups == grouping.groups
        assert np.array_equal(second.groupings[key].codes, grouping.codes)
    assert np.array_equal(second.kin, first.kin)
    # Other tables are other compiled files.
    with (tables / "format.csv").open("a") as file:
        file.write('happy,"happyish"\n')
    with pytest.raises(ConfigError, match="openpyxl"):
        EmotionWheel.official(tables, verify=False)


def test_a_damaged_compiled_file_is_made_again(tables, cache, caplog):
    EmotionWheel.official(tables)
    (kept,) = (cache / "compiled_wheels").iterdir()
    whole = kept.read_bytes()
    middle = len(whole) // 2
    for damaged in (b"", whole[:1000], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]):
        kept.write_bytes(damaged)
        caplog.clear()
        assert EmotionWheel.official(tables).name == "official-2025"
        assert "is damaged" in caplog.text
        assert kept.read_bytes() == whole


def test_a_cache_that_cannot_be_written_to_is_no_error(tables, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AFFECTGPT_CACHE", str(tmp_path / "file"))
    assert EmotionWheel.official(tables).name == "official-2025"
    assert "cannot be saved" in caplog.text


def save_mapping(path, tables, **replaced):
    arrays = {
        "format_mapping": {form: sorted(bases) for form, bases in tables.forms.items()},
        "raw_mapping": {base: set(words) for base, words in tables.synonyms.items()},
        "wheel_map_whole": {
            f"wheel{w}": {"level1": one, "level2": two} for w, (one, two) in enumerate(tables.wheels, start=1)
        },
    }
    np.savez_compressed(path, **{name: np.array(value, dtype=object) for name, value in (arrays | replaced).items()})


def test_the_compiled_mapping_of_2026_is_the_same_vocabulary(tables, shared, tmp_path):
    shutil.copy(shared / "data" / "emotion_wheel_2026" / "format.csv", tables / "format.csv")
    spreadsheets = EmotionWheel.official(tables)
    save_mapping(tmp_path / "wheel_mapping.npz", read_tables(tuple(tables / name for name in FILES)))
    for place in (tmp_path, tmp_path / "wheel_mapping.npz"):
        mapping = EmotionWheel.official(place)
        assert (mapping.name, mapping.labels) == ("official-2026", spreadsheets.labels)
    assert len(mapping.labels) == 7356
    assert read_official(tmp_path, verify=True)[0] == "official-2026"


def test_a_mapping_of_another_shape_is_refused(tmp_path):
    np.savez(tmp_path / "wheel_mapping.npz", format_mapping=np.array({"happily": ["happy"]}, dtype=object))
    with pytest.raises(DataError, match=r"wheel_mapping\.npz is not the authors' mapping .*raw_mapping"):
        EmotionWheel.official(tmp_path)
