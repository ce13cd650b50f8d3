"""Unpacks the media of one subset out of the archives in which MER2026 is published."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zlib import crc32
from zlib import error as zlib_error

from affectgpt.errors import DataError, first_few
from affectgpt.files import draft
from affectgpt.manifests.mer2026 import Mer2026
from affectgpt.manifests.mer_folder import listing
from affectgpt.manifests.record import SampleError
from affectgpt.text import clean_name

MAX_MEMBER_BYTES = 4 << 30
"""The largest file that is unpacked."""

_COPIED_AT_A_TIME = 1 << 20


@dataclass(frozen=True)
class _Kind:
    """One kind of media.

    Attributes:
        archives: Folder of the release that holds its archives, one folder a subset.
        prefix: What the folder of a subset begins with.
        suffix: Of its files.
        target: Where a file belongs, with ``{name}``.
    """

    archives: str
    prefix: str
    suffix: str
    target: str


KINDS = {
    "video": _Kind("video_7z", "video_", ".mp4", "video/{name}.mp4"),
    "audio": _Kind("audio_7z", "audio_", ".wav", "audio/{name}.wav"),
    "faces": _Kind("openface_7z", "openface_", ".npy", "openface_face/{name}/{name}.npy"),
}


@dataclass(frozen=True)
class Unpacked:
    """What was done.

    Attributes:
        written: Files that were unpacked.
        replaced: How many of them took the place of a file with another content.
        kept: Files that were there already, with the same size and checksum.
        passed_over: Files of the archives that the table of the subset does not name.
    """

    written: int
    replaced: int
    kept: int
    passed_over: int


def unpack_archives(
    folder: Path,
    subset: str,
    out: Path,
    ignore: tuple[str, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Unpacked:
    """Unpack the videos, sounds and face crops of a subset that its table names.

    The archives lie in ``video_7z/video_SUBSET/*.zip``, and the same with ``audio`` and ``openface``. Files are written
    whole or not at all, to ``video/NAME.mp4``, ``audio/NAME.wav`` and ``openface_face/NAME/NAME.npy``, whatever
    folders the archives have them in; those that are there with the same size and checksum stay, so that the same call
    goes on after an interruption.

    Args:
        folder: Of the release.
        subset: Which table.
        out: Folder to unpack into.
        ignore: Kinds to leave out: ``audio``, ``faces``.
        progress: Called with bytes done and in all.

    Raises:
        DataError: If archives are missing or damaged, hold two files of one name or one that is too large, or the disk
            has too little room.
    """
    rows = list(Mer2026(subset).rows(folder))
    names = {row["name"] for _, _, row in rows if not isinstance(row, SampleError)}
    todo: dict[Path, tuple[Path, zipfile.ZipInfo]] = {}
    passed_over = 0
    for kind, what in KINDS.items():
        if kind in ignore:
            continue
        for archive, member, name in _members(folder, subset, what):
            target = out / what.target.format(name=name)
            if name not in names:
                passed_over += 1
            elif target in todo:
                raise DataError(f"{archive} and {todo[target][0]} both hold {target.name}; remove one of them")
            else:
                todo[target] = (archive, member)
    there = [path for path in todo if path.is_file()]
    done = {path for path in there if _is_unpacked(path, todo[path][1])}
    rest = {path: one for path, one in todo.items() if path not in done}
    total = sum(member.file_size for _, member in rest.values())
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    if total > free:
        raise DataError(
            f"{str(out)!r} needs {total / 1e9:.1f} GB for what is unpacked, and {free / 1e9:.1f} GB are free there"
        )
    copied = 0
    for archive in dict.fromkeys(archive for archive, _ in rest.values()):
        with _opened(archive) as file:
            for path, (_, member) in ((p, one) for p, one in rest.items() if one[0] == archive):
                _copy(file, archive, member, path)
                copied += member.file_size
                if progress is not None:
                    progress(copied, total)
    return Unpacked(len(rest), len(there) - len(done), len(done), passed_over)


def _members(folder: Path, subset: str, kind: _Kind) -> Iterator[tuple[Path, zipfile.ZipInfo, str]]:
    """The files of that kind in the archives of a subset, and the names of their clips."""
    location = folder / kind.archives / f"{kind.prefix}{subset}"
    archives = [path for path in listing(location) if path.suffix.lower() == ".zip"]
    others = [path.name for path in listing(location) if path.suffix.lower() in (".7z", ".001", ".z01")]
    if others or not archives:
        what = f"holds {first_few(others)}, which only 7z unpacks" if others else "holds no .zip"
        raise DataError(
            f"{str(location)!r} {what}; fetch the archives of {subset}, or unpack them with the script of the release "
            "and give the folder of the result as --unpack"
        )
    for archive in archives:
        with _opened(archive) as file:
            for member in file.infolist():
                path = PurePosixPath(member.filename.replace("\\", "/"))
                if member.is_dir() or path.suffix.lower() != kind.suffix or path.name.startswith("."):
                    continue
                if member.file_size > MAX_MEMBER_BYTES:
                    raise DataError(f"{archive}: {path.name} unpacks to {member.file_size:,} bytes, which is no clip")
                yield archive, member, clean_name(path.stem)


def _is_unpacked(path: Path, member: zipfile.ZipInfo) -> bool:
    """Whether a file is what an archive holds."""
    if path.stat().st_size != member.file_size:
        return False
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(_COPIED_AT_A_TIME):
            checksum = crc32(block, checksum)
    return checksum == member.CRC


def _opened(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive} cannot be read as a zip archive ({error}); fetch it again") from error


def _copy(file: zipfile.ZipFile, archive: Path, member: zipfile.ZipInfo, path: Path) -> None:
    """Unpack one file; its checksum is that of the archive."""
    try:
        with file.open(member) as source, draft(path) as made, made.open("wb") as target:
            shutil.copyfileobj(source, target, _COPIED_AT_A_TIME)
    except (zipfile.BadZipFile, zlib_error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataError(
            f"{archive}: {member.filename} cannot be unpacked ({error}); fetch the archive again"
        ) from error
