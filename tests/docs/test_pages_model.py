"""The blocks of the pages about models run as they are printed, in the folder of a reader."""

from __future__ import annotations

import pytest

from pagerunner import PAGES, PageRunner


@pytest.mark.timeout(900)  # a page has up to thirty commands
@pytest.mark.parametrize("page", PAGES["model"])
def test_the_page_runs_from_top_to_bottom(page: str, reader: PageRunner) -> None:
    reader.run_page(page)
