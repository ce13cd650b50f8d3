"""Python blocks of the README and the documentation run, and so does every block of a tutorial.

The commands of the other pages run in the folder of a reader (``pagerunner.PAGES``). A block that needs weights, data,
a network, a cluster, a package or a device that a test has not is marked in the page, in the line above it: ``<!-- not
run: needs the 7B weights -->``. Its commands must be verbs with options that exist, its code must compile and its
imports must resolve all the same, and its YAML must be YAML that names classes that exist.
"""

from __future__ import annotations

import ast
import importlib
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from affectgpt.bench import write_openset
from affectgpt.bench.external import OTHERS
from affectgpt.cli.main import VERBS
from affectgpt.cli.main import main as cli
from clipmaker import make_clip
from pageblocks import ROOT, read_blocks, read_commands
from pagerunner import PAGES

BLOCKS = [block for block in read_blocks() if block.kind]
NAMED = {block.name: block for block in BLOCKS}
RUN_ELSEWHERE = {
    "README.md": "test_readme.py",
    "docs/app.md": "test_page_over_http.py",
    "docs/new_modality.md": "test_third_modality.py",
    "docs/parts.md": "test_documented.py",
    "docs/serve.md": "test_serve_page.py",
    "docs/streaming.md": "test_webdataset_pipeline.py",
}
"""Pages whose Python runs in a test of their own, with what it needs."""
RUN_PYTHON = sorted(
    {b.page for b in BLOCKS if b.kind == "python" and b.reason is None and "tutorials/" not in b.page}
    - {*RUN_ELSEWHERE}
)
TUTORIALS = sorted({b.page for b in BLOCKS if "tutorials/" in b.page})
"""Pages of which every block runs, one after the other."""
COMMANDS = [name for name, block in NAMED.items() if block.kind == "bash"]

FORMS = {"annotate": ("review", "export", "import"), "score": ("preference", *OTHERS)}
"""Verb to the words that may stand after it and have options of their own."""

BEFORE = {
    "docs/scoring.md": "from affectgpt.metrics import EmotionWheel\n"
    "my_answers, their_answers, truth = [['glad']] * 9, [['sad']] * 9, [['joyful']] * 9\n",
}
"""What a page takes for granted before its first block."""


def test_pages_that_run_elsewhere_do() -> None:
    for page, test in RUN_ELSEWHERE.items():
        (file,) = (ROOT / "tests").rglob(test)
        assert Path(page).name in file.read_text("utf-8")


