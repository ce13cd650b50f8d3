"""What goes wrong when clips are packed: broken files and tables, full disks, kills; nothing is lost unsaid."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import affectgpt
from affectgpt.errors import DataError
from affectgpt.manifests import Mer2025, read_manifest
from affectgpt.manifests.manifest import scan_manifest
from affectgpt.media import MediaProfile
from affectgpt.shards import pack, read_index
from affectgpt.shards.check import check_shards
from affectgpt.shards.forms.frames import FramesRecipe
from affectgpt.shards.journal import Counts, Entry, Journal
from affectgpt.shards.probe import Prepare
from affectgpt.streaming import ShardStream
from clipmaker import make_clip, make_wav
from conftest import write_manifest
from fulldisk import largest_file

SMALL = MediaProfile(num_frames=2, frame_height=16, frame_width=16, num_segments=2, segment_seconds=0.1)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def flipped(raw: bytes, share: float, start: int) -> bytes:
    """One bit in each of a share of the bytes behind ``start`` turned over."""
    draw = random.Random(7)
    return raw[:start] + bytes(
        byte ^ (1 << draw.randrange(8)) if draw.random() < share else byte for byte in raw[start:]
    )


def broken_files(folder: Path) -> dict[str, str]:
    """Broken and odd media, with the code of the reject that each must give, or "" where it can be used."""
    whole = make_clip(2.0, rate_hz=25, size=(128, 96), faststart=True)
    data = whole.index(b"mdat")
    files = {
        "empty.mp4": (b"", "empty_file"),
        "text.mp4": (b"<html>404 Not Found</html>" * 20, "undecodable"),
        "no-header.mp4": (make_clip(2.0)[:-3000], "undecodable"),
        "header-only.mp4": (whole[: data + 4], "undecodable"),
        "shredded.mp4": (flipped(whole, 0.9, data + 4), "undecodable"),
        "cut.mp4": (make_clip(8.0, rate_hz=25, size=(128, 96), faststart=True)[:-4000], ""),
        "flipped.mp4": (flipped(whole, 0.02, data + 4), ""),
        "no-video.mp4": (make_clip(0.5, video=False), ""),
        "no-audio.mp4": (make_clip(0.5, audio=False), ""),
        "one-frame.mp4": (make_clip(0.1, audio=False), ""),
        "whole.mp4": (whole, ""),
    }
    for name, (raw, _) in files.items():
        (folder / name).write_bytes(raw)
    return {Path(name).stem: code for name, (_, code) in files.items()}


@pytest.mark.parametrize("recipe", [None, FramesRecipe(SMALL)], ids=["media", "frames"])
def test_broken_media_are_rejected_or_noted_and_all_accounted_for(tmp_path: Path, recipe: FramesRecipe | None) -> None:
    """Failures 1 to 4: empty, cut, shredded, flipped files; files without a video or an audio track."""
    (tmp_path / "clips").mkdir()
    wanted = broken_files(tmp_path / "clips")
    report = pack(tmp_path / "clips", tmp_path / "out", skip_bad=True, recipe=recipe)
    rejects = {reject.key: reject.code for reject in report.rejects}
    assert rejects == {key: code for key, code in wanted.items() if code}
    lines = (tmp_path / "out" / "rejects.jsonl").read_text("utf-8").splitlines()
    assert {line["key"]: line["code"] for line in map(json.loads, lines)} == rejects
    assert all(f"{key}.mp4" in str(reject) for key, reject in zip(rejects, report.rejects, strict=True))
    assert report.index.samples + len(rejects) == len(wanted)
    clips = {clip.key: clip for clip in ShardStream(tmp_path / "out", SMALL)}
    assert set(clips) == set(wanted) - set(rejects)
    assert set(clips["no-video"].media) == {"audio"}
    assert set(clips["no-audio"].media) == {"frame"}
    for key in ("cut", "flipped"):
        assert clips[key].extra["media_notes"], key
    assert "media_notes" not in clips["whole"].extra
    assert check_shards(tmp_path / "out").missing == {
        "visual: the file has no video track": 1,
        "audio: the file has no audio track": 2,
    }


def test_without_leave_to_skip_the_first_broken_file_stops_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    broken_files(tmp_path / "clips")
    with pytest.raises(DataError, match=r"empty\.mp4"):
        pack(tmp_path / "clips", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "which is not a file; check the path"),
        (lambda path: np.save(path, np.zeros((4, 8, 8), np.uint8)), "uint8"),
        (lambda path: np.save(path, np.zeros((4, 8, 8, 3), np.float32)), "uint8"),
        (lambda path: np.save(path, np.zeros((0, 8, 8, 3), np.uint8)), "there are no face crops"),
        (lambda path: np.save(path, np.array([{}, {}], object), allow_pickle=True), "Python objects"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"), "cannot be read"),
    ],
    ids=["missing", "no channels", "floats", "empty", "pickled", "cut"],
)
def test_face_arrays_that_do_not_fit(tmp_path: Path, make: Callable[[Path], Any], words: str) -> None:
    """Failure 12: face arrays missing, or in another shape."""
    for name in ("good", "bad"):
        (tmp_path / f"{name}.mp4").write_bytes(make_clip(0.3))
    np.save(tmp_path / "good.npy", np.zeros((4, 8, 8, 3), np.uint8))
    make(tmp_path / "bad.npy")
    lines = [{"name": name, "video": f"{name}.mp4", "faces": f"{name}.npy"} for name in ("good", "bad")]
    report = pack(write_manifest(tmp_path, lines), tmp_path / "out", skip_bad=True)
    assert (report.index.samples, [reject.key for reject in report.rejects]) == (1, ["bad"])
    assert words in str(report.rejects[0])


def test_face_arrays_under_a_wrong_prefix_are_all_named(tmp_path: Path) -> None:
    """Failure 12: the folder of the release with its face arrays elsewhere trains on nothing, instead of on a rest."""
    folder = tmp_path / "mer2025-dataset"
    for part in ("video", "audio", "openface_face/openface_all"):
        (folder / part).mkdir(parents=True)
    for name in ("a", "b"):
        (folder / "video" / f"{name}.mp4").write_bytes(make_clip(0.3))
        (folder / "audio" / f"{name}.wav").write_bytes(make_wav(0.3))
        np.save(folder / "openface_face" / "openface_all" / f"{name}.npy", np.zeros((1, 4, 4, 3), np.uint8))
    (folder / "subtitle_chieng.csv").write_text("name,english\na,Yes.\nb,No.\n")
    (folder / "track2_train_mercaptionplus.csv").write_text("name,openset\na,[]\nb,[]\nc,[]\n")
    records, problems = scan_manifest(folder, Mer2025())
    assert (records, [problem.key for problem in problems]) == ([], ["a", "b", "c"])
    assert "openface_face/a/a.npy" in str(problems[0])
    with pytest.raises(DataError, match="no input gave a sample; the first fault"):
        pack(folder, tmp_path / "out", layout=Mer2025(), skip_bad=True)
    records, problems = scan_manifest(folder, Mer2025(ignore=("faces",)))
    assert ([record.key for record in records], [problem.key for problem in problems]) == (["a", "b"], ["c"])


def test_subtitles_that_are_none(tmp_path: Path) -> None:
    """Failure 14: a missing subtitle is unknown, whatever stands for it; it never becomes the word "nan"."""
    (tmp_path / "a.mp4").write_bytes(make_clip(0.3))
    cells = ["", "nan", "NaN", "None", "N/A", "  ", "Nan is my grandmother."]
    lines = [f'k{number},a.mp4,"{cell}"' for number, cell in enumerate(cells)]
    (tmp_path / "m.csv").write_text("\n".join(["name,video,subtitle", *lines]))
    report = pack(tmp_path / "m.csv", tmp_path / "out")
    clips = list(ShardStream(tmp_path / "out", SMALL))
    assert [clip.subtitle for clip in clips] == [None] * 6 + ["Nan is my grandmother."]
    assert (report.num_noted, report.index.modalities["subtitle"]) == (4, 1)


def test_a_line_mark_inside_a_text_parts_no_line(tmp_path: Path) -> None:
    """Failure 14: U+2028 ends a line for some readers; journal, rejects and check take it as the text it is."""
    names = ["half\u2028one.mp4", "whole.mp4"]
    (tmp_path / "whole.mp4").write_bytes(make_clip(0.3))
    (tmp_path / names[0]).write_bytes(b"no video")
    lines = [{"name": f"k{number}", "video": name} for number, name in enumerate(names)]
    report = pack(write_manifest(tmp_path, lines), tmp_path / "out", skip_bad=True)
    assert [names[0] in str(problem) for problem in report.rejects] == [True]
    assert check_shards(tmp_path / "out").rejects == {"undecodable": 1}
    journal = Journal(tmp_path / "journal", {"at": names[0]})
    journal.load()
    journal.append(Entry(report.index.shards[0], 2, "chain", Counts(), report.rejects))
    again = Journal(tmp_path / "journal", {"at": names[0]})
    again.load()
    assert [str(problem) for problem in again.entries[0].rejects] == [str(problem) for problem in report.rejects]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_encodings(tmp_path: Path, kind: str) -> None:
    """Failure 14: UTF-8 and UTF-16 with a mark are read; any other encoding is refused by name, never guessed at."""
    (tmp_path / "a.mp4").write_bytes(b"x")
    text = {
        "csv": "name,video,subtitle\na,a.mp4,我不知道\n",
        "jsonl": '{"name": "a", "video": "a.mp4", "subtitle": "我不知道"}',
    }
    path = tmp_path / f"m.{kind}"
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_bytes(text[kind].encode(encoding))
        assert read_manifest(path)[0].subtitle == "我不知道"
    path.write_bytes(text[kind].encode("gb18030"))
    with pytest.raises(DataError, match=r"not UTF-8 text.*iconv -f GB18030 -t UTF-8"):
        read_manifest(path)


def test_a_full_disk_keeps_what_is_finished_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """Failure 24: writing stops in the third shard."""
    lines = []
    for number in range(4):
        raw = make_clip(0.3) + bytes(200_000 if number == 2 else 0)
        (tmp_path / f"{number}.mp4").write_bytes(raw)
        lines.append({"name": f"clip{number}", "video": f"{number}.mp4"})
    manifest = write_manifest(tmp_path, lines)
    pack(manifest, tmp_path / "whole", samples_per_shard=1)
    with (
        largest_file(100_000),
        pytest.raises(DataError, match=r"no space left to write.*2 finished shard.*run the same command again"),
    ):
        pack(manifest, tmp_path / "out", samples_per_shard=1)
    assert not (tmp_path / "out").exists()
    report = pack(manifest, tmp_path / "out", samples_per_shard=1)
    assert report.num_resumed == 2
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_too_little_space_is_said_before_the_work_begins(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failure 24, seen in advance."""
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=1000))
    with pytest.raises(DataError, match=r"needs about 0\.00 GB, but only 0\.00 GB are free"):
        pack(corpus / "manifest.jsonl", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def children(pid: int) -> set[int]:
    """The processes that any thread of a process started."""
    lists = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
    return {int(child) for path in lists if path.exists() for child in path.read_text().split()}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads the state of processes from /proc")
@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_killed_packing_goes_on_and_gives_the_same_bytes(tmp_path: Path, kills: int) -> None:
    """Failure 23: kill -9 of a real packing process with a worker; the worker ends with it."""
    (tmp_path / "clips").mkdir()
    clip = make_clip(1.0, rate_hz=25, size=(128, 96))
    for number in range(60):
        (tmp_path / "clips" / f"clip{number:02d}.mp4").write_bytes(clip if number % 10 else b"")
    arguments = [
        "pack",
        str(tmp_path / "clips"),
        str(tmp_path / "out"),
        "--samples-per-shard",
        "2",
        "--workers",
        "1",
        "--skip-bad",
    ]
    command = [sys.executable, "-m", "affectgpt.cli.main", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(affectgpt.__file__).parents[1])}
    journal = tmp_path / ".out.packing" / "journal.jsonl"
    finished = 0
    for _ in range(kills):
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while finished + 3 > (len(journal.read_bytes().splitlines()) - 1 if journal.exists() else 0):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
        workers = children(process.pid)
        process.kill()
        process.wait()
        process.stderr.close()
        finished = len(journal.read_bytes().splitlines()) - 1
        assert not (tmp_path / "out").exists()
        assert workers
        while any(map(is_alive, workers)):
            assert time.monotonic() < deadline, "a worker outlives the process that it worked for"
            time.sleep(0.05)
    report = pack(tmp_path / "clips", tmp_path / "out", samples_per_shard=2, skip_bad=True)
    assert 0 < finished < 27
    assert report.num_resumed >= 2 * (finished - 1)
    pack(tmp_path / "clips", tmp_path / "whole", samples_per_shard=2, skip_bad=True)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert (report.index.samples, len(report.rejects)) == (54, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "out", "whole"]


