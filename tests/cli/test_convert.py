"""The verb ``convert``: released file to folder and back, and between our own two forms."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from affectgpt import AffectGPT
from affectgpt.cli.main import main
from releasedmodel import FILE, folders


def tiny() -> AffectGPT:
    streams = {"frame": {"encoder": {"name": "tiny-vision", "args": {"size": 16, "dim": 8, "channels": 2}}}}
    return AffectGPT(streams=streams, llm={"name": "tiny", "args": {"dim": 32}}, style="brief")


def test_a_released_file_becomes_a_folder_and_comes_back(shared, tmp_path, capsys):
    oracle = shared / "oracle/model"
    given = [f"--{name}={path}" for name, path in folders(oracle).items()]
    source, folder, back = oracle / "A" / FILE, tmp_path / "face", tmp_path / "back.pth"
    layout = "--layout=multiface_audio_face_text"
    assert main(["convert", str(source), str(folder), *given, layout, "--llm-dtype=float32"]) == 0
    shown = capsys.readouterr().out
    assert "streams  face, audio" in shown
    assert "35,740 trained, 1,200 carried" in shown
    assert main(["convert", str(folder), str(back), "--json"]) == 0
    theirs, ours = (torch.load(path, weights_only=True)["model"] for path in (source, back))
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_our_two_forms_hold_the_same(tmp_path, capsys):
    tiny().save_checkpoint(tmp_path / "a.ckpt")
    assert main(["convert", str(tmp_path / "a.ckpt"), str(tmp_path / "folder")]) == 0
    capsys.readouterr()
    assert main(["convert", str(tmp_path / "folder"), str(tmp_path / "b.ckpt"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["streams"] == ["frame"]
    assert facts["layout"] is None
    a, b = (torch.load(tmp_path / name, weights_only=True)["state_dict"] for name in ("a.ckpt", "b.ckpt"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_wrong_calls_end_in_one_clear_line(tmp_path, capsys):
    tiny().save_checkpoint(tmp_path / "a.ckpt")

    def refused(*args: str) -> str:
        assert main(["convert", *args]) == 1
        return capsys.readouterr().err

    a = str(tmp_path / "a.ckpt")
    assert "--clip, --hubert, --llm" in refused("released.pth", str(tmp_path / "out"))
    assert "only a model that came from a released checkpoint" in refused(a, str(tmp_path / "out.pth"))
    assert "give a name that ends in .pth" in refused(a, str(tmp_path / "out.bin"))
    assert "exists already" in refused(a, a)
    assert "write NAME=ID" in refused(a, str(tmp_path / "out"), "--path", "llm")
    assert not list(Path(tmp_path).glob("out*"))
