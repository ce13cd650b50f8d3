"""Leaves out modalities, stretches of time and single steps while a model trains, as they may be missing later.

``B`` batch, ``T`` steps of an input, ``G`` modalities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from affectgpt.encoders.streams import StreamSpec
from affectgpt.errors import ConfigError, did_you_mean
from affectgpt.llm.scatter import sent
from affectgpt.media.profile import modality_of
from affectgpt.registry import SOURCES
from affectgpt.types import Batch, Features, Modality, rows_kept

WORDS = "words"
"""The modality of the subtitle, beside those of the streams (``visual``, ``audio``, ...)."""


class LeftOut(NamedTuple):
    """A batch with something left out.

    Attributes:
        batch: The batch; what is left out has no real step in its masks, or no words in its prompts.
        shares: Modality to the share of the samples with it that lost it.
    """

    batch: Batch
    shares: Mapping[str, float]


@dataclass(frozen=True)
class ModalityDropout:
    """What is left out at random of every training sample.

    A sample that loses a modality is seen as one that never had it: its masks hold no real step, the prompt has another
    layout, the pre-fusion joins what is left. One modality of a sample always remains, and one step of an input. The
    numbers are drawn from torch's generator of the CPU, whose state is in the checkpoints of ``affectgpt fit``
    (``RandomStates``), so a resumed run draws what one that was never stopped draws.

    Modality dropout: Neverova et al., "ModDrop", 2016, arXiv 1501.00102.

    Attributes:
        modality: Probability that a sample loses a modality: one number for all, or one for each by name: those of the
            streams (``visual``, ``audio``, ...) and ``words``. With 0.5 all views are about equally frequent.
        segment: Probability that an input of a sample (its frames, its audio segments) loses one stretch of time.
        longest_segment: Largest share of the steps that such a stretch takes.
        step: Share of single steps that are lost besides.

    Raises:
        ConfigError: If a value is no probability.
    """

    modality: float | Mapping[str, float] = 0.0
    segment: float = 0.0
    longest_segment: float = 0.5
    step: float = 0.0

    def __post_init__(self) -> None:
        by_name = self.modality if isinstance(self.modality, Mapping) else {"modality": self.modality}
        for name in self.modality if isinstance(self.modality, Mapping) else ():
            if name not in (Modality.VISUAL, Modality.AUDIO, WORDS):  # else no plug-in need be imported
                known = [*dict.fromkeys(map(modality_of, SOURCES)), WORDS]
                if name in known:
                    continue
                raise ConfigError(
                    f"modality_dropout: unknown modality {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}"
                )
        shares = {"segment": self.segment, "longest_segment": self.longest_segment, "step": self.step}
        for name, value in {**by_name, **shares}.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ConfigError(f"modality_dropout: {name} is {value!r}; expected a number from 0 to 1")

    @classmethod
    def of(cls, value: ModalityDropout | Mapping[str, Any] | None) -> ModalityDropout | None:
        """Read the settings from plain JSON; ``None`` leaves nothing out.

        Raises:
            ConfigError: If a key is unknown or a value is no probability.
        """
        if value is None or isinstance(value, ModalityDropout):
            return value
        known = [one.name for one in fields(cls)]
        unknown = [name for name in value if name not in known]
        if unknown:
            hint = did_you_mean(unknown[0], known)
            raise ConfigError(f"modality_dropout: unknown key {unknown[0]!r}.{hint} It takes {', '.join(known)}")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the settings."""
        return asdict(self)

    def __call__(self, batch: Batch, streams: Mapping[str, StreamSpec], *, shows_words: bool = False) -> LeftOut:
        """Leave something out of a batch.

        Args:
            batch: Clips, on any device.
            streams: The streams of the model.
            shows_words: Whether the model reads the subtitles, so that they count as a modality.
        """
        kinds: dict[str, str] = {f"media/{name}": modality_of(name) for name in batch.media}
        kinds |= {
            f"features/{name}": modality_of(str(streams[name].source)) for name in batch.features if name in streams
        }
        lost = self._lost_modalities(batch, kinds, shows_words=shows_words)
        shares = {name: _share(gone, there) for name, (gone, there) in lost.items()}
        keep = {
            name: self._thinned(mask, lost[kinds[f"media/{name}"]][0]) if f"media/{name}" in kinds else mask
            for name, mask in batch.keep.items()
        }
        features = {
            name: Features(found.hidden, self._thinned(found.keep, lost[kinds[f"features/{name}"]][0]))
            if name in streams
            else found
            for name, found in batch.features.items()
        }
        wordless = tuple(lost[WORDS][0].tolist()) if WORDS in lost else ()
        return LeftOut(replace(batch, keep=keep, features=features, wordless=wordless), shares)

    def _lost_modalities(
        self, batch: Batch, kinds: Mapping[str, str], *, shows_words: bool
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Modality to the samples that lose it, and those that have it: bool ``[B]`` on the CPU."""
        there: dict[str, Tensor] = {}
        for name, kind in kinds.items():
            form, _, key = name.partition("/")
            rows = rows_kept(batch.keep[key] if form == "media" else batch.features[key].keep)
            there[kind] = there[kind] | rows if kind in there else rows
        if shows_words:
            there[WORDS] = torch.tensor([bool(words) for words in batch.subtitles])
        if not there:
            return {}
        there_GB = torch.stack(list(there.values()))
        rates = self.modality if isinstance(self.modality, Mapping) else dict.fromkeys(there, self.modality)
        rate_G = torch.tensor([float(rates.get(name, 0.0)) for name in there])
        drawn_GB = torch.rand(there_GB.shape)
        lost_GB = there_GB & (drawn_GB < rate_G[:, None])
        # a sample that would lose all keeps the one that was nearest to staying
        nearest_B = (drawn_GB - rate_G[:, None]).masked_fill(~there_GB, -math.inf).argmax(0)
        stays_B = lost_GB.any(0) & ~(there_GB & ~lost_GB).any(0)
        lost_GB[nearest_B[stays_B], stays_B.nonzero().squeeze(1)] = False
        return {name: (gone, has) for name, gone, has in zip(there, lost_GB, there_GB, strict=True)}

    def _thinned(self, keep: Tensor, lost: Tensor) -> Tensor:
        """A mask ``[B, T]`` without the rows in ``lost`` ``[B]``, a stretch of time, and single steps.

        Nothing waits for the device: what is drawn goes there, and the rows that are kept are known on the CPU.
        """
        shape, device = keep.shape, keep.device
        rows_B = rows_kept(keep) & ~lost
        thinned = keep & sent(~lost[:, None], device)
        if self.segment > 0:
            hit_B, length_B, start_B = torch.rand(3, shape[0]).unbind()
            hits, lengths, starts = (sent(one[:, None], device) for one in (hit_B < self.segment, length_B, start_B))
            at_BT, num_B1 = thinned.cumsum(1) - 1, thinned.sum(1, keepdim=True)
            longest_B1 = torch.minimum((self.longest_segment * num_B1).floor(), num_B1 - 1.0).clamp(min=0)
            taken_B1 = (lengths * longest_B1).ceil()
            first_B1 = (starts * (num_B1 - taken_B1 + 1)).floor()
            thinned = thinned & ~(hits & (at_BT >= first_B1) & (at_BT < first_B1 + taken_B1))
        if self.step > 0:
            drawn_BT = sent(torch.rand(shape), device)
            stays_BT = torch.zeros_like(thinned).scatter(
                1, drawn_BT.masked_fill(~thinned, -1.0).argmax(1, keepdim=True), True
            )
            thinned = thinned & ((drawn_BT >= self.step) | stays_BT)
        if device.type != "cpu":
            thinned.rows_kept = rows_B  # type: ignore[attr-defined]
        return thinned


def _share(gone: Tensor, there: Tensor) -> float:
    return int(gone.sum()) / max(1, int(there.sum()))
