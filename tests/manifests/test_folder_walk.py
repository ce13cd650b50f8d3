"""Every file below a folder is found once, through links too, and what is passed over has a reason."""

from __future__ import annotations

import os
from pathlib import Path

from affectgpt.manifests.folder_walk import (
    BROKEN_LINK,
    HIDDEN,
    NO_FILE,
    READ_ALREADY,
    describe_unused,
    walk_folder,
)


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/u1.mp4", "set/session2/u2.mp4", "set/.hidden/x.mp4", "set/.DS_Store")
    folder = tmp_path / "set"
    (folder / "session1").symlink_to("../elsewhere")
    (folder / "again").symlink_to("session2")
    (folder / "file.mp4").symlink_to("../elsewhere/u1.mp4")
    (folder / "session2" / "up").symlink_to("..")
    (tmp_path / "elsewhere" / "back").symlink_to("../set")
    (folder / "gone.mp4").symlink_to("nowhere.mp4")
    (folder / "self.mp4").symlink_to("self.mp4")
    os.mkfifo(folder / "pipe.mp4")
    walk = walk_folder(folder)
    assert [path.as_posix() for path in walk.files] == ["file.mp4", "session1/u1.mp4", "session2/u2.mp4"]
    assert {path.as_posix(): reason for path, reason in walk.passed_over.items()} == {
        ".DS_Store": HIDDEN,
        ".hidden": HIDDEN,
        "again": READ_ALREADY,
        "gone.mp4": BROKEN_LINK,
        "pipe.mp4": NO_FILE,
        "self.mp4": BROKEN_LINK,
        "session1/back": READ_ALREADY,
        "session2/up": READ_ALREADY,
    }


def test_what_is_not_used_is_counted_by_reason_and_suffix() -> None:
    unused = {Path(f"{n}.MD"): "a reason" for n in range(4)} | {Path("x"): "a reason", Path("y.ts"): "another"}
    assert describe_unused(Path("set"), unused) == [
        "5 files in 'set' were not used (a reason): 4 .md, 1 without suffix; such as '0.MD', '1.MD', '2.MD' ...",
        "1 file in 'set' was not used (another): 1 .ts; such as 'y.ts'",
    ]
