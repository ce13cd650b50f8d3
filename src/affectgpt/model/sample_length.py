"""Counts before a step the tokens of a clip, its question and its answer, and checks that they fit into the prompt."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from affectgpt.encoders.streams import MULTI, StreamSpec
from affectgpt.prompts.render import Renderer
from affectgpt.types import Clip

if TYPE_CHECKING:
    from affectgpt.model.network import Network


class SampleLength:
    """The settings that decide the length of a prompt, light enough to send to the processes that read the data.

    Args:
        renderer: Lays prompts out.
        specs: The model's streams.
        num_tokens: Slot to the number of its tokens.
        slots: What the prompt shows.
        prefusion_inputs: Streams that the slot ``multi`` needs.
    """

    def __init__(
        self,
        renderer: Renderer,
        specs: Mapping[str, StreamSpec],
        num_tokens: Mapping[str, int],
        slots: Collection[str],
        prefusion_inputs: Sequence[str],
    ) -> None:
        self._renderer = renderer
        self._sources = {name: str(spec.source) for name, spec in specs.items()}
        self._num_tokens = num_tokens
        self._slots = slots
        self._prefusion_inputs = prefusion_inputs

    @classmethod
    def of(cls, network: Network) -> SampleLength:
        """That of a network."""
        return cls(network.renderer, network.specs, network.num_tokens, network.slots, network.prefusion_inputs)

    def __call__(self, clip: Clip, question: str, answer: str) -> int:
        """Check that a sample can be learnt.

        Args:
            clip: Its words, and its inputs; one without inputs is taken to have them all.
            question: What is asked.
            answer: What is learnt.

        Returns:
            Its tokens, placeholders and answer included.

        Raises:
            ConfigError: If it does not fit into ``max_tokens`` even without its subtitle.
        """
        is_bare = not clip.media and not clip.features
        there = [
            name
            for name in self._sources
            if is_bare or self._sources[name] in clip.media or self._has_features(clip, name)
        ]
        if MULTI in self._num_tokens and {*self._prefusion_inputs} <= {*there}:
            there.append(MULTI)
        words = (clip.subtitle or "") if "subtitle" in self._slots else None
        slots = [name for name in there if name in self._slots]
        return self._renderer([slots], self._num_tokens, [question], [words], [answer], [clip.key]).keep.shape[1]

    @staticmethod
    def _has_features(clip: Clip, name: str) -> bool:
        return name in clip.features and len(clip.features[name]) > 0
