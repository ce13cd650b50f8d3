"""Makes a raw set with planted faults: wrong descriptions, the sound of another state, and lengths far off."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from affectgpt.demo.corpus.states import STATES, SyntheticState
from affectgpt.files import write_lines

DESCRIPTION, SOUND, LENGTH, NONE = "description", "sound", "length", "none"
SHARE_OF = {SOUND: 0.10, LENGTH: 0.05}
"""Shares of the clips with these faults; that of wrong descriptions is the level of the experiment."""
BY_NAME: Mapping[str, SyntheticState] = {state.name: state for state in STATES}
_SHORT_WORDS, _RUNAWAY_SENTENCES = 3, 4


@dataclass(frozen=True)
class RawClip:
    """A clip of the raw set.

    Attributes:
        name: Its name.
        video: The file.
        subtitle: The spoken words.
        description: What the set says of it.
        state: The state that the speaker is in, see ``affectgpt.demo.corpus.states``; no part of the set.
        fault: ``description``, ``sound``, ``length`` or ``none``; no part of the set.
    """

    name: str
    video: Path
    subtitle: str
    description: str
    state: str
    fault: str


def plant(rows: Sequence[Mapping[str, Any]], corpus: Path, level: float, seed: int, folder: Path) -> list[RawClip]:
    """Plant faults into clips of the synthetic corpus; a clip has one fault at most.

    A higher level has the wrong descriptions of a lower one and more, and the other faults stay where they are, so that
    levels differ in nothing else.

    Args:
        rows: Lines of the corpus's manifest.
        corpus: Its folder.
        level: Share of the clips whose description is that of another state.
        seed: Decides which clips have which fault.
        folder: Where clips with another sound are written.

    Raises:
        ValueError: If the shares are more than the whole.
    """
    number = {DESCRIPTION: round(level * len(rows))}
    number |= {fault: round(share * len(rows)) for fault, share in SHARE_OF.items()}
    if level < 0 or sum(number.values()) > len(rows):
        raise ValueError(f"level is {level}; with the other faults that is more than all {len(rows)} clips")
    order = np.random.default_rng([seed, 0]).permutation(len(rows))
    fault_of = dict.fromkeys(order[: number[DESCRIPTION]].tolist(), DESCRIPTION)
    end = len(rows) - number[SOUND]
    fault_of |= dict.fromkeys(order[end:].tolist(), SOUND)
    fault_of |= dict.fromkeys(order[end - number[LENGTH] : end].tolist(), LENGTH)
    clips = []
    for index, row in enumerate(rows):
        rng = np.random.default_rng([seed, 1, index])
        fault = fault_of.get(index, NONE)
        video, description = corpus / row["video"], row["description"]
        if fault == DESCRIPTION:
            other = _other_states(row["state"])[int(rng.integers(len(STATES) - 1))]
            description = other.describe(row["subtitle"])
        elif fault == LENGTH:
            description = _far_off(row, rng)
        elif fault == SOUND:
            voice = BY_NAME[row["state"]].voice
            donors = [one for one in rows if BY_NAME[one["state"]].voice != voice]
            donor = donors[int(rng.integers(len(donors)))]
            video = folder / f"{row['name']}.mp4"
            if not video.exists():
                swap_sound(corpus / row["video"], corpus / donor["video"], video)
        clips.append(RawClip(row["name"], video, row["subtitle"], description, row["state"], fault))
    return clips


def swap_sound(video: Path, sound: Path, out: Path) -> None:
    """Join the pictures of one file with the sound of another, packet by packet, without coding either anew."""
    draft = out.with_suffix(".part.mp4")
    with av.open(str(video)) as seen, av.open(str(sound)) as heard, av.open(str(draft), "w") as joined:
        pairs = [(seen, seen.streams.video[0]), (heard, heard.streams.audio[0])]
        streams = [joined.add_stream_from_template(stream) for _, stream in pairs]
        for (source, stream), written in zip(pairs, streams, strict=True):
            for packet in source.demux(stream):
                if packet.dts is not None:
                    packet.stream = written
                    joined.mux(packet)
    draft.replace(out)


def write_raw_manifest(path: Path, clips: Sequence[RawClip]) -> None:
    """Write what annotation is given: neither state nor fault is in it."""
    lines = (asdict(clip) | {"video": str(clip.video.resolve())} for clip in clips)
    write_lines(path, (json.dumps({n: v for n, v in line.items() if n not in ("state", "fault")}) for line in lines))


def _other_states(name: str) -> list[SyntheticState]:
    return [state for state in STATES if state.name != name]


def _far_off(row: Mapping[str, Any], rng: np.random.Generator) -> str:
    """A description that breaks off after some words, or one that runs on through other states."""
    if rng.integers(2):
        return " ".join(str(row["description"]).split()[:_SHORT_WORDS])
    chosen = rng.choice(len(STATES) - 1, _RUNAWAY_SENTENCES, replace=False)
    others = _other_states(row["state"])
    return " ".join([row["description"], *(others[int(i)].describe(row["subtitle"]) for i in chosen)])
