"""The documentation site is built without a warning: every link leads somewhere, every page is in the menu."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from affectgpt.cli.main import EXIT_CODES, VERBS
from conftest import load_script

ROOT = Path(__file__).resolve().parents[2]
LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"?(?P<url>https?://[^\s\">]+)")
NOT_LOADED = re.compile(r"<link[^>]*rel=\"?(?:canonical|alternate|prev|next)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        build,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_every_page_is_there(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert site.joinpath(page.relative_to(ROOT / "docs")).with_suffix(".html").is_file(), page


def test_the_reference_shows_every_public_name(site: Path) -> None:
    packages = load_script("tools/site_pages.py").packages()
    assert len(packages) > 20
    for dotted, names in packages.items():
        text = (site / "reference" / f"{dotted}.html").read_text("utf-8")
        assert [name for name in names if f'id="{name}"' not in text] == []


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = NOT_LOADED.sub("<link hidden", page.read_text("utf-8"))
        assert [match["url"] for match in LOADED.finditer(text)] == [], page


def test_results_of_benchmarks_are_in_the_site(site: Path) -> None:
    linked = re.findall(r"\]\(\.\./(benchmarks/results/[^)#]+)\)", (ROOT / "docs" / "speed.md").read_text("utf-8"))
    assert linked
    assert [name for name in linked if not (site / name).with_suffix(".html").is_file()] == []


def test_the_command_line_page_has_every_verb_and_exit_code() -> None:
    page = (ROOT / "docs" / "command_line.md").read_text("utf-8")
    assert [verb for verb in VERBS if f"`{verb}`" not in page] == []
    assert [code for code in EXIT_CODES if f"\n| {code} | " not in page] == []
