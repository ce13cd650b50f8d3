"""Packs a manifest into WebDataset tars with an index; every clip is decoded once to check it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import av

from affectgpt.errors import ConfigError, DataError
from affectgpt.manifests.manifest import Layout, ManifestScan, survey_manifest
from affectgpt.manifests.mer2026 import clip_of_key
from affectgpt.manifests.record import Record, SampleError
from affectgpt.media.isolation import map_in_order
from affectgpt.shards.forms.frames import FORM, FramesRecipe
from affectgpt.shards.index import ShardIndex
from affectgpt.shards.probe import Prepare, crashed
from affectgpt.shards.tar_writer import Sample
from affectgpt.shards.write import ShardWriter

_TAR_BYTES_PER_SAMPLE = 8192


class Review(Protocol):
    """What people decided about clips, such as ``affectgpt.annotate.ReviewedRecords``."""

    def __call__(self, record: Record) -> Record | SampleError:
        """The record as people corrected it, or why it is left out."""

    def remark(self) -> str:
        """What a person should know of it, once every record was seen."""

    def told(self) -> str:
        """The same for the card of the set, without names of people and files."""


@dataclass(frozen=True)
class PackReport:
    """The result of packing.

    Attributes:
        index: The new shard folder.
        rejects: The samples left out, with the reason.
        num_noted: Number of packed samples with skipped media (``media_notes`` in their json member) or changed
            manifest values (``manifest_notes``).
        num_resumed: Number of samples, packed or rejected, that an interrupted run had done before.
        remarks: Which file of a folder was read as the manifest, and how many files were not used, by reason.
    """

    index: ShardIndex
    rejects: tuple[SampleError, ...]
    num_noted: int
    num_resumed: int = 0
    remarks: tuple[str, ...] = ()


def pack(
    manifest: str | Path,
    out: str | Path,
    *,
    layout: Layout | None = None,
    subtitle: str | None = None,
    samples_per_shard: int = 512,
    shard_bytes: int = 256 * 10**6,
    split: str | None = None,
    labelled_only: bool = False,
    leave_out: Collection[str] = (),
    review: Review | None = None,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    restart: bool = False,
    skip_bad: bool = False,
    workers: int = 0,
    recipe: FramesRecipe | None = None,
    face_detector: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PackReport:
    """Pack the clips of a manifest into a shard folder.

    A shard ends at ``samples_per_shard`` samples, or at the sample with which it reaches ``shard_bytes``. The media
    files are stored as they are, unless a ``recipe`` is given. The same files give the same tars, byte for byte, for
    any number of workers. After a kill or an error the same call continues after the last finished shard; see
    ``ShardWriter``.

    Args:
        manifest: See ``read_manifest``.
        out: Folder to create.
        layout: See ``read_manifest``.
        subtitle: See ``survey_manifest``.
        samples_per_shard: Most samples in a tar.
        shard_bytes: Size at which a tar ends.
        split: Pack only the entries of this ``split``.
        labelled_only: Leave out samples with neither labels nor a description, from which nothing can be learnt, and
            list them in ``rejects.jsonl``.
        leave_out: Names of clips to leave out, such as those of a test set; they are listed in ``rejects.jsonl``.
        review: What people decided: their labels and texts replace those of the manifest, and what they rejected is
            listed in ``rejects.jsonl``.
        provenance: Plain JSON about the set, such as ``{"source": ..., "licence": ...}``.
        overwrite: Replace ``out`` if it is a shard folder.
        restart: Discard an unfinished packing into ``out``.
        skip_bad: Leave bad samples out and list them in ``rejects.jsonl``, instead of stopping at the first.
        workers: Processes that decode; 0 decodes in this one. A script that uses more must guard its main module with
            ``if __name__ == "__main__"``, as for any use of ``multiprocessing``.
        recipe: Store decoded frames and sound in place of the original files (form ``"frames"``).
        face_detector: Name in ``FACE_DETECTORS`` of the detector for clips without face crops.
        progress: Called with the number of samples done and the number of all.

    Raises:
        ConfigError: If ``out`` exists, an argument is invalid, or an unfinished packing had other settings.
        DataError: If a sample is bad and ``skip_bad`` is not set, all samples are bad, the disk is full, or the inputs
            have changed since an unfinished packing.
    """
    if workers < 0:
        raise ConfigError(f"workers={workers}, but must be 0, to decode in this process, or more")
    prepare = Prepare(recipe, face_detector)
    stored = {} if recipe is None else recipe.to_json()
    with ShardWriter(
        out,
        samples_per_shard=samples_per_shard,
        shard_bytes=shard_bytes,
        form="media" if recipe is None else FORM,
        recipe=stored | ({"face_detector": face_detector} if face_detector else {}),
        settings={"av": av.__version__},
        overwrite=overwrite,
        restart=restart,
    ) as writer:
        scan = _select(manifest, layout, subtitle, split, labelled_only, skip_bad, leave_out, review)
        records, identities = _identified(scan, skip_bad)
        num_resumed = writer.resume(identities)
        _check_room(writer, records[num_resumed:], recipe)
        for done, sample in enumerate(
            map_in_order(_Named(prepare), records[num_resumed:], workers, crashed), start=num_resumed
        ):
            problem = sample if isinstance(sample, SampleError) else _written(writer, sample, identities[done])
            if problem is not None:
                if not skip_bad:
                    raise problem
                writer.reject(problem, identities[done])
            if progress is not None:
                progress(done + 1, len(records))
        chosen = {
            "layout": None if layout is None else _layout_told(layout),
            "split": split,
            "labelled_only": labelled_only or None,
            "review": None if review is None else review.told(),
        }
        origin = {"manifest": Path(manifest).name, "source": None, "licence": None}
        origin |= {name: value for name, value in chosen.items() if value is not None} | dict(provenance or {})
        index, listed, total = writer.finish(origin, scan.problems)
    return PackReport(index, listed, total.noted, num_resumed, scan.remarks)


@dataclass(frozen=True)
class _Named:
    """The work on one record, picklable; any error that it raises becomes the fault of that record."""

    prepare: Prepare

    def __call__(self, record: Record) -> Sample | SampleError:
        try:
            return self.prepare(record)
        except Exception as error:
            files = ", ".join(map(str, record.files()))
            message = f"clip {record.key!r}: {files} cannot be packed ({type(error).__name__}: {error})"
            return SampleError(record.key, "probe", "unreadable", message)


def _layout_told(layout: Layout) -> str:
    """A layout with those of its settings that decide what is taken from the folder, for the card."""
    settings = {name: value for name in ("subset", "subtitle", "ignore") if (value := getattr(layout, name, None))}
    words = [f"{name} {', '.join(value) if isinstance(value, tuple) else value}" for name, value in settings.items()]
    return ", ".join([type(layout).__name__.lower(), *words])


def _written(writer: ShardWriter, sample: Sample, identity: str) -> SampleError | None:
    """Write a sample, or return why a tar cannot hold it."""
    try:
        writer.write(sample, identity)
    except SampleError as problem:
        return problem
    return None


def _identified(scan: ManifestScan, skip_bad: bool) -> tuple[list[Record], list[str]]:
    """The records with their identities; records whose files cannot be accessed become faults."""
    records, identities = [], []
    for record in scan.records:
        try:
            identity = record.identity()
        except (OSError, ValueError) as error:
            message = f"clip {record.key!r}: its files cannot be read ({error}); check their paths"
            problem = SampleError(record.key, "probe", "unreadable", message)
            if not skip_bad:
                raise problem from error
            scan.problems.append(problem)
            continue
        records.append(record)
        identities.append(identity)
    return records, identities


def _select(
    manifest: str | Path,
    layout: Layout | None,
    subtitle: str | None,
    split: str | None,
    labelled_only: bool,
    skip_bad: bool,
    leave_out: Collection[str],
    review: Review | None,
) -> ManifestScan:
    scan = survey_manifest(manifest, layout, subtitle)
    records, rejects, remarks = scan.records, scan.problems, scan.remarks
    if rejects and not skip_bad:
        raise rejects[0]
    if split is not None:
        known = sorted({str(record.split) for record in records})
        records = [record for record in records if record.split == split]
        if not records:
            raise DataError(f"manifest {str(manifest)!r} has no line with split {split!r}, only: {', '.join(known)}")
    if review is not None:
        records, dropped = _reviewed(records, review)
        rejects += dropped
        remarks = (*remarks, review.remark())
    if labelled_only:
        rejects += [_unlabelled(record) for record in records if not (record.labels or record.description)]
        records = [record for record in records if record.labels or record.description]
    if leave_out:
        names = set(leave_out)
        rejects += [_left_out(record) for record in records if clip_of_key(record.key) in names]
        records = [record for record in records if clip_of_key(record.key) not in names]
    return ManifestScan(records, rejects, remarks)


def _reviewed(records: Sequence[Record], review: Review) -> tuple[list[Record], list[SampleError]]:
    """The records as people corrected them, and those that are left out."""
    kept: list[Record] = []
    dropped: list[SampleError] = []
    for record in records:
        try:
            found = review(record)
        except OSError:
            found = record  # the same files are read once more below, where it is reported
        if isinstance(found, SampleError):
            dropped.append(found)
        else:
            kept.append(found)
    return kept, dropped


def _left_out(record: Record) -> SampleError:
    message = f"clip {record.key!r} is in the set of clips that are to be left out"
    return SampleError(record.key, "select", "overlap", message)


def _unlabelled(record: Record) -> SampleError:
    message = f"clip {record.key!r} has neither labels nor a description; such clips are left out"
    return SampleError(record.key, "select", "unlabelled", message)


def _check_room(writer: ShardWriter, records: Sequence[Record], recipe: FramesRecipe | None) -> None:
    """Refuse a packing that the disk cannot hold."""
    needed = sum(path.stat().st_size for record in records for path in record.files())
    if recipe is not None:  # an estimate: JPEG takes about 2 bits per pixel, and the sound less than the clip
        profile = recipe.profile
        needed = needed // 4 + len(records) * profile.num_frames * profile.frame_height * profile.frame_width // 4
    needed += len(records) * _TAR_BYTES_PER_SAMPLE
    free = shutil.disk_usage(writer.out.parent).free
    if needed > free:
        raise DataError(
            f"packing into {str(writer.out)!r} needs about {needed / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are "
            "free there; free some space, or choose a folder on another disk"
        )
