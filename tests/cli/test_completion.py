"""The scripts of ``completion`` are real ones: bash offers verbs, options and files with them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from affectgpt.cli.main import VERBS, main


def offered(script: str, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    line = " ".join(words)
    ask = (
        f"{script}\nCOMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}\n"
        f"COMP_LINE={line!r}; COMP_POINT={len(line)}\n"
        "_shtab_affectgpt 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    return subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=60, check=True).stdout.split()


@pytest.fixture(scope="module")
def script() -> str:
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["completion", "bash"]) == 0
    return said.getvalue()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_verbs_and_options(script: str, tmp_path: Path) -> None:
    assert set(offered(script, "affectgpt", "")) >= set(VERBS)
    assert offered(script, "affectgpt", "sco") == ["score"]
    assert "--checkpoint" in offered(script, "affectgpt", "predict", "--ch")
    assert "--config" in offered(script, "affectgpt", "fit", "--con")


def test_every_shell_gets_a_script_and_another_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef affectgpt")
    with pytest.raises(SystemExit) as stop:
        main(["completion", "cmd"])
    assert stop.value.code == 2