def test_a_clip_that_changed_since_the_kill_is_not_mixed_in(tmp_path: Path) -> None:
    """Failure 23: the finished shards would hold another clip than the manifest says."""
    lines = [{"name": f"clip{number}", "video": f"{number}.mp4"} for number in range(4)]
    for number in range(4):
        (tmp_path / f"{number}.mp4").write_bytes(make_clip(0.3))
    manifest = write_manifest(tmp_path, lines)

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(manifest, tmp_path / "out", samples_per_shard=2, progress=interrupt)
    (tmp_path / "1.mp4").write_bytes(make_clip(0.4))
    with pytest.raises(DataError, match=r"inputs changed.*shard-000000\.tar"):
        pack(manifest, tmp_path / "out", samples_per_shard=2)
    report = pack(manifest, tmp_path / "out", samples_per_shard=2, restart=True)
    assert (report.num_resumed, report.index.samples) == (0, 4)


@pytest.mark.parametrize(
    ("harm", "at_start", "code"),
    [
        (lambda path: path.unlink(), True, "missing_shard"),
        (lambda path: path.write_bytes(path.read_bytes()[:-2000]), True, "wrong_size"),
        (lambda path: path.write_bytes(flipped(path.read_bytes(), 0.001, 4096)), False, "wrong_digest"),
    ],
    ids=["missing", "cut", "altered"],
)
def test_harmed_shards_are_noticed(
    shards: Path, tmp_path: Path, harm: Callable[[Path], Any], at_start: bool, code: str
) -> None:
    """Failures 25 and 26: what the start of a run does not see, the check does."""
    folder = Path(shutil.copytree(shards, tmp_path / "shards"))
    harm(folder / "shard-000001.tar")
    if at_start:
        with pytest.raises(DataError, match=r"shard-000001\.tar"):
            read_index(folder)
    assert code in [fault.code for fault in check_shards(folder).faults]


