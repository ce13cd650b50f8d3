"""Streams decoded clips from shards in a reproducible order, with a share for each rank and worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from torch.utils.data import IterableDataset, get_worker_info

from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests.record import SampleError
from affectgpt.media.profile import MediaProfile
from affectgpt.shards.cache import ReadAhead, ShardCache
from affectgpt.shards.forms.frames import check_index
from affectgpt.shards.index import ShardIndex, read_index
from affectgpt.shards.open_shards import OpenShards
from affectgpt.streaming.epoch_plan import EpochPlan, Piece, cut_pieces, join_pieces
from affectgpt.streaming.length_windows import deal
from affectgpt.streaming.mixture import MixtureOrder, mixture_lengths
from affectgpt.streaming.order import check_ranks, share_of_rank
from affectgpt.streaming.set_names import set_names
from affectgpt.types import Clip

Remainder = Literal["drop", "repeat"]
SampleAddress = tuple[int, int, int]
"""Set, shard of the set, position in the shard."""


@dataclass(frozen=True)
class BadSample:
    """A sample that cannot be used.

    Attributes:
        key: Its key; in a mixture prefixed with its set.
        shard: Its tar; in a mixture prefixed with its set.
        address: Number of its set, number of the tar in the set, position in the tar; unique.
        code: One word for the kind of fault.
        reason: The whole explanation.
    """

    key: str
    shard: str
    address: SampleAddress
    code: str
    reason: str


class ShardStream(IterableDataset[Clip]):
    """The clips of a shard folder, or of several.

    In a mixture of sets the keys begin with the set, so that ``mer/clip-1`` and ``demo/clip-1`` are different clips.

    ``whole`` is how an epoch is dealt out to the ranks, ``plan`` how the present one is, ``pieces`` what of it this
    rank has still to read, without the first ``blocks_read`` blocks; see ``set_epoch``. ``known_bad`` holds samples
    that are bad without being read again. ``length`` gives the length of a sample from its address and a clip that has
    its words alone.

    The order is a pure function of seed, epoch, rank and world size; see ``MixtureOrder`` and ``EpochPlan``. Workers of
    a ``DataLoader`` take turns, each reading blocks of ``block`` samples. If ``block`` is the batch size, the batches
    and their order are the same for any number of workers. With a ``window`` the blocks are dealt out by length: each
    worker reads the words of all samples, and decodes those of its own blocks.

    Args:
        folders: One or several folders made by ``pack``, or their indexes.
        profile: How clips are decoded.
        weights: Weight of each folder; see ``mixture_lengths``.
        shuffle: Whether to permute the samples anew in each epoch; see ``set_epoch``.
        seed: Seed of the order.
        rank: Number of this process.
        world_size: Number of processes.
        remainder: What to do if the samples do not divide evenly among the ranks: ``"drop"`` leaves the remainder out
            of the epoch (different samples in each shuffled epoch), ``"repeat"`` lets the last rank read the first ones
            again.
        block: Number of consecutive samples that one worker reads.
        window: Blocks that are dealt out together, so that the samples of each are of similar length and ``block`` is
            their mean number; 1 for consecutive samples. See ``length_windows``.
        whole_blocks: With ``"drop"``, whether to also leave out an incomplete last block.
        held_back: With ``"drop"``, number of samples that are always kept in reserve.
        tolerant: Whether to yield a ``BadSample`` for a sample that cannot be decoded, instead of raising an error.
        mix_shards: Shards of each folder that are open, and mixed, at a time.
        cache: Where shards of remote folders are kept.
        cache_decoded: Whether to keep every decoded clip in memory, for sets that fit. It cannot be combined with
            workers, whose memory is lost after the epoch.

    Raises:
        ConfigError: If an argument is invalid, or a rank would get no samples.
        DataError: If a folder is incomplete. While iterating: if a shard is broken, or a sample is broken and
            ``tolerant`` is not set; nothing is skipped.
    """

    def __init__(
        self,
        folders: str | Path | ShardIndex | Sequence[str | Path | ShardIndex],
        profile: MediaProfile | None = None,
        *,
        weights: Sequence[float | None] | None = None,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        remainder: Remainder = "drop",
        block: int = 1,
        window: int = 1,
        whole_blocks: bool = False,
        held_back: int = 0,
        tolerant: bool = False,
        mix_shards: int = 4,
        cache: ShardCache | None = None,
        cache_decoded: bool = False,
    ) -> None:
        super().__init__()
        if min(block, window, mix_shards) < 1:
            raise ConfigError(f"block={block}, window={window}, mix_shards={mix_shards}: all must be at least 1")
        given = [folders] if isinstance(folders, str | Path | ShardIndex) else folders
        self.indexes = tuple(item if isinstance(item, ShardIndex) else read_index(item) for item in given)
        self.profile = profile or MediaProfile()
        self._prefixes = tuple(f"{name}/" for name in set_names(self.indexes)) if len(self.indexes) > 1 else ("",)
        for index in self.indexes:
            check_index(index, self.profile)
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.block = block
        self.window = window
        self.length: Callable[[SampleAddress, Clip], int] = bytes_of_words
        self.tolerant = tolerant
        self.mix_shards = mix_shards
        self.epoch = 0
        self.cache = cache or ShardCache()
        self.cache.check(list(self.indexes), mix_shards)
        self._counts = [[shard.samples for shard in index.shards] for index in self.indexes]
        self._lengths = mixture_lengths([sum(counts) for counts in self._counts], weights or [None] * len(given))
        samples = sum(self._lengths)
        check_ranks(samples, rank, world_size)
        self.whole = self.plan = EpochPlan(((0, samples),), world_size, block, whole_blocks, held_back, window)
        self.blocks_read = 0
        self.reserve_used = 0
        self.pieces = share_of_rank(samples, rank, world_size) if remainder == "repeat" else self.plan.of_rank(rank)
        self._length = _count(self.pieces)
        self.has_reserve = remainder == "drop"
        self.known_bad: dict[SampleAddress, BadSample] = {}
        self._decoded: dict[SampleAddress, Clip] | None = {} if cache_decoded else None

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int, plan: EpochPlan | None = None, skip_steps: int = 0, reserve_used: int = 0) -> None:
        """Set the epoch of the next iteration, and the position at which to begin.

        Call it before the workers start: each of them has its own copy of this object.

        Args:
            epoch: Number of the epoch.
            plan: The plan of the rest of the epoch; by default that of a whole epoch.
            skip_steps: Number of blocks of the plan that this rank has already read; they are not read again.
            reserve_used: Number of samples that this rank has already taken from its reserve.
        """
        self.epoch = epoch
        self.reserve_used = reserve_used
        if plan is not None:
            self.plan = plan
            self.blocks_read = skip_steps % plan.window
            self.pieces = plan.of_rank(self.rank, skip_steps - self.blocks_read)

    def go_on(self, blocks: int) -> None:
        """Begin the next iteration behind the first ``blocks`` blocks of what this rank has still to read."""
        whole_windows, self.blocks_read = divmod(self.blocks_read + blocks, self.window)
        self.pieces = cut_pieces(self.pieces, whole_windows * self.window * self.block, _count(self.pieces))

    def unread(self, epoch: int, plan: EpochPlan, rank: int, steps: int) -> tuple[Piece, ...]:
        """What a rank had not yet read of its share of an epoch after some steps, the reserve aside.

        In the middle of a window the words of its samples are read again, since they decide how it was dealt out.
        """
        made = steps % plan.window
        pieces = plan.of_rank(rank, steps - made)
        if not made:
            return pieces
        size = plan.window * plan.batch_size
        begun = [position for start, stop in cut_pieces(pieces, 0, size) for position in range(start, stop)]
        before, self.epoch = self.epoch, epoch
        readers = self._open()
        try:
            dealt = self._deal([*self.walk(cut_pieces(pieces, 0, size))], plan, readers)
        finally:
            self.epoch = before
            readers.close()
        left = sorted(begun[i] for rows in dealt[made:] for i in rows)
        return join_pieces([*((i, i + 1) for i in left), *cut_pieces(pieces, size, _count(pieces))])

    def reserve(self) -> tuple[Piece, ...]:
        """What is left of the samples that this rank reads in place of bad ones; none where nothing is left out."""
        return self.plan.reserve_of(self.rank, self.reserve_used) if self.has_reserve else ()

    def addresses(self) -> Iterator[SampleAddress]:
        """The addresses that this rank reads, over all workers."""
        return self.walk(self.pieces)

    def walk(self, pieces: Sequence[Piece]) -> Iterator[SampleAddress]:
        """The samples at some positions of this epoch's sequence."""
        order = MixtureOrder(
            self._counts,
            self._lengths,
            seed=self.seed,
            epoch=self.epoch,
            shuffle=self.shuffle,
            mix_shards=self.mix_shards,
        )
        for start, stop in pieces:
            yield from order.walk(start, stop)

    def __iter__(self) -> Iterator[Clip]:
        for _, clip in self.samples():
            if isinstance(clip, BadSample):
                raise DataError(clip.reason)
            yield clip

    def samples(self) -> Iterator[tuple[SampleAddress, Clip | BadSample]]:
        """The samples that this worker reads, each with its address."""
        for readers, block in self._own_blocks():
            for address in block:
                yield address, self.load(readers, address)

    def loaded_blocks(self) -> Iterator[list[tuple[SampleAddress, Clip | BadSample]]]:
        """The blocks that this worker reads, each sample with its address."""
        for readers, block in self._own_blocks():
            yield [(address, self.load(readers, address)) for address in block]

    def _own_blocks(self) -> Iterator[tuple[OpenShards, list[SampleAddress]]]:
        """The blocks that this worker reads, and the shards to read them from."""
        info = get_worker_info()
        worker, num_workers = (0, 1) if info is None else (info.id, info.num_workers)
        if self._decoded is not None and info is not None:
            raise ConfigError("cache_decoded keeps clips in this process, but num_workers > 0; set num_workers=0")
        readers = self._open()
        ahead = ReadAhead(self.cache, self.indexes)
        try:
            blocks = self._blocks(ahead.follow(self.addresses, self.mix_shards), readers)
            for block in islice(blocks, worker, None, num_workers):
                yield readers, block
        finally:
            ahead.close()
            readers.close()

    def blocks(self) -> Iterator[list[SampleAddress]]:
        """The addresses of each block that this rank reads, over all workers."""
        readers = self._open()
        try:
            yield from self._blocks(self.addresses(), readers)
        finally:
            readers.close()

    def _blocks(self, addresses: Iterator[SampleAddress], readers: OpenShards) -> Iterator[list[SampleAddress]]:
        first = self.blocks_read
        while window := [*islice(addresses, self.window * self.block)]:
            for rows in self._deal(window, self.plan, readers)[first:]:
                yield [window[i] for i in rows]
            first = 0

    def _deal(self, window: Sequence[SampleAddress], plan: EpochPlan, readers: OpenShards) -> list[list[int]]:
        """Numbers of the samples of each block of a window."""
        if plan.window == 1:
            return [[*range(len(window))]]
        lengths = [self._measured(readers, address) for address in window]
        return deal(lengths, -(-len(window) // plan.batch_size), f"{self.seed}/{self.epoch}/{window[0]}")

    def lengths(self, count: int) -> list[int]:
        """Lengths of the first samples of the epoch, of all ranks."""
        readers = self._open()
        try:
            return [self._measured(readers, address) for address in self.walk([(0, min(count, sum(self._lengths)))])]
        finally:
            readers.close()

    def _measured(self, readers: OpenShards, address: SampleAddress) -> int:
        """Length of a sample; 1 for one whose words cannot be read, which is found bad when it is loaded."""
        set_number, shard, position = address
        try:
            words = readers[set_number, shard].read_words(position)
        except SampleError:
            return 1
        return max(1, self.length(address, replace(words, key=self.key_in_mixture(address, words.key))))

    def _open(self) -> OpenShards:
        # a window may begin in one group of mixed shards and end in the next
        return OpenShards(self.indexes, self.cache, self.mix_shards * (1 if self.window == 1 else 2))

    def load(self, readers: OpenShards, address: SampleAddress) -> Clip | BadSample:
        """Read and decode one sample.

        Raises:
            DataError: If the shard is broken, or the sample is broken and ``tolerant`` is not set.
        """
        if address in self.known_bad:
            return self.known_bad[address]
        if self._decoded is not None and address in self._decoded:
            return self._decoded[address]
        set_number, shard, position = address
        try:
            clip = readers[set_number, shard].load(position, self.profile)
        except SampleError as error:
            return self.bad(address, self.key_in_mixture(address, error.key), error)
        if self._prefixes[set_number]:
            clip = replace(clip, key=self.key_in_mixture(address, clip.key))
        if self._decoded is not None:
            self._decoded[address] = clip
        return clip

    def key_in_mixture(self, address: SampleAddress, name: str) -> str:
        """The key of a sample that its shard calls ``name``."""
        return self._prefixes[address[0]] + name

    def name_in_set(self, address: SampleAddress, clip: Clip) -> str:
        """The key of a clip as its shard has it, without the set."""
        return clip.key.removeprefix(self._prefixes[address[0]])

    def bad(self, address: SampleAddress, key: str, error: SampleError) -> BadSample:
        """The record of a sample that cannot be used.

        Raises:
            DataError: If ``tolerant`` is not set.
        """
        if not self.tolerant:
            raise DataError(str(error)) from error
        set_number, shard, _ = address
        name = self._prefixes[set_number] + self.indexes[set_number].shards[shard].name
        return BadSample(key, name, address, error.code, str(error))


def bytes_of_words(address: SampleAddress, clip: Clip) -> int:
    """Bytes of what is said and written of a clip: no tokenizer of bytes makes more tokens of them."""
    words = [clip.subtitle or "", clip.description or "", ", ".join(clip.labels)]
    return len("".join(words).encode(errors="replace"))


def _count(pieces: Sequence[Piece]) -> int:
    return sum(stop - start for start, stop in pieces)
