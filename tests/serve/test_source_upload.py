"""The service takes the files of sources as ``predict`` does; the plug-in is that of docs/new_modality.md."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx2
import pytest
import torch

from affectgpt import AffectGPT
from affectgpt.serve import ServiceSettings
from clipmaker import make_clip
from physiomaker import install_physiology, run_config, signals, use
from servicerunner import running

SECONDS = 120


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, AffectGPT]]:
    """The URL of a service whose model reads physiology, and the model."""
    with pytest.MonkeyPatch.context() as patch:
        use(install_physiology(tmp_path_factory), patch)
        torch.manual_seed(0)
        model = AffectGPT.from_config(run_config(tmp_path_factory.mktemp("run"))["model"]).eval()
        with running(model, ServiceSettings(model_name="physio", decoders=1, max_body_bytes=2**20)) as url:
            yield url, model


def form(url: str, **files: tuple[str, bytes]) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/answers", files=files, timeout=SECONDS)


def test_a_form_with_the_file_of_a_source_is_answered_as_predict_answers(served) -> None:
    url, model = served
    clip, physiology = make_clip(0.4), signals(6)
    told = form(url, file=("a.mp4", clip), physiology=("signals/a.CSV", physiology)).json()
    alone = model.predict(clip, physiology=physiology, key="a")
    (answer,) = told["answers"]
    assert (answer["text"], answer["used"]) == (alone.text, list(alone.used))
    assert "physiology" in answer["used"]
    assert set(told["missing"]) == {"subtitle"}
    assert form(url, file=("a.mp4", clip)).json()["missing"]["physiology"] == "no file was given"


def test_a_clip_may_have_nothing_but_the_file_of_a_source(served) -> None:
    url, model = served
    told = form(url, physiology=("a.csv", signals(4))).json()
    assert (told["key"], told["answers"][0]["used"]) == ("a", ["physiology"])
    assert told["answers"][0]["text"] == model.predict(None, physiology=signals(4)).text


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "or a file of physiology alone"),
        ({"physiologie": ("a.csv", b"")}, "did you mean 'physiology'"),
        ({"physiology": ("a.txt", b"ecg,eda\n")}, "must end in one of: csv"),
        ({"physiology": ("a.csv", b"pulse\n1\n")}, "must start with the line 'ecg,eda'"),
        ({"physiology": ("a.csv", b"\xff\xfe")}, "cannot be read"),
        ({"physiology": ("a.csv", b"1" * 2**20)}, "more than 1,048,576 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(served, files, words) -> None:
    told = form(served[0], **(files or {"audio": ("a.wav", b"")}))
    assert told.status_code == (413 if "bytes" in words else 422)
    assert words in told.json()["error"]["message"].replace("Did", "did")


def test_a_model_without_sources_refuses_files_that_it_would_not_read(service, clip) -> None:
    told = form(service, file=("a.mp4", clip), physiology=("a.csv", signals(4)))
    assert told.status_code == 422
    assert told.json()["error"]["param"] == "physiology"
    assert "the model reads no other files" in told.json()["error"]["message"]


def test_a_chat_takes_the_file_beside_its_messages(served) -> None:
    url, model = served
    data = "data:text/csv;base64," + base64.b64encode(signals(6)).decode()

    def ask(**sources: dict[str, str]) -> httpx2.Response:
        body = {"model": "physio", "messages": [{"role": "user", "content": "How is she?"}], "sources": sources}
        return httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=SECONDS)

    for one in ({"url": data}, {"url": data, "format": "csv"}):
        told = ask(physiology=one).json()
        assert told["affectgpt"]["used"] == ["physiology"]
        alone = model.predict(None, physiology=signals(6), question="How is she?")
        assert told["choices"][0]["message"]["content"] == alone.text
    for sources, words in (
        ({"physiology": {"url": data, "format": "npy"}}, "must end in one of: csv"),
        ({"gaze": {"url": data}}, "a file can be given for physiology"),
        ({"physiology": {"url": "data:text/csv,1"}}, "without base64"),
        ({}, "nothing to look at"),
    ):
        refused = ask(**sources)
        assert refused.status_code == 422
        assert words in refused.json()["error"]["message"]


def test_the_description_names_the_file(served) -> None:
    told = httpx2.get(f"{served[0]}/openapi.json", timeout=SECONDS).json()["components"]["schemas"]
    (body,) = (schema for schema in told.values() if {"file", "max_tokens"} <= set(schema["properties"]))
    assert "ends in csv" in body["properties"]["physiology"]["description"]
