"""A stream in which clips kill the process that reads them, as a file does that crashes FFmpeg."""

from __future__ import annotations

import os
import signal
from typing import Any

from affectgpt.shards.open_shards import OpenShards
from affectgpt.streaming import ShardStream


class DeadlyStream(ShardStream):
    """Kills its process at the clips that the environment variable ``DEADLY_CLIPS`` names."""

    def load(self, readers: OpenShards, address: Any) -> Any:
        if address not in self.known_bad:
            die_at(readers[address[:2]].key(address[2]))
        return super().load(readers, address)


def die_at(key: str) -> None:
    """Die of a clip as FFmpeg does."""
    if key in os.environ.get("DEADLY_CLIPS", "").split():
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # without a report of faulthandler
        os.kill(os.getpid(), signal.SIGSEGV)
