"""What the documentation site has beside the pages of ``docs/``: the API reference, and files that pages link to.

MkDocs calls the functions below by their names. The reference has a page for each package with public names, which
its ``__init__.pyi`` lists; what stands there comes from the docstrings. Links of pages to files outside ``docs/``
(results of benchmarks, scripts, configurations) lead to copies in the site.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "affectgpt"
LINK = re.compile(r"(?<=\]\()(?P<up>(?:\.\./)+)(?P<target>[^)#\s]+)")
EXPORT = re.compile(r"^from (?P<module>\.\w[\w.]*) import (?P<name>\w+) as \w+$", re.M)


def packages() -> dict[str, list[str]]:
    """Dotted name of each package with public names: where each name is defined, in the order of the package's stub.

    A name that two packages list is found in the inner one.
    """
    found, listed = {}, set()
    for stub in sorted(PACKAGE.rglob("__init__.pyi"), key=lambda path: -len(path.parts)):
        dotted = ".".join(("affectgpt", *stub.parent.relative_to(PACKAGE).parts))
        names = [f"{dotted}{match['module']}.{match['name']}" for match in EXPORT.finditer(stub.read_text("utf-8"))]
        found[dotted] = [name for name in names if name not in listed]
        listed.update(names)
    return {dotted: found[dotted] for dotted in sorted(found) if found[dotted]}


def reference_page(dotted: str, names: list[str]) -> str:
    """The Markdown of one page of the reference."""
    sections = "\n\n".join(f"::: {name}" for name in names)
    return f"# {dotted}\n\nWhat `{dotted}` exports; import each name from there.\n\n{sections}\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the pages of the reference to the navigation."""
    (code,) = (entry["Code"] for entry in config.nav if "Code" in entry)
    code.append({"Reference": [f"reference/{dotted}.md" for dotted in packages()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the reference, and the files outside ``docs/`` that pages link to."""
    for dotted, names in packages().items():
        files.append(File.generated(config, f"reference/{dotted}.md", content=reference_page(dotted, names)))
    linked = {}
    for file in files.documentation_pages():
        for match in LINK.finditer(file.content_string):
            path = _outside(file.src_uri, match)
            if path is not None and path.is_file():
                linked[path.relative_to(ROOT).as_posix()] = path
    for uri, path in sorted(linked.items()):
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links out of ``docs/`` to the copies in the site, whose root stands for the project's."""
    if page.file.src_uri.startswith("benchmarks/"):
        return re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", markdown)

    def inward(match: re.Match[str]) -> str:
        if _outside(page.file.src_uri, match) is None:
            return match[0]
        return match["up"].removeprefix("../") + match["target"]

    return LINK.sub(inward, markdown)


def _outside(src_uri: str, match: re.Match[str]) -> Path | None:
    """The file outside ``docs/`` that a link of a page leads to; ``None`` for a link to another page."""
    path = (ROOT / "docs" / src_uri).parent.joinpath(match[0]).resolve()
    return None if path.is_relative_to(ROOT / "docs") else path


def on_env(env: Any, config: MkDocsConfig, files: Files) -> Any:
    """Refuses a page that leads to a folder or a file that does not exist outside ``docs/``."""
    missing = [
        f"{file.src_uri}: {match[0]}"
        for file in files.documentation_pages()
        for match in LINK.finditer(file.content_string)
        if (path := _outside(file.src_uri, match)) is not None and not path.exists()
    ]
    if missing:
        raise FileNotFoundError("links to files that do not exist: " + "; ".join(missing))
    return env
