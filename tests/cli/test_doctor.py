"""The verb ``doctor`` says of every extra what is there, and how to install the rest."""

from __future__ import annotations

from importlib import metadata

import pytest

from affectgpt.cli.doctor import examine, states_of_extras

REQUIRES = [
    "torch>=2.11",
    "timm<1.1,>=1.0; extra == 'media'",
    "affectgpt[media,speech]; extra == 'annotate'",
    "silero-vad<7,>=6; extra == 'speech'",
    'gcsfs>=2025; sys_platform == "linux" and extra == "gs"',
    "affectgpt[speech]; extra == 'dev'",
]


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    def version(name: str) -> str:
        if name.replace("-", "_") not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    monkeypatch.setattr(metadata, "version", version)


def test_an_extra_with_others_in_it_has_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, timm="1.0.26", silero_vad="6.2")
    assert states_of_extras(REQUIRES) == {
        "media": "timm 1.0.26",
        "annotate": "timm 1.0.26, silero-vad 6.2",
        "speech": "silero-vad 6.2",
        "gs": "lacks gcsfs: pip install 'affectgpt[gs]'",
    }


def test_a_package_of_another_version_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, timm="1.2.0")
    found = states_of_extras(REQUIRES)
    assert found["media"] == "lacks timm<1.1,>=1.0: pip install 'affectgpt[media]'"
    assert found["annotate"] == "lacks silero-vad, timm<1.1,>=1.0: pip install 'affectgpt[annotate]'"


def test_the_report_has_the_extras_of_this_installation_and_smollm2() -> None:
    assert {"serve", "app", "demo", "SmolLM2-135M"} <= set(examine()["extras"])