def odd_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Entries of a manifest of which each one, and no other, must be left out."""
    clip = {"video": "whole.mp4", "labels": ["calm"]}
    (folder / "whole.mp4").write_bytes(make_clip(0.4))
    (folder / "sound.npy").write_bytes(make_wav(0.2))
    (folder / "folder.npy").mkdir()
    np.save(folder / "words.npy", np.array(["a", "b"]))
    with (folder / "lying.npy").open("wb") as file:
        shape = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 224, 224, 3)}
        np.lib.format.write_array_header_1_0(file, shape)
    with (folder / "sparse.mp4").open("wb") as file:
        file.truncate(30 * 2**30)
    wav = bytearray(make_wav(0.2))
    wav[22:24] = (255).to_bytes(2, "little")
    (folder / "channels.wav").write_bytes(wav)
    return {
        "sounds-as-faces": {**clip, "faces": "sound.npy"},
        "folder-as-faces": {**clip, "faces": "folder.npy"},
        "words-as-faces": {**clip, "faces": "words.npy"},
        "lying-faces": {**clip, "faces": "lying.npy"},
        "sparse": {**clip, "video": "sparse.mp4"},
        "255-channels": {**clip, "audio": "channels.wav"},
        "overlong": {**clip, "video": "x" * 5000 + ".mp4"},
        "not-a-name": {**clip, "video": "a\x00.mp4"},
    }


@pytest.mark.parametrize("workers", [0, 1])
def test_whatever_one_entry_does_is_its_own_fault(tmp_path: Path, workers: int) -> None:
    odd = odd_entries(tmp_path)
    lines = [{"name": name, **entry} for name, entry in odd.items()]
    lines += [{"name": "good", "video": "whole.mp4", "labels": ["calm"], "subtitle": "half \ud83d"}]
    found = pack(write_manifest(tmp_path, lines), tmp_path / "out", skip_bad=True, workers=workers)
    assert {reject.key for reject in found.rejects} == set(odd)
    assert found.index.samples == 1
    assert check_shards(tmp_path / "out", decode=True).faults == ()
    for name in odd:
        manifest = write_manifest(tmp_path, [line for line in lines if line["name"] in (name, "good")])
        with pytest.raises(DataError, match=name):
            pack(manifest, tmp_path / "other", workers=workers)


def test_what_no_part_foresaw_is_named_too(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall(self: Prepare, record: Any) -> Any:
        if record.key == "clip2":
            raise RuntimeError("a surprise")
        return prepare(self, record)

    prepare = Prepare.__call__
    monkeypatch.setattr(Prepare, "__call__", fall)
    found = pack(corpus / "manifest.jsonl", tmp_path / "out", skip_bad=True)
    assert [(reject.key, reject.code) for reject in found.rejects] == [("clip2", "unreadable")]
    assert "RuntimeError: a surprise" in str(found.rejects[0])
    with pytest.raises(DataError, match=r"clip2.*a surprise"):
        pack(corpus / "manifest.jsonl", tmp_path / "other")
