"""Test sets on two real processes: every clip answered or reported, in equal steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from clipmaker import make_clip
from setmaker import make_processed

WORKER = Path(__file__).with_name("predict_worker.py")


def test_two_ranks_answer_every_clip_and_report_the_broken_one(tmp_path: Path) -> None:
    folder, names = make_processed(tmp_path / "sets", "meld", 5, clip=make_clip(0.2))
    (folder / "subvideo" / f"{names[1]}.mp4").write_bytes(b"")
    make_processed(tmp_path / "sets", "sims", 4, clip=make_clip(0.2))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(WORKER)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(tmp_path / "sets"), str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    answered = [key for rank in ranks for batch in rank["keys"] for key in batch]
    wanted = {*(f"meld/{name}" for name in names), *(f"sims/video_0000_000{i}" for i in range(4))}
    assert set(answered) == wanted - {f"meld/{names[1]}"}
    assert list(ranks[0]["unreadable"]["meld"]) == [names[1]]
    assert len(ranks[0]["keys"]) == len(ranks[1]["keys"]) == 3