@pytest.fixture
def desk(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the examples name, and the authors' word tables in the cache."""
    shutil.copytree(shared / "data" / "emotion_wheel", tmp_path / "cache" / "emotion_wheel")
    monkeypatch.setenv("AFFECTGPT_CACHE", str(tmp_path / "cache"))
    names = [f"clip_{number}" for number in range(12)]
    (tmp_path / "clip.mp4").write_bytes(make_clip(1.0, audio=True))
    for file, word in (("mine", "glad"), ("theirs", "sad")):
        (tmp_path / f"{file}.csv").write_text("name,labels\n" + "".join(f"{name},{word}\n" for name in names), "utf-8")
    for file, label in (("meld", "joy"), ("sims", "0.8")):
        write_openset(tmp_path / f"{file}.npz", {name: ["glad"] for name in names})
        (tmp_path / f"{file}.csv").write_text("name,label\n" + "".join(f"{name},{label}\n" for name in names), "utf-8")
    (tmp_path / "gold.csv").write_text("name,label\n" + "".join(f"{name},joy\n" for name in names), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", RUN_PYTHON)
def test_python_blocks_run_in_the_order_of_the_page(page: str, desk: Path) -> None:
    space: dict[str, Any] = {"__name__": "page"}
    exec(BEFORE.get(page, ""), space)
    for name, block in NAMED.items():
        if block.page == page and block.kind == "python" and block.reason is None:
            exec(compile(block.text, name, "exec"), space)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: Path(page).stem)
def test_every_block_of_a_tutorial_runs_in_the_order_of_the_page(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "page"}
    for name, block in NAMED.items():
        if block.page != page or block.reason is not None:
            continue
        if block.kind == "python":
            exec(compile(block.text, name, "exec"), space)
        elif block.kind == "bash":
            for words in commands(block.text):
                code = cli(words[1:])
                assert not code, (words, code)
        elif block.kind == "yaml" and (file := re.match(r"# (\S+\.yaml)\n", block.text)):
            Path(file[1]).write_text(block.text, "utf-8")


@pytest.mark.parametrize("name", [name for name, block in NAMED.items() if block.kind == "python" and block.reason])
def test_python_blocks_that_cannot_run_import_what_exists(name: str) -> None:
    for node in ast.walk(ast.parse(NAMED[name].text)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("name", [name for name, block in NAMED.items() if block.kind == "yaml"])
def test_yaml_blocks_are_yaml_and_name_classes_that_exist(name: str) -> None:
    text = NAMED[name].text
    yaml.safe_load(text)
    for path in re.findall(r"class_path: (affectgpt[\w.]+|lightning[\w.]+)", text):
        module, _, attribute = path.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), path


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_verbs_with_options_that_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands(NAMED[name].text):
        verb, options = words[1], [word.split("=")[0] for word in words[2:] if word.startswith("--")]
        assert verb in VERBS or verb.startswith("-"), words
        if verb in VERBS and verb not in ("fit", "validate", "test") and "--config" not in options:
            with pytest.raises(SystemExit):
                cli([verb, *(word for word in words[2:3] if word in FORMS.get(verb, ())), "--help-all"])
            told = capsys.readouterr().out
            assert [option for option in options if not re.search(rf"{option}\b", told)] == [], words


def commands(text: str) -> list[list[str]]:
    """The words of every call of ``affectgpt`` in a block."""
    return [list(one.words) for one in read_commands(text) if one.words[:1] == ("affectgpt",)]


NOT_RUN = re.compile(
    r"GPU|gated|weights|network|cluster|not in the development environment|a running service|takes (?:ten )?minutes|"
    r"asks a person|lmms-eval"
)
"""What may keep a command from being run here."""
PLUGGED_IN = {"docs/new_modality.md": "test_third_modality.py", "docs/plugins.md": "test_new_part.py"}
"""Pages whose commands need an installed plug-in, and the tests that follow them."""


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS if block.kind == "bash"} - {*TUTORIALS}))
def test_commands_of_a_page_are_run(page: str) -> None:
    blocks = [block for block in BLOCKS if block.page == page and block.kind == "bash"]
    if any(block.reason is None for block in blocks):
        assert page in {*PLUGGED_IN, *(one for pages in PAGES.values() for one in pages)}
    for block in blocks:
        assert block.reason is None or NOT_RUN.search(block.reason), f"{block.name}: {block.reason!r} is no reason"
        for file in re.findall(r"tests/\S+\.py", block.reason or ""):
            assert (ROOT / file).is_file(), f"{block.name}: {file} does not exist"


def test_pages_with_a_plug_in_are_followed_by_tests() -> None:
    for page, test in PLUGGED_IN.items():
        (file,) = (ROOT / "tests").rglob(test)
        assert page in {block.page for block in BLOCKS}
        assert "physiomaker" in file.read_text("utf-8") or "--new" in file.read_text("utf-8")


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS}))
def test_no_command_stands_outside_a_block_that_is_run(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert re.findall(r"^    +affectgpt .*$", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S), re.M) == []
    shown = [block.text for block in read_blocks([ROOT / page]) if block.kind in ("", "text", "shell", "sh")]
    assert [line for one in shown for line in one.splitlines() if line.startswith("affectgpt ")] == []


@pytest.mark.parametrize("page", ["docs/faq.md", "docs/zh/faq.md"])
def test_every_answer_has_a_command(page: str) -> None:
    sections = re.split(r"^### ", (ROOT / page).read_text("utf-8"), flags=re.M)[1:]
    assert len(sections) >= 25
    assert [one.splitlines()[0] for one in sections if "```bash\naffectgpt " not in one] == []
