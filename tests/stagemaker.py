"""Stages for tests that count how often they are asked, in a file that survives a kill."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from affectgpt.annotate import Answer, Stage, Usage


class CountingStage(Stage):
    """Writes ``out_field`` from its prompt and the fields it reads; each call appends a line to ``log``.

    The number of the process that was asked goes to ``pids``; at the clips ``dies_at`` this process ends.
    """

    def __init__(
        self,
        out_field="description",
        reads=("subtitle",),
        prompt="p",
        log=None,
        seconds=0.0,
        fail="",
        drop="",
        person="",
        raises="",
        tokens=0,
        pids=None,
        dies_at="",
    ):
        self.reads, self.writes = tuple(reads), (out_field,)
        self.args = (out_field, prompt)
        self.log, self.seconds, self.tokens, self.pids, self.dies_at = log, seconds, tokens, pids, dies_at
        self.special = {"fail": fail, "drop": drop, "person": person, "raises": raises}

    def identity(self):
        return {"prompt": self.args[1], "special": {k: v for k, v in self.special.items() if k != "fail"}}

    def answer(self, record):
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{self.args[0]} {record.key}\n")
                file.flush()
                os.fsync(file.fileno())
        if self.pids:
            with open(self.pids, "a") as file:
                file.write(f"{os.getpid()}\n")
        time.sleep(self.seconds)
        if record.key in self.dies_at.split():
            os._exit(7)
        if record.key in self.special["fail"].split():
            return Answer.fail("told to fail")
        if record.key in self.special["raises"].split():
            raise KeyError("no such thing")
        usage = Usage(1, self.tokens, self.tokens) if self.tokens else Usage()
        if record.key in self.special["drop"].split():
            return replace(Answer.drop("told to drop"), usage=usage)
        told = " ".join(str(record.fields.get(name, "-")) for name in self.reads)
        fields = {self.args[0]: f"{self.args[1]}: {told}, happy"}
        if record.key in self.special["person"].split():
            return replace(Answer.ask_person("told to ask", fields), usage=usage)
        return Answer(fields=fields, usage=usage)


class CrashingStage(Stage):
    """Ends its process without a word where the clip is called so, as a broken decoder does."""

    writes = ("description",)
    isolated = True

    def __init__(self, crashes_on):
        self.crashes_on = crashes_on

    def identity(self):
        return {"crashes_on": self.crashes_on}

    def answer(self, record):
        if record.key == self.crashes_on:
            os._exit(7)
        return Answer(fields={"description": "She is happy."})


def counting(**args):
    return {
        "name": "stagemaker:CountingStage",
        "args": {k: str(v) if isinstance(v, Path) else v for k, v in args.items()},
    }


def calls(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []
